"""Time and memory of exact retrieval against a full ``torch.cdist`` matrix with ``topk``: medians and ratios.

    python benchmarks/retrieval.py            500 queries against 100,000 frames of 1024 numbers
    python benchmarks/retrieval.py --large    also 900,000 frames (1.8 GB on disk) by memory map

Each method runs in its own process. Memory is what the process needs above its inputs: the highest anonymous resident
size during a call, read from /proc, less that before it. Two baselines: ``cdist`` alone, Euclidean, on frames that are
float32 already; and ``cosine``, the same task as ours: from the float16 that voices are stored in to the nearest by
cosine, that is, to float32, to norm 1, cdist, topk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

DIM = 1024


def anonymous_megabytes() -> float:
    """Memory of this process that is not mapped from files."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(facts["RssAnon"].split()[0]) / 1024


def highest_above(call: Callable[[], object]) -> float:
    """Megabytes that a call needs at its worst."""
    before, highest, done = anonymous_megabytes(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.01):
            highest = max(highest, anonymous_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return highest - before


def work(method: str, num_queries: int, num_keys: int, runs: int) -> dict[str, float]:
    """Median seconds and megabytes of one method on random frames."""
    import torch

    from speechssl.conversion.retrieval import nearest
    from speechssl.encoders import rounding

    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(num_queries, DIM, generator=generator)
    keys = torch.randn(num_keys, DIM, generator=generator).half()
    if method == "cdist":
        full = keys.float()

        def call() -> object:
            return torch.cdist(queries, full).topk(4, largest=False)
    elif method == "cosine":

        def call() -> object:
            normalize = torch.nn.functional.normalize
            return torch.cdist(normalize(queries), normalize(keys.float())).topk(4, largest=False)
    else:
        if method == "float32":  # else what the processor does fastest
            rounding.has_fast_bfloat16 = lambda: False

        def call() -> object:
            return nearest(queries, keys, k=4)

    call()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "megabytes": highest_above(call)}


def work_large(num_queries: int, folder: Path) -> dict[str, float]:
    """Opening and searching 900,000 stored frames."""
    import torch

    from speechssl import voices
    from speechssl.conversion.retrieval import nearest
    from speechssl.voices.matching_set import MatchingSet, Reference
    from speechssl.voices.pitch import PitchStatistics
    from speechssl.voices.spectrum import NUM_BANDS, Spectrum
    from speechssl.voices.tempo import Tempo

    frames = 900_000
    path = folder / "large.safetensors"
    keys = torch.empty(frames, DIM, dtype=torch.float16)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, frames, 10_000):
        keys[start : start + 10_000] = torch.randn(10_000, DIM, generator=generator).half()
    measured = (PitchStatistics(0.0, 0.0, 0.0), Spectrum((0.0,) * NUM_BANDS, 0.0), Tempo(0.0, 0.0))
    made = MatchingSet(
        keys=keys,
        values=keys,
        key_origin="random/1",
        value_origin="random/1",
        frame_rate=50.0,
        references=(Reference("random", "0" * 64, frames / 50, *measured),),
        file_index=torch.zeros(frames, dtype=torch.int32),
        frame_index=torch.arange(frames, dtype=torch.int32),
        f0=torch.zeros(frames, 4, dtype=torch.float16),
    )
    voices.save(path, made)
    del keys, made
    started = time.perf_counter()
    voice = voices.load(path)
    opened = time.perf_counter() - started
    queries = torch.randn(num_queries, DIM, generator=generator)
    nearest(queries[:2], voice.keys[:2000], k=4)
    started = time.perf_counter()
    megabytes = highest_above(lambda: nearest(queries, voice.keys, k=4))
    return {"opened": opened, "seconds": time.perf_counter() - started, "megabytes": megabytes}


def measured(*arguments: str) -> dict[str, float]:
    """What a process of its own measures."""
    told = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True, timeout=3600
    )
    result: dict[str, float] = json.loads(told.stdout)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method == "large":
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(work_large(options.queries, Path(folder))))
        return
    if options.method:
        print(json.dumps(work(options.method, options.queries, options.keys, options.runs)))
        return
    sizes = ["--queries", str(options.queries), "--keys", str(options.keys), "--runs", str(options.runs)]
    print(f"{options.queries} queries, {options.keys} frames of {DIM} numbers, k = 4, median of {options.runs}")
    bases = {method: measured(*sizes, "--method", method) for method in ("cdist", "cosine")}
    for method, base in bases.items():
        print(f"{method + ' + topk':16} {base['seconds']:7.3f} s {base['megabytes']:7.0f} MB")
    for method in ("auto", "float32"):
        ours = measured(*sizes, "--method", method)
        line = f"{'ours, ' + method:16} {ours['seconds']:7.3f} s {ours['megabytes']:7.0f} MB"
        for name, base in bases.items():
            times, share = base["seconds"] / ours["seconds"], ours["megabytes"] / base["megabytes"]
            line += f"   {times:.1f}x faster than {name} in {share:.2f} of its memory"
        print(line)
    if options.large:
        large = measured("--queries", str(options.queries), "--method", "large")
        print(
            f"900,000 frames on disk: opened in {large['opened']:.3f} s, {options.queries} queries in "
            f"{large['seconds']:.1f} s, {large['megabytes']:.0f} MB above the file"
        )


if __name__ == "__main__":
    main()
