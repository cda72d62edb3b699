"""Mel bands: the one filter bank of the package, Kaldi's log-mel energies, and cepstra.

The filters are computed here: librosa has no triangles that are straight in mel, which the shipped weights were trained
on, and takes a second to import; ``transformers.audio_utils`` imports torchaudio. ``tests/test_mel.py`` compares them
with librosa's, transformers' and torchaudio's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["cepstra", "filters", "kaldi"]

SAMPLE_RATE = 16000  # Hz, of Kaldi's energies
WINDOW, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms, the next power of two
BANDS, LOWEST = 80, 20.0  # Hz
PREEMPHASIS = 0.97
FLOOR = 1.1920928955078125e-07  # the least energy; float32's epsilon, as in Kaldi

Straight = Literal["hertz", "mel", "left"]


@lru_cache(maxsize=32)
def filters(
    bands: int, size: int, *, sample_rate: int, low: float = 0.0, high: float, straight: Straight = "hertz"
) -> NDArray[np.float64]:
    """Triangles (size // 2 + 1, bands), equally spaced in mel, of height 1; read-only, computed once.

    Args:
        bands: number of triangles.
        size: samples of the Fourier transform.
        sample_rate: Hz.
        low: Hz where the first triangle begins.
        high: Hz where the last one ends.
        straight: the axis on which the sides are straight lines. ``"hertz"``: as librosa's ``htk=True, norm=None`` and
            torchaudio's ``melscale_fbanks``. ``"mel"``: as Kaldi. ``"left"``: in hertz, and both sides as wide as the
            left one, as speechbrain.
    Source: O'Shaughnessy 1987: mel = 2595 log10(1 + f / 700); its factor has no effect on the filters.
    """
    edges = np.linspace(np.log1p(low / 700), np.log1p(high / 700), bands + 2)
    bins = np.fft.rfftfreq(size, 1 / sample_rate)
    if straight == "mel":
        bins = np.log1p(bins / 700)
    else:
        edges = 700 * np.expm1(edges)
    centres, widths = edges[1:-1], np.diff(edges)
    rising = 1 - (centres - bins[:, None]) / widths[:-1]
    falling = 1 - (bins[:, None] - centres) / (widths[:-1] if straight == "left" else widths[1:])
    found: NDArray[np.float64] = np.minimum(rising, falling).clip(0)
    found.flags.writeable = False
    return found


def kaldi(samples: Tensor, *, double: bool = False) -> Tensor:
    """Kaldi's log-mel energies (..., F, 80) of samples (..., T) at 16 kHz; F = 1 + (T - 400) // 160. Differentiable.

    25 ms Povey windows every 10 ms of 16-bit-scaled samples, mean removed, pre-emphasis 0.97 (the first sample of each
    window too), 80 bands from 20 Hz to 8 kHz, natural logarithm, no dither.

    Args:
        samples: nominal [-1, 1]; fewer than 400 give no frame.
        double: float64 with the spectrum rounded to float32, as transformers' ``SeamlessM4TFeatureExtractor``; without
            it float32, as torchaudio's ``compliance.kaldi.fbank``.
    """
    import torch

    dtype = torch.float64 if double else torch.float32
    if samples.shape[-1] < WINDOW:
        return samples.new_zeros(*samples.shape[:-1], 0, BANDS, dtype=dtype)
    with torch.autocast(samples.device.type, enabled=False):
        window, bank = _constants(dtype, samples.device)
        x = samples.to(dtype).unfold(-1, WINDOW, HOP) * 2**15
        x = x - x.mean(-1, keepdim=True)
        x = torch.cat([x[..., :1] * (1 - PREEMPHASIS), x[..., 1:] - PREEMPHASIS * x[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft(x * window, n=FFT)
        power = torch.view_as_real(spectrum.to(torch.complex64)).to(dtype).square().sum(-1)
        return (power @ bank).clamp(min=FLOOR).log()


def cepstra(log_bands: NDArray[np.floating], count: int) -> NDArray[np.floating]:
    """The first ``count`` mel-frequency cepstra (F, count) of log-mel bands (F, B): an orthonormal cosine transform."""
    bands = log_bands.shape[1]
    waves = np.cos(np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(count))) * (2 / bands) ** 0.5
    waves[:, 0] /= 2**0.5
    return log_bands @ waves.astype(log_bands.dtype)


@lru_cache(maxsize=8)
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Povey window (400,) and Kaldi's filters (257, 80)."""
    import torch

    # also where networks are built without memory: what is kept must hold numbers
    with torch.device("cpu"), torch.inference_mode(False):
        window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64).pow(0.85)
        bank = filters(BANDS, FFT, sample_rate=SAMPLE_RATE, low=LOWEST, high=SAMPLE_RATE / 2, straight="mel")
        return window.to(device, dtype), torch.tensor(bank).to(device, dtype)
