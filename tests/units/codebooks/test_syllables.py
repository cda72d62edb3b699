"""Segments of variable length: greedy against dynamic programming, dynamic programming against all cuts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.errors import InputError
from speechssl.units.codebooks import syllables


def steps(lengths: list[int], noise: float, seed: int = 0) -> np.ndarray:
    """Frames that stay near one direction for as long as each segment lasts."""
    rng = np.random.default_rng(seed)
    places = np.eye(8)[np.arange(len(lengths)) % 8] * 5
    return (np.repeat(places, lengths, axis=0) + noise * rng.normal(size=(sum(lengths), 8))).astype(np.float32)


def cost(frames: np.ndarray, ends: np.ndarray, *, price: float) -> float:
    """Sum over frames of (1 - cosine to the mean of their segment), plus ``price`` for each segment."""
    unit = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(np.float64)
    # the cosines of n unit vectors to their mean add up to the length of their sum
    return sum(len(part) - float(np.linalg.norm(part.sum(0))) + price for part in np.split(unit, ends[:-1]))


def best(frames: np.ndarray, *, price: float, longest: int = 50) -> np.ndarray:
    """The segmentation of least cost, by dynamic programming."""
    unit = (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(np.float64)
    sums = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(unit, axis=0)])
    least, before = np.full(len(frames) + 1, np.inf), np.zeros(len(frames) + 1, np.int64)
    least[0] = 0.0
    for end in range(1, len(frames) + 1):
        starts = np.arange(max(0, end - longest), end)
        costs = least[starts] + (end - starts) - np.linalg.norm(sums[end] - sums[starts], axis=1) + price
        least[end], before[end] = costs.min(), starts[costs.argmin()]
    ends = [len(frames)]
    while before[ends[-1]] > 0:
        ends.append(int(before[ends[-1]]))
    return np.array(ends[::-1], np.int64)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 500), n=st.integers(1, 9), price=st.sampled_from([0.0, 0.1, 0.5, 2.0]))
def test_best_is_the_best_of_all_cuts(seed: int, n: int, price: float) -> None:
    frames = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    costs = [
        cost(frames, np.array([*cuts, n]), price=price)
        for count in range(n)
        for cuts in itertools.combinations(range(1, n), count)
    ]
    found = best(frames, price=price)
    assert cost(frames, found, price=price) == pytest.approx(min(costs), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(2, 30), min_size=1, max_size=20), seed=st.integers(0, 100))
def test_greedy_finds_clear_segments_as_the_oracle_does(lengths: list[int], seed: int) -> None:
    frames = steps(lengths, noise=0.1, seed=seed)
    ends = np.cumsum(lengths)
    assert np.array_equal(syllables.segment(frames, threshold=0.8), ends)
    assert np.array_equal(best(frames, price=0.3), ends)


def test_greedy_is_never_cheaper_than_the_oracle_and_not_far_off() -> None:
    frames = steps([6, 9, 3, 12, 5, 8] * 4, noise=0.9)
    least = cost(frames, best(frames, price=0.5), price=0.5)
    greedy = min(
        cost(frames, syllables.segment(frames, threshold=threshold), price=0.5) for threshold in (0.5, 0.6, 0.7, 0.8)
    )
    assert least <= greedy + 1e-5
    assert greedy < 1.25 * least


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 500), n=st.integers(1, 60), threshold=st.sampled_from([-0.5, 0.0, 0.5, 0.9, 1.0]))
def test_segments_cover_everything_once(seed: int, n: int, threshold: float) -> None:
    frames = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)
    ends = syllables.segment(frames, threshold=threshold, longest=7)
    lengths = np.diff(np.r_[0, ends])
    assert ends[-1] == n
    assert (lengths >= 1).all()
    assert (lengths <= 7).all()
    units = syllables.frame_units(frames, ends, frames[:3] if n >= 3 else frames)
    assert len(units) == n
    weighted = (syllables.means(frames, ends) * lengths[:, None]).sum(0)
    assert weighted == pytest.approx(frames.sum(0), abs=1e-3)


def test_a_higher_threshold_gives_more_segments() -> None:
    frames = steps([5] * 30, noise=1.5)
    counts = [len(syllables.segment(frames, threshold=threshold)) for threshold in (0.2, 0.5, 0.8, 0.99)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 500), cuts=st.lists(st.integers(0, 200), max_size=12))
def test_pieces_give_the_units_of_the_whole(seed: int, cuts: list[int]) -> None:
    frames = steps([7, 4, 11, 3, 30] * 4, noise=1.2, seed=seed) + 3
    cut = syllables.Segmentation(frames.mean(0), 0.6, longest=9)
    centroids = np.random.default_rng(seed).normal(size=(6, 8)).astype(np.float32)
    whole = syllables.frame_units(frames, cut.ends(frames), centroids)
    segmenter = syllables.Segmenter(cut, centroids)
    pieces = [segmenter.push(piece) for piece in np.split(frames, sorted(cuts))]
    assert np.array_equal(np.concatenate([*pieces, segmenter.finish()]), whole)
    # and is ready for the next recording
    assert len(segmenter.finish()) == 0


def test_a_rate_is_met() -> None:
    frames = [steps([9, 5, 14] * 30, noise=2.0, seed=seed) for seed in range(2)]
    for rate in (4.0, 8.0):
        found = syllables.calibrate(frames, np.zeros(8, np.float32), rate, 50.0)
        segments = sum(len(found.ends(piece)) for piece in frames)
        assert segments / (sum(map(len, frames)) / 50) == pytest.approx(rate, rel=0.05)
    with pytest.raises(InputError, match="less than 50 needed"):
        syllables.calibrate(frames, np.zeros(8, np.float32), 70.0, 50.0)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="threshold is 2"):
        syllables.segment(np.ones((3, 2), np.float32), threshold=2)
    with pytest.raises(InputError, match="shape"):
        syllables.segment(np.ones((0, 2), np.float32))
