"""Loudness and bursts: measure, set, limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechssl.audio.activity import speech_activity
from speechssl.audio.decoding import BLOCK
from speechssl.audio.files import resample
from speechssl.checkpoints import kinds
from speechssl.errors import InputError
from speechssl.signals import Waveform

if TYPE_CHECKING:
    from torch import Tensor

BURST_SHARE = 0.995  # of the samples are of usual height
BURST_HEIGHT = 2.0  # times the usual height: speech seldom passes it
BURST_SECONDS = 0.005  # reach of the lowered gain to each side
PEAK = 0.97  # leaves 0.26 dB for what lossy codecs and resampling add
FADE = 0.01  # seconds over which a sound begins or ends that is cut

SILENCE = -70.0  # LUFS, the absolute gate of BS.1770
SOFT = -50.0  # LUFS below which speech is raised before it is heard: encoders know none so soft
HEARD = -26.0  # LUFS to which it is raised
WEIGHTING = -0.691  # dB, the constant of BS.1770 that makes up for the K-weighting of a 1 kHz tone


@kinds.checked
def loudness(waveform: Waveform) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4: K-weighting, 0.4-second blocks, both gates).

    Less than 0.4 s counts as one block. -inf for silence (below -70 LUFS). Memory is flat.
    """
    return _gated(_block_powers(waveform))


@kinds.checked
def set_loudness(waveform: Waveform, lufs: float, *, peak: float = PEAK) -> Waveform:
    """Scale to a loudness, but never beyond a peak, so that nothing clips.

    Args:
        waveform: any level; what counts as silence (below -70 LUFS) comes back as it is.
        lufs: wanted integrated loudness, above -70; speech is usually set to between -26 and -16.
        peak: highest absolute sample afterwards, in (0, 1]; where it is the tighter limit the result is quieter.
    Raises:
        InputError: another loudness or peak.
    """
    if not (math.isfinite(lufs) and lufs > SILENCE):
        raise InputError(f"loudness is {lufs} LUFS; a number above {SILENCE:.0f} such as -23 needed")
    if not 0 < peak <= 1:
        raise InputError(f"peak is {peak}; a number above 0 and up to 1 needed")
    powers, top = _block_powers(waveform), float(waveform.samples.abs().max())
    if _gated(powers) == -math.inf:
        return waveform
    decibels = 0.0
    # the absolute gate lets more or fewer quiet pieces through at another level, so that one step may miss
    for _ in range(8):
        now = _gated(powers * 10 ** (decibels / 10))
        decibels += lufs - now if now > -math.inf else 1.0
    gain = min(10 ** (decibels / 20), peak / top)
    return Waveform((waveform.samples * gain).clamp_(-peak, peak), waveform.sample_rate)


def audible(waveform: Waveform) -> tuple[Waveform, float]:
    """Very soft speech raised to a usual level, and by how many dB; other sound as it is, and 0.

    Args:
        waveform: any; speech counts as very soft below -50 LUFS, and far below the gate of ``loudness`` too.
    """
    import torch

    samples = waveform.samples
    power = float(torch.dot(samples, samples)) / len(samples)
    # the loudness of sound that is loud on the whole need not be measured
    if power == 0 or 10 * math.log10(power) > SOFT or loudness(waveform) > SOFT:
        return waveform, 0.0
    first = PEAK / float(samples.abs().max())
    near = Waveform(samples * first, waveform.sample_rate)
    raised = set_loudness(near, HEARD)
    if not bool(speech_activity(raised).any()):
        return waveform, 0.0
    return raised, 20 * math.log10(float(raised.samples.abs().max()) / float(samples.abs().max()))


def with_length(waveform: Waveform, length: int, *, begins: bool = True) -> Waveform:
    """As many samples as wanted: cut, or silent at the end. The sound is faded for 10 ms, so that there is no pop.

    Args:
        waveform: any.
        length: samples wanted, >= 1.
        begins: whether the sound is faded in too; not if it goes on from another one.
    """
    import torch

    samples = faded(waveform.samples[:length].flip(0), waveform.sample_rate).flip(0)
    samples = faded(samples, waveform.sample_rate) if begins else samples
    return Waveform(torch.nn.functional.pad(samples, (0, length - len(samples))), waveform.sample_rate)


