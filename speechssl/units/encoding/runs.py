"""Runs: frames to units with durations and times, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from speechssl.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from speechssl.signals import Units


def collapse(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Merge runs of equal rows.

    Args:
        codes: (N,) or (N, Q), N >= 1.
    Returns:
        The rows that differ from the one before, (M,) or (M, Q), and their run lengths (M,), which add up to N.
    Raises:
        InputError: no rows.
    """
    if len(codes) == 0:
        raise InputError("no units to collapse; at least one needed")
    changed = codes[1:] != codes[:-1]
    starts = np.flatnonzero(np.r_[True, changed if codes.ndim == 1 else changed.any(axis=1)])
    return codes[starts], np.diff(np.r_[starts, len(codes)])


def expand(codes: NDArray[np.int64], durations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Repeat every row as long as it lasts; the inverse of ``collapse``.

    Raises:
        InputError: another number of durations, or one below 1.
    """
    if len(codes) != len(durations) or (len(durations) and int(np.min(durations)) < 1):
        raise InputError(f"{len(codes)} units with durations {list(durations[:5])}...; one duration >= 1 a unit needed")
    return np.repeat(codes, durations, axis=0)


def times(durations: NDArray[np.int64], frame_rate: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end (M,) in seconds of each run; frame i lasts from i / frame_rate to (i + 1) / frame_rate."""
    ends = np.cumsum(durations)
    # rounded to a microsecond, so that they read as 0.06 and not as 0.060000000000000005
    return np.round((ends - durations) / frame_rate, 6), np.round(ends / frame_rate, 6)


def expanded(units: Units) -> Tensor:
    """Unit id (N,) int64 of every frame."""
    return units.ids.repeat_interleave(units.durations)
