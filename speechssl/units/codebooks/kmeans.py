"""K-means in bounded memory: reservoir, k-means++ start, mini-batches, then full passes over all frames.

Frames come in chunks, from a source that can be read several times (a list, a memory-mapped file). At most the
reservoir and one chunk are in memory. The same frames in the same chunks with the same seed give the same centroids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError
from speechssl.units.codebooks.nearest import nearest, nearest_with_distance

Frames = NDArray[np.float32]
Chunks = Callable[[], Iterable[Frames]]

CHUNK = 8192  # frames of a full pass that are held at a time


@dataclass(frozen=True)
class Settings:
    """Settings of k-means.

    Args:
        reservoir: frames kept for the start and the mini-batches; 200,000 are more than an hour of speech.
        starts: k-means++ starts, each with its mini-batches; the best one continues. The inertia of starts differs by
            1 to 2 %, which full passes do not remove.
        batch: frames of a mini-batch.
        batches: mini-batches of each start; 100 get near enough for the full passes to finish.
        passes: full passes at most.
        tolerance: a full pass that lowers the inertia by less than this share is the last one.
        seed: random seed.
    Raises:
        InputError: a number below 1, or a seed below 0.
    """

    reservoir: int = 200_000
    starts: int = 3
    batch: int = 2048
    batches: int = 100
    passes: int = 30
    tolerance: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("reservoir", "starts", "batch", "batches", "passes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; at least 1 needed")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; 0 or more needed")


@dataclass(frozen=True, eq=False)
class Clustering:
    """Result of k-means.

    Args:
        centroids: (K, D) float32.
        inertia: mean squared distance of the frames to their centroids, in the last full pass.
        counts: (K,) frames of each centroid in that pass, all >= 1.
        num_frames: frames seen.
        passes: full passes made.
        reseeded: number of centroids without frames that were moved to a frame, over all passes.
    """

    centroids: Frames
    inertia: float
    counts: NDArray[np.int64]
    num_frames: int
    passes: int
    reseeded: int


def kmeans(chunks: Chunks, k: int, settings: Settings = Settings()) -> Clustering:
    """Cluster frames.

    Args:
        chunks: called once per pass; gives (n, D) float32 arrays.
        k: centroids.
        settings: see ``Settings``.
    Raises:
        InputError: fewer than k different frames, or chunks of different widths.
    Source: Arthur and Vassilvitskii 2007 (k-means++); Sculley 2010 (mini-batches); Lloyd 1982.
    """
    if k < 1:
        raise InputError(f"k is {k}; at least 1 centroid needed")
    rng = np.random.default_rng(settings.seed)
    sample = reservoir(chunks(), settings.reservoir, rng)
    if len(sample) < k:
        raise InputError(f"{len(sample)} frames for {k} centroids; at least as many needed: give more audio")
    # more frames than this make the start slower than the full passes, and no better
    start = sample[rng.permutation(len(sample))[: max(20_000, 50 * k)]]
    tried = [_mini_batches(sample, plus_plus(start, k, rng), settings, rng) for _ in range(settings.starts)]
    best = min(tried, key=lambda centroids: float(nearest_with_distance(start, centroids)[1].sum()))
    return _full_passes(chunks, best, settings)


def reservoir(chunks: Iterable[Frames], size: int, rng: np.random.Generator) -> Frames:
    """A uniform sample (n, D) of all frames, n = min(size, number of frames), in one pass.

    Source: Vitter 1985, algorithm R, a chunk at a time.
    """
    kept: Frames | None = None
    held: list[Frames] = []
    seen = 0
    for chunk in chunks:
        head = chunk[: max(0, size - seen)]
        if len(head):
            held.append(np.array(head, np.float32))
        rest = chunk[len(head) :]
        if len(rest):
            kept = np.concatenate(held) if kept is None else kept
            # frame number t (from 0) replaces a random one of the first t + 1 places, if that is in the reservoir
            places = rng.integers(0, seen + len(head) + 1 + np.arange(len(rest)))
            hit = places < size
            # of two frames for one place, the later stays, as it would one by one
            kept[places[hit]] = rest[hit]
        seen += len(chunk)
    if kept is None and not held:
        raise InputError("no frames to cluster; give audio of at least one frame")
    return np.concatenate(held) if kept is None else kept


def plus_plus(sample: Frames, k: int, rng: np.random.Generator) -> Frames:
    """k of the frames, far apart: each drawn by its squared distance to those drawn before, the best of a few draws.

    Source: Arthur and Vassilvitskii 2007, section 5 (the greedy variant with 2 + log k draws).
    """
    draws = 2 + int(np.log(k))
    moved = sample - sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = np.einsum("nd,nd->n", moved, moved, dtype=np.float64)
    chosen = [int(rng.integers(len(sample)))]
    nearest = _squared(moved, squares, chosen)[0]
    for _ in range(k - 1):
        mass = np.cumsum(nearest)
        if not mass[-1] > 0:
            # too few different frames here; what is missing dies in the first full pass and is given frames there
            chosen += [chosen[0]] * (k - len(chosen))
            break
        drawn = np.searchsorted(mass, rng.random(draws) * mass[-1], side="right").clip(max=len(sample) - 1)
        options = np.minimum(nearest, _squared(moved, squares, drawn.tolist()))
        best = int(options.sum(axis=1).argmin())
        chosen.append(int(drawn[best]))
        nearest = options[best]
        # rounding must not let a chosen frame be drawn again
        nearest[chosen[-1]] = 0
    return sample[chosen]


def _squared(moved: Frames, squares: NDArray[np.float64], chosen: list[int]) -> NDArray[np.float64]:
    """(C, N) squared distances of all frames to a few of them."""
    products = (moved @ moved[chosen].T).T
    distances: NDArray[np.float64] = squares[None] + squares[chosen][:, None] - 2.0 * products
    # below this share of the squares, float32 products say nothing: such frames are as good as equal
    distances[distances < 1e-6 * (squares[None] + squares[chosen][:, None])] = 0
    return distances


def _mini_batches(sample: Frames, centroids: Frames, settings: Settings, rng: np.random.Generator) -> Frames:
    places, counts = centroids.astype(np.float64), np.zeros(len(centroids))
    for _ in range(settings.batches if len(sample) > settings.batch else 0):
        batch = sample[rng.integers(0, len(sample), settings.batch)]
        sums, found = _sums(batch, nearest(batch, places.astype(np.float32)), len(places))
        counts += found
        share = np.divide(found, counts, out=np.zeros_like(counts), where=counts > 0)[:, None]
        means = sums / np.maximum(found, 1)[:, None]
        places += share * (means - places)
    return places.astype(np.float32)


def _full_passes(chunks: Chunks, centroids: Frames, settings: Settings) -> Clustering:
    before, reseeded = np.inf, 0
    for number in range(1, settings.passes + 10):
        tally = _pass(chunks, centroids)
        dead = np.flatnonzero(tally.counts == 0)
        settled = tally.inertia >= (1 - settings.tolerance) * before or number >= settings.passes
        if settled and not len(dead):
            # the centroids that were counted, so that inertia and counts are theirs
            return Clustering(centroids, tally.inertia, tally.counts, int(tally.counts.sum()), number, reseeded)
        before = tally.inertia
        centroids = np.where(tally.counts[:, None] > 0, tally.means, centroids).astype(np.float32)
        if len(dead):
            _check_distinct(tally.far, len(dead), len(centroids))
            centroids[dead] = tally.far[: len(dead)]
            reseeded, before = reseeded + len(dead), np.inf
    raise InputError(
        f"{len(dead)} of {len(centroids)} centroids stay without frames after {number} passes; use a smaller k"
    )


@dataclass(frozen=True, eq=False)
class _Tally:
    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    inertia: float
    # (k or fewer, D) different frames, the ones farthest from their centroids first
    far: Frames


def _pass(chunks: Chunks, centroids: Frames) -> _Tally:
    k, dim = centroids.shape
    sums, counts, total = np.zeros((k, dim)), np.zeros(k, np.int64), 0.0
    far, far_distance = np.zeros((0, dim), np.float32), np.zeros(0)
    for chunk in _cut(chunks()):
        ids, distances = nearest_with_distance(chunk, centroids)
        found, number = _sums(chunk, ids, k)
        sums += found
        counts += number
        total += float(distances.sum())
        # few are ever needed, but which is known only at the end
        top = np.argsort(-distances, kind="stable")[:k]
        far, far_distance = _farthest(np.r_[far, chunk[top]], np.r_[far_distance, distances[top]], k)
    return _Tally(sums / np.maximum(counts, 1)[:, None], counts, total / max(1, int(counts.sum())), far)


def _farthest(frames: Frames, distances: NDArray[np.float64], k: int) -> tuple[Frames, NDArray[np.float64]]:
    _, first = np.unique(frames, axis=0, return_index=True)
    first = first[distances[first] > 0]
    order = first[np.argsort(-distances[first], kind="stable")][:k]
    return frames[order], distances[order]


def _sums(frames: Frames, ids: NDArray[np.int64], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum (K, D) and number (K,) of each centroid's frames."""
    order = np.argsort(ids, kind="stable")
    present, starts = np.unique(ids[order], return_index=True)
    sums = np.zeros((k, frames.shape[1]))
    # added up in the order of the frames, whatever the number of threads
    sums[present] = np.add.reduceat(frames[order], starts, axis=0, dtype=np.float64)
    return sums, np.bincount(ids, minlength=k)


def _cut(chunks: Iterable[Frames]) -> Iterator[Frames]:
    for chunk in chunks:
        for start in range(0, len(chunk), CHUNK):
            yield np.asarray(chunk[start : start + CHUNK], np.float32)


def _check_distinct(far: Frames, dead: int, k: int) -> None:
    if len(far) < dead:
        raise InputError(
            f"only {k - dead + len(far)} different frames for {k} centroids; give more audio or a smaller k"
        )
