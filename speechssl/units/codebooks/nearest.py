"""The nearest centroid of every frame, exactly: no batch shape, thread count or chunk size ever flips an id.

Matrix products are rounded in an order that depends on their shape. So products in float32 only find the candidates,
within a bound on what they may be off by; wherever more than one centroid is left, the sum of squared differences in
float64, always added up in the same order, decides. Equal distances go to the lower id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]

ROWS = 4096  # frames whose products are held at a time
PAIRS = 1 << 15  # candidates settled at a time
_UNIT = 2.0**-24  # unit roundoff of float32


def nearest(frames: Floats, centroids: Floats) -> Integers:
    """Id (N,) int64 of the nearest centroid by Euclidean distance; ties go to the lower id.

    Args:
        frames: (N, D) finite.
        centroids: (K, D) float32.
    """
    return nearest_with_distance(frames, centroids, with_distance=False)[0]


def nearest_with_distance(
    frames: Floats, centroids: Floats, *, with_distance: bool = True
) -> tuple[Integers, NDArray[np.float64]]:
    """Ids (N,), and squared distances (N,) float64, empty if not wanted."""
    ids = np.empty(len(frames), np.int64)
    prepared = _Prepared(centroids)
    for start in range(0, len(frames), ROWS):
        ids[start : start + ROWS] = prepared.nearest(frames[start : start + ROWS])
    if not with_distance:
        return ids, np.empty(0)
    return ids, pair_distances(frames, centroids, np.arange(len(frames)), ids)


def pair_distances(frames: Floats, centroids: Floats, rows: Integers, ids: Integers) -> NDArray[np.float64]:
    """(P,) float64 squared distances of chosen pairs; each depends on its two vectors alone."""
    distances = np.empty(len(rows), np.float64)
    for start in range(0, len(rows), PAIRS):
        part = slice(start, start + PAIRS)
        difference = frames[rows[part]].astype(np.float64) - centroids[ids[part]]
        distances[part] = np.square(difference, out=difference).sum(axis=1)
    return distances


class _Prepared:
    """Centroids ready to be multiplied with, moved to their mean, which keeps the rounding errors small."""

    def __init__(self, centroids: Floats) -> None:
        self._centroids = np.asarray(centroids)
        self._mean = self._centroids.mean(axis=0, dtype=np.float64)
        moved = self._centroids - self._mean
        self._moved = np.ascontiguousarray(moved.astype(np.float32).T)
        squares = np.square(moved).sum(axis=1)
        self._squares = squares.astype(np.float32)
        self._norm = float(np.sqrt(squares.max()))

    def nearest(self, frames: Floats) -> Integers:
        moved = frames.astype(np.float64) - self._mean
        norms = np.sqrt(np.square(moved).sum(axis=1))
        # |x - c|^2 - |x|^2, which orders the centroids of one frame
        scores = (-2 * moved.astype(np.float32)) @ self._moved
        scores += self._squares
        # the limit is rounded up
        limit = (scores.min(axis=1) + 2 * self._error(norms)).astype(np.float32)
        candidates = scores <= np.nextafter(limit, np.float32(np.inf))[:, None]
        ids: Integers = candidates.argmax(axis=1)
        unsure = np.flatnonzero(candidates.sum(axis=1) > 1)
        if len(unsure):
            ids[unsure] = self._settled(frames[unsure], candidates[unsure])
        return ids

    def _error(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far a score can be from the truth: rounding both factors, D products and their sum, in any order."""
        dim = self._moved.shape[0]
        relative = 1.01 * (dim + 4) * _UNIT
        return 2 * relative * norms * self._norm + 3 * _UNIT * self._norm**2 + 1e-12 * norms**2

    def _settled(self, frames: Floats, candidates: NDArray[np.bool_]) -> Integers:
        rows, ids = np.nonzero(candidates)
        distances = pair_distances(frames, self._centroids, rows, ids)
        # by row, then distance, then id; the first of each row wins
        order = np.lexsort((ids, distances, rows))
        _, first = np.unique(rows[order], return_index=True)
        return ids[order][first]
