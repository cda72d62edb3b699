"""Throughput of units against the plain loop: transformers, one file at a time, float32.

HuBERT-base's architecture with random weights, layer 9, a codebook of 500 random centroids. The plain loop runs all
twelve blocks in float32 over every file, on all threads, and takes the nearest centroid by torch.cdist. Wall time and
processor time are printed: on a machine that does other things meanwhile the second is the one to compare.

    python benchmarks/units.py --seconds 60
    python benchmarks/units.py --seconds 60 --ray   # 1 and 2 workers of a local Ray cluster, and a projection
    python benchmarks/units.py --hours 3            # peak memory of one file of 3 h beside one of a minute, with tiny
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

LAYER, K = 9, 500


def make_recordings(folder: Path, seconds: float) -> list[Path]:
    """Noise of 2 to 14 s, some ``seconds`` in all."""
    rng, paths, total = np.random.default_rng(0), [], 0.0
    while total < seconds:
        length = float(rng.uniform(2, 14))
        path = folder / f"{len(paths):03d}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(int(16000 * length)).astype(np.float32), 16000)
        paths.append(path)
        total += length
    return paths


def plain(model: torch.nn.Module, paths: list[Path], centroids: torch.Tensor) -> None:
    """The loop everyone writes."""
    for path in paths:
        samples, _ = soundfile.read(path, dtype="float32")
        with torch.inference_mode():
            states = model(torch.from_numpy(samples)[None], output_hidden_states=True).hidden_states
        torch.cdist(states[LAYER][0], centroids).argmin(1)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processors, those of processes that ended meanwhile among them."""
    start, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return time.perf_counter() - start, sum(after[:4]) - sum(before[:4])


def prepare(folder: Path, seconds: float) -> tuple[torch.nn.Module, list[Path], torch.Tensor]:
    """Model, codebook and recordings, in files."""
    from speechssl import checkpoints, encoders
    from speechssl.units.codebooks.codebook import Codebook

    torch.manual_seed(0)
    transformers = checkpoints.transformers()
    model = transformers.HubertModel(transformers.HubertConfig()).eval()
    model.save_pretrained(folder / "model")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder / "model")
    (folder / "audio").mkdir()
    paths = make_recordings(folder / "audio", seconds)
    centroids = np.random.default_rng(0).normal(size=(1, K, 768)).astype(np.float32)
    origin = encoders.load(folder / "model", layer=LAYER, device="cpu").origin
    Codebook(centroids, origin, 50.0).save(folder / "book.safetensors")
    return model, paths, torch.from_numpy(centroids[0])


def against_the_loop(folder: Path, seconds: float, num_workers: int) -> None:
    from speechssl.units.encoding import engine, workers
    from speechssl.units.encoding.encode import encode, plan
    from speechssl.units.encoding.workers import Recipe

    model, paths, centroids = prepare(folder, seconds)
    total = sum(soundfile.info(path).duration for path in paths)
    plain(model, paths[:1], centroids)
    slow, slow_cpu = timed(lambda: plain(model, paths, centroids))
    print(f"{total:.0f} s of audio, {torch.get_num_threads()} threads; models are loaded before the clock starts")
    print(f"| | seconds | x real time | processor seconds | x the loop | x the loop by processor time |\n|{'---|' * 6}")
    print(f"| the loop | {slow:.1f} | {total / slow:.1f} | {slow_cpu:.1f} | 1 | 1 |")
    for precision in ("float32", "bfloat16"):
        recipe = Recipe(str(folder / "book.safetensors"), str(folder / "model"), LAYER, "cpu", precision)
        encode(paths[:1], recipe, folder / f"warm-{precision}")
        took, cpu = timed(lambda r=recipe: encode([folder / "audio"], r, folder / r.precision))
        row = f"{took:.1f} | {total / took:.1f} | {cpu:.1f} | {slow / took:.2f} | {slow_cpu / cpu:.2f}"
        print(f"| speechssl, {precision}, one process of one thread | {row} |", flush=True)
    with workers.parallel(recipe, num_workers) as work:
        engine.run(plan(paths[: 2 * num_workers], recipe), folder / "warm", work)
        took, _ = timed(lambda: engine.run(plan([folder / "audio"], recipe), folder / "shared", work))
    row = f"{took:.1f} | {total / took:.1f} | - | {slow / took:.2f} | -"
    print(f"| speechssl, {recipe.precision}, {num_workers} processes of one thread | {row} |")


def on_ray(folder: Path, seconds: float, gpu_factor: float) -> None:
    import ray

    from speechssl.units.encoding.encode import encode
    from speechssl.units.encoding.workers import Recipe

    _, paths, _ = prepare(folder, seconds)
    recipe = Recipe(str(folder / "book.safetensors"), str(folder / "model"), LAYER, "cpu", "bfloat16")
    total = sum(soundfile.info(path).duration for path in paths)
    speeds = []
    for workers in (1, 2):
        ray.init(num_cpus=workers, log_to_driver=False, include_dashboard=False)
        # models are loaded by then
        encode(paths[: 4 * workers], recipe, folder / f"warm{workers}", through="ray", num_workers=workers)
        took, _ = timed(
            lambda w=workers: encode([folder / "audio"], recipe, folder / f"ray{w}", through="ray", num_workers=w)
        )
        ray.shutdown()
        speeds.append(total / took)
        print(
            f"{total:.0f} s of audio on {workers} worker(s) of one thread: {took:.1f} s, {total / took:.1f} x real time"
        )
    print(f"2 workers are {speeds[1] / speeds[0]:.2f} times as fast as 1")
    each, hours = speeds[1] / 2, 10_000
    print(
        f"PROJECTION, not measured: {hours} h on 8 workers like these take {hours / (8 * each):.0f} h; on 8 GPUs, each "
        f"as fast as {gpu_factor:.0f} of these workers (an assumption), {hours / (8 * each * gpu_factor):.1f} h"
    )


ONE = """
import resource, sys
from speechssl.units.encoding.encode import encode
from speechssl.units.encoding.workers import Recipe
encode([sys.argv[1]], Recipe("tiny/500", device="cpu"), sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory(folder: Path, hours: float) -> None:
    for seconds in (60.0, hours * 3600):
        path, rng = folder / f"{seconds:.0f}.flac", np.random.default_rng(0)
        # a few seconds of noise again and again: FLAC, written piece by piece, in flat memory here too
        piece = (0.05 * rng.standard_normal(16000 * 10)).astype(np.float32)
        with soundfile.SoundFile(path, "w", 16000, 1) as file:
            for _ in range(round(seconds / 10)):
                file.write(piece)
        start = time.perf_counter()
        command = [sys.executable, "-c", ONE, str(path), str(folder / path.stem)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        took = time.perf_counter() - start
        print(f"a file of {seconds / 60:.0f} minutes: {int(told)} MB at most, {took:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="measure workers of a local Ray cluster instead")
    parser.add_argument("--gpu-factor", type=float, default=100.0, help="workers a GPU is taken to replace")
    parser.add_argument("--hours", type=float, default=0.0, help="measure the memory that one long file takes instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.hours:
            memory(Path(scratch), args.hours)
        elif args.ray:
            on_ray(Path(scratch), args.seconds, args.gpu_factor)
        else:
            against_the_loop(Path(scratch), args.seconds, args.workers)


if __name__ == "__main__":
    main()
