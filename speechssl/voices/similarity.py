"""Distance between the voices of two recordings, by plain signal statistics: no trained model, nothing to fetch.

Timbre: the long-term mean and spread of mel-cepstra of the loud frames, compared as Gaussians. Pitch: the gap between
median F0s. Both say whether a conversion moved towards its target; they are no speaker verification, and the words
spoken, the microphone and the room move them too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechssl import audio
from speechssl.errors import InputError
from speechssl.signals import Waveform

Floats = NDArray[np.float64]

SAMPLE_RATE = 16_000  # Hz
WINDOW_LENGTH, HOP_LENGTH = 400, 160  # 25 ms every 10 ms
FFT_SIZE = 512
BANDS = 40  # mel bands from 60 Hz to 7.6 kHz: what telephone and microphone have in common
LOWEST, HIGHEST = 60.0, 7600.0  # Hz
CEPSTRA = 19  # of them, without the first, which is loudness
DYNAMIC_RANGE = 35.0  # dB below the loudest frame down to which a frame counts as speech
SHORTEST = 1.0  # seconds of speech below which a spread means nothing


@dataclass(frozen=True, eq=False)
class VoiceStatistics:
    """Timbre and pitch of a recording.

    Args:
        mean: (19,) mean mel-cepstra of its loud frames.
        variance: (19,) their variances, > 0.
        f0: median F0 of its voiced frames in Hz; None if nothing is voiced.
    """

    mean: Floats
    variance: Floats
    f0: float | None


def voice_statistics(waveform: Waveform) -> VoiceStatistics:
    """Timbre and pitch of a recording with at least one second of speech.

    Raises:
        InputError: less than a second of frames that are loud enough to be speech.
    """
    heard = audio.resample(waveform, SAMPLE_RATE)
    cepstra = _loud_cepstra(heard.samples.double().numpy())
    seconds = len(cepstra) * HOP_LENGTH / SAMPLE_RATE
    if seconds < SHORTEST:
        raise InputError(f"{seconds:.2f} s of speech found; at least {SHORTEST:.0f} s needed to compare voices")
    contour = audio.f0(heard)
    voiced = contour[contour > 0]
    return VoiceStatistics(cepstra.mean(axis=0), cepstra.var(axis=0), float(voiced.median()) if len(voiced) else None)


def timbre_distance(first: VoiceStatistics, second: VoiceStatistics) -> float:
    """Bhattacharyya distance of two diagonal Gaussians, per cepstral number: 0 for equal voices, symmetric.

    Source: Bhattacharyya 1943; Kailath 1967, IEEE Trans. Communication Technology 15(1).
    """
    middle = (first.variance + second.variance) / 2
    apart = (first.mean - second.mean) ** 2 / middle / 8
    spread = np.log(middle / np.sqrt(first.variance * second.variance)) / 2
    return float((apart + spread).mean())


def pitch_gap(first: VoiceStatistics, second: VoiceStatistics) -> float:
    """Semitones between the median F0s, >= 0; NaN if one of them has nothing voiced."""
    if first.f0 is None or second.f0 is None:
        return math.nan
    return abs(12 * math.log2(first.f0 / second.f0))


def _loud_cepstra(samples: Floats) -> Floats:
    """(N, 19) mel-cepstra of the frames within ``DYNAMIC_RANGE`` of the loudest."""

    from speechssl.audio import mel

    if len(samples) < WINDOW_LENGTH:
        return np.zeros((0, CEPSTRA))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_LENGTH)[::HOP_LENGTH]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW_LENGTH), FFT_SIZE)) ** 2
    total = power.sum(axis=1)
    kept = power[(total > 0) & (total >= total.max() * 10 ** (-DYNAMIC_RANGE / 10))]
    bank = mel.filters(BANDS, FFT_SIZE, sample_rate=SAMPLE_RATE, low=LOWEST, high=HIGHEST)
    # the floor keeps the logarithm of empty bands of low-rate audio from ruling the distance
    bands = np.maximum(kept @ bank, 1e-6 * kept.sum(axis=1, keepdims=True) / BANDS)
    return mel.cepstra(np.log(bands), CEPSTRA + 1)[:, 1:].astype(np.float64)
