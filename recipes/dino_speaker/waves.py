"""Crops of unlabelled utterances from a cache of waveforms, each heard in a room, through noise, and over a line.

As ``crops.py``, a pure function of (cache, settings, seed, step), on the cache of ``prepare.py --samples``. Telephone
bands, codecs and filters happen to samples, so the crops carry what these leave of a voice; an embedder that is trained
on log-mel bands of samples nobody cut off takes the cut for the voice. One resampling changes the voice of all crops of
an utterance alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import Settings, SpeakerCrops, levelled, places

from speechssl.audio.mel import kaldi
from speechssl.training import distort
from speechssl.training.augmentation import masked, paired

FRAME, MORE = 160, 240  # samples of 10 ms, and what the last frame reaches beyond them


@dataclass(frozen=True)
class Lines:
    """How often crops go over lines.

    Args:
        line: probability of a line at all.
        shares: of the kinds of lines; those of ``distort.LINES`` if None.
        recorded: share of the rooms that are measured ones, where the cache has some.
        clip: probability of an overdriven recording.
    """

    line: float = 0.5
    shares: dict[str, float] | None = None
    recorded: float = 0.4
    clip: float = 0.02


class WaveCrops(SpeakerCrops):
    """Draws ``global`` and ``local`` crops like ``SpeakerCrops``, and their ``row``.

    Args:
        cache: folder written by ``prepare.py --samples``.
        lines: what happens to crops besides the settings' noise, reverberation and channel.
        samples: crops are samples (160 T + 240,) for an encoder instead of pairs of log-mel frames (T // 2, 160).
    """

    ARRAY = "samples.npy"

    def __init__(self, cache: Path, settings: Settings, lines: Lines, *, seed: int, samples: bool = False) -> None:
        super().__init__(cache, settings, seed=seed)
        self._lines, self._samples = lines, samples
        rooms = cache / "rooms.npz"
        self._rooms = list(np.load(rooms).values()) if rooms.exists() else []

    def _crops(
        self, row: dict[str, Any], long: int, short: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        # the crop and the two frames that its last one reaches into must fit
        factor = min(float(np.exp(rng.uniform(-self._settings.warp, self._settings.warp))), row["frames"] / (long + 2))
        globals_ = [self._heard(row, long, factor, place, rng) for place in places(self._settings.global_crops, rng)]
        locals_ = [self._heard(row, short, factor, rng.random(), rng) for _ in range(self._settings.local_crops)]
        return np.stack(globals_), np.stack(locals_) if locals_ else np.zeros(0, np.float32)

    def _heard(
        self, row: dict[str, Any], length: int, factor: float, place: float, rng: np.random.Generator
    ) -> np.ndarray:
        span = min(int(np.ceil((length + 2) * factor)), row["frames"])
        first = row["start"] + int(place * (row["frames"] - span + 1))
        samples = self._read(first, span)
        if span != length + 2:
            samples = distort.resampled(samples, (length + 2) * FRAME)
        samples = self._distorted(samples, rng)[: length * FRAME + MORE]
        if self._samples:
            return samples
        mel = levelled(kaldi(torch.from_numpy(samples)).numpy(), narrow=self._settings.narrow)
        return paired(
            masked(mel, rng, bands=11, frames=max(1, len(mel) // 8)) if rng.random() < self._settings.mask else mel
        )

    def _read(self, first: int, frames: int) -> np.ndarray:
        return self._frames[first : first + frames].reshape(-1).astype(np.float32) / 32767

    def _distorted(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        settings = self._settings
        if rng.random() < settings.reverberation:
            samples = distort.in_room(samples, self._room(rng))
        if rng.random() < settings.noise:
            samples = distort.with_noise(samples, self._some_noise(len(samples), rng), rng.uniform(3, 30))
        if rng.random() < settings.channel:
            samples = distort.through_channel(samples, rng)
        if rng.random() < self._lines.line:
            samples = distort.over_a_line(samples, rng, self._lines.shares)
        peak = float(np.abs(samples).max())
        if rng.random() < self._lines.clip:
            limit = peak * rng.uniform(0.2, 0.7)
            samples = np.clip(samples, -limit, limit)
        return (samples * (10 ** (rng.uniform(-20, 0) / 20) * 0.95 / (peak + 1e-5))).astype(np.float32)

    def _room(self, rng: np.random.Generator) -> np.ndarray:
        if self._rooms and rng.random() < self._lines.recorded:
            found: np.ndarray = self._rooms[int(rng.integers(len(self._rooms)))]
            return found
        return distort.simulated_room(rng, rng.uniform(0.1, 0.7), rng.uniform(0, 15))

    def _some_noise(self, length: int, rng: np.random.Generator) -> np.ndarray:
        if not self._noise or rng.random() < 0.3:
            return distort.coloured_noise(rng, length)
        row = self._noise[int(rng.integers(len(self._noise)))]
        noise = self._read(row["start"], row["frames"])
        return noise[(int(rng.integers(len(noise))) + np.arange(length)) % len(noise)]
