"""Teach ``speechssl.verification.speech_classifier`` what is no speech: on a log-mel cache, and made-up music.

    python recipes/speaker_verification/teach.py cache --output speechlike.safetensors

The cache is that of ``recipes/ssl_pretraining/prepare.py``. Corpora named ``noise...`` are no speech, all others are;
the training split teaches, single words joined. First every corpus of speech is left out in turn and judged by what the
others taught: 1.5 below where 1 of 1000 of the recordings that were not taught would be refused lies the limit (joined
words are no recordings, and left aside). Then all teach.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from music import piece

from speechssl import checkpoints, errors
from speechssl.audio.mel import kaldi
from speechssl.training import augmentation
from speechssl.verification import speech_classifier

REFUSED = 1 / 1000  # share of unseen speech below the limit, before the margin
MARGIN = 1.5  # log odds of speech below that: synthetic voices, of which none were taught, come down to it
LENGTHS = (100, 1000)  # frames of 10 ms of a crop
HIDDEN = 32


class Cache:
    """Log-mel bands by row."""

    def __init__(self, folder: Path) -> None:
        self.rows: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())
        self._mel = np.load(folder / "mel.npy", mmap_mode="r")

    def mel(self, row: dict[str, Any], first: int = 0, frames: int = 10**9) -> np.ndarray:
        """Bands (F, 80) of an utterance or a part of it."""
        last = min(row["frames"], first + frames)
        return np.asarray(self._mel[row["start"] + first : row["start"] + last], np.float32)


def recordings(
    cache: Cache, corpus: str, most: int, rng: np.random.Generator, *, split: str = "train"
) -> list[np.ndarray]:
    """Bands of at most so many recordings; utterances under 2 s are joined by speaker, four at a time."""
    rows = [row for row in cache.rows if (row["corpus"], row["split"]) == (corpus, split)]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    found, waiting = [], {}
    for row in rows:
        parts = waiting.setdefault(row["speaker"], [])
        parts.append(cache.mel(row))
        if row["frames"] >= 200 or len(parts) == 4:
            found.append(np.concatenate(waiting.pop(row["speaker"])))
    return found[:most]


def _mostly_words(cache: Cache, corpus: str) -> bool:
    return float(np.median([row["frames"] for row in cache.rows if row["corpus"] == corpus])) < 200


def crop(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch of random length."""
    length = min(len(mel), int(rng.integers(*LENGTHS)))
    first = int(rng.integers(0, len(mel) - length + 1))
    return mel[first : first + length]


