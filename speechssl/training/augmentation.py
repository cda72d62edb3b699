"""Augmentation of log-mel bands, which costs little there: warps, noise, rooms, channels, masks.

Bands are the 80 of Kaldi (20 Hz to 8 kHz) as natural logs of power, (F, 80), a frame every 10 ms. All randomness comes
from the generator given, in a fixed order, so that a batch is a pure function of its seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mel = NDArray[np.float32]

NUM_BANDS = 80


def warp_matrix(factor: float) -> NDArray[np.float64]:
    """Matrix (80, 80) that reads mel bands at frequencies multiplied by ``factor``: ``mel @ matrix.T``.

    Vocal-tract length and pitch change together, as by resampling.
    """

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127 * np.log1p(hertz / 700)

    low, high = mel(np.array(20.0)), mel(np.array(8000.0))
    centres = low + (high - low) * (np.arange(NUM_BANDS) + 1) / (NUM_BANDS + 1)
    hertz = 700 * np.expm1(centres / 1127)
    # bend above 6.5 kHz so that the top stays in the band (Jaitly and Hinton 2013)
    knee = 6500 / max(factor, 1.0)
    warped = np.where(hertz <= knee, hertz * factor, 8000 - (8000 - knee * factor) / (8000 - knee) * (8000 - hertz))
    position = np.clip((mel(warped) - low) / (high - low) * (NUM_BANDS + 1) - 1, 0, NUM_BANDS - 1)
    matrix = np.zeros((NUM_BANDS, NUM_BANDS))
    below = np.minimum(np.floor(position).astype(int), NUM_BANDS - 2)
    matrix[np.arange(NUM_BANDS), below] = 1 - (position - below)
    matrix[np.arange(NUM_BANDS), below + 1] += position - below
    return matrix


def with_noise(mel: Mel, noise: Mel, snr_db: float) -> Mel:
    """Powers (F, 80) added at a signal-to-noise ratio over the whole crop."""
    gap = np.log(np.exp(mel).sum(1).mean()) - np.log(np.exp(noise).sum(1).mean() + 1e-9) - snr_db / 10 * np.log(10)
    return np.logaddexp(mel, noise + gap).astype(np.float32)


def in_a_room(mel: Mel, t60: float, level: float) -> Mel:
    """Power smeared over time by an exponential tail of ``t60`` seconds, ``level`` dB of the direct sound."""
    from scipy.signal import lfilter

    keep = 10 ** (-6 * 0.01 / t60)
    power = np.exp(mel)
    tail = lfilter([0.0, 1 - keep], [1.0, -keep], power, axis=0)
    return np.log(power + 10 ** (level / 10) * tail + 1e-9).astype(np.float32)


def through_channel(mel: Mel, rng: np.random.Generator, *, size: float) -> Mel:
    """A random smooth frequency response: eight knots, ``size`` at most, natural log of power (4.34 dB each)."""
    knots = rng.uniform(-size, size, 8)
    return mel + np.interp(np.arange(NUM_BANDS), np.linspace(0, NUM_BANDS - 1, 8), knots).astype(np.float32)


def masked(mel: Mel, rng: np.random.Generator, *, bands: int, frames: int) -> Mel:
    """Two stretches of fewer than ``bands`` bands and two of fewer than ``frames`` frames set to 0 (SpecAugment)."""
    mel = mel.copy()
    for _ in range(2):
        width = int(rng.integers(0, bands))
        first = int(rng.integers(0, NUM_BANDS - width))
        mel[:, first : first + width] = 0
        width = int(rng.integers(0, frames))
        first = int(rng.integers(0, len(mel) - width))
        mel[first : first + width] = 0
    return mel


def paired(mel: Mel) -> Mel:
    """Two 10 ms frames side by side: (F, 80) to (F // 2, 160)."""
    return np.ascontiguousarray(mel[: len(mel) // 2 * 2], dtype=np.float32).reshape(-1, 2 * NUM_BANDS)
