"""Live conversion with ``tiny``: delay, speed, broken sound, clicks, memory; with a judge also words and similarity.

    python benchmarks/live.py                             everything but the words, 600 s of simulated devices
    python benchmarks/live.py --seconds 60 --latency 128
    python benchmarks/live.py --judge JUDGE --manifest manifest.csv    30 conversions, judged beside those of the whole
    python benchmarks/live.py --long 60                   memory while 60 minutes of sound are converted, at full speed

The devices are simulated in real time: 44.1 and 48 kHz, clocks 100 ppm fast and 100 ppm slow, blocks of 10 ms up to
3 ms late, and every 20 s a stall of 30 ms. Another process keeps one core busy meanwhile. JUDGE is described in
recipes/voice_conversion/README.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import speechssl
from speechssl import audio
from speechssl.audio.simulated_devices import SimulatedDevices
from speechssl.conversion.live import LiveConverter
from speechssl.conversion.live_session import LiveSession
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.signals import Waveform

RATE = 16_000
PAIRS = 30
SOURCES = ("ada", "beth", "cleo", "dan", "eric", "finn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=220, help="ms")
    parser.add_argument("--seconds", type=float, default=600, help="of simulated devices; 0 for none")
    parser.add_argument("--long", type=float, metavar="MINUTES", help="memory alone, over so many minutes of sound")
    parser.add_argument("--judge", type=Path, help="folder with judge.py")
    parser.add_argument("--manifest", type=Path, help="recordings to judge on: LibriSpeech dev")
    args = parser.parse_args()
    torch.set_num_threads(1)
    system = speechssl.load_bundle("tiny", device="cpu")
    if args.judge:
        return say(judged(system, args.latency / 1000, args.judge, args.manifest))
    live = LiveConverter(system, system.matching_set(speechssl.clip("eric")), latency=args.latency / 1000)
    if args.long:
        return say(long(live, args.long))
    say(delays(system, args.latency / 1000))
    say(speed_and_clicks(live))
    if args.seconds:
        say(devices(live, args.seconds))


def say(rows: dict[str, Any]) -> None:
    print(json.dumps(rows, indent=2), flush=True)


def sentence(voice: str) -> torch.Tensor:
    return audio.read_mono(speechssl.clip(voice, "sentence").path, RATE).samples


def delays(system: VoiceConverter, latency: float) -> dict[str, Any]:
    """The delay that is named, and the mean of six where the loudness of what is spoken matches that of the source."""
    found, named = [], 0.0
    voices = {name: system.matching_set(speechssl.clip(name)) for name in SOURCES[:2]}
    for number, source in enumerate(SOURCES):
        live = LiveConverter(system, voices[SOURCES[1 - number % 2]], latency=latency)
        named = 1000 * live.latency / RATE
        heard = torch.cat([sentence(source), torch.zeros(RATE)])
        found.append(lag(heard, live.push(heard)))
    return {"delay named, ms": named, "delay measured, ms": round(float(np.mean(found)), 1), "of each": found}


def lag(first: torch.Tensor, second: torch.Tensor) -> int:
    """Milliseconds by which the loudness of the second is behind that of the first."""
    levels = []
    for samples in (first, second):
        power = np.convolve(samples.double().square().numpy(), np.hanning(480), "same")[::16]
        levels.append(10 * np.log10(power + 1e-3))
    one, other = (level - level.mean() for level in levels)
    lags = range(600)
    matches = [float(np.dot(one[100:-700], other[100 + by : len(other) - 700 + by])) for by in lags]
    return int(np.argmax(matches))


def speed_and_clicks(live: LiveConverter) -> dict[str, Any]:
    """Time of each block over its length, and bends of the sound at joins and elsewhere."""
    heard = torch.cat([sentence(name) for name in SOURCES] * 2)
    live.reset()
    loads, worked, made = [], [], []
    for block in heard.split(live.hop):
        start, own = time.perf_counter(), time.thread_time()
        made.append(live.push(block))
        loads.append((time.perf_counter() - start) / (live.hop / RATE))
        worked.append((time.thread_time() - own) / (live.hop / RATE))
    bends = torch.cat(made).diff().diff().abs()
    joins = torch.zeros(len(bends), dtype=torch.bool)
    for near in (-2, -1, 0):
        joins[(live.latency - 200) % live.hop + near :: live.hop] = True
    return {
        "block, ms": 1000 * live.hop / RATE,
        "real-time factor": round(float(np.mean(loads)), 3),
        "99 of 100 blocks below": round(float(np.percentile(loads, 99)), 3),
        "processor time over length": round(float(np.mean(worked)), 3),
        "processor time, 99 of 100 blocks below": round(float(np.percentile(worked, 99)), 3),
        "largest bend at joins over largest elsewhere": round(float(bends[joins].max() / bends[~joins].max()), 3),
    }


def devices(live: LiveConverter, seconds: float) -> dict[str, Any]:
    """Simulated devices in real time, beside a busy process."""
    said = audio.resample(Waveform(torch.cat([sentence(name) for name in SOURCES]), RATE), 44_100).samples.numpy()
    simulated = SimulatedDevices(said, keeps=False)
    microphone, loudspeaker = simulated.all()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    session = LiveSession(live, simulated, microphone, [loudspeaker])
    try:
        time.sleep(min(20.0, seconds / 3))
        before = memory()
        time.sleep(seconds)
        after = memory()
    finally:
        session.stop()
        busy.kill()
        busy.wait()
    return {
        "seconds of devices": seconds,
        "xruns": session.pipe.xruns,
        "delay with the buffers of the devices, ms": round(1000 * session.latency, 1),
        "memory at the beginning, MB": before,
        "memory at the end, MB": after,
        "peak, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def long(live: LiveConverter, minutes: float) -> dict[str, Any]:
    """Megabytes in memory while sound goes through, ten times in all."""
    said = torch.cat([sentence(name) for name in SOURCES])
    held, done = [], 0
    while done < minutes * 60 * RATE:
        for block in said.split(live.hop):
            live.push(block)
        done += len(said)
        while len(held) < 10 * min(1.0, done / (minutes * 60 * RATE)):
            held.append(memory())
    return {"minutes of sound": round(done / RATE / 60, 1), "memory, MB": held}


def memory() -> int:
    """MB that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6)


