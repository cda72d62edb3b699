"""Speed and memory of converting with ``tiny``: 10 s with a stored voice, and hours with ``--minutes``.

    python benchmarks/conversion.py                 medians of 5 runs on 2 threads, times real time, peak memory
    python benchmarks/conversion.py --minutes 60    one conversion of 60 minutes with 60 minutes of reference

Source and reference are the bundled clips, repeated as often as needed; a repeated frame costs what any frame costs.
Each converter runs in a process of its own, so that the peak memory is its own; the start of the process and the
loading of the model are left out of the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

THREADS = 2


def one(converter: str, source: Path, reference: Path, runs: int) -> dict[str, float]:
    """Medians of one converter, in this process."""
    import torch

    import speechssl

    torch.set_num_threads(THREADS)
    system = speechssl.load_bundle("tiny")
    waveform = speechssl.audio.read_mono(source, 16_000)
    start = time.perf_counter()
    voice = system.matching_set([reference])
    building = time.perf_counter() - start
    encoding, converting = [], []
    for _ in range(runs):
        start = time.perf_counter()
        system.encoder.encode(waveform)
        encoding.append(time.perf_counter() - start)
        start = time.perf_counter()
        system.convert(source, voice, converter=converter)
        converting.append(time.perf_counter() - start)
    return {
        "seconds": round(waveform.seconds, 1),
        "encode_times_real_time": round(waveform.seconds / statistics.median(encoding), 1),
        "convert_times_real_time": round(waveform.seconds / statistics.median(converting), 1),
        "voice_times_real_time": round(speechssl.audio.info(reference).seconds / building, 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def repeated(voices: list[str], seconds: float, path: Path) -> Path:
    """A WAV of so many seconds of bundled clips."""
    import torch

    import speechssl
    from speechssl.signals import Waveform

    parts = [speechssl.audio.read_mono(speechssl.clip(voice).path, 16_000).samples for voice in voices]
    once = torch.cat(parts)
    times = int(seconds * 16_000) // len(once) + 1
    speechssl.audio.write(path, Waveform(once.repeat(times)[: int(seconds * 16_000)], 16_000))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=None, help="of source and of reference; default 10 s and 60 s")
    parser.add_argument("--converters", default="auto,uniform")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", nargs=3, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        converter, source, reference = args.one
        print(json.dumps(one(converter, Path(source), Path(reference), args.runs)))
        return
    source_seconds, reference_seconds = (args.minutes * 60, args.minutes * 60) if args.minutes else (10.0, 60.0)
    runs = 1 if args.minutes else args.runs
    with tempfile.TemporaryDirectory() as folder:
        source = repeated(["ada"], source_seconds, Path(folder) / "source.wav")
        reference = repeated(["dan", "eric"], reference_seconds, Path(folder) / "reference.wav")
        for converter in args.converters.split(","):
            command = [sys.executable, __file__, "--runs", str(runs), "--one", converter, str(source), str(reference)]
            result = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(json.dumps({"converter": converter, **json.loads(result)}), flush=True)


if __name__ == "__main__":
    main()
