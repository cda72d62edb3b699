"""Training batches from the log-mel cache: a pure function of (cache, settings, seed, step), so a run resumes exactly.

Crops come in three lengths so that nothing is padded: an utterance serves the longest crop it can fill. Everything
that changes the voice but not the words happens on the log-mel bands, where it costs next to nothing: the frequency
axis is warped (vocal-tract length and pitch together, as resampling does), the time axis stretched, noise added in the
power domain, a random smooth channel applied, bands and stretches of time masked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align import STATES_PER_PHONE, UNKNOWN_STATE, state_tracks
from torch import Tensor

from speechssl.augmentation import masked, paired, through_channel, warp_matrix, with_noise
from speechssl.objectives.phones import IGNORE

CROP_FRAMES = (96, 200, 480)  # 10 ms frames: single words, short and long sentences
NUM_WARPS = 65


@dataclass(frozen=True)
class Augmentation:
    """Strengths of what is done to a crop; all zero = nothing."""

    warp: float = 0.18  # largest change of the frequency axis, natural log
    stretch: float = 0.15  # largest change of the tempo, natural log
    noise: float = 0.35  # probability of noise at 5 to 30 dB
    channel: float = 0.5  # probability of a random smooth channel of +-4 dB
    mask: float = 0.7  # probability of band and time masks


class MelBatches:
    """Draws batches of normalised, augmented crops with their targets.

    Args:
        cache: folder written by ``prepare.py``.
        tracks: targets by name, (F,) or (F, N) integers for every cached 10 ms frame, negative where unknown; only
            utterances whose first track is known somewhere are drawn. Without tracks every utterance is.
        batch_seconds: audio per batch.
        split: rows of the index to draw from; noise (corpora named ``noise...``) always comes from ``train``.
        clean: give the crop before augmentation too, as ``clean``.
    """

    def __init__(
        self,
        cache: Path,
        tracks: dict[str, np.ndarray],
        *,
        batch_seconds: float,
        augmentation: Augmentation,
        seed: int,
        split: str = "train",
        clean: bool = False,
    ) -> None:
        index = read_index(cache)
        self._mel = np.load(cache / "mel.npy", mmap_mode="r")
        self._tracks, self._clean = tracks, clean
        speech = [row for row in index if row["split"] == split and not row["corpus"].startswith("noise")]
        if tracks:
            leading = next(iter(tracks.values()))
            speech = [row for row in speech if (leading[row["start"] : row["start"] + row["frames"]] >= 0).any()]
        self._noise = [
            row for row in index if row["split"] == "train" and row["corpus"].startswith("noise") and row["frames"] > 60
        ]
        self._buckets = [
            [row for row in speech if crop <= row["frames"] and (last is None or row["frames"] < last)]
            for crop, last in zip(CROP_FRAMES, (*CROP_FRAMES[1:], None), strict=False)
        ]
        if not any(self._buckets):
            raise SystemExit(f"{cache}: no utterances of split {split!r} with targets")
        weights = np.array([sum(row["frames"] for row in bucket) for bucket in self._buckets], float)
        self._bucket_weights = weights / weights.sum()
        self._row_weights = [
            _normalised(np.array([row["frames"] for row in bucket], float)) for bucket in self._buckets
        ]
        self._batch_frames, self._augmentation, self._seed = batch_seconds * 100, augmentation, seed
        self._warps = np.linspace(-augmentation.warp, augmentation.warp, NUM_WARPS)
        self._warp_matrices = np.stack([warp_matrix(np.exp(warp)) for warp in self._warps]).astype(np.float32)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Batch of this step: ``input`` (B, T, 160) and every track (B, T) or (B, T, N), T at 50 Hz."""
        rng = np.random.default_rng([self._seed, step])
        bucket = int(rng.choice(len(self._buckets), p=self._bucket_weights))
        length = CROP_FRAMES[bucket]
        size = max(1, round(self._batch_frames / length))
        rows = rng.choice(len(self._buckets[bucket]), size=size, p=self._row_weights[bucket])
        crops = [self._crop(self._buckets[bucket][row], length, rng) for row in rows]
        return {name: torch.from_numpy(np.stack([crop[name] for crop in crops])) for name in crops[0]}

    def _crop(self, row: dict[str, Any], length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        limit = self._augmentation.stretch
        stretch = float(np.exp(rng.uniform(-limit, limit)))
        span = min(row["frames"], round(length * stretch))
        first = row["start"] + int(rng.integers(0, row["frames"] - span + 1))
        positions = np.linspace(0, span - 1, length)
        mel = _interpolate(np.asarray(self._mel[first : first + span], np.float32), positions)
        nearest = first + np.rint(positions[int(rng.integers(0, 2)) :: 2]).astype(int)
        crop = {name: track[nearest].astype(np.int64) for name, track in self._tracks.items()}
        for targets in crop.values():
            targets[targets < 0] = IGNORE
        if self._clean:
            crop["clean"] = paired(_standardised(mel))
        crop["input"] = paired(self._augment(mel, rng))
        return crop

    def _augment(self, mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        strength = self._augmentation
        if strength.warp > 0:
            mel = mel @ self._warp_matrices[rng.integers(NUM_WARPS)].T
        if self._noise and rng.random() < strength.noise:
            mel = self._add_noise(mel, rng)
        if rng.random() < strength.channel:
            mel = through_channel(mel, rng, size=0.9)  # +-4 dB
        mel = _standardised(mel)
        if rng.random() < strength.mask:
            mel = masked(mel, rng, bands=12, frames=min(24, len(mel) // 8))
        return mel

    def _add_noise(self, mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        row = self._noise[int(rng.integers(len(self._noise)))]
        take = (int(rng.integers(row["frames"])) + np.arange(len(mel))) % row["frames"]
        noise = np.asarray(self._mel[row["start"] : row["start"] + row["frames"]], np.float32)[take]
        return with_noise(mel, noise, rng.uniform(5, 30))


def read_index(cache: Path) -> list[dict[str, Any]]:
    """Rows of a cache: path, corpus, speaker, language, split, start, frames."""
    rows: list[dict[str, Any]] = json.loads((cache / "index.json").read_text())
    return rows


def phone_tracks(cache: Path, alignments: Path) -> dict[str, np.ndarray]:
    """``states``, ``previous`` and ``next`` phone of every cached frame, (F,) int16, -1 where unknown."""
    index = read_index(cache)
    states = state_tracks(alignments, index).astype(np.int16)
    states[states == UNKNOWN_STATE] = -1
    phones = states // STATES_PER_PHONE
    change = np.ones(len(states), bool)
    change[1:] = (phones[1:] != phones[:-1]) | (states[1:] < states[:-1])
    starts = np.array([row["start"] for row in index])
    change[starts] = True
    segment = np.cumsum(change) - 1
    of_segment = phones[change]
    # at an utterance's ends the neighbour is silence, which is phone 0
    first = np.zeros(len(of_segment), bool)
    first[segment[starts]] = True
    previous = np.where(first, 0, np.concatenate([[0], of_segment[:-1]]))
    following = np.where(np.concatenate([first[1:], [True]]), 0, np.concatenate([of_segment[1:], [0]]))
    return {"states": states, "previous": previous[segment], "next": following[segment]}


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum() if len(weights) else weights


def _interpolate(frames: np.ndarray, positions: np.ndarray) -> np.ndarray:
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, len(frames) - 1)
    share = (positions - low).astype(np.float32)[:, None]
    return frames[low] * (1 - share) + frames[high] * share


def _standardised(mel: np.ndarray) -> np.ndarray:
    return (mel - mel.mean(0)) / np.sqrt(mel.var(0, ddof=1) + 1e-7)
