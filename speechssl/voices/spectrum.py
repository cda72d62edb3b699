"""Long-term average spectrum (LTAS) of a voice, and the filter that gives one sound that of another.

The spectrum does not depend on the words: it is the colour of a voice over seconds, partly of the speaker and partly of
the microphone. Levels are dB in 40 mel bands up to 8 kHz, less their own mean, so that loudness does not enter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from speechssl.errors import InputError
from speechssl.signals import Waveform

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NUM_BANDS", "Spectrum", "bands", "equalise", "gains", "measure", "pool"]

NUM_BANDS = 40
HIGHEST = 8000.0  # Hz; above, the filter goes on as in the last band
WINDOW, HOP = 0.032, 0.008  # seconds
LOUD = 30.0  # dB below the loudest frame, down to which frames count
LIMIT = 6.0  # dB; more is no colour of a voice but another recording
DOUBT = 1.0  # seconds of loud frames on which half of the difference is believed: fewer are a few sounds only
BLOCK = 1 << 20  # samples at a time, a minute at 16 kHz


@dataclass(frozen=True)
class Spectrum:
    """Levels of a voice over time.

    Args:
        levels: ``NUM_BANDS`` numbers in dB; their mean is taken away.
        seconds: of loud frames they were measured on, >= 0.
    Raises:
        InputError: another number of levels, or numbers that are not finite.
    """

    levels: tuple[float, ...]
    seconds: float

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.levels, self.seconds)))
        if len(self.levels) != NUM_BANDS or not finite or self.seconds < 0:
            raise InputError(
                f"a spectrum of {len(self.levels)} levels over {self.seconds} s; {NUM_BANDS} finite ones needed"
            )
        mean = sum(self.levels) / NUM_BANDS
        # to a hundredth of a dB, so that a voice says the same before and after it was stored
        object.__setattr__(self, "levels", tuple(round(level - mean, 2) for level in self.levels))


def measure(waveform: Waveform) -> Spectrum | None:
    """The mean level of each band over loud frames; None of silence, or of less than a window of 32 ms."""
    import torch

    # twice over the sound, so that an hour of it needs no memory
    loudest = max((float(power.sum(1).max()) for power in _powers(waveform)), default=0.0)
    total, count = torch.zeros(NUM_BANDS, dtype=torch.float64), 0
    for power in _powers(waveform):
        # a frame of silence has an energy of 0, which is never above itself
        loud = power[power.sum(1) > loudest * 10 ** (-LOUD / 10)]
        total += ((loud @ bands(waveform.sample_rate)).clamp(min=1e-12).log10() * 10).double().sum(0)
        count += len(loud)
    return Spectrum(tuple((total / count).tolist()), count * HOP) if count else None


def pool(parts: Sequence[Spectrum], shares: Sequence[float] | None = None) -> Spectrum:
    """The mean spectrum of several recordings or voices, weighted by their seconds or by shares.

    Args:
        parts: at least one.
        shares: of each, which add up to 1; None for their seconds.
    """
    total = sum(part.seconds for part in parts)
    if shares is None:
        shares = [part.seconds / total if total else 1 / len(parts) for part in parts]
    levels = [
        sum(one * share for one, share in zip(band, shares, strict=True))
        for band in zip(*(p.levels for p in parts), strict=True)
    ]
    return Spectrum(tuple(levels), total)


def equalise(waveform: Waveform, own: Spectrum, wanted: Spectrum, amount: float = 1.0) -> Waveform:
    """The waveform through a filter of linear phase that moves its spectrum towards the wanted one, by 6 dB at most.

    Args:
        waveform: a sound, or a part of one.
        own: of the whole sound.
        wanted: the spectrum it ought to have. The fewer seconds either was measured on, the less is done.
        amount: share of the difference, 0 ... 1.
    """
    taps = _taps(gains(own, wanted, waveform.sample_rate, amount=amount))
    return Waveform(_filtered(waveform.samples, taps), waveform.sample_rate)


def gains(own: Spectrum, wanted: Spectrum, sample_rate: int, *, size: int | None = None, amount: float = 1.0) -> Tensor:
    """Amplitudes (B,) by which ``equalise`` multiplies each frequency.

    Args:
        own, wanted, amount: as for ``equalise``.
        sample_rate: of the sound, Hz.
        size: samples of the Fourier transform, B = size // 2 + 1; None for that of ``measure``.
    """
    import torch

    seconds = min(own.seconds, wanted.seconds)
    amount *= seconds / (seconds + DOUBT)
    decibels = [
        amount * min(max(target - level, -LIMIT), LIMIT)
        for target, level in zip(wanted.levels, own.levels, strict=True)
    ]
    filters = _filters(sample_rate, size)
    covered = filters.sum(1)
    curve = filters @ torch.tensor(decibels) / covered.clamp(min=1e-3)
    # the ends go on as the band beside them
    known = covered.gt(1e-3).nonzero().flatten()
    first, last = int(known[0]), int(known[-1])
    curve[:first], curve[last + 1 :] = curve[first], curve[last]
    return 10 ** (curve / 20)


def _filtered(samples: Tensor, taps: Tensor) -> Tensor:
    """(T,) samples through a symmetrical response, block by block."""
    import torch

    result, reach = torch.empty_like(samples), len(taps) // 2
    for start in range(0, len(samples), BLOCK):
        first = max(0, start - reach)
        piece = samples[first : start + BLOCK + reach]
        # a power of two that holds the whole convolution
        size = 1 << (len(piece) + len(taps) - 1).bit_length()
        block = torch.fft.irfft(torch.fft.rfft(piece, size) * torch.fft.rfft(taps, size), size)
        count = min(BLOCK, len(samples) - start)
        begin = start - first + reach
        result[start : start + count] = block[begin : begin + count]
    return result


def _powers(waveform: Waveform) -> Iterator[Tensor]:
    """(n, B) power spectra of consecutive frames, none of which reaches beyond an end."""
    import torch

    size, hop = (round(seconds * waveform.sample_rate) for seconds in (WINDOW, HOP))
    samples, step = waveform.samples, BLOCK // hop * hop
    window = torch.hann_window(size)
    for start in range(0, max(0, len(samples) - size + 1), step):
        frames = samples[start : start + step + size - hop].unfold(0, size, hop)
        power: Tensor = torch.fft.rfft(frames * window).abs().square()
        yield power


@lru_cache(maxsize=4)
def bands(sample_rate: int, size: int | None = None) -> Tensor:
    """(B, NUM_BANDS) weights that make the mean power of each mel band of the power of each bin."""
    weights = _filters(sample_rate, size)
    return weights / weights.sum(0).clamp(min=1e-3)


def _filters(sample_rate: int, size: int | None = None) -> Tensor:
    import torch

    from speechssl.audio.mel import filters

    size = size or round(WINDOW * sample_rate)
    return torch.tensor(
        filters(NUM_BANDS, size, sample_rate=sample_rate, high=min(HIGHEST, sample_rate / 2)), dtype=torch.float32
    )


def _taps(amplitudes: Tensor) -> Tensor:
    """(odd,) impulse response, symmetrical, of amplitudes of the bins."""
    import torch

    response = torch.fft.irfft(amplitudes.to(torch.complex64)).roll(len(amplitudes) - 1)
    # an even number of taps has no middle: the first, where the window is 0, is left out
    return (response * torch.hann_window(len(response)))[1:]
