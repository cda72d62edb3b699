"""Loudness, colour and silence of sound that is still being spoken.

What ``audio.Follower``, ``speech_activity`` and ``spectrum.equalise`` measure over a whole recording is measured here
over what was heard so far and a few frames ahead. Frames lie at the vocoder's filters: every 10 ms, 40 ms long.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechssl.audio import contour
from speechssl.audio.mel import filters
from speechssl.voices import spectrum
from speechssl.voices.spectrum import Spectrum

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RATE, WINDOW, HOP = 16_000, 640, 160
SHARE = 2 / (240 * WINDOW)  # of a squared spectrum that adds up to the mean square; a Hann window's squares sum to 240
SILENCE = 1e-9  # mean square of digital silence or dither

# speech stands out of the floor of each band by 5 dB on average, within 35 dB of the loud parts
ABOVE, RANGE, MOST = 5.0, 35.0, 30.0
FLOOR_SHARE, LOUD_SHARE = 10, 95  # percentiles of the last frames
REMEMBERED, RENEWED = 1000, 20  # frames they are taken of, and frames after which they are taken again
UNKNOWN = 200  # frames heard before which noise is taken to be no louder than this, dB a band
QUIET = -65.0
HANGING = 12  # frames the gate stays open behind speech
OPENS, CLOSES = 3, 10  # frames in which it opens and closes

LEVEL, SMOOTH = 14, 10  # frames (half a Hann window) that levels and gains are means of
RAISED, LOWERED = 12.0, 30.0  # dB around the mean gain
FORGETS = 0.9995  # of what was heard, a frame: half of it in 14 s
KNEE, PEAK = 0.8, 0.97  # of full scale: above the first, peaks are rounded off so as to stay below the second
LOUD = 1e-3  # of the loudest frame: 30 dB below, a frame still counts for the spectrum


class Activity:
    """Where the source speaks: a frame is decided a few frames later."""

    def __init__(self) -> None:
        self._bands: Floats = np.zeros((0, 24))
        self._heard = 0
        self._floor, self._top = np.full(24, QUIET), -math.inf
        self._bank = filters(24, WINDOW, sample_rate=RATE, low=100.0, high=7600.0)

    def hear(self, power: Floats) -> Flags:
        """Whether each of some frames (F,) stands out.

        Args:
            power: (F, bins) of their spectra, as a share of full scale.
        """
        bands = power @ self._bank
        self._bands = np.concatenate([self._bands, bands])[-REMEMBERED:]
        before, self._heard = self._heard, self._heard + len(bands)
        if before < UNKNOWN or before // RENEWED != self._heard // RENEWED:
            self._renew()
        level = 10 * np.log10(bands + 1e-12)
        total = 10 * np.log10(bands.sum(axis=1) + 1e-12)
        above = (level - self._floor).clip(0, MOST).mean(axis=1)
        return (above > ABOVE) & (total > self._top - RANGE) & (bands.sum(axis=1) > SILENCE)

    def _renew(self) -> None:
        total = self._bands.sum(axis=1)
        sounding = total > SILENCE
        if not sounding.any():
            return
        floor = 10 * np.log10(np.percentile(self._bands[sounding], FLOOR_SHARE, axis=0) + 1e-12)
        self._floor = floor if self._heard > UNKNOWN else np.minimum(floor, QUIET)
        self._top = 10 * math.log10(float(np.percentile(total[sounding], LOUD_SHARE)))


class Colour:
    """Gives spectra the long-term spectrum of the voice, as far as that of what was made so far is known.

    Args:
        wanted: None to leave the spectra as they are.
    """

    def __init__(self, wanted: Spectrum | None) -> None:
        self.wanted = wanted
        self._sum, self._count, self._loudest = torch.zeros(spectrum.NUM_BANDS, dtype=torch.float64), 0.0, 0.0
        self._gains = torch.ones(WINDOW // 2 + 1)

    def given(self, spectra: Tensor, active: Flags) -> Tensor:
        """Spectra (F, bins), of which those that are active count."""
        if self.wanted is None:
            return spectra
        power = spectra.abs().square()[torch.from_numpy(active)]
        totals = power.sum(1)
        # one bang must not keep softer speech from counting for ever
        self._loudest = max([self._loudest * FORGETS ** len(totals), *totals.tolist()])
        loud = power[totals > self._loudest * LOUD]
        if len(loud):
            levels = (loud @ spectrum.bands(RATE, WINDOW)).clamp(min=1e-12).log10() * 10
            keep = FORGETS ** len(loud)
            self._sum = self._sum * keep + levels.double().sum(0)
            self._count = self._count * keep + len(loud)
            own = Spectrum(tuple((self._sum / self._count).tolist()), self._count * HOP / RATE)
            self._gains = spectrum.gains(own, self.wanted, RATE, size=WINDOW)
        return spectra * self._gains


class Levels:
    """The source's loudness and silence for the sound of a stream.

    Args:
        share: of the contour of the source's loudness, 0 to 1; at 0 only the mean level is followed.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._activity = Activity()
        # powers of the source and of the sound, and whether there is speech, from a frame in the past on
        self._source, self._made = np.full(LEVEL, 0.0), np.full(LEVEL, 0.0)
        self._stands: Flags = np.zeros(LEVEL + HANGING, np.bool_)
        self._energies = np.zeros(2)
        self._own: Floats = np.zeros(SMOOTH)
        self._gain = self._gate = 0.0
        self._window = np.hanning(WINDOW + 1)[:-1]

    def hear(self, samples: NDArray[np.float32]) -> None:
        """The frames of the source that (640 + 160 (F - 1),) samples hold, which follow those heard so far."""
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        power = np.abs(np.fft.rfft(frames * self._window, axis=1)) ** 2 * SHARE
        self._source = np.concatenate([self._source, power.sum(axis=1)])
        self._stands = np.concatenate([self._stands, self._activity.hear(power)])

    def active(self, count: int) -> Flags:
        """Whether there is speech in each of the next frames, with what is around them."""
        stands = self._stands
        # a majority of three, as far as the next frame is known
        near = np.pad(stands.astype(int), 1)
        firm = (near[:-2] + near[1:-1] + near[2:]) >= 2
        here = LEVEL + HANGING
        ends = np.cumsum(np.pad(firm, (1, 0)))
        ahead = len(stands) - here - count
        return np.array([ends[here + i + 1 + ahead] > ends[here + i - HANGING] for i in range(count)], np.bool_)

    def applied(self, sound: Tensor, spectra: Tensor, active: Flags) -> Tensor:
        """The sound (160 F,) of the next frames at the loudness that the source has there; silent where it is silent.

        Args:
            sound: begins 10 ms before the place of the last frame of the step before; gains come so much early.
            spectra: (F, bins) of the frames.
            active: (F,) where there is speech.
        """
        power = spectra.abs().square().sum(1).double().numpy() * SHARE
        count = len(power)
        self._made = np.concatenate([self._made, power])
        gains, gates = np.empty(count + 1), np.empty(count + 1)
        gains[0], gates[0] = self._gain, self._gate
        for index in range(count):
            gains[index + 1] = self._next_gain(index, bool(active[index]))
            step = 1 / OPENS if active[index] else -1 / CLOSES
            gates[index + 1] = min(1.0, max(0.0, gates[index] + step))
        self._gain, self._gate = float(gains[-1]), float(gates[-1])
        self._source, self._made = self._source[count:], self._made[count:]
        self._stands = self._stands[count:]
        if not gates.any():
            return torch.zeros_like(sound)
        places = np.arange(len(sound)) / HOP
        # a rise of the gate is a Hann window's
        opened = np.sin(np.interp(places, np.arange(count + 1), gates) * (np.pi / 2)) ** 2
        decibels = np.interp(places, np.arange(count + 1), gains)
        made = sound * torch.from_numpy(10 ** (decibels / 20) * opened).float()
        return rounded(made)

    def _next_gain(self, index: int, active: bool) -> float:
        """dB for the frame ``index`` of those that come."""
        if not active:
            return self._gain_so_far(self._own[-1])
        here = LEVEL + index
        span = slice(here - LEVEL + 1, here + 1)
        source, made = self._source[span], self._made[span]
        self._energies = self._energies * FORGETS + (source[-1], made[-1])
        mean = contour.decibels(*self._energies)
        own = 0.0
        if self._share:
            weights = np.hanning(2 * LEVEL + 1)[1 : LEVEL + 1] * ((source > 0) & (made > 0))
            own = contour.decibels(float(weights @ source), float(weights @ made)) - mean
        self._own = np.append(self._own[1:], min(max(own, -LOWERED), RAISED))
        return mean + self._share * float(self._own @ _RISING)

    def _gain_so_far(self, own: float) -> float:
        self._own = np.append(self._own[1:], own)
        return contour.decibels(*self._energies) + self._share * float(self._own @ _RISING)


_RISING = np.hanning(2 * SMOOTH + 1)[1 : SMOOTH + 1] / np.hanning(2 * SMOOTH + 1)[1 : SMOOTH + 1].sum()


def rounded(samples: Tensor) -> Tensor:
    """Samples whose peaks are rounded off above ``KNEE``, sample by sample, so that none reaches ``PEAK``."""
    height = samples.abs()
    over = KNEE + (PEAK - KNEE) * torch.tanh((height - KNEE) / (PEAK - KNEE))
    return torch.where(height > KNEE, torch.sign(samples) * over, samples)
