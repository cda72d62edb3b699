"""Whether a recording sounds as what this package makes: conversions and spoken texts, through its vocoder.

A vocoder leaves its mark in how finely the spectrum is drawn and how fast it changes; statistics of both, over linear
frequency as in the detectors of the field, part what it makes from recordings. It was taught the packaged model's own
sound, through codecs and noise (``recipes/speaker_verification/synthetic.py``): other synthesizers may pass.

Source: Todisco et al. 2019 (ASVspoof 2019: linear frequency cepstra against spoofing).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from speechssl.audio import activity
from speechssl.audio.mel import cepstra
from speechssl.checkpoints import PACKAGED
from speechssl.signals import Waveform
from speechssl.verification.band import FULL, Band
from speechssl.verification.speech_classifier import Model

Floats = NDArray[np.float64]

MODEL = PACKAGED / "synthetic.safetensors"
KIND = "synthetic-speech"
SECONDS, SHORTEST = 8.0, 1.0  # of what is judged at once, and the least
MOST = 4  # such stretches, spread evenly
FRAME, HOP, FFT = 400, 160, 512  # samples at 16 kHz
BANDS = 64  # of four bins each, 125 Hz
LOUD, DEEP = 5.0, 12.0  # natural log of power: how far below the loudest frames and bands something is heard
LAGS = (1, 2, 4)  # frames over which change is measured
CLEAR = 20.0  # dB of speech above the noise below which nothing is judged

REMARK = "may be synthetic: it sounds like what a voice program makes; have the person say a sentence that you choose"


@functools.cache
def load_model() -> Model:
    """The detector that ships.

    Raises:
        CheckpointError: the file is damaged.
    """
    return Model.read(MODEL, KIND)


def suspected(waveform: Waveform, band: Band | None) -> bool:
    """Whether a recording may be synthetic; False where a line or noise hides what would tell.

    Args:
        waveform: the recording.
        band: of ``band.measure``; None where nothing was heard.
    """
    if not judged(band):
        return False
    parts = stretches(activity.at_16_khz(waveform))
    model = load_model()
    return bool(parts) and float(model.odds(np.stack([features(part) for part in parts])).mean()) > model.limit


def judged(band: Band | None) -> bool:
    """Whether a recording of this band, None if nothing was heard, can be judged: it is full, and speech is clear."""
    return band is not None and FULL.holds(band) and (band.snr is None or band.snr >= CLEAR)


def stretches(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """At most ``MOST`` stretches of ``SECONDS`` of samples (T,) at 16 kHz; no short or silent one."""
    samples, length = activity.without_pauses(samples), round(SECONDS * activity.RATE)
    if len(samples) < SHORTEST * activity.RATE:
        return []
    count = min(MOST, max(1, len(samples) // length))
    starts = np.linspace(0, max(0, len(samples) - length), count).astype(int)
    parts = [samples[start : start + length] for start in starts]
    return [part for part in parts if part.any()]


def features(samples: NDArray[np.float32]) -> Floats:
    """Statistics (S,) of samples (T,) at 16 kHz, T >= 16,000, that are not all zero; no part knows the level.

    Of the loud frames: mean and standard deviation of the cepstra of 64 bands of linear frequency, and how much each
    changes over 10, 20 and 40 ms.
    """
    level = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    frames = np.lib.stride_tricks.sliding_window_view(samples / level, FRAME)[::HOP] * np.hanning(FRAME)
    power = np.square(np.abs(np.fft.rfft(frames, FFT)))[:, 1:].reshape(len(frames), BANDS, -1).sum(2)
    bands = np.log(power + 1e-9)
    loudness = bands.mean(1)
    loud = loudness > np.quantile(loudness, 0.95) - LOUD
    bands = np.maximum(bands, np.quantile(bands, 0.98) - DEEP)
    curve = cepstra(bands, BANDS).astype(np.float64)
    changes = [_change(curve, loud, lag) for lag in LAGS]
    return np.concatenate([curve[loud, 1:].mean(0), curve[loud].std(0), *changes])


def _change(curve: Floats, loud: NDArray[np.bool_], lag: int) -> Floats:
    """Log of the mean absolute change (C,) of cepstra (F, C) over a lag, where both ends are loud."""
    both = loud[lag:] & loud[:-lag]
    gap = np.abs(curve[lag:] - curve[:-lag])[both]
    return np.log((gap.mean(0) if len(gap) else np.zeros(curve.shape[1])) + 1e-3)
