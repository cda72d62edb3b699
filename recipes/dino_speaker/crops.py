"""Crops of unlabelled utterances from a log-mel cache: several of each, each augmented by itself.

A pure function of (cache, settings, seed, step), so a run resumes exactly. Every utterance is taken for a speaker of
its own; speaker labels are never read. All augmentation happens on log-mel bands, where it costs next to nothing: noise
and reverberation in the power domain, a random smooth channel, masked bands and stretches of time. The frequency axis
may be warped too, which changes the voice; therefore all crops of one utterance in one batch get the same warp, and the
utterance counts as another speaker's each time it is drawn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechssl.training.augmentation import in_a_room, masked, paired, through_channel, warp_matrix, with_noise
from speechssl.verification.embedders import log_mel

SHORTEST = 90  # frames of 10 ms; one-second words have 98
NUM_WARPS = 65
SCALE = 3.0  # standard deviation of log-mel bands over time, about; a constant, since a voice's own spread tells of it


@dataclass(frozen=True)
class Settings:
    """What a batch is made of.

    Args:
        utterances: per batch.
        global_crops, local_crops: of each utterance.
        global_frames, local_frames: of 10 ms; shorter utterances give globals of nine tenths of them, and locals half
            as long as their globals at most.
        corpora: share of each corpus in the batches; the rest is shared by those not named, by their frames. Corpora
            with one voice are kept few: two of their utterances in a batch pass for two speakers.
        warp: largest change of the frequency axis, natural log, the same for all crops of an utterance.
        noise, reverberation, channel, mask: probabilities.
        narrow: only the bands that a telephone carries.
    """

    utterances: int = 64
    global_crops: int = 2
    local_crops: int = 4
    global_frames: int = 400
    local_frames: int = 200
    corpora: dict[str, float] = field(
        default_factory=lambda: {"librispeech": 0.5, "an4": 0.2, "speech_commands": 0.15, "picovoice_s2i": 0.1}
    )
    warp: float = 0.12
    noise: float = 0.5
    reverberation: float = 0.3
    channel: float = 0.8
    mask: float = 0.6
    narrow: bool = False


class SpeakerCrops:
    """Draws ``global`` (G, B, T, 160) and ``local`` (L, B, S, 160) crops, T and S at 50 Hz; ``row`` (B,) of the index.

    Args:
        cache: folder written by ``prepare.py``, of whose split ``train`` speech and noise (corpora named ``noise...``)
            are drawn.
    """

    ARRAY = "mel.npy"

    def __init__(self, cache: Path, settings: Settings, *, seed: int) -> None:
        index = json.loads((cache / "index.json").read_text())
        self._frames = frames_of(cache, self.ARRAY)
        for number, row in enumerate(index):
            row["row"] = number
        train = [row for row in index if row["split"] == "train"]
        self._noise = [row for row in train if row["corpus"].startswith("noise")]
        speech = [row for row in train if row["frames"] >= SHORTEST and not row["corpus"].startswith("noise")]
        bounds = sorted({SHORTEST, 200, settings.global_frames})
        pairs = zip(bounds, [*bounds[1:], 10**9], strict=True)
        buckets = [(low, [row for row in speech if low <= row["frames"] < high]) for low, high in pairs]
        self._buckets = [(low, rows) for low, rows in buckets if rows]
        if not self._buckets:
            raise SystemExit(f"{cache}: no utterances of split 'train' of {SHORTEST / 100} s or more")
        weights = _corpus_weights(speech, settings.corpora)
        self._row_weights = [np.array([weights[row["row"]] for row in rows]) for _, rows in self._buckets]
        self._settings, self._seed = settings, seed
        factors = np.exp(np.linspace(-settings.warp, settings.warp, NUM_WARPS))
        self._warps = np.stack([warp_matrix(factor).T for factor in factors]).astype(np.float32)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Batch of this step; all its utterances come from one bucket of lengths, so that nothing is padded."""
        rng = np.random.default_rng([self._seed, step])
        settings = self._settings
        mass = np.array([weights.sum() for weights in self._row_weights])
        bucket = int(rng.choice(len(mass), p=mass / mass.sum()))
        shortest, rows = self._buckets[bucket]
        weights = self._row_weights[bucket] / mass[bucket]
        possible = int((weights > 0).sum())
        # an utterance twice in a batch would be told apart from itself
        chosen = rng.choice(len(rows), size=min(settings.utterances, possible), replace=False, p=weights)
        long = min(settings.global_frames, shortest if shortest >= settings.global_frames else int(0.9 * shortest))
        short = min(settings.local_frames, long // 2 + long // 8)
        crops = [self._crops(rows[number], long, short, rng) for number in chosen]
        batch = {"global": np.stack([crop[0] for crop in crops], 1)}
        if settings.local_crops:
            batch["local"] = np.stack([crop[1] for crop in crops], 1)
        batch["row"] = np.array([rows[number]["row"] for number in chosen])
        return {name: torch.from_numpy(array) for name, array in batch.items()}

    def _crops(
        self, row: dict[str, Any], long: int, short: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        mel = np.asarray(self._frames[row["start"] : row["start"] + row["frames"]], np.float32)
        if self._settings.warp > 0:
            mel = mel @ self._warps[int(rng.integers(NUM_WARPS))]
        globals_ = [self._crop(mel, long, place, rng) for place in places(self._settings.global_crops, rng)]
        locals_ = [self._crop(mel, short, rng.random(), rng) for _ in range(self._settings.local_crops)]
        return np.stack(globals_), np.stack(locals_) if locals_ else np.zeros(0, np.float32)

    def _crop(self, mel: np.ndarray, length: int, place: float, rng: np.random.Generator) -> np.ndarray:
        first = int(place * (len(mel) - length + 1))
        return paired(self._augment(mel[first : first + length], rng))

    def _augment(self, mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        strength = self._settings
        if rng.random() < strength.reverberation:
            mel = in_a_room(mel, float(rng.uniform(0.15, 0.6)), float(rng.uniform(-12, -2)))
        if self._noise and rng.random() < strength.noise:
            mel = self._add_noise(mel, rng)
        if rng.random() < strength.channel:
            mel = through_channel(mel, rng, size=1.4)  # +-6 dB
        mel = levelled(mel, narrow=strength.narrow)
        longest = max(1, len(mel) // 8)
        return masked(mel, rng, bands=11, frames=longest) if rng.random() < strength.mask else mel

    def _add_noise(self, mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        row = self._noise[int(rng.integers(len(self._noise)))]
        take = (int(rng.integers(row["frames"])) + np.arange(len(mel))) % row["frames"]
        noise = np.asarray(self._frames[row["start"] : row["start"] + row["frames"]], np.float32)[take]
        return with_noise(mel, noise, rng.uniform(3, 25))


def frames_of(cache: Path, name: str) -> np.ndarray:
    """An array of a cache, a row a frame of 10 ms: log-mel bands (F, 80), or samples (F, 160).

    Raises:
        SystemExit: it is not in the cache.
    """
    if not (cache / name).is_file():
        more = " --samples" if name.startswith("samples") else ""
        raise SystemExit(f"{cache} holds no {name}; make the cache with prepare.py{more}")
    found: np.ndarray = np.load(cache / name, mmap_mode="r")
    return found.reshape(-1, 160) if name.startswith("samples") else found


def levelled(mel: np.ndarray, *, narrow: bool = False) -> np.ndarray:
    """Mean over time and bands taken off, which is the recording's level; scaled to about unit spread.

    Not each band's own mean: a voice's average spectrum tells of it. Random channels in training say how far to trust.

    Args:
        narrow: only the bands that a telephone carries; the others become 0.
    """
    return log_mel.levelled(torch.from_numpy(mel), SCALE, narrow=narrow).numpy()


def _corpus_weights(rows: list[dict[str, Any]], shares: dict[str, float]) -> dict[int, float]:
    """Probability of each row: a corpus's share over its rows by their frames."""
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["corpus"]] = totals.get(row["corpus"], 0.0) + row["frames"]
    named = sum(share for corpus, share in shares.items() if corpus in totals)
    rest = sum(total for corpus, total in totals.items() if corpus not in shares)

    def weight(row: dict[str, Any]) -> float:
        corpus = row["corpus"]
        if corpus in shares:
            return shares[corpus] * row["frames"] / totals[corpus]
        return max(0.05, 1.0 - named) * row["frames"] / rest

    return {row["row"]: weight(row) for row in rows}


def places(count: int, rng: np.random.Generator) -> np.ndarray:
    """Where crops start, in [0, 1): one in each of ``count`` equal stretches, for little overlap."""
    return rng.permutation((np.arange(count) + rng.random(count)) / count)
