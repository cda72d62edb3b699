"""Ids are a pure function of frame and codebook, whatever the batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.units.codebooks.nearest import nearest, nearest_with_distance


def slow(frames: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Oracle: float64, one pair at a time, the lower id on ties."""
    ids = []
    for frame in frames.astype(np.float64):
        distances = [((frame - centroid.astype(np.float64)) ** 2).sum() for centroid in centroids]
        ids.append(int(np.argmin(distances)))
    return np.array(ids, np.int64)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 40),
    k=st.integers(1, 20),
    dim=st.integers(1, 70),
    offset=st.sampled_from([0.0, 5.0, 1e4]),
    step=st.sampled_from([0.0, 0.5, 1e-3]),
)
def test_equals_the_slow_oracle(seed: int, n: int, k: int, dim: int, offset: float, step: float) -> None:
    rng = np.random.default_rng(seed)
    frames = (rng.normal(size=(n, dim)) + offset).astype(np.float32)
    centroids = (rng.normal(size=(k, dim)) + offset).astype(np.float32)
    if step:
        # on a lattice, exact ties abound
        frames, centroids = (np.round(x / step) * np.float32(step) for x in (frames, centroids))
    found, distances = nearest_with_distance(frames, centroids)
    assert np.array_equal(found, slow(frames, centroids))
    assert np.allclose(distances, ((frames.astype(np.float64) - centroids[found]) ** 2).sum(1))


def test_ties_go_to_the_lower_id() -> None:
    centroids = np.array([[1, 0], [-1, 0], [1, 0]], np.float32)
    frames = np.array([[0, 0], [0, 5], [1, 0]], np.float32)
    assert nearest(frames, centroids).tolist() == [0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(1, 5999), max_size=6))
def test_any_cut_gives_the_same_ids_even_between_near_twins(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(50, 96)).astype(np.float32)
    # twins one float32 step apart: products alone cannot tell them
    centroids = np.concatenate([half, np.nextafter(half, np.float32(9))])
    frames = (np.repeat(half, 120, axis=0) + rng.normal(size=(6000, 96)) * 0.3).astype(np.float32)
    whole = nearest(frames, centroids)
    pieces = [nearest(part, centroids) for part in np.split(frames, sorted(cuts)) if len(part)]
    assert np.array_equal(whole, np.concatenate(pieces))
    order = rng.permutation(6000)
    assert np.array_equal(nearest(frames[order], centroids), whole[order])
