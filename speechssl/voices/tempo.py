"""Speaking rate, estimated as the mean cosine distance between successive keys; and frames at another tempo.

Keys of one sound lie close together and those of the next elsewhere, so the mean cosine distance from a frame to the
next grows with the number of sounds a second; in proportion with the embedded encoder, as measured against aligned
phones by ``recipes/voice_conversion/tempo.py``. No words are needed, nor any model beside the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechssl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.5  # of the difference in tempo that is made up for; more costs words: recipes/voice_conversion/RESULTS.md
MOST = 1.4  # times as long or as short as a source becomes by itself
SLOWEST, FASTEST = 0.5, 2.0  # what can be asked for by a number
ENOUGH = 1.0  # seconds of speech from which a tempo is believed
ACTIVITY_RATE = 100.0  # Hz of ``audio.speech_activity``
GATHERED = 1 << 22  # numbers compared at a time, 16 MB


@dataclass(frozen=True)
class Tempo:
    """How fast keys change.

    Args:
        change: mean cosine distance from a frame to the next while somebody speaks; 0 if nobody does.
        seconds: of speech it was measured on, >= 0.
    Raises:
        InputError: numbers that are not finite, or below 0.
    """

    change: float
    seconds: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) and number >= 0 for number in (self.change, self.seconds)):
            raise InputError(f"a tempo holds impossible values: {self}")


def measure(keys: Tensor, active: Tensor, frame_rate: float) -> Tempo:
    """How fast the keys of a recording change.

    Args:
        keys: (N, D).
        active: (A,) bool: whether somebody speaks, every 10 ms, as ``audio.speech_activity``; A >= 1.
        frame_rate: of the keys, Hz.
    """
    import torch

    borders = (torch.arange(1, len(keys)).double() / frame_rate * ACTIVITY_RATE).long()
    rows = active[borders.clamp(max=len(active) - 1)].nonzero().flatten()
    total = 0.0
    size = max(1, GATHERED // keys.shape[1])
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        before, after = keys[part].double(), keys[part + 1].double()
        total += float((1 - torch.nn.functional.cosine_similarity(before, after, dim=1)).sum())
    # rounding can make the distance of equal keys a little less than 0
    return Tempo(max(0.0, total) / len(rows) if len(rows) else 0.0, len(rows) / frame_rate)


def pool(parts: Sequence[Tempo]) -> Tempo:
    """The tempo of several recordings (at least one) together, weighted by their seconds."""
    total = sum(part.seconds for part in parts)
    return Tempo(sum(part.change * part.seconds for part in parts) / total if total else 0.0, total)


def stretch(source: Tempo, voices: Sequence[Tempo], shares: Sequence[float], amount: float = 1.0) -> float:
    """Times as long as a source must become to have the tempo of a voice, or of a blend of several.

    ``SHARE`` of the difference (in logarithms), and at most ``MOST``; 1 if one side has less than ``ENOUGH`` seconds.

    Args:
        source: of the recording.
        voices: of each voice.
        shares: of the voices; they add up to 1.
        amount: of the change; 1 is all of it.
    Source: own; that a rate can be told from discovered units, van Niekerk et al. 2023 (Urhythmic), arXiv:2307.06040.
    """
    if min(one.seconds for one in (source, *voices)) < ENOUGH or min(one.change for one in (source, *voices)) <= 0:
        return 1.0
    wanted = sum(share * math.log(one.change) for one, share in zip(voices, shares, strict=True))
    logarithm = SHARE * amount * (math.log(source.change) - wanted)
    return math.exp(min(max(logarithm, -math.log(MOST)), math.log(MOST)))


def stretched(frames: Tensor, length: int) -> Tensor:
    """(length, D) float32: frames (N, D) over another length, in between by straight lines."""
    import torch

    return torch.nn.functional.interpolate(frames.float().T[None], length, mode="linear", align_corners=True)[0].T


def stretched_f0(f0: Tensor, length: int) -> Tensor:
    """(length,): a contour (F,) over another length; each value is one that was, so that no voicing is half."""
    import torch

    return f0[torch.linspace(0, len(f0) - 1, length, dtype=torch.float64).round().long()]


def parse_mode(text: str) -> str | float:
    """Read ``--tempo``: ``"auto"``, ``"source"``, ``"target"`` or a factor such as ``"1.25"``, a quarter faster.

    Raises:
        InputError: anything else, or a factor outside ``SLOWEST`` ... ``FASTEST``.
    """
    if text in ("auto", "source", "target"):
        return text
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not SLOWEST <= factor <= FASTEST:
        raise InputError(
            f"tempo is {text!r}; 'auto', 'source', 'target' or a factor between {SLOWEST} and {FASTEST} needed, 1.25 "
            "for a quarter faster"
        )
    return factor
