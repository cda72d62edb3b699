"""Late echoes of a room: predicted from what was heard before, and taken away.

Weighted prediction error (WPE), one channel: in each band of the spectrum the echo is a sum of earlier values, whose
weights make what is left as small as speech without an echo is. Written here because nara_wpe, which does the same, is
slower and needs a compiled library.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from speechssl.signals import Waveform

SIZE, HOP = 0.064, 0.016  # seconds of a window of the spectrum, and between two of them
DELAY = 2  # windows between a value and the nearest that predicts it: what is nearer is the sound itself
TAPS = 30  # windows that predict: half a second
FEWEST = 12  # windows for each that predicts; with fewer, speech itself would be predicted
PASSES = 2  # the second knows the power of speech better
WEAKEST = 1e-10  # of the largest power; less weighs no more
RIDGE = 1e-6  # of the mean power of what predicts
BLOCK, MARGIN = 30.0, 0.5  # seconds with filters of their own, roughly, and of sound heard on either side of them
FADE = 0.1  # seconds in which one block passes into the next
TOGETHER = 16  # bands at a time, which keeps memory small
BAND = (200.0, 4000.0)  # Hz that say whether there is an echo
SAMPLED = 8  # one band of so many is looked at for that
# shares of the power that can be predicted: less in clean speech, more in tones and in a voice that holds its pitch
LEAST, MOST = 0.02, 0.3


def dry(waveform: Waveform) -> Waveform:
    """Speech without the late echoes of its room; what has hardly any comes back as it is.

    Every half minute is looked at and filtered by itself, as people move.

    Args:
        waveform: speech at 8 kHz or more.
    Source: Nakatani et al. 2010, "Speech dereverberation based on variance-normalized delayed linear prediction".
    """
    samples, rate = waveform.samples, waveform.sample_rate
    margin, fade, block = round(MARGIN * rate), round(FADE * rate), _block(waveform)
    made, changed = torch.zeros_like(samples), False
    for start in range(0, len(samples), block):
        first, last = max(0, start - margin), min(len(samples), start + block + margin)
        part = samples[first:last]
        dried = _dried(part, rate)
        changed = changed or dried is not part
        begin, stop = start - first, min(start + block + fade, len(samples)) - first
        made[start : first + stop] += _ramped(dried[begin:stop], fade, up=start > 0, down=start + block < len(samples))
    return Waveform(made, rate) if changed else waveform


def echo(waveform: Waveform) -> float:
    """The share of the power that is late echo, 0 to 0.3, of the half minute that has most of it.

    In recordings of 3 s or more from nearby it is 0.03 at most, in most rooms with half a second of reverberation more.
    It is the share of all bands together or of the median band, whichever is less: a hum or a tone has few bands that
    can be predicted, noise none that is strong.
    """
    rate, found = waveform.sample_rate, [0.0]
    for part in torch.split(waveform.samples, _block(waveform)):
        heard, taps = _spectrum(part, rate)
        if taps:
            late, power = _late(heard, taps, rate)
            found.append(min(float(late.sum() / power.sum()), float((late / power).median())))
    return max(share for share in found if share < MOST)


def _block(waveform: Waveform) -> int:
    """Samples of a block, so that all blocks are nearly equally long."""
    return math.ceil(len(waveform.samples) / max(1, round(waveform.seconds / BLOCK)))


def _ramped(samples: Tensor, count: int, *, up: bool, down: bool) -> Tensor:
    """Samples that begin or end with a straight ramp, so that two of them add up where they overlap."""
    samples, count = samples.clone(), min(count, len(samples))
    ramp = torch.linspace(0, 1, count + 2)[1:-1]
    if up:
        samples[:count] *= ramp
    if down:
        samples[-count:] *= 1 - ramp
    return samples


def _spectrum(samples: Tensor, rate: int) -> tuple[Tensor, int]:
    """Bands (B, N) complex of a block, and how many windows predict; none where it is too short for an echo."""
    size, hop = round(SIZE * rate), round(HOP * rate)
    if len(samples) < size:
        return torch.zeros(0, 0, dtype=torch.complex64), 0
    heard = torch.stft(samples, size, hop, window=torch.hann_window(size), return_complex=True)
    return heard, min(TAPS, len(samples) // hop // FEWEST)


def _late(heard: Tensor, taps: int, rate: int) -> tuple[Tensor, Tensor]:
    """The power of some bands of a spectrum, (B,) each: that which can be predicted, and all of it."""
    low, high = (round(hertz * round(SIZE * rate) / rate) for hertz in BAND)
    bands = heard[low:high:SAMPLED]
    predicted = bands - direct(bands, taps)
    return predicted.abs().square().sum(1), bands.abs().square().sum(1).clamp(min=1e-30)


def _dried(samples: Tensor, rate: int) -> Tensor:
    """One block without its echo, or the same tensor."""
    heard, taps = _spectrum(samples, rate)
    if not taps:
        return samples
    late, power = _late(heard, taps, rate)
    if not LEAST < float(late.sum() / power.sum()) < MOST:
        return samples
    without = torch.cat([direct(bands, taps) for bands in torch.split(heard, TOGETHER)])
    size, hop = round(SIZE * rate), round(HOP * rate)
    return torch.istft(without, size, hop, window=torch.hann_window(size), length=len(samples))


def direct(heard: Tensor, taps: int) -> Tensor:
    """Bands (B, N) complex without what ``taps`` earlier windows predict of them.

    x[n] = y[n] - sum over k < taps of g[k] y[n - DELAY - k], with the g that make the sum of |x[n]|^2 / p[n] least; p
    is the power of y in the first pass, of the last x in the next. A ridge keeps g small.
    """
    count, reach = heard.shape[1], taps + DELAY
    padded = functional.pad(heard, (reach - 1, 0))
    # row n: window n and all before it within reach, of which the first ``taps`` predict
    around = padded.unfold(1, reach, 1)  # (B, N, reach)
    mirrored = padded.conj().resolve_conj().unfold(1, count, 1)[:, :taps]  # (B, taps, N)
    weakest = max(1e-30, WEAKEST * float(heard.abs().square().max()))
    ridge = RIDGE * torch.eye(taps)
    found = heard
    for _ in range(PASSES):
        strength = found.abs().square().clamp(min=weakest).reciprocal()
        products = (mirrored * strength.to(heard.dtype)[:, None]) @ around  # (B, taps, reach)
        square, now = products[:, :, :taps], products[:, :, -1:]
        mean = square.diagonal(dim1=1, dim2=2).real.mean(1).clamp(min=1e-30)
        weights = torch.linalg.solve(square + mean[:, None, None] * ridge, now)
        found = heard - (around[:, :, :taps] @ weights)[:, :, 0]
    return found
