"""A mel spectrogram as an image; ``pictures`` draws the axes around it."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from speechssl import audio
from speechssl.audio import mel
from speechssl.signals import Waveform

# dark violet to pale yellow, monotone in lightness so that it reads without colour
STOPS = np.array(
    [(13, 8, 42), (59, 15, 112), (120, 28, 109), (182, 54, 84), (229, 92, 48), (251, 155, 38), (250, 222, 120)], float
)
RATE = 16_000  # Hz of spectrograms: 0 to 8 kHz
BANDS = 72
LONGEST = 60.0  # seconds drawn; more would be thinner than a pixel
SPAN = 70.0  # dB from the darkest colour to the brightest
QUIETEST = -60.0  # dBFS of the brightest colour at least: silence and its noise stay dark


def png(waveform: Waveform, *, columns: int) -> str:
    """The picture of the first ``LONGEST`` seconds: PNG in base64, about ``columns`` wide, ``BANDS`` high."""
    from PIL import Image

    levels = _mel(waveform, columns=columns)
    place = ((levels[::-1] - max(levels.max(), QUIETEST)) / SPAN + 1).clip(0, 1) * (len(STOPS) - 1)
    low = np.minimum(place.astype(int), len(STOPS) - 2)
    colours = STOPS[low] + (STOPS[low + 1] - STOPS[low]) * (place - low)[..., None]
    file = io.BytesIO()
    Image.fromarray(colours.astype(np.uint8)).quantize(64).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _mel(waveform: Waveform, *, columns: int) -> NDArray[np.float64]:
    """dBFS (BANDS, frames): 0 for a sine of full scale within a band; not many more frames than ``columns``."""
    samples = audio.resample(waveform, RATE).samples.detach().cpu().numpy()[: int(LONGEST * RATE)].astype(np.float64)
    size = 512
    hop = max(160, len(samples) // columns)
    padded = np.pad(samples, (0, size))
    starts = np.arange(0, max(1, len(samples)), hop)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size)
    bank = mel.filters(BANDS, size, sample_rate=RATE, high=RATE / 2) + 1e-6
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ bank
    full = (np.hanning(size).sum() / 2) ** 2
    return np.asarray(10 * np.log10(power.T / full + 1e-15))
