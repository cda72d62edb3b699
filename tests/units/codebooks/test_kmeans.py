"""K-means in bounded memory: near Lloyd's, the same by seed, no dead centroids."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from speechssl.errors import InputError
from speechssl.units.codebooks.kmeans import Settings, kmeans, plus_plus, reservoir


def speechlike(n: int = 6000, dim: int = 16, seed: int = 0) -> np.ndarray:
    """A slow random walk among places, as speech frames are: overlapping clusters of unequal size."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(40, dim)) * 1.5
    path = places[np.repeat(rng.integers(40, size=n // 6 + 1), 6)[:n]]
    return (path + rng.normal(size=(n, dim)) * rng.uniform(0.4, 1.2, (n, 1))).astype(np.float32)


def lloyd(x: np.ndarray, centroids: np.ndarray, passes: int = 200) -> float:
    """Oracle: plain full Lloyd in float64; mean squared distance at the end."""
    centroids = centroids.astype(np.float64)
    for _ in range(passes):
        distances = ((x[:, None] - centroids[None]) ** 2).sum(2) if len(x) < 500 else _distances(x, centroids)
        ids = distances.argmin(1)
        moved = np.stack([x[ids == i].mean(0) if (ids == i).any() else c for i, c in enumerate(centroids)])
        if np.allclose(moved, centroids, atol=1e-7):
            break
        centroids = moved
    return float(_distances(x, centroids).min(1).mean())


def _distances(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return (x**2).sum(1)[:, None] + (centroids**2).sum(1) - 2 * x @ centroids.T


def test_within_a_percent_of_full_lloyd() -> None:
    x = speechlike()
    found = kmeans(lambda: np.array_split(x, 7), 30, Settings(reservoir=2000, batch=512, batches=50))
    rng = np.random.default_rng(1)
    oracle = np.median([lloyd(x, plus_plus(x, 30, rng)) for _ in range(3)])
    assert found.inertia <= 1.01 * oracle
    # what is said about the centroids is about these centroids
    assert found.inertia == pytest.approx(float(_distances(x, found.centroids).min(1).mean()), rel=1e-6)
    assert found.counts.sum() == len(x) == found.num_frames
    assert found.counts.min() >= 1


def test_the_seed_decides_everything() -> None:
    x = speechlike(2000)
    chunks = lambda: np.array_split(x, 5)  # noqa: E731
    one, two, other = (kmeans(chunks, 12, Settings(seed=seed, reservoir=900)) for seed in (3, 3, 4))
    assert np.array_equal(one.centroids, two.centroids)
    assert not np.array_equal(one.centroids, other.centroids)


def test_dead_centroids_are_given_frames() -> None:
    # a heap of equal frames and few others: centroids that start close together starve
    x = np.concatenate([np.zeros((3000, 4)), np.eye(4) * 9, np.eye(4) * -9]).astype(np.float32)
    found = kmeans(lambda: [x], 9, Settings(reservoir=100, batch=64, batches=20, starts=1))
    assert found.counts.min() >= 1
    assert found.inertia == pytest.approx(0)
    assert found.reseeded > 0


def test_fewer_different_frames_than_centroids_are_refused() -> None:
    x = np.repeat(np.arange(3, dtype=np.float32)[:, None], 50, axis=0)
    with pytest.raises(InputError, match="3 different frames for 4 centroids"):
        kmeans(lambda: [x], 4, Settings())
    with pytest.raises(InputError, match="150 frames for 151 centroids"):
        kmeans(lambda: [x], 151, Settings())
    with pytest.raises(InputError, match="no frames"):
        kmeans(list, 1, Settings())


def test_reservoir_is_uniform_and_keeps_all_when_it_can() -> None:
    x = np.arange(1000, dtype=np.float32)[:, None]
    everything = reservoir(np.array_split(x, 9), 1000, np.random.default_rng(0))
    assert np.array_equal(everything, x)
    hits = np.zeros(1000)
    for seed in range(400):
        kept = reservoir(np.array_split(x, 9), 100, np.random.default_rng(seed))[:, 0].astype(int)
        assert len(set(kept)) == 100
        hits[kept] += 1
    # each frame is kept 40 times of 400 in the mean, with a standard deviation of 6
    assert abs(hits[:100].mean() - 40) < 2.5
    assert abs(hits[-100:].mean() - 40) < 2.5
    assert hits.min() > 10


def test_memory_does_not_grow_with_the_frames() -> None:
    def peak(chunks: int) -> int:
        def stream() -> Iterator[np.ndarray]:
            for seed in range(chunks):
                yield speechlike(2000, seed=seed)

        tracemalloc.start()
        kmeans(stream, 8, Settings(reservoir=2000, batch=256, batches=5, passes=2, starts=1))
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(20) < 1.3 * peak(4)
