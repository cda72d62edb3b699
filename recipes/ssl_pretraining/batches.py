"""Training batches from the log-mel cache: a pure function of (cache, settings, seed, step), so a run resumes exactly.

Crops come in three lengths so that nothing is padded: an utterance serves the longest crop it can fill. Everything
that changes the voice but not the words happens on the log-mel bands, where it costs next to nothing: the frequency
axis is warped (vocal-tract length and pitch together, as resampling does), the time axis stretched, noise added in the
power domain, a random smooth channel applied, bands and stretches of time masked.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align import STATES_PER_PHONE, UNKNOWN_STATE, state_tracks
from torch import Tensor

from speechssl.training.augmentation import NUM_BANDS, warp_matrix
from speechssl.training.objectives.phones import IGNORE

CROP_FRAMES = (96, 200, 480)  # 10 ms frames: single words, short and long sentences
NUM_WARPS = 65
CHANNEL, CHANNEL_KNOTS = 0.9, 8  # natural log of power: +-4 dB
MASKED_BANDS, MASKED_FRAMES = 12, 24  # a mask is shorter


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
        cache: folder written by ``prepare.py``, of which the split ``train`` is drawn.
        tracks: targets by name, (F,) or (F, N) integers for every cached 10 ms frame, negative where unknown; only
            utterances whose first track is known somewhere are drawn. Without tracks every utterance is.
        batch_seconds: audio per batch.
        clean: give the crop before augmentation too, as ``clean``.
        device: where the cache is held and the crops are made. On the CPU the cache stays on disk; what is drawn is the
            same everywhere.
    """

    def __init__(
        self,
        cache: Path,
        tracks: dict[str, np.ndarray],
        *,
        batch_seconds: float,
        augmentation: Augmentation,
        seed: int,
        clean: bool = False,
        device: str = "cpu",
    ) -> None:
        index = read_index(cache)
        self._device = torch.device(device)
        speakers = {who: number for number, who in enumerate(dict.fromkeys(map(_who, index)))}
        # copy on write: torch wants what it may write to
        self._mel = self._held(np.load(cache / "mel.npy", mmap_mode="c"))
        train = [row for row in index if row["split"] == "train"]
        speech = [row for row in train if not row["corpus"].startswith("noise")]
        if tracks:
            leading = next(iter(tracks.values()))
            speech = [row for row in speech if (leading[row["start"] : row["start"] + row["frames"]] >= 0).any()]
        self._tracks = {name: self._held(track) for name, track in tracks.items()}
        self._clean = clean
        noise = [row for row in train if row["corpus"].startswith("noise") and row["frames"] > 60]
        self._noise = _places(noise, speakers)
        self._buckets = [
            _places(
                [row for row in speech if crop <= row["frames"] and (last is None or row["frames"] < last)], speakers
            )
            for crop, last in zip(CROP_FRAMES, (*CROP_FRAMES[1:], None), strict=False)
        ]
        weights = np.array([bucket[:, 1].sum() for bucket in self._buckets], float)
        if not weights.any():
            raise SystemExit(f"{cache}: no utterances of split 'train' with targets")
        self._bucket_weights = weights / weights.sum()
        self._batch_frames, self._augmentation, self._seed = batch_seconds * 100, augmentation, seed
        warps = np.exp(np.linspace(-augmentation.warp, augmentation.warp, NUM_WARPS))
        self._warps = self._held(np.stack([warp_matrix(warp).T for warp in warps]).astype(np.float32))
        knots = np.linspace(0, NUM_BANDS - 1, CHANNEL_KNOTS)
        at_bands = [np.interp(np.arange(NUM_BANDS), knots, row) for row in np.eye(CHANNEL_KNOTS)]
        self._channel = self._held(np.stack(at_bands).astype(np.float32))

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Batch of this step: ``input`` (B, T, 160), every track (B, T) or (B, T, N), T at 50 Hz, ``speaker`` (B,)."""
        rng = np.random.default_rng([self._seed, step])
        number = int(rng.choice(len(self._buckets), p=self._bucket_weights))
        length, bucket = CROP_FRAMES[number], self._buckets[number]
        size = max(1, round(self._batch_frames / length))
        rows = rng.choice(len(bucket), size=size, p=bucket[:, 1] / bucket[:, 1].sum())
        starts, frames, speaker = bucket[rows].T
        limit = self._augmentation.stretch
        spans = np.minimum(frames, np.rint(length * np.exp(rng.uniform(-limit, limit, size))).astype(int))
        first = starts + rng.integers(0, frames - spans + 1)
        # (B, L) places in the cache, evenly from the first frame of a span to its last
        positions = first[:, None] + (spans - 1)[:, None] * np.linspace(0, 1, length)
        low = np.floor(positions).astype(np.int64)
        high = np.minimum(low + 1, (first + spans - 1)[:, None])
        share = self._held((positions - low).astype(np.float32))[:, :, None]
        mel = torch.lerp(self._frames(low), self._frames(high), share)
        # a target of 20 ms is that of either of its frames of 10 ms
        nearest = self._held(np.rint(positions).astype(np.int64)[:, int(rng.integers(0, 2)) :: 2])
        crops = {name: track[nearest].long() for name, track in self._tracks.items()}
        for targets in crops.values():
            targets[targets < 0] = IGNORE
        if self._clean:
            crops["clean"] = _paired(_standardised(mel))
        return crops | {"input": _paired(self._augment(mel, rng)), "speaker": self._held(speaker)}

    def _augment(self, mel: Tensor, rng: np.random.Generator) -> Tensor:
        """Crops (B, L, 80) with everything done to them."""
        strength, size = self._augmentation, len(mel)
        if strength.warp > 0:
            mel = mel @ self._warps[self._held(rng.integers(NUM_WARPS, size=size))]
        noisy = np.flatnonzero(rng.random(size) < strength.noise)
        if len(noisy) and len(self._noise):
            mel = mel.index_copy(0, self._held(noisy), self._with_noise(mel[self._held(noisy)], rng))
        through = (rng.random((size, 1)) < strength.channel) * rng.uniform(-CHANNEL, CHANNEL, (size, CHANNEL_KNOTS))
        mel = _standardised(mel + (self._held(through.astype(np.float32)) @ self._channel)[:, None])
        hidden = rng.random((size, 1)) < strength.mask
        bands = _stretches(rng, size, NUM_BANDS, MASKED_BANDS) & hidden
        times = _stretches(rng, size, mel.shape[1], min(MASKED_FRAMES, mel.shape[1] // 8)) & hidden
        return mel.masked_fill(self._held(bands[:, None] | times[:, :, None]), 0.0)

    def _with_noise(self, mel: Tensor, rng: np.random.Generator) -> Tensor:
        """Powers (B, L, 80) with a noise each added, at 5 to 30 dB over the whole crop."""
        starts, frames, _ = self._noise[rng.integers(len(self._noise), size=len(mel))].T[..., None]
        places = starts + (rng.integers(0, frames) + np.arange(mel.shape[1])) % frames
        noise, ratio = self._frames(places), self._held(rng.uniform(5, 30, len(mel)).astype(np.float32))
        level, theirs = (part.exp().sum(2).mean(1) for part in (mel, noise))
        gap = level.log() - (theirs + 1e-9).log() - ratio * (math.log(10) / 10)
        return torch.logaddexp(mel, noise + gap[:, None, None])

    def _frames(self, places: np.ndarray) -> Tensor:
        """(B, L, 80) float32 frames of the cache."""
        return self._mel[self._held(places)].float()

    def _held(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)


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


def _who(row: dict[str, Any]) -> tuple[str, str]:
    return row["corpus"], row["speaker"]


def _places(rows: list[dict[str, Any]], speakers: dict[tuple[str, str], int]) -> np.ndarray:
    """(N, 3) int64: first frame in the cache, number of frames, number of the speaker."""
    return np.array([(row["start"], row["frames"], speakers[_who(row)]) for row in rows], np.int64).reshape(-1, 3)


def _stretches(rng: np.random.Generator, size: int, length: int, longest: int) -> np.ndarray:
    """(B, length) bool, true in two stretches of fewer than ``longest`` each (SpecAugment)."""
    found = np.zeros((size, length), bool)
    for _ in range(2):
        width = rng.integers(0, longest, (size, 1))
        first = rng.integers(0, length - width)
        found |= (np.arange(length) >= first) & (np.arange(length) < first + width)
    return found


def _standardised(mel: Tensor) -> Tensor:
    """(..., L, 80) as transformers' extractor does it."""
    return (mel - mel.mean(-2, keepdim=True)) / (mel.var(-2, keepdim=True) + 1e-7).sqrt()


def _paired(mel: Tensor) -> Tensor:
    """Two 10 ms frames side by side: (B, L, 80) to (B, L // 2, 160)."""
    return mel[:, : mel.shape[1] // 2 * 2].reshape(len(mel), -1, 2 * NUM_BANDS)