def judged(system: VoiceConverter, latency: float, folder: Path, manifest: Path | None) -> dict[str, Any]:
    """Words, phones and similarity of 30 conversions, live and of the whole recording."""
    if manifest is None:
        raise SystemExit("--judge needs --manifest")
    sys.path.insert(0, str(Path(__file__).parents[1] / "recipes" / "voice_conversion"))
    import judge
    from pairs import from_manifest, make_pairs, with_enough

    pairs = make_pairs(with_enough(from_manifest(manifest, corpus="librispeech", split="dev")), reference_seconds=60.0)
    pairs = pairs[:: max(1, len(pairs) // PAIRS)][:PAIRS]
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        outputs: dict[str, dict[str, Path]] = {"live": {}, "whole": {}}
        for pair in pairs:
            voice = system.matching_set(list(pair.references))
            live = LiveConverter(system, voice, latency=latency)
            heard = audio.read_mono(pair.source.path, RATE)
            spoken = torch.cat([live.push(heard.samples), live.flush()])[live.latency :]
            for name, made in (("live", Waveform(spoken, RATE)), ("whole", system.convert(heard, voice).waveform)):
                outputs[name][pair.name] = Path(place) / name / f"{pair.name}.wav"
                outputs[name][pair.name].parent.mkdir(exist_ok=True)
                audio.write(outputs[name][pair.name], made)
        for name, made in outputs.items():
            scores = judge.run(folder, pairs, made, Path(place) / name, only="speaker,asr,phone")
            rows |= {f"{name}, {key}": scores[key] for key in ("whisper_wer", "hama_per", "ge2e_tgt")}
    return rows


if __name__ == "__main__":
    main()
