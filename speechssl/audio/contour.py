"""The slow contour of loudness: measure it where somebody speaks, and give it to other sound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from speechssl.audio.activity import SILENCE, speech_activity
from speechssl.signals import Waveform

STEP = 0.01  # seconds between levels, as speech activity has it
# seconds (Hann): levels are taken over the first, gains in dB over the second. Syllables get their level, sounds within
# them keep their own; levels over longer windows reach over the edge of a soft passage.
WINDOW, SMOOTH = 0.15, 0.25
RAISED = 15.0  # dB above the mean gain, at most; more would bring up noise where a sound came out nearly silent
LOWERED = 40.0  # dB below it, at most
BLOCK = 1 << 20  # samples worked on at once
FAINTEST = 1e-20  # power below which a level is none


@dataclass
class Follower:
    """Gives sound the contour of another's loudness, perhaps piece by piece.

    Args:
        share: of the contour, 0 to 1; at 0 only the mean level of speech is followed.
    """

    share: float = 1.0
    _wanted: float = field(default=0.0, init=False)  # energy of all speech so far
    _made: float = field(default=0.0, init=False)  # of the sound there

    def applied(self, made: Waveform, source: Waveform, *, stretch: float = 1.0, raised: float = 0.0) -> Waveform:
        """The sound at the level that the source has at each moment of speech; in pauses the gain moves between.

        Where the source is digitally silent for a quarter of a second or more, it is lower by ``LOWERED``.

        Args:
            made: the sound.
            source: begins at the same moment.
            stretch: times as long as the source.
            raised: dB by which the source is louder than it was recorded; the sound follows what was recorded.
        """
        hops = made.sample_rate * STEP * stretch, source.sample_rate * STEP
        powers, wanted = frame_powers(made, hops[0]), frame_powers(source, hops[1])
        speech = speech_activity(source).numpy()
        count = min(len(powers), len(wanted), len(speech))
        silence = _inside(wanted[:count] <= SILENCE, round(SMOOTH / STEP))
        powers, wanted, speech = powers[:count], wanted[:count] / 10 ** (raised / 10), speech[:count]
        self._wanted += float(wanted[speech].sum())
        self._made += float(powers[speech].sum())
        gains = np.full(count, decibels(self._wanted, self._made))
        if speech.any():
            levels = [np.maximum(_mean(one, speech, WINDOW), FAINTEST) for one in (wanted, powers)]
            own = (10 * np.log10(levels[0] / levels[1]) - gains[0]).clip(-LOWERED, RAISED)
            there = np.flatnonzero(speech)
            gains += self.share * np.interp(np.arange(count), there, _mean(own, speech, SMOOTH)[there])
        gains -= self.share * LOWERED * silence
        return _amplified(made, 10 ** (gains / 20), hops[0])


def frame_powers(waveform: Waveform, hop: float) -> NDArray[np.float64]:
    """Mean square (F,) of every ``hop`` samples, which may be no whole number; block by block."""
    samples = waveform.samples.detach().cpu().numpy()
    edges = np.round(np.arange(math.ceil(len(samples) / hop)) * hop).astype(np.int64)
    edges = edges[edges < len(samples)]
    sizes = np.diff(edges, append=len(samples))
    per_block = max(1, round(BLOCK / hop))
    sums = []
    for first in range(0, len(edges), per_block):
        some = edges[first : first + per_block]
        last = some[-1] + sizes[first + len(some) - 1]
        sums.append(np.add.reduceat(np.square(samples[some[0] : last], dtype=np.float64), some - some[0]))
    return np.concatenate(sums) / sizes


def decibels(wanted: float, made: float) -> float:
    """How much louder what is wanted is than what was made, of powers; 0 where one of them is silent."""
    return 10 * math.log10(wanted / made) if wanted > 0 and made > 0 else 0.0


def _mean(values: NDArray[np.float64], speech: NDArray[np.bool_], seconds: float) -> NDArray[np.float64]:
    """Weighted means (F,) of values in speech around each frame; 0 where there is none."""
    kernel = np.hanning(round(seconds / STEP) + 2)[1:-1]
    sides = (len(kernel) // 2, len(kernel) - 1 - len(kernel) // 2)
    sums, weights = (np.convolve(np.pad(one, sides), kernel, "valid") for one in (values * speech, speech * 1.0))
    return sums / np.maximum(weights, 1e-9)


def _inside(flags: NDArray[np.bool_], width: int) -> NDArray[np.float64]:
    """How far inside a run of at least ``width`` flags each frame is, 0 at its edges and outside, 1 in its middle."""
    half = width // 2
    deep = np.convolve(np.pad(~flags, half), np.ones(2 * half + 1), "valid") == 0
    kernel = np.hanning(2 * half + 1)
    return np.convolve(np.pad(deep * 1.0, half, mode="edge"), kernel / kernel.sum(), "valid")


def _amplified(waveform: Waveform, gains: NDArray[np.float64], hop: float) -> Waveform:
    """The samples times gains (F,), each of which holds at the middle of its ``hop`` samples."""
    import torch

    result, places = torch.empty_like(waveform.samples), (np.arange(len(gains)) + 0.5) * hop
    for start in range(0, len(result), BLOCK):
        part = waveform.samples[start : start + BLOCK]
        now = np.interp(np.arange(start, start + len(part)), places, gains)
        result[start : start + BLOCK] = part * torch.from_numpy(now).to(part.dtype)
    return Waveform(result, waveform.sample_rate)
