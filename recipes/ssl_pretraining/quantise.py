"""Turn a teacher's frames into the multi-codebook indexes that ``--objective distil`` learns.

Writes ``INDEXES.npy``, (F, N) int16 for every cached 10 ms frame (50 Hz indexes repeated; -1 outside the ``train``
split), and beside it the codebook, ``INDEXES.safetensors``, as ``speechssl units`` reads it. Prints how much of the
variance of the teacher's frames the codes keep, and how many of them a linear function of the frame predicts.
``--hours`` is that of ``cluster.py``.

A run of this recipe or a log-mel encoder file (``tiny``) hears the cache; every other encoder that
``speechssl.load_encoder`` knows hears the recordings, so it needs ``--audio``.

    python recipes/ssl_pretraining/quantise.py cache tiny --output indexes.npy
    python recipes/ssl_pretraining/quantise.py cache wavlm-large --layer 18 --audio DATA --codebooks 16 --codes 256 \
        --output indexes.npy
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batches import read_index
from cluster import random_rows
from evaluate import layers_of
from export import averaged_network
from network import speed_up

from speechssl import audio, encoders, errors
from speechssl.units.codebooks import codebook, multicodebook
from speechssl.units.codebooks.kmeans import Settings

FIT_FRAMES = 30_000  # 10 minutes: the search of the fit costs more than all else, and 512 centroids need no more
Teacher = Callable[[dict[str, Any]], np.ndarray]  # row of the index -> frames (T, D) float32 at 50 Hz


def make_teacher(
    name: str, layer: int | None, cache: Path, folder: Path | None, device: str
) -> tuple[Teacher, str, str]:
    """The teacher, what its features are called, and the fingerprint of its weights (empty if unknown)."""
    if folder is not None:
        encoder = encoders.load(name, layer=layer, device=device)

        def hears(row: dict[str, Any]) -> np.ndarray:
            return encoder.encode(audio.read_mono(folder / row["path"], encoder.sample_rate)).frames.numpy()

        return hears, encoder.origin, codebook.encoder_fingerprint(encoder)
    path = encoders.TINY if name == "tiny" else Path(name)
    if not path.exists():
        raise SystemExit(f"{name}: neither a run nor a log-mel encoder file; another encoder needs --audio")
    network = speed_up(averaged_network(path))
    mel = np.load(cache / "mel.npy", mmap_mode="r")
    blocks = int(network.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    block = blocks if layer is None else layer
    if not 1 <= block <= blocks:
        raise SystemExit(f"--layer {block}: {name} has the blocks 1 to {blocks}")

    def hears_cache(row: dict[str, Any]) -> np.ndarray:
        return layers_of(network, np.asarray(mel[row["start"] : row["start"] + row["frames"]], np.float32))[block - 1]

    return hears_cache, f"{name if name == 'tiny' else path.stem}/{block}", ""


def fit(teacher: Teacher, rows: list[dict[str, Any]], args: argparse.Namespace) -> tuple[Any, Any, dict[str, Any]]:
    """Centroids, predictor and facts from the frames of the first of ``rows``."""
    parts: list[np.ndarray] = []
    for row in rows:
        parts.append(teacher(row))
        if sum(map(len, parts)) >= args.fit_frames:
            break
    frames = np.concatenate(parts)[: args.fit_frames]
    settings = Settings(reservoir=args.fit_frames, seed=args.seed)
    centroids, predictor, facts = multicodebook.fit_additive(lambda: [frames], args.codes, args.codebooks, settings)
    variance = float(np.square(frames - frames.mean(0)).sum(1).mean())
    kept = {"kept": round(1 - facts["inertia"][-1] / variance, 4), "predicted": round(facts["predicted"], 4)}
    return centroids, predictor, {"frames": len(frames), **kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("teacher", help="tiny, a run, a file, or any name of an encoder with --audio")
    parser.add_argument("--layer", type=int, default=None, help="block of the teacher; default: the one it names")
    parser.add_argument("--audio", type=Path, default=None, help="folder the paths of the cache are relative to")
    parser.add_argument("--hours", type=float, default=math.inf, help="of recordings that get indexes; default: all")
    parser.add_argument("--codebooks", type=int, default=8, help="16 in the paper, for teachers of 1024 numbers")
    parser.add_argument("--codes", type=int, default=64, help="of each codebook; 256 in the paper")
    parser.add_argument("--sweeps", type=int, default=1, help="of the search for each frame's codes; 4 in the paper")
    parser.add_argument("--fit-frames", type=int, default=FIT_FRAMES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="of a teacher that hears recordings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    index = read_index(args.cache)
    rows = random_rows(args.cache, args.hours, args.seed)
    teacher, origin, fingerprint = make_teacher(args.teacher, args.layer, args.cache, args.audio, args.device)
    centroids, predictor, facts = fit(teacher, rows, args)
    book = codebook.Codebook(
        centroids,
        origin,
        50.0,
        family="mvq",
        encoder=fingerprint,
        facts=facts | {"seed": args.seed},
        predictor=predictor,
    )
    book.save(args.output.with_suffix(".safetensors"))
    print(json.dumps({"origin": book.origin, **facts}), flush=True)
    search = multicodebook.Search(centroids)
    indexes = np.full((sum(row["frames"] for row in index), args.codebooks), -1, np.int16)
    used = np.zeros((args.codebooks, args.codes), np.int64)
    error = total = 0.0
    for row in rows:
        frames = teacher(row)
        codes = search.refine(frames, multicodebook.predict(frames, predictor), args.sweeps)
        error += float(np.square(frames - multicodebook.total(centroids, codes)).sum())
        total += float(np.square(frames - centroids.mean(1).sum(0)).sum())
        np.add.at(used, (np.arange(args.codebooks), codes), 1)
        span = indexes[row["start"] : row["start"] + row["frames"]]
        ids = np.repeat(codes, 2, axis=0)[: len(span)]
        span[: len(ids)] = ids
        span[len(ids) :] = ids[-1]  # an odd 10 ms frame at the end
    np.save(args.output, indexes)
    hours = sum(row["frames"] for row in rows) / 360_000
    print(json.dumps({"hours": round(hours, 2), "kept": round(1 - error / total, 4), "dead": int((used == 0).sum())}))


if __name__ == "__main__":
    errors.run_recipe(main)
