"""How a likelihood ratio changes with the seconds of speech of both recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class BySeconds:
    """A scale and an offset that depend on the seconds.

    With q the natural logs of the seconds of the shorter and of the longer recording, each held within what the fit has
    seen, less ``centre``: llr = (scale + scale_slopes . q) * score + offset + offset_slopes . q.

    Args:
        shorter, longer: seconds (least, most) of the recordings the slopes were fitted on; > 0.
        centre: log seconds (shorter, longer) of typical recordings, whose ``scale`` and ``offset`` are as given.
        scale_slopes, offset_slopes: (shorter, longer), per unit of q.
    Source: quality measures in the calibration: Mandasari et al. 2013, "Quality measure functions for calibration of
        speaker recognition systems in various duration conditions"; a scale that depends on them too: Ferrer et al.
        2022, "A speaker verification backend with robust performance across conditions".
    """

    shorter: tuple[float, float]
    longer: tuple[float, float]
    centre: tuple[float, float]
    scale_slopes: tuple[float, float]
    offset_slopes: tuple[float, float]

    def __post_init__(self) -> None:
        ends = (*self.shorter, *self.longer)
        rest = (*self.centre, *self.scale_slopes, *self.offset_slopes)
        if min(ends) <= 0 or not all(map(math.isfinite, (*ends, *rest))):
            raise ValueError("numbers by seconds must be finite, and the seconds positive")

    def slopes(self, seconds: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What to add to the scale and to the offset (N,), for the seconds of both sides (N, 2)."""
        ordered = np.sort(np.asarray(seconds, np.float64).reshape(-1, 2), axis=1)
        bounds = np.array([self.shorter, self.longer])
        q = np.log(np.clip(ordered, bounds[:, 0], bounds[:, 1])) - np.array(self.centre)
        return q @ np.array(self.scale_slopes), q @ np.array(self.offset_slopes)

    def least_scale(self) -> float:
        """What is added to the scale where that is least."""
        corners = [(short, long) for short in self.shorter for long in self.longer]
        q = np.log(corners) - np.array(self.centre)
        return float((q @ np.array(self.scale_slopes)).min())
