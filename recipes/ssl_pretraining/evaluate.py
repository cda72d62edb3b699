"""How phonetic an encoder's frames are, layer by layer, with MFCC and the untrained network beside it.

Printed for every layer: neighbour phone accuracy (the share of the 4 nearest frames, by cosine, of another speaker that
have the query frame's phone; silence left out), the same within a speaker (other utterances), ABX error across
speakers (``speechssl.units.measures.abx``), RankMe as published, and the same of centred frames. Alignments come from
``align.py``, features from the cache of ``prepare.py``. RUN is a run of ``train.py`` or an encoder file.

    python recipes/ssl_pretraining/evaluate.py cache alignments.jsonl runs/phones --speakers librispeech:dev
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align import STATES_PER_PHONE
from batches import phone_tracks, read_index
from export import averaged_network
from network import make_network, speed_up

from speechssl import errors
from speechssl.audio.mel import cepstra
from speechssl.training.rank import centred_rank, rank_me
from speechssl.units import measures

NEIGHBOURS = 4
SECONDS_PER_SPEAKER = 60
RANK_FRAMES = 20_000  # singular values of more frames take minutes
Frames = dict[str, list[tuple[np.ndarray, np.ndarray]]]  # speaker -> [(features (T, D), phones (T,))] an utterance


def normalised(mel: np.ndarray) -> np.ndarray:
    """Log-mel (F, 80) with zero mean and unit variance a band, as the encoder takes it."""
    return (mel - mel.mean(0)) / np.sqrt(mel.var(0, ddof=1) + 1e-7)


def mfcc(mel: np.ndarray) -> np.ndarray:
    """13 cepstra with deltas and their deltas, mean and variance normalised, at 50 Hz: (F // 2, 39)."""
    from scipy.signal import savgol_filter

    static = cepstra(mel, 13)
    deltas = [savgol_filter(static, 9, polyorder=order, deriv=order, axis=0) for order in (1, 2)]
    stacked = np.concatenate([static, *deltas], axis=1)
    stacked = (stacked - stacked.mean(0)) / (stacked.std(0) + 1e-6)
    return stacked[: len(stacked) // 2 * 2].reshape(-1, 2, 39).mean(1)


@torch.no_grad()
def layers_of(network: torch.nn.Module, mel: np.ndarray) -> list[np.ndarray]:
    """Outputs of every block, each (F // 2, D)."""
    pairs = normalised(mel)[: len(mel) // 2 * 2].reshape(1, -1, 160)
    hidden = network(torch.from_numpy(pairs).float(), output_hidden_states=True).hidden_states
    return [layer[0].numpy() for layer in hidden[1:]]


def utterances(
    index: list[dict[str, Any]], states: np.ndarray, which: str, seconds: float
) -> dict[str, list[dict[str, Any]]]:
    """Aligned rows a speaker, up to ``seconds`` each; ``which`` is corpus:split, several with commas."""
    chosen: dict[str, list[dict[str, Any]]] = {}
    total: dict[str, float] = {}
    for corpus, split in (item.split(":") for item in which.split(",")):
        for row in index:
            aligned = states[row["start"] + row["frames"] // 2] >= 0
            wanted = row["corpus"] == corpus and row["split"] == split and total.get(row["speaker"], 0) < seconds
            if wanted and aligned:
                chosen.setdefault(row["speaker"], []).append(row)
                total[row["speaker"]] = total.get(row["speaker"], 0) + row["frames"] / 100
    return chosen


def nearest_phones(query: np.ndarray, keys: np.ndarray, phones: np.ndarray) -> np.ndarray:
    """Phones (N, 4) of the nearest keys by cosine."""
    unit = [torch.from_numpy(x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9)) for x in (query, keys)]
    return phones[(unit[0].float() @ unit[1].float().T).topk(NEIGHBOURS, dim=1).indices.numpy()]


def neighbour_accuracy(frames: Frames) -> dict[str, float]:
    """Accuracy over all ordered pairs of speakers, and within speakers over other utterances."""
    spoken = {speaker: [(x[p > 0], p[p > 0]) for x, p in items] for speaker, items in frames.items()}
    joined = {
        s: (np.concatenate([x for x, _ in items]), np.concatenate([p for _, p in items])) for s, items in spoken.items()
    }
    across = [
        (nearest_phones(joined[a][0], *joined[b]) == joined[a][1][:, None]).mean()
        for a, b in itertools.permutations(joined, 2)
    ]
    within = []
    for items in spoken.values():
        for i, (x, p) in enumerate(items):
            others = [item for j, item in enumerate(items) if j != i]
            if len(x) and others:
                keys, phones = (np.concatenate(parts) for parts in zip(*others, strict=False))
                within.append((nearest_phones(x, keys, phones) == p[:, None]).mean())
    return {"across": float(np.mean(across)), "within": float(np.mean(within)) if within else float("nan")}


def extract(
    mel: np.ndarray,
    states: np.ndarray,
    rows: dict[str, list[dict[str, Any]]],
    function: Callable[[np.ndarray], list[np.ndarray]],
) -> list[Frames]:
    """Frames of every layer ``function`` gives, with the phone in the middle of each 20 ms frame."""
    layers: list[Frames] = []
    for speaker, items in rows.items():
        for row in items:
            span = slice(row["start"], row["start"] + row["frames"])
            outputs = function(np.asarray(mel[span], np.float32))
            track = np.asarray(states[span])[1::2]
            phones = np.maximum(track // STATES_PER_PHONE, 0).astype(int)
            layers = layers or [{} for _ in outputs]
            for layer, output in zip(layers, outputs, strict=False):
                layer.setdefault(speaker, []).append((output, phones[: len(output)]))
    return layers


def measure(frames: Frames) -> dict[str, float | None]:
    """All measures of one layer, rounded; None for an ABX error without triples."""
    sample = torch.from_numpy(np.concatenate([x for items in frames.values() for x, _ in items])[:RANK_FRAMES])
    result: dict[str, float | None] = {
        **neighbour_accuracy(frames),
        "rank_me": float(rank_me(sample)),
        "centred_rank": float(centred_rank(sample)),
        "abx": measures.abx([(x, phones, who) for who, items in frames.items() for x, phones in items]),
    }
    return {name: value if value is None else round(value, 4) for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("alignments", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--speakers", default="librispeech:dev")
    parser.add_argument("--seconds", type=float, default=SECONDS_PER_SPEAKER)
    parser.add_argument("--floors", action="store_true", help="MFCC and the untrained network too")
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    states = phone_tracks(args.cache, args.alignments)["states"]
    rows = utterances(read_index(args.cache), states, args.speakers, args.seconds)
    frames_of = partial(extract, np.load(args.cache / "mel.npy", mmap_mode="r"), states, rows)
    report: dict[str, Any] = {
        "speakers": {s: round(sum(r["frames"] for r in items) / 100) for s, items in rows.items()}
    }
    if args.floors:
        report["mfcc"] = measure(frames_of(lambda mel: [mfcc(mel)])[0])
        torch.manual_seed(0)
        network = speed_up(make_network("tiny").eval())
        untrained = frames_of(lambda mel: layers_of(network, mel))
        report["untrained"] = {str(i + 1): measure(layer) for i, layer in enumerate(untrained)}
    if args.run:
        network = speed_up(averaged_network(args.run))
        trained = frames_of(lambda mel: layers_of(network, mel))
        report["trained"] = {str(i + 1): measure(layer) for i, layer in enumerate(trained)}
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    errors.run_recipe(main)
