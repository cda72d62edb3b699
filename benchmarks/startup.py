"""What a person waits for, from Enter to the first sign and to the end: commands as processes, medians of seconds.

    python benchmarks/startup.py                    three runs of each command
    python benchmarks/startup.py --runs 5 --only convert

Processor seconds are those of the process and its children, so that they hold on a busy machine, too; wall seconds do
not. The first sign is the first byte that a command writes to its terminal. The package is compiled before, as it is
after anybody's first command. ``convert`` takes 5 s of source and 30 s of reference that no voice is stored of.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import math
import os
import pty
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import speechssl
from speechssl import audio
from speechssl.signals import Waveform

PROGRAM = [sys.executable, "-m", "speechssl"]
Seconds = tuple[float, float, float, float]  # processor and wall to the first sign, then to the end
NEVER = (float("nan"), float("nan"))


def commands(folder: Path) -> dict[str, list[str]]:
    """The words of each command; what they read is written to the folder."""
    source, reference = folder / "source.wav", folder / "reference.wav"
    cut(speechssl.clip("ada", "sentence").path, 5, source)
    cut(speechssl.clip("beth").path, 30, reference)
    ada = str(speechssl.clip("ada").path)
    return {
        "import torch": [sys.executable, "-c", "import torch"],
        "help": [*PROGRAM, "--help"],
        "verify": [*PROGRAM, "verify", ada, str(speechssl.clip("ada", "sentence").path)],
        "convert": [
            *PROGRAM,
            "convert",
            str(source),
            "--reference",
            str(reference),
            "--output",
            "o.wav",
            "--overwrite",
        ],
        "convert --voice": [*PROGRAM, "convert", str(source), "--voice", "beth", "--output", "o.wav", "--overwrite"],
        "say": [*PROGRAM, "say", "The train leaves at nine.", "--voice", "beth", "--output", "o.wav", "--overwrite"],
        "units encode": [*PROGRAM, "units", "encode", ada, "--output", "units-{run}"],
    }


def cut(path: Path, seconds: int, target: Path) -> None:
    whole = audio.read(path)
    audio.write(target, Waveform(whole.samples[: seconds * whole.sample_rate].clone(), whole.sample_rate))


def run(words: list[str], folder: Path) -> Seconds:
    """A command as on a terminal of its own."""
    ours, terminal = pty.openpty()
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown, first = b"", NEVER
        with contextlib.suppress(OSError):  # the other end of the terminal is closed
            while part := os.read(ours, 4096):
                first = first if shown else (processor_seconds(process.pid), time.perf_counter() - start)
                shown += part
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {shown.decode()}")
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (*first, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def serve(folder: Path) -> tuple[Seconds, Seconds]:
    """The service until its port answers, and until the page is there."""
    start = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, "app", "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    place = process.stdout.readline().split()[-1]
    first = processor_seconds(process.pid), time.perf_counter() - start
    answered: Seconds | None = None
    try:
        while True:
            status = 0
            try:
                with urllib.request.urlopen(place, timeout=60) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
            except OSError:
                time.sleep(0.02)
            spent = (*first, processor_seconds(process.pid), time.perf_counter() - start)
            answered = answered or (spent if status else None)
            if status == 200:
                return answered or spent, spent
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)


def processor_seconds(pid: int) -> float:
    """Of a process that runs, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="name of one command, or app")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(speechssl.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, list[Seconds]] = {}
        for number in range(arguments.runs):
            for command, words in commands(folder).items():
                if arguments.only in (None, command):
                    one = run([word.format(run=number) for word in words], folder)
                    found.setdefault(command, []).append(one)
            if arguments.only in (None, "app"):
                answered, page = serve(folder)
                found.setdefault("app, port answers", []).append(answered)
                found.setdefault("app, page is there", []).append(page)
    print(f"medians of {arguments.runs:<10} first sign:            end:")
    print(f"{'':<20} {('processor s   wall s   ') * 2}")
    for command, times in found.items():
        shown = (statistics.median(part) for part in zip(*times, strict=True))
        print(f"{command:<20}", *("".rjust(10) if math.isnan(one) else f"{one:10.2f}" for one in shown))


if __name__ == "__main__":
    main()
