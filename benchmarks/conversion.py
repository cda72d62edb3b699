"""Speed and memory of converting with ``tiny``: 10 s with a stored voice, and hours with ``--minutes``.

    python benchmarks/conversion.py                 medians of 5 runs on 2 threads, times real time, peak memory
    python benchmarks/conversion.py --minutes 60    one conversion of 60 minutes with 60 minutes of reference
    python benchmarks/conversion.py --minutes 60 --source FOLDER --reference FOLDER    the same of recordings of yours
    python benchmarks/conversion.py --minutes 180 --files    speechssl convert of 3 hours, 60 s of reference
    python benchmarks/conversion.py --minutes 60 --files --reference-minutes 60    the same, an hour against an hour

Source and reference are the bundled clips, or the recordings in a folder, repeated as often as needed; a repeated frame
costs what any frame costs. Each converter runs in a process of its own, so that the peak memory is its own, the making
of the voice included; the start of the process and the loading of the model are left out of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def one(converter: str, source: Path, reference: Path, runs: int, threads: int) -> dict[str, float]:
    """Medians of one converter, in this process."""
    import torch

    import speechssl

    torch.set_num_threads(threads)
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


def from_file_to_file(converter: str, source: Path, reference: Path, threads: int) -> dict[str, float]:
    """Speed and peak memory of ``speechssl convert`` as a process; its start is in the time.

    To be called in a small process: the peak of a process counts what it was forked from.
    """
    import speechssl

    output = source.with_name("converted.wav")
    command = [sys.executable, "-m", "speechssl", "convert", str(source), "-r", str(reference), "-o", str(output)]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--converter", converter, "--quiet", "--overwrite"],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    spent, seconds = time.perf_counter() - start, speechssl.audio.info(output).seconds
    return {
        "seconds": round(seconds, 1),
        "convert_times_real_time": round(seconds / spent, 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def repeated(recordings: list[Path], seconds: float, path: Path) -> Path:
    """A WAV of so many seconds of some recordings."""
    import torch

    import speechssl
    from speechssl.signals import Waveform

    wanted, parts = int(seconds * 16_000), []
    for recording in recordings:
        parts.append(speechssl.audio.read_mono(recording, 16_000).samples)
        if sum(map(len, parts)) >= wanted:
            break
    once = torch.cat(parts)
    once = once / once.abs().max().clamp(min=1.0)  # lossy coding goes beyond full scale
    speechssl.audio.write(path, Waveform(once.repeat(-(-wanted // len(once)))[:wanted], 16_000))
    return path


def recordings(folder: Path | None, voices: list[str]) -> list[Path]:
    """Of a folder, or the clips of some bundled voices."""
    import speechssl
    from speechssl.audio import search

    return [speechssl.clip(voice).path for voice in voices] if folder is None else search.recordings([folder])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=None, help="of source and of reference; default 10 s and 60 s")
    parser.add_argument("--reference-minutes", type=float, default=None, help="default: as the source; 1 with --files")
    parser.add_argument("--converters", default="auto,uniform")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--source", type=Path, default=None, help="folder of recordings; default a bundled clip")
    parser.add_argument("--reference", type=Path, default=None, help="folder of recordings; default bundled clips")
    parser.add_argument("--files", action="store_true", help="by speechssl convert, as a process")
    parser.add_argument("--one", nargs=3, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        converter, source, reference = args.one[0], Path(args.one[1]), Path(args.one[2])
        if args.files:
            print(json.dumps(from_file_to_file(converter, source, reference, args.threads)))
        else:
            print(json.dumps(one(converter, source, reference, args.runs, args.threads)))
        return
    source_seconds = args.minutes * 60 if args.minutes else 10.0
    reference_seconds = source_seconds if args.minutes and not args.files else 60.0
    if args.reference_minutes:
        reference_seconds = args.reference_minutes * 60
    runs = 1 if args.minutes else args.runs
    with tempfile.TemporaryDirectory() as folder:
        source = repeated(recordings(args.source, ["ada"]), source_seconds, Path(folder) / "source.wav")
        voice = recordings(args.reference, ["dan", "eric"])
        reference = repeated(voice, reference_seconds, Path(folder) / "reference.wav")
        for converter in args.converters.split(","):
            command = [sys.executable, __file__, "--runs", str(runs), "--threads", str(args.threads)]
            command += ["--files"] * args.files
            command += ["--one", converter, str(source), str(reference)]
            result = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(json.dumps({"converter": converter, **json.loads(result)}), flush=True)


if __name__ == "__main__":
    main()
