"""Sounds that several test modules make, and what a message has to name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from speechssl.errors import InputError
from speechssl.signals import Waveform

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, level: float = 0.3) -> np.ndarray:
    """A tone that swells and fades, so that a shift in time or a lost piece shows."""
    time = np.arange(round(seconds * rate)) / rate
    return level * np.sin(2 * np.pi * hertz * time) * np.sin(np.pi * time / seconds) ** 2


def noise(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def waveform(samples: np.ndarray, rate: int = RATE) -> Waveform:
    return Waveform(torch.from_numpy(np.asarray(samples, dtype=np.float32)), rate)


def encode_with_ffmpeg(
    path: Path, samples: np.ndarray, rate: int, codec: str, options: dict[str, str] | None = None
) -> None:
    """Samples (C, T) float32 through PyAV, as a phone or a video camera would write them."""
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    with av.open(str(path), "w", options=options or {}) as container:
        track = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(track.encode(frame))
        container.mux(track.encode(None))


def assert_message(error: pytest.ExceptionInfo[InputError], path: Path, *words: str) -> None:
    text = str(error.value)
    for word in (str(path), *words):
        assert word in text, text
