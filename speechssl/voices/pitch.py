"""Pitch of a voice and how to move it: log-F0 statistics and the linear map between two speakers.

F0 contours are tensors (F,) in Hz, 0 where unvoiced, one value every 5 ms, as ``audio.f0`` gives them.
Logarithms are natural.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechssl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

FRAME_PERIOD = 0.005  # seconds, the step of WORLD
LOWEST, HIGHEST = 40.0, 1100.0  # Hz; what moves outside is held at the edge: below, pulses are heard one by one
OCTAVE = math.log(2.0)
ROUNDING = 2  # values, 10 ms: the width of the bell that jumps between frames are rounded off with
ENOUGH = 1.0  # seconds of voiced speech from which a spread can be trusted
LARGEST_MEAN = 20.0  # no logarithm of an F0: exp(20) Hz is 485 MHz
SPREAD_LIMIT = 2.0  # a larger change of the spread sounds unnatural and usually means a bad F0 estimate


@dataclass(frozen=True)
class PitchStatistics:
    """Log-F0 of one voice.

    Args:
        mean: mean of log(F0 / 1 Hz) over voiced frames; 0 if there are none.
        sd: its standard deviation (population); 0 if there are none.
        voiced_seconds: seconds of voiced speech they were measured on, >= 0.
    """

    mean: float
    sd: float
    voiced_seconds: float

    def __post_init__(self) -> None:
        if (
            not all(map(math.isfinite, (self.mean, self.sd, self.voiced_seconds)))
            or min(self.sd, self.voiced_seconds) < 0
            or abs(self.mean) > LARGEST_MEAN
        ):
            raise InputError(f"pitch statistics hold impossible values: {self}")

    @property
    def hertz(self) -> float:
        """The geometric mean of F0 in Hz; 0 if nothing was voiced."""
        return math.exp(self.mean) if self.voiced_seconds > 0 else 0.0


def statistics(f0: Tensor, *, frame_period: float = FRAME_PERIOD) -> PitchStatistics:
    """Measure a contour; values more than an octave from the median, which are mostly octave errors, are left out.

    Args:
        f0: (F,) Hz, 0 where unvoiced; F may be 0.
        frame_period: seconds between values.
    """
    voiced = f0[f0 > 0].double()
    if voiced.numel() == 0:
        return PitchStatistics(0.0, 0.0, 0.0)
    logs = voiced.log()
    kept = logs[(logs - logs.median()).abs() <= OCTAVE]
    return PitchStatistics(float(kept.mean()), float(kept.std(correction=0)), kept.numel() * frame_period)


def pool(parts: Sequence[PitchStatistics]) -> PitchStatistics:
    """Statistics of several recordings together, weighted by their voiced seconds."""
    total = sum(part.voiced_seconds for part in parts)
    if total == 0:
        return PitchStatistics(0.0, 0.0, 0.0)
    mean = sum(part.mean * part.voiced_seconds for part in parts) / total
    variance = sum((part.sd**2 + (part.mean - mean) ** 2) * part.voiced_seconds for part in parts) / total
    return PitchStatistics(mean, math.sqrt(variance), total)


def of_frames(f0: Tensor, num_frames: int, frame_rate: float) -> Tensor:
    """(N, n) Hz of the values that lie in each frame, of a contour (F,); its last value stands for those it lacks.

    Args:
        f0: every 5 ms, as ``audio.f0``: the first at sample 0, which lies in no frame.
        num_frames: N.
        frame_rate: Hz; n is the number of values a frame, 4 at 50 Hz.
    """
    import torch

    count = max(1, round(1 / (FRAME_PERIOD * frame_rate)))
    places = 1 + (torch.arange(num_frames) / (FRAME_PERIOD * frame_rate)).round().long()[:, None] + torch.arange(count)
    return f0[places.clamp(max=len(f0) - 1)]


def mixed(contours: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """One contour (F,) Hz of several (F,), which may have jumps: those are rounded off over some 20 ms.

    Voiced where half of the shares or more are; log-F0 is the mean over those that are voiced.

    Args:
        contours: Hz every 5 ms, 0 where unvoiced.
        shares: one for each, which add up to 1.
    """
    import torch

    stacked, weights = torch.stack(list(contours)).double(), torch.tensor(list(shares), dtype=torch.float64)[:, None]
    weighed = weights * (stacked > 0)
    total = weighed.sum(0)
    logs = (weighed * stacked.clamp(min=1).log()).sum(0) / total.clamp(min=1e-9)
    voiced = total >= 0.5 - 1e-9
    kernel = (-0.5 * (torch.arange(-4 * ROUNDING, 4 * ROUNDING + 1) / ROUNDING) ** 2).exp().double()[None, None]

    def blurred(values: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(values[None, None], kernel, padding=4 * ROUNDING)[0, 0]

    rounded = blurred(logs * voiced) / blurred(voiced.double()).clamp(min=1e-9)
    return rounded.exp().clamp(LOWEST, HIGHEST).where(voiced, 0.0).to(contours[0].dtype)


def parse_mode(text: str) -> str | float:
    """Read ``--pitch``: ``"target"``, ``"source"`` or a number of semitones such as ``"-3.5"``.

    Raises:
        InputError: anything else, or more than four octaves.
    """
    if text in ("target", "source"):
        return text
    try:
        semitones = float(text)
    except ValueError:
        semitones = math.nan
    if not abs(semitones) <= 48:
        raise InputError(f"pitch is {text!r}; 'target', 'source' or semitones between -48 and 48 needed")
    return semitones


def transform(f0: Tensor, source: PitchStatistics, target: PitchStatistics, mode: str | float = "target") -> Tensor:
    """Move a contour; unvoiced frames stay unvoiced.

    Args:
        f0: (F,) Hz, 0 where unvoiced.
        source: statistics of the speaker of ``f0``.
        target: statistics of the voice wanted.
        mode: ``"target"`` gives log-F0 the target's mean and spread (only the mean if either side has less than
            ``ENOUGH`` voiced seconds; nothing changes if a side has none), ``"source"`` leaves it, a number shifts it
            by semitones.
    Returns:
        (F,) Hz between ``LOWEST`` and ``HIGHEST`` where voiced, 0 elsewhere.
    Raises:
        InputError: another mode.
    Source: the usual linear map of voice conversion in the log domain, e.g. Liu et al. 2007.
    """
    wanted = parse_mode(mode) if isinstance(mode, str) else parse_mode(repr(float(mode)))
    if wanted == "source":
        return f0
    shift, scale, centre = 0.0, 1.0, 0.0
    if isinstance(wanted, float):
        shift = wanted * OCTAVE / 12
    elif source.voiced_seconds > 0 and target.voiced_seconds > 0:
        shift, scale, centre = target.mean - source.mean, _scale(source, target), source.mean
    voiced = f0 > 0
    logs = f0.double().where(voiced, 1.0).log()
    moved = ((logs - centre) * scale + centre + shift).exp().clamp(LOWEST, HIGHEST)
    return moved.where(voiced, 0.0).to(f0.dtype)


def _scale(source: PitchStatistics, target: PitchStatistics) -> float:
    if min(source.voiced_seconds, target.voiced_seconds) < ENOUGH or min(source.sd, target.sd) <= 0:
        return 1.0
    return min(max(target.sd / source.sd, 1 / SPREAD_LIMIT), SPREAD_LIMIT)
