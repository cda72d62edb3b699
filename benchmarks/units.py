"""Throughput of units against the plain loop: transformers, one file at a time, float32.

HuBERT-base's architecture with random weights, layer 9, a codebook of 500 random centroids. The plain loop runs all
twelve blocks in float32 over every file and takes the nearest centroid by torch.cdist.

    python benchmarks/units.py --seconds 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
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


def plain(model: torch.nn.Module, paths: list[Path], centroids: torch.Tensor) -> float:
    """Seconds that the loop everyone writes takes."""
    start = time.perf_counter()
    for path in paths:
        samples, _ = soundfile.read(path, dtype="float32")
        with torch.inference_mode():
            states = model(torch.from_numpy(samples)[None], output_hidden_states=True).hidden_states
        torch.cdist(states[LAYER][0], centroids).argmin(1)
    return time.perf_counter() - start


def main() -> None:
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    from speechssl.units import Codebook
    from speechssl.units.encoding import encode
    from speechssl.units.workers import Recipe

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = HubertModel(HubertConfig()).eval()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model.save_pretrained(folder / "model")
        Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder / "model")
        (folder / "audio").mkdir()
        paths = make_recordings(folder / "audio", args.seconds)
        total = sum(soundfile.info(path).duration for path in paths)
        centroids = np.random.default_rng(0).normal(size=(1, K, 768)).astype(np.float32)
        from speechssl import encoders

        origin = encoders.load(folder / "model", layer=LAYER, device="cpu").origin
        Codebook(centroids, origin, 50.0).save(folder / "book.safetensors")
        slow = plain(model, paths, torch.from_numpy(centroids[0]))
        print(f"{total:.0f} s of audio, {torch.get_num_threads()} threads")
        print(f"transformers, one file at a time, float32: {slow:.1f} s, {total / slow:.1f} x real time")
        for precision, workers in (("float32", 1), ("bfloat16", 1), ("bfloat16", args.workers)):
            recipe = Recipe(str(folder / "book.safetensors"), str(folder / "model"), LAYER, "cpu", precision)
            start = time.perf_counter()
            encode([folder / "audio"], recipe, folder / f"{precision}{workers}", num_workers=workers)
            took = time.perf_counter() - start
            speed = f"{took:.1f} s, {total / took:.1f} x real time, {slow / took:.2f} x the plain loop"
            print(f"speechssl, {precision}, {workers} process(es) of one thread, start included: {speed}")


if __name__ == "__main__":
    main()
