"""How near two recordings are to the voices of other people, and what their cosine is worth in the light of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MEASURES = 2  # of a recording: mean and spread of its cosines with the cohort


@dataclass(frozen=True)
class ByCohort:
    """What is added to the cosine of two recordings, by the cosines of each with a cohort of other speakers.

    Of each recording the mean and the standard deviation of these cosines are taken. Added are their sums over the two
    recordings and their absolute differences, each times a weight.

    Args:
        sums, differences: weights for (mean, standard deviation).
    Source: Thienpondt, Desplanques and Demuynck 2021, "The IDLab VoxSRC-20 submission: large margin fine-tuning and
        quality-aware score calibration in DNN based speaker verification", whose measure is the mean.

    Example:
        >>> from speechssl.verification.by_cohort import ByCohort
        >>> ByCohort((0.5, 0.0), (-1.0, 0.0)).added([[0.1, 0.2]], [[0.3, 0.2]]).round(6).tolist()
        [0.0]
    """

    sums: tuple[float, float]
    differences: tuple[float, float]

    def __post_init__(self) -> None:
        weights = (*self.sums, *self.differences)
        if len(weights) != 2 * MEASURES or not all(map(math.isfinite, weights)):
            raise ValueError("weights by the cohort are two sums and two differences, finite")

    def added(self, first: Floats, second: Floats) -> Floats:
        """What is added to the cosines (N,) of recordings with these measures, each (N, 2)."""
        return shapes(np.asarray(first), np.asarray(second)) @ np.array([*self.sums, *self.differences])


def shapes(first: Floats, second: Floats) -> Floats:
    """Sums and absolute differences (N, 4) of the measures (N, 2) of both sides."""
    return np.concatenate([first + second, np.abs(first - second)], axis=1)


def measured(vectors: Floats, cohort: Floats) -> Floats:
    """Mean and standard deviation (M, 2) of the cosines of unit vectors (M, E) with a cohort (K, E) of unit vectors."""
    cosines = vectors @ cohort.T
    return np.stack([cosines.mean(axis=1), cosines.std(axis=1)], axis=1)
