"""Runs of equal units, merged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError


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
