"""Twenty clients at once: no error, bounded memory, and how long they wait; and how soon a long conversion is heard.

    python benchmarks/app_load.py [--clients 20] [--rounds 3]
    python benchmarks/app_load.py --first-audio 10
    python benchmarks/app_load.py --idle 60

The second converts ten minutes of speech (bundled clips in turn) by ``/convert_stream`` and by
``VoiceConverter.stream``, and prints when the first piece is there. The third prints the processor time of a service
that nobody uses.

Starts the service as a process of its own, lets every client convert a 5-second recording of its own to a bundled
voice, several times, and prints waits, errors and the memory of the service.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import torch
from gradio_client import Client, handle_file
from startup import processor_seconds

import speechssl
from speechssl import audio
from speechssl.signals import Waveform

VOICES = ("ada", "beth", "cleo", "dan", "eric", "finn")


def launched(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """A service that keeps everything in a folder, and its address; the page may not be there yet."""
    environment = {
        **os.environ,
        "SPEECHSSL_VOICES": str(folder / "voices"),
        "SPEECHSSL_KEY": str(folder / "key.pem"),
        "SPEECHSSL_SPEAKERS": str(folder / "speakers.sqlite"),
        "TMPDIR": str(folder),
    }
    code = "from speechssl.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "app", "--port", "0", "--no-watermark", *options],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process, address = launched(folder)
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5)
            return process, address
        except OSError:
            time.sleep(0.2)


def source(folder: Path, number: int) -> Path:
    """A recording no other client has: nothing is remembered."""
    whole = audio.read(speechssl.clip(VOICES[number % 6]).path)
    begin = number // 6 * 3 * whole.sample_rate
    path = folder / f"{number}.wav"
    audio.write(path, Waveform(whole.samples[begin : begin + 5 * whole.sample_rate].clone(), whole.sample_rate))
    return path


def memory(pid: int, what: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(what))


def speech(folder: Path, minutes: float) -> Path:
    """The bundled clips one after the other, over and over."""
    clips = [audio.read_mono(speechssl.clip(name).path, 16_000).samples for name in VOICES]
    samples = torch.cat(clips).repeat(int(minutes * 60 * 16_000 / sum(map(len, clips))) + 1)
    path = folder / "long.wav"
    audio.write(path, Waveform(samples[: round(minutes * 60 * 16_000)].clone(), 16_000))
    return path


def first_audio(minutes: float) -> None:
    """Seconds to the first piece and to all, by the service (upload and download included) and in Python."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = speech(folder, minutes)
        process, address = start(folder)
        client = Client(address, verbose=False, download_files=str(folder))
        # loads the models
        client.predict(handle_file(str(source(folder, 0))), None, "eric", api_name="/convert")
        begun = time.perf_counter()
        first, pieces = 0.0, 0
        for _ in client.submit(handle_file(str(path)), None, "eric", api_name="/convert_stream"):
            first, pieces = first or time.perf_counter() - begun, pieces + 1
        whole, peak = time.perf_counter() - begun, memory(process.pid, "VmHWM")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        print(f"service: {minutes:g} minutes; first audio after {first:.2f} s, {pieces - 1} pieces and the whole file "
              f"after {whole:.0f} s; peak {peak} MB")  # fmt: skip
        system = speechssl.load_bundle("tiny")
        voice = system.matching_set([speechssl.clip("eric").path])
        begun = time.perf_counter()
        first, spoken = 0.0, 0.0
        for piece in system.stream(path, voice):
            first, spoken = first or time.perf_counter() - begun, spoken + piece.waveform.seconds
        whole = time.perf_counter() - begun
        print(f"Python: first audio after {first:.2f} s, {spoken:.0f} s of sound after {whole:.0f} s; "
              f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # fmt: skip


def idle(seconds: float) -> None:
    """Processor time of a service that nobody uses, once its models are loaded."""
    with tempfile.TemporaryDirectory() as name:
        process, _ = start(Path(name))
        time.sleep(20)
        before = processor_seconds(process.pid)
        time.sleep(seconds)
        used = processor_seconds(process.pid) - before
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    print(f"idle: {used:.2f} s of processor time in {seconds:g} s, {used / seconds:.1%} of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-audio", type=float, metavar="MINUTES", help="measure that instead")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="measure that instead")
    args = parser.parse_args()
    if args.idle:
        idle(args.idle)
        return
    if args.first_audio:
        first_audio(args.first_audio)
        return
    waits: list[float] = []
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process, address = start(folder)
        first = Client(address, verbose=False, download_files=str(folder))
        first.predict(handle_file(str(source(folder, 0))), None, "eric", api_name="/convert")
        before = memory(process.pid, "VmRSS")

        def work(number: int) -> None:
            # the page of 20 clients at once is no part of what is measured
            client = Client(address, verbose=False, download_files=str(folder), httpx_kwargs={"timeout": 60})
            given = handle_file(str(source(folder, number)))
            for turn in range(args.rounds):
                begun = time.perf_counter()
                try:
                    client.predict(given, None, VOICES[(number + turn + 1) % 6], api_name="/convert")
                except Exception as error:  # whatever it is, it is counted
                    errors.append(f"{type(error).__name__}: {error}")
                waits.append(time.perf_counter() - begun)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(args.clients)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = time.perf_counter() - begun
        after, peak = memory(process.pid, "VmRSS"), memory(process.pid, "VmHWM")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    p50, p95 = (float(torch.tensor(waits).quantile(q)) for q in (0.5, 0.95))
    print(f"{args.clients} clients, {len(waits)} conversions of 5 s in {spent:.0f} s, {os.cpu_count()} cores")
    print(f"errors {len(errors)}; wait p50 {p50:.1f} s, p95 {p95:.1f} s, longest {max(waits):.1f} s")
    print(f"memory of the service: {before} MB after the first conversion, {after} MB after all, peak {peak} MB")
    for error in errors[:3]:
        print(error)


if __name__ == "__main__":
    main()
