"""Syllable-like segments: neighbouring frames that look alike become one segment of variable length.

Greedy and linear in time: a segment grows while the next frame's cosine to the segment's mean stays above a threshold,
as in Sylber (Cho et al. 2024, arXiv:2410.07168, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError
from speechssl.units.codebooks.kmeans import Settings, kmeans
from speechssl.units.codebooks.nearest import nearest

Frames = NDArray[np.float32]
Ends = NDArray[np.int64]

LONGEST = 50  # frames, 1 s at 50 Hz: longer than a syllable


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Settings of the cut: the mean to subtract, and the limits of a segment.

    Args:
        centre: (D,) float32, the mean of many frames, subtracted first because it is large and hides differences.
        threshold: see ``segment``.
        longest: see ``segment``.
    Raises:
        InputError: out of range.
    """

    centre: Frames
    threshold: float
    longest: int = LONGEST

    def __post_init__(self) -> None:
        _check_settings(self.threshold, self.longest)

    def ends(self, frames: Frames) -> Ends:
        """(S,) one past the last of each segment of frames (N, D)."""
        return segment(frames - self.centre, threshold=self.threshold, longest=self.longest)


class Segmenter:
    """Units of a recording that comes in pieces, equal to the units of the whole recording.

    A segment depends only on its own frames, so only the frames of the last, unfinished segment are kept.

    Args:
        segmentation: how to cut.
        centroids: (K, D) of segment means.
    """

    def __init__(self, segmentation: Segmentation, centroids: Frames) -> None:
        self._segmentation, self._centroids = segmentation, centroids
        self._rest = np.zeros((0, centroids.shape[1]), np.float32)

    def push(self, frames: Frames) -> NDArray[np.int64]:
        """(n,) unit of every frame up to the end of the last finished segment."""
        frames = np.concatenate([self._rest, frames])
        ends = self._segmentation.ends(frames)[:-1] if len(frames) else np.zeros(0, np.int64)
        done = int(ends[-1]) if len(ends) else 0
        self._rest = frames[done:]
        return frame_units(frames[:done], ends, self._centroids) if done else np.zeros(0, np.int64)

    def finish(self) -> NDArray[np.int64]:
        """(n,) unit of the remaining frames."""
        rest, self._rest = self._rest, self._rest[:0]
        return frame_units(rest, np.array([len(rest)]), self._centroids) if len(rest) else np.zeros(0, np.int64)


def segment(frames: Frames, *, threshold: float = 0.8, longest: int = LONGEST) -> Ends:
    """Cut a sequence greedily, from left to right.

    Args:
        frames: (N, D), N >= 1; subtract a large common mean first, which would hide all differences.
        threshold: cosine between a frame and the mean of its segment below which a new one begins, in (-1, 1].
        longest: frames a segment may have.
    Returns:
        (S,) int64, one past the last frame of each segment, ascending; the last is N.
    Raises:
        InputError: no frames, or a threshold or length out of range.
    """
    if frames.ndim != 2 or not len(frames):
        raise InputError(f"frames have shape {frames.shape}; (N, D) with N >= 1 needed")
    _check_settings(threshold, longest)
    unit = _unit(frames)
    ends, start, total = [], 0, unit[0].copy()
    for i in range(1, len(unit)):
        # the threshold is on the cosine to the mean, whose length cancels
        alike = float(unit[i] @ total) >= threshold * float(np.sqrt(total @ total)) - 1e-12
        if not alike or i - start >= longest:
            ends.append(i)
            start, total = i, unit[i].copy()
        else:
            total += unit[i]
    return np.array([*ends, len(unit)], np.int64)


def calibrate(
    pieces: Iterable[Frames], centre: Frames, rate: float, frame_rate: float, *, longest: int = LONGEST
) -> Segmentation:
    """The segmentation whose segments come about ``rate`` times a second.

    Args:
        pieces: stretches of frames (n, D).
        centre: (D,) mean of all frames.
        rate: segments per second wanted.
        frame_rate: Hz.
        longest: see ``segment``.
    Raises:
        InputError: a rate that no threshold gives.
    """
    held = [piece - centre for piece in pieces]
    wanted = rate * sum(map(len, held)) / frame_rate
    low, high = -0.99, 1.0

    def count(threshold: float) -> int:
        return sum(len(segment(piece, threshold=threshold, longest=longest)) for piece in held)

    if not held or not count(low) <= wanted <= count(high):
        raise InputError(
            f"{rate} segments a second; more than {frame_rate / longest:g} and less than {frame_rate:g} needed, "
            "4 to 8 are usual"
        )
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) < wanted else (low, middle)
    return Segmentation(centre, round((low + high) / 2, 4), longest)


def means(frames: Frames, ends: Ends) -> Frames:
    """(S, D) mean of the frames of each segment."""
    starts = np.r_[0, ends[:-1]]
    total = np.add.reduceat(frames.astype(np.float64), starts, axis=0)
    return (total / (ends - starts)[:, None]).astype(np.float32)


def cluster(segment_means: Sequence[Frames], k: int, *, settings: Settings | None = None) -> Frames:
    """(k, D) centroids of segment means.

    Raises:
        InputError: fewer than k different segments.
    """
    return kmeans(lambda: segment_means, k, settings or Settings()).centroids


def frame_units(frames: Frames, ends: Ends, centroids: Frames) -> NDArray[np.int64]:
    """(N,) unit of the segment each frame is in."""
    ids = nearest(means(frames, ends), centroids)
    return np.repeat(ids, np.diff(np.r_[0, ends]))


def _unit(frames: Frames) -> NDArray[np.float64]:
    wide = frames.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _check_settings(threshold: float, longest: int) -> None:
    if not -1 < threshold <= 1:
        raise InputError(f"threshold is {threshold}; a cosine above -1 and up to 1 needed")
    if longest < 1:
        raise InputError(f"segments of up to {longest} frames; at least 1 needed")
