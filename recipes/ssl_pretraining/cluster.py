"""Cluster frames into the units a masked-prediction run learns: MFCC at first, then a block of an earlier run.

Writes ``UNITS.npy``, (F,) int16 for every cached 10 ms frame (50 Hz units repeated; -1 outside the ``train`` split).
The block is the one with the highest PNMI (phone-normalised mutual information) if alignments are given; without
alignments it is the block with the highest RankMe. The measures of all blocks are printed. ``--hours`` gives units to a
random part of the recordings only; a run draws from that part.

    python recipes/ssl_pretraining/cluster.py cache --output units0.npy --k 200
    python recipes/ssl_pretraining/cluster.py cache alignments.jsonl --run runs/hubert1 --output units1.npy
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
from align import STATES_PER_PHONE
from batches import phone_tracks, read_index
from evaluate import RANK_FRAMES, layers_of, mfcc
from export import averaged_network
from network import speed_up

from speechssl import errors
from speechssl.training.rank import rank_me
from speechssl.units import measures

FIT_FRAMES = 150_000  # 50 minutes of frames; k-means of a few hundred centroids gains nothing from more


def random_rows(cache: Path, hours: float, seed: int) -> list[dict[str, Any]]:
    """Utterances of the ``train`` split in random order, at most so many hours of them."""
    rows = [row for row in read_index(cache) if row["split"] == "train" and not row["corpus"].startswith("noise")]
    if not rows:
        raise SystemExit(f"{cache}: no utterances of the train split")
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    before = np.cumsum([0] + [row["frames"] for row in rows[:-1]])
    return [row for row, start in zip(rows, before, strict=True) if start < hours * 360_000]


def main() -> None:
    from sklearn.cluster import MiniBatchKMeans

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("alignments", type=Path, nargs="?", help="of align.py; default: no phones")
    parser.add_argument("--run", type=Path, default=None, help="earlier run; without it, MFCC")
    parser.add_argument("--layers", default="", help="blocks to compare, separated by commas; default: all")
    parser.add_argument("--hours", type=float, default=math.inf, help="of recordings that get units; default: all")
    parser.add_argument("--k", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    errors.require_for_recipe("sklearn")
    torch.set_num_threads(args.threads)
    index = random_rows(args.cache, args.hours, args.seed)
    mel = np.load(args.cache / "mel.npy", mmap_mode="r")
    states = phone_tracks(args.cache, args.alignments)["states"] if args.alignments else np.full(len(mel), -1, np.int16)
    features = _features(args.run, [int(layer) for layer in args.layers.split(",") if layer])
    found, fitted = {}, {}
    frames, phones = _collect(index, mel, states, features)
    for name, x in frames.items():
        fitted[name] = MiniBatchKMeans(args.k, batch_size=4096, n_init=1, max_iter=30, random_state=args.seed).fit(x)
        found[name] = _measures(x, fitted[name].predict(x), phones if args.alignments else None)
        print(json.dumps({"features": name, **found[name]}), flush=True)
    best = max(found, key=lambda name: found[name].get("pnmi", found[name]["rank_me"]))
    kmeans = fitted[best]
    features = _features(args.run, [int(best)] if args.run else [])  # no further than that block
    units = np.full(len(mel), -1, np.int16)
    for row in index:
        span = slice(row["start"], row["start"] + row["frames"])
        ids = np.repeat(kmeans.predict(features(np.asarray(mel[span], np.float32))[best]), 2)
        units[span][: len(ids)] = ids
        units[span][len(ids) :] = ids[-1] if len(ids) else -1
    np.save(args.output, units)
    print(json.dumps({"chosen": best, "dead": int(args.k - len(np.unique(units[units >= 0])))}))


def _measures(frames: np.ndarray, units: np.ndarray, phones: np.ndarray | None) -> dict[str, float]:
    """RankMe of the frames and, if phones are known, what the units say of them."""
    found = {"rank_me": float(rank_me(torch.from_numpy(frames[:RANK_FRAMES])))}
    if phones is not None:
        found |= measures.phone_information(units, phones)
    return {name: round(value, 4) for name, value in found.items()}


def _features(run: Path | None, layers: list[int]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    if run is None:
        return lambda mel: {"mfcc": mfcc(mel).astype(np.float32)}
    network = speed_up(averaged_network(run))
    if layers:
        network.encoder.layers = network.encoder.layers[: max(layers)]  # type: ignore[union-attr, index]

    def of_layers(mel: np.ndarray) -> dict[str, np.ndarray]:
        outputs = layers_of(network, mel)
        return {str(layer): outputs[layer - 1] for layer in layers or range(1, len(outputs) + 1)}

    return of_layers


def _collect(
    rows: list[dict[str, Any]],
    mel: np.ndarray,
    states: np.ndarray,
    features: Callable[[np.ndarray], dict[str, np.ndarray]],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Frames of a random sample of utterances by feature name, with their phones (-1 unknown)."""
    kept: dict[str, list[np.ndarray]] = {}
    phones: list[np.ndarray] = []
    total = 0
    for row in rows:
        span = slice(row["start"], row["start"] + row["frames"])
        outputs = features(np.asarray(mel[span], np.float32))
        for name, x in outputs.items():
            kept.setdefault(name, []).append(x)
        length = len(next(iter(outputs.values())))
        track = states[span][1::2][:length]
        phones.append(np.where(track < 0, -1, track // STATES_PER_PHONE))
        total += length
        if total >= FIT_FRAMES:
            break
    return {name: np.concatenate(parts) for name, parts in kept.items()}, np.concatenate(phones)


if __name__ == "__main__":
    errors.run_recipe(main)