def disguised(mel: np.ndarray, noises: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """As other rooms, microphones, lines and backgrounds would have it."""
    if rng.random() < 0.3:
        mel = augmentation.in_a_room(mel, float(rng.uniform(0.15, 0.8)), float(rng.uniform(-15, 0)))
    if rng.random() < 0.5:
        noise = noises[int(rng.integers(len(noises)))]
        noise = noise[(int(rng.integers(len(noise))) + np.arange(len(mel))) % len(noise)]
        mel = augmentation.with_noise(mel, noise, float(rng.uniform(6, 30)))
    if rng.random() < 0.6:
        mel = augmentation.through_channel(mel, rng, size=2.0)  # +-9 dB
    if rng.random() < 0.15:  # a telephone line, or a lossy coding
        mel = mel.copy()
        mel[:, int(rng.integers(52, 76)) :] = mel.min()
    return mel


def examples(mels: list[np.ndarray], noises: list[np.ndarray], each: int, rng: np.random.Generator) -> np.ndarray:
    """Features (N, S): of each utterance as it is, and of disguised crops."""
    found = []
    for mel in mels:
        if len(mel) >= speech_classifier.SHORTEST:
            found.append(speech_classifier.features(mel[: speech_classifier.WINDOW]))
            for _ in range(each):
                part = crop(mel, rng)
                if len(part) >= speech_classifier.SHORTEST:
                    found.append(speech_classifier.features(disguised(part, noises, rng)))
    return np.stack(found)


def taught(speech: np.ndarray, weights: np.ndarray, other: np.ndarray, seed: int) -> speech_classifier.Model:
    """Two layers, fitted by L-BFGS with a penalty; both kinds weigh the same."""
    torch.manual_seed(seed)
    both = np.concatenate([speech, other])
    mean, spread = both.mean(0), both.std(0) + 1e-6
    x = torch.from_numpy(np.clip((both - mean) / spread, -4, 4)).float()
    y = torch.cat([torch.ones(len(speech)), torch.zeros(len(other))])
    share = torch.cat([torch.from_numpy(weights / weights.sum()).float(), torch.full((len(other),), 1 / len(other))])
    layers = [torch.randn(x.shape[1], HIDDEN) / x.shape[1] ** 0.5, torch.zeros(HIDDEN)]
    layers += [torch.randn(HIDDEN) / HIDDEN**0.5, torch.zeros(())]
    for layer in layers:
        layer.requires_grad_()
    optimizer = torch.optim.LBFGS(layers, max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        odds = torch.tanh(x @ layers[0] + layers[1]) @ layers[2] + layers[3]
        each = torch.nn.functional.binary_cross_entropy_with_logits(odds, y, reduction="none")
        total = (share * each).sum() + 1e-3 * (layers[0].square().sum() + layers[2].square().sum()) / 10
        total.backward()
        return total

    optimizer.step(loss)
    arrays = [layer.detach().double().numpy() for layer in layers]
    return speech_classifier.Model(mean, spread, *arrays, limit=0.0)


def balanced(corpora: np.ndarray) -> np.ndarray:
    """Weights by which every corpus counts as the square root of its size."""
    _, owner, count = np.unique(corpora, return_inverse=True, return_counts=True)
    return (1 / np.sqrt(count))[owner]


def write(model: speech_classifier.Model, output: Path, provenance: dict[str, Any], *, kind: str) -> None:
    """One file, float32."""
    tensors = {name: torch.as_tensor(getattr(model, name)).float() for name in speech_classifier.ARRAYS}
    header = {"kind": kind, "limit": model.limit, "licence": "MIT", "provenance": provenance}
    checkpoints.save(output, tensors, header)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--music", type=int, default=250, help="made-up pieces")
    parser.add_argument("--most", type=int, default=400, help="utterances of a corpus that teach")
    parser.add_argument("--each", type=int, default=2, help="disguised crops of an utterance")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng, cache = np.random.default_rng(args.seed), Cache(args.cache)
    noise_rows = [row for row in cache.rows if row["corpus"].startswith("noise") and row["split"] == "train"]
    noises = [cache.mel(row) for row in noise_rows if row["frames"] >= speech_classifier.SHORTEST]
    pieces = [kaldi(torch.from_numpy(piece(number, 8.0))).numpy() for number in range(args.music)]
    backgrounds = [*noises, *pieces[::8]]
    other = np.concatenate([examples(noises, backgrounds, 3, rng), examples(pieces, backgrounds, args.each, rng)])
    corpora = sorted({row["corpus"] for row in cache.rows if not row["corpus"].startswith("noise")})
    mels = {corpus: recordings(cache, corpus, args.most, rng) for corpus in corpora}
    sets = {corpus: examples(found, backgrounds, args.each, rng) for corpus, found in mels.items() if found}
    names = np.concatenate([np.full(len(found), corpus) for corpus, found in sets.items()])
    every = np.concatenate(list(sets.values()))
    words = {corpus for corpus in sets if _mostly_words(cache, corpus)}
    odds = []
    for corpus in sorted(sets.keys() - words) if len(sets) > 1 else ():
        rest = names != corpus
        judge = taught(every[rest], balanced(names[rest]), other, args.seed)
        unseen = [mel[: speech_classifier.WINDOW] for mel in recordings(cache, corpus, 2 * args.most, rng)]
        odds.append(judge.odds(np.array([speech_classifier.features(mel) for mel in unseen if len(mel) >= 100])))
        low = np.quantile(odds[-1], [0, 0.01, 0.5]).round(2).tolist()
        print(json.dumps({"left out": corpus, "recordings": len(odds[-1]), "odds_0_1_50": low}), flush=True)
    limit = float(np.quantile(np.concatenate(odds), REFUSED)) - MARGIN if odds else 0.0
    model = dataclasses.replace(taught(every, balanced(names), other, args.seed), limit=min(0.0, limit))
    provenance = {"recipe": "recipes/speaker_verification/teach.py", "corpora": sorted(sets), "music": args.music}
    write(model, args.output, {**provenance, "seed": args.seed}, kind="speechlike")
    found = float((model.odds(other) < model.limit).mean())
    print(json.dumps({"limit": round(model.limit, 3), "taught_found": round(found, 4)}))


if __name__ == "__main__":
    errors.run_recipe(main)