def faded(samples: Tensor, sample_rate: int) -> Tensor:
    """Samples (n,) whose first 10 ms (half, if there are less than 20 ms) rise from silence."""
    count = min(round(FADE * sample_rate), len(samples) // 2)
    if not count:
        return samples
    import torch

    risen = samples.clone()
    risen[:count] *= torch.linspace(0, math.pi / 2, count + 1)[:-1].sin() ** 2
    return risen


def limit_bursts(waveform: Waveform, *, block: int = 1 << 20) -> Waveform:
    """Turn down what is more than twice as high as 99.5 % of the samples, so that a burst does not make the rest quiet.

    The lowest gain needed within 5 ms, averaged over 5 ms to each side, is never above the gain needed at its middle:
    nothing stays above the limit, and the gain changes smoothly. Ordinary speech passes unchanged.

    Args:
        waveform: any level.
        block: samples worked on at once; the result does not depend on it.
    """
    import torch
    from torch.nn import functional

    samples, reach = waveform.samples, max(1, round(BURST_SECONDS * waveform.sample_rate))
    heights, place = samples.abs().numpy(), math.ceil(len(samples) * BURST_SHARE) - 1
    heights.partition(place)  # in place: kthvalue would take three times the memory, of an hour 700 MB
    usual = float(heights[place])
    del heights
    limit, result = BURST_HEIGHT * usual, samples
    if usual == 0:
        return waveform
    for start in range(0, len(samples), block):
        begin, end = max(0, start - 2 * reach), min(len(samples), start + block + 2 * reach)
        near = samples[begin:end].abs()
        if float(near.max()) <= limit:
            continue
        needed = (limit / near.clamp(min=limit))[None, None]
        lowest = -functional.max_pool1d(-needed, 2 * reach + 1, stride=1, padding=reach)
        padded = functional.pad(lowest, (reach, reach), mode="replicate")
        smooth = functional.avg_pool1d(padded, 2 * reach + 1, stride=1)[0, 0]
        held = torch.clamp(samples[begin:end] * smooth, -limit, limit)
        # most sound has no burst and needs no copy, of an hour 230 MB
        result = samples.clone() if result is samples else result
        result[start : start + block] = held[start - begin : start - begin + block]
    return Waveform(result, waveform.sample_rate)


def _block_powers(waveform: Waveform) -> NDArray[np.float64]:
    """K-weighted mean square of blocks of 0.4 s that overlap by three quarters."""
    sound = waveform if waveform.sample_rate >= 4000 else resample(waveform, 16_000)  # the filters need the band
    rate, total = sound.sample_rate, len(sound.samples)
    length = min(0.4, total / rate)
    count = round((total / rate - length) / (length * 0.25)) + 1
    first = (length * 0.25 * np.arange(count) * rate).astype(np.int64)
    last = np.minimum((length * (0.25 * np.arange(count) + 1) * rate).astype(np.int64), total)
    edges, places = np.unique(np.concatenate([first, last]), return_inverse=True)
    energy = _energy_before(sound, edges)[places]
    return (energy[count:] - energy[:count]) / (length * rate)


def _gated(powers: NDArray[np.float64]) -> float:
    kept = powers[powers > 10 ** ((SILENCE - WEIGHTING) / 10)]
    if len(kept) == 0:
        return -math.inf
    relative = kept.mean() / 10  # 10 LU below what passed the absolute gate
    return WEIGHTING + 10 * math.log10(float(kept[kept > relative].mean()))


def _energy_before(waveform: Waveform, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Energy of the K-weighted samples before each of the ascending positions, block by block in float64."""
    rate = waveform.sample_rate
    # of the impulse response, of which less than 1e-20 is left then
    tail = math.ceil(0.25 * rate)
    size = 1 << (max(tail, min(BLOCK, len(waveform.samples))) + tail - 1).bit_length()
    weighting = _k_weighting(size, rate)
    energy, total = np.zeros(len(positions)), 0.0
    samples = waveform.samples.detach().cpu().numpy()
    for start in range(0, len(samples), size - tail):
        piece = samples[max(0, start - tail) : start + size - tail].astype(np.float64)
        padded = np.pad(piece, (max(0, tail - start), 0))
        block = np.fft.irfft(np.fft.rfft(padded, size) * weighting, size)[tail : len(padded)]
        sums = total + np.cumsum(block**2)
        inside = (positions > start) & (positions <= start + len(sums))
        energy[inside] = sums[positions[inside] - start - 1]
        total = float(sums[-1])
    return energy


def _k_weighting(size: int, rate: int) -> NDArray[np.complex128]:
    """Response (size / 2 + 1,) of the two filters of BS.1770, a shelf of 4 dB above 1.5 kHz and a high-pass at 38 Hz.

    Source: De Man 2018, Evaluation of implementations of the EBU R128 loudness, for any rate; the filters are those of
    Bristow-Johnson's cookbook.
    """
    delay = np.exp(-1j * np.linspace(0, np.pi, size // 2 + 1))  # by one sample

    def response(before: list[float], after: list[float]) -> NDArray[np.complex128]:
        above, below = (first + delay * (second + delay * third) for first, second, third in (before, after))
        return above / below

    gain, angle = 10 ** (4 / 40), 2 * math.pi * 1500 / rate
    turn, width = math.cos(angle), 2 * gain**0.5 * math.sin(angle) / (2 * 0.5**0.5)
    up, down = (gain + 1) + (gain - 1) * turn, (gain + 1) - (gain - 1) * turn
    shelf = response(
        [gain * (up + width), -2 * gain * (gain - 1 + (gain + 1) * turn), gain * (up - width)],
        [down + width, 2 * (gain - 1 - (gain + 1) * turn), down - width],
    )
    angle = 2 * math.pi * 38 / rate
    turn, width = math.cos(angle), math.sin(angle)  # quality 0.5
    high_pass = response([(1 + turn) / 2, -1 - turn, (1 + turn) / 2], [1 + width, -2 * turn, 1 - width])
    return shelf * high_pass
