"""F0 by autocorrelation and the best path through its peaks: as good to synthesise from as Harvest, 30 times faster.

It leans towards voiced, because a fading or hoarse vowel called unvoiced is heard as a whisper. Resynthesis by WORLD of
121 s of read speech (six LibriSpeech speakers) with the F0 of DIO, Harvest and this: PESQ 2.11, 2.84, 2.88; STOI 0.927,
0.962, 0.961; DNSMOS 2.74, 2.96, 3.00 (the recordings: 3.27); seconds per 10 s of speech 0.10, 2.2, 0.07. With a
threshold of 0.15 PESQ would be 2.99, but white noise would be voiced throughout; with the threshold below 1 in 100 of
its frames is. These numbers are of the first path alone. The second path keeps to the range of the voice, and hum is
taken out first: recipes/voice_conversion/f0.py compares with CREPE.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechssl.audio.activity import RATE, at_16_khz
from speechssl.checkpoints import kinds
from speechssl.errors import InputError
from speechssl.signals import Waveform

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]

BLOCK, CONTEXT = 30.0, 1.0  # seconds analysed at a time, and on both sides of them

MAINS, OVERTONES = (50, 60), 6  # Hz, and how many multiples of them
HUM_WINDOW = 8000  # samples, half a second: bins of 2 Hz
HUM_QUIET, HUM_LOUD = 0.2, 0.8  # quantiles over time: what is left when nobody speaks, and when somebody does
HUM_RATIO = 3.0  # a line stands out this much from what is beside it
HUM_STEADY = 0.5  # of its loud amplitude a line has in the quiet; a voice at 120 Hz stops
HUM_WIDTH = 2.0  # Hz that are taken out
RUMBLE = 75.0  # Hz, -3 dB; below lies little of any voice, and its overtones tell the period

LOW_RATE = 8000  # Hz at which periods are measured
FLOOR, CEILING = 60.0, 500.0  # Hz: low creaky men to excited women and children
WINDOW = 0.045  # seconds: nearly three periods of the lowest voice
CANDIDATES = 6  # peaks kept per frame
VOICING = 0.25  # strength of the unvoiced candidate; Praat has 0.45
SILENCE = 0.01  # of the loud peaks; below, a frame is rather unvoiced
OCTAVE_COST = 0.02  # per octave below the ceiling, so that not two periods are taken for one
JUMP_COST = 0.35  # per octave between neighbouring frames
CHANGE_COST = 0.14  # between voiced and unvoiced
SURE = 0.6  # strength of a candidate that is no noise
LOUD = 0.3  # of the loud peaks; quieter frames, where a room hums, do not tell where a voice lies
ENOUGH = 20  # sure frames that tell where a voice lies
RANGE = (0.55, 1.8)  # of its median F0: ten semitones down or up; the noise of consonants is "voiced" higher


@kinds.checked
def f0(waveform: Waveform, *, frame_period: float = 0.005) -> Tensor:
    """Fundamental frequency by autocorrelation, a best path and WORLD's StoneMask; mains hum is taken out first.

    Args:
        waveform: any rate; analysed at 16 kHz, in blocks of 30 s with a second of context on both sides, so that
            memory is flat.
        frame_period: seconds between values; the i-th belongs to the time i * frame_period.
    Returns:
        (F,) float32 Hz in [60, 500] or so (refinement may pass the edges slightly), 0 where unvoiced;
        F = floor(seconds / frame_period) + 1.
    Raises:
        InputError: frame period not between 1 ms and 0.1 s.
    Source: Boersma 1993; Morise 2016 (StoneMask).
    """
    import torch

    return torch.cat(list(f0_blocks(waveform, frame_period)))


def f0_blocks(waveform: Waveform, frame_period: float) -> Iterator[Tensor]:
    """``f0`` block by block, for whoever may not want the rest.

    Raises:
        InputError: as ``f0``.
    """
    import torch

    if not 0.001 <= frame_period <= 0.1:
        raise InputError(f"frame period is {frame_period} s; 0.001 to 0.1 needed")
    samples = at_16_khz(waveform)
    # the small number: seconds / period of whole numbers of periods may fall just below the whole
    frames = int(waveform.seconds / frame_period + 1e-6) + 1
    step = max(1, round(BLOCK / frame_period))
    for first in range(0, frames, step):
        block = _block(samples, first, min(first + step, frames), frames, frame_period)
        yield torch.from_numpy(block.astype(np.float32))


def _block(samples: Array, first: int, last: int, frames: int, period: float) -> Array:
    """F0 of the frames from ``first`` to ``last``, tracked with context on both sides."""
    context = round(CONTEXT / period)
    begin, end = max(0, first - context), min(last + context, frames)
    # the cut falls on a frame; frame periods of whole samples make this exact
    piece = samples[round(begin * period * RATE) : round(end * period * RATE)].astype(np.float64)
    return track(piece, np.arange(end - begin) * period)[first - begin : last - begin]


def track(samples: Array, times: Array) -> Array:
    """F0 of a stretch of sound; the loud peaks and the path are those of the whole stretch, 30 s or so.

    Args:
        samples: (T,) at 16 kHz.
        times: (F,) seconds, rising, about 5 ms apart.
    Returns:
        (F,) float64 Hz, 0 where unvoiced.
    Source: Boersma 1993, Accurate short-term analysis of the fundamental frequency; a second path within the range that
    the first one finds, as De Looze and Hirst 2008; refined by WORLD's StoneMask.
    """
    if len(times) == 0 or not samples.any():
        return np.zeros(len(times))
    samples = without_hum(samples)
    low = at_low_rate(samples).astype(np.float32)
    correlation, peaks = autocorrelation(low, np.round(times * LOW_RATE).astype(np.int64))
    hertz, strength = candidates_of(correlation)
    relative = peaks / max(float(np.percentile(peaks, 99)), 1e-9)
    unvoiced = unvoiced_strength(relative)
    coarse = _best_path(hertz, strength, unvoiced)
    sure = coarse[((hertz == coarse[:, None]) & (strength > SURE)).any(axis=1) & (relative > LOUD)]
    if len(sure) >= ENOUGH:
        lowest, highest = (bound * np.median(sure) for bound in RANGE)
        within = (hertz >= lowest) & (hertz <= highest)
        coarse = _best_path(hertz, np.where(within, strength, -1.0), unvoiced)
    return refined(samples, coarse, times)


def unvoiced_strength(relative: Array) -> Array:
    """Strength (F,) of the unvoiced candidate, by the highest sample around a frame in relation to the loud peaks."""
    return VOICING + np.maximum(0, 2 - relative * (1 + VOICING) / SILENCE)


def without_hum(samples: Array) -> Array:
    """Without what rumbles, and without lines of the mains, which would be a steady voice of 60 Hz.

    Filters of no delay, each the gain of a filter of second order that runs forwards and backwards: a Butterworth
    high-pass, and notches. They are applied to the spectrum, which costs less than importing ``scipy.signal``.
    """
    edge = min(len(samples) - 1, RATE // 2)
    extended = np.pad(samples, edge, mode="reflect", reflect_type="odd")
    size = -(-len(extended) // 2000) * 2000  # has small factors
    angle = np.linspace(0, np.pi, size // 2 + 1)  # per sample
    slope, cosine, sine = np.tan(angle / 2), np.cos(angle), np.sin(angle)
    gain = slope**4 / (slope**4 + np.tan(np.pi * RUMBLE / RATE) ** 4)
    for line in _mains_lines(samples):
        depth = (cosine - np.cos(2 * np.pi * line / RATE)) ** 2
        gain *= depth / (depth + (np.tan(np.pi * HUM_WIDTH / RATE) * sine) ** 2)
    return np.fft.irfft(np.fft.rfft(extended, size) * gain, size)[edge : edge + len(samples)]


def at_low_rate(samples: Array) -> Array:
    """Every second sample behind a windowed low-pass, as ``scipy.signal.resample_poly`` has it by default."""
    reach = 10 * RATE // LOW_RATE
    taps = np.sinc(np.arange(-reach, reach + 1) * LOW_RATE / RATE) * np.kaiser(2 * reach + 1, 5.0)
    return np.convolve(samples, taps / taps.sum())[reach : reach + len(samples) : RATE // LOW_RATE]


def _mains_lines(samples: Array) -> list[int]:
    """Multiples of 50 or 60 Hz that stand out where nobody speaks; none in less than a second."""
    if len(samples) < 2 * HUM_WINDOW:
        return []
    frames = np.lib.stride_tricks.sliding_window_view(samples, HUM_WINDOW)[:: HUM_WINDOW // 4]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(HUM_WINDOW), axis=1))
    quiet, loud = np.quantile(spectra[:, : RATE // 32], [HUM_QUIET, HUM_LOUD], axis=0)

    def at(line: int) -> int:
        return line * HUM_WINDOW // RATE

    def stands_out(line: int) -> bool:
        beside = np.concatenate([quiet[at(line) - 9 : at(line) - 3], quiet[at(line) + 4 : at(line) + 10]])
        return bool(quiet[at(line) - 1 : at(line) + 2].max() > HUM_RATIO * np.median(beside))

    lines = []
    for mains in MAINS:
        found = [mains * number for number in range(1, OVERTONES + 1) if stands_out(mains * number)]
        if any(quiet[at(line)] > HUM_STEADY * loud[at(line)] for line in found if line <= 2 * mains):
            lines += found
    return lines


def autocorrelation(low: Array, centres: Array) -> tuple[Array, Array]:
    """(F, lags) normalised to 1 at lag 0 and freed of the window's own decay, and (F,) the highest absolute sample."""
    half = int(WINDOW * LOW_RATE) // 2
    padded = np.pad(low, (half, half + max(0, int(centres[-1]) - len(low) + 1)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[centres]
    frames = frames - frames.mean(axis=1, keepdims=True)
    window = np.hanning(2 * half + 2)[1:-1].astype(np.float32)
    lags = int(LOW_RATE / FLOOR) + 3

    def correlate(windowed: Array) -> Array:
        power = np.abs(np.fft.rfft(windowed, 512)) ** 2
        return np.asarray(np.fft.irfft(power)[:, :lags])

    own, product = correlate(window[None]), correlate(frames * window)
    normalised = product / np.maximum(product[:, :1], 1e-12) / (own / own[:, :1])
    return normalised, np.abs(frames).max(axis=1)


def candidates_of(correlation: Array) -> tuple[Array, Array]:
    """(F, K) Hz and strength of the highest peaks, each placed by the parabola through its three samples."""
    first = int(LOW_RATE / CEILING)
    before, at, after = correlation[:, first - 1 : -2], correlation[:, first:-1], correlation[:, first + 1 :]
    peak = (at > before) & (at >= after) & (at > 0)
    bend = np.where(peak, before - 2 * at + after, -1.0)
    offset = np.where(peak, 0.5 * (before - after) / bend, 0.0)
    lag = np.arange(first, first + at.shape[1]) + offset
    height = np.minimum(at - 0.25 * (before - after) * offset, 1.0) - OCTAVE_COST * np.log2(FLOOR * lag / LOW_RATE)
    strength = np.where(peak, height, -1.0)
    best = np.argpartition(-strength, CANDIDATES, axis=1)[:, :CANDIDATES]
    return LOW_RATE / np.take_along_axis(lag, best, 1), np.take_along_axis(strength, best, 1)


def _best_path(hertz: Array, strength: Array, unvoiced: Array) -> Array:
    """(F,) Hz, 0 where unvoiced: the candidates whose strength less the cost of jumps is highest in sum."""
    gain = np.concatenate([unvoiced[:, None], strength], axis=1)
    cost = jump_costs(hertz)
    total, states = -gain[0], np.arange(CANDIDATES + 1)
    back = np.zeros(gain.shape, dtype=np.int64)
    for index in range(1, len(gain)):
        arriving = total[:, None] + cost[index - 1]
        back[index] = arriving.argmin(axis=0)
        total = arriving[back[index], states] - gain[index]
    chosen = np.zeros(len(gain), dtype=np.int64)
    chosen[-1] = int(total.argmin())
    for index in range(len(gain) - 1, 0, -1):
        chosen[index - 1] = back[index, chosen[index]]
    return np.concatenate([np.zeros((len(hertz), 1)), hertz], axis=1)[np.arange(len(gain)), chosen]


def jump_costs(hertz: Array) -> Array:
    """(F - 1, K + 1, K + 1) from each candidate to each of the next frame; the first is the unvoiced one."""
    pitch = np.log2(hertz)
    cost = np.full((len(hertz) - 1, CANDIDATES + 1, CANDIDATES + 1), CHANGE_COST)
    cost[:, 0, 0] = 0
    cost[:, 1:, 1:] = JUMP_COST * np.abs(pitch[:-1, :, None] - pitch[1:, None, :])
    return cost


def refined(samples: Array, coarse: Array, times: Array) -> Array:
    """By the instantaneous frequency of the harmonics, where WORLD's StoneMask trusts it."""
    fine = pyworld().stonemask(np.ascontiguousarray(samples, dtype=np.float64), coarse, times, RATE)
    return np.where(fine > 0, fine, coarse)


def pyworld() -> Any:
    """The library, without the warning its import gives: it asks pkg_resources for its own version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld as library
    return library
