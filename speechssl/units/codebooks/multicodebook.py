"""Several codebooks whose chosen centroids add up to a frame, with a predictor that finds the codes.

One linear classifier per codebook predicts the centroid of a frame, and a search for less squared error starts from
these codes. The classifiers learn the codes that the search finds. In the end a linear function of the frame predicts
most codes, which makes them good targets for a network. Codes found from a residual start are less regular
(``tests/units/codebooks/test_multicodebook.py``).

Source: Guo et al. 2022, arXiv:2211.00508, section 3. Here centroids come from least squares given the codes, where the
paper's come from gradients, and start from residual k-means instead of 16 centroids multiplied with each other.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl.units.codebooks.kmeans import Chunks, Frames, Settings, kmeans, reservoir
from speechssl.units.codebooks.nearest import nearest

Codes = NDArray[np.int64]

SWEEPS = 4  # over the codebooks when frames are encoded, as many as in the paper
GROUP = 4  # codebooks whose codes are changed together
CANDIDATES = 4  # centroids each of them may take, its own among them: 4^4 combinations
ROWS = 512  # frames searched at a time
ROUNDS = 6  # of the fit: codes given centroids, centroids given codes, and the classifier of these codes
STEPS = 150  # of the classifier a round
BATCH = 1024  # frames of a step
RATE = 0.02  # of Adam, falling to zero over each round
RIDGE = 1e-3  # ridge weight, in frames, that keeps unused centroids finite


def greedy(frames: Frames, centroids: Frames) -> Codes:
    """Codes (N, Q), each level the nearest of (Q, K, D) to what the ones before left over."""
    # residuals are float32 and taken element by element, so they too depend on their frame alone
    residual, codes = frames, np.empty((len(frames), len(centroids)), np.int64)
    for level, book in enumerate(centroids):
        codes[:, level] = nearest(residual, book)
        if level + 1 < len(centroids):
            residual = residual - book[codes[:, level]]
    return codes


def predict(frames: Frames, predictor: Frames) -> Codes:
    """The most likely codes (N, Q) according to the classifiers.

    Args:
        frames: (N, D).
        predictor: (Q, K, D + 1) of ``as_points``: the likeliest class is the nearest point, which is found exactly.
    """
    wider = np.pad(frames, ((0, 0), (0, 1)))
    return np.stack([nearest(wider, points) for points in predictor], axis=1)


class Search:
    """Finds codes whose centroids add up to the frames, by changing up to ``GROUP`` codes of a frame together.

    Frames and centroids are rounded to whole numbers so small that every product and sum of them fits a float64
    exactly: then no matrix product depends on its shape, and codes are a pure function of their frame.

    Args:
        centroids: (Q, K, D).
    """

    def __init__(self, centroids: Frames) -> None:
        levels, k, dim = centroids.shape
        # errors are sums of 4 Q^2 D products at most
        self._largest = 2.0 ** int((52 - np.log2(4 * levels**2 * dim)) / 2)
        self._step = 2 * float(np.abs(centroids).sum(axis=0).max()) / self._largest or 1.0
        self._flat = self._whole(centroids.reshape(-1, dim))
        self._gram = self._flat @ self._flat.T
        self._first = k * np.arange(levels)
        self._shape = (levels, k)

    def _whole(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.rint(values / np.float64(self._step)).clip(-self._largest, self._largest)

    def refine(self, frames: Frames, codes: Codes, sweeps: int = SWEEPS) -> Codes:
        """Better codes (N, Q) for frames (N, D); no sweep makes the squared error worse, beyond the rounding."""
        codes = codes.copy()
        for start in range(0, len(frames), ROWS):
            rows = slice(start, start + ROWS)
            towards = self._whole(frames[rows]) @ self._flat.T
            for sweep in range(sweeps):
                # always as many: stopping when none of these frames changes would let frames decide for each other
                for group in self._groups(sweep):
                    codes[rows] = self._changed(towards, codes[rows], group)
        return codes

    def _groups(self, sweep: int) -> list[NDArray[np.int64]]:
        """Codebooks that are changed together; others in the next sweep."""
        order = np.roll(np.arange(self._shape[0]), sweep * (GROUP // 2))
        return [order[i : i + GROUP] for i in range(0, len(order), GROUP)]

    def _changed(self, towards: NDArray[np.float64], codes: Codes, group: NDArray[np.int64]) -> Codes:
        """The best of all combinations of the ``CANDIDATES`` best centroids of each codebook of a group.

        With e what is missing and d_q the change of codebook q, the error becomes
        |e|^2 - 2 sum_q e . d_q + sum_q sum_r d_q . d_r, of which all but the last part is known for each q alone.
        """
        places = codes + self._first
        missing = towards - self._gram[places].sum(axis=1)
        rows = np.arange(len(codes))[:, None]
        offered, alone = [], []
        for level in group:
            now = places[:, level]
            all_of = self._first[level] + np.arange(self._shape[1])
            gain = missing[:, all_of] - missing[rows[:, 0], now][:, None]
            moved = self._gram[now[:, None], all_of]
            squares = np.diag(self._gram)[all_of] - 2 * moved + self._gram[now, now][:, None]
            errors = squares - 2 * gain
            # what is chosen now stays on offer, so that no sweep makes it worse; ties go to the lower centroid
            order = errors.copy()
            order[rows[:, 0], codes[:, level]] = -np.inf
            best = np.argsort(order, axis=1, kind="stable")[:, :CANDIDATES]
            offered.append(all_of[best])
            alone.append(errors[rows, best])
        picks = np.indices([found.shape[1] for found in offered]).reshape(len(group), -1)
        errors = sum(one[:, pick] for one, pick in zip(alone, picks, strict=True))
        for a in range(len(group)):
            for b in range(a + 1, len(group)):
                both = self._both(places[:, group[a]], offered[a], places[:, group[b]], offered[b])
                errors = errors + 2 * both[:, picks[a], picks[b]]
        chosen = np.asarray(errors).argmin(axis=1)
        codes = codes.copy()
        for level, found, pick in zip(group, offered, picks, strict=True):
            codes[:, level] = found[rows[:, 0], pick[chosen]] - self._first[level]
        return codes

    def _both(
        self, a: NDArray[np.int64], to_a: NDArray[np.int64], b: NDArray[np.int64], to_b: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(N, A, B) inner products of changes from a to each of (N, A) with changes from b to each of (N, B)."""
        gram = self._gram
        both: NDArray[np.float64] = gram[to_a[:, :, None], to_b[:, None, :]] - gram[a[:, None], to_b][:, None, :]
        both = both - gram[to_a, b[:, None]][:, :, None] + gram[a, b][:, None, None]
        return both


def total(centroids: Frames, codes: Codes) -> Frames:
    """(N, D) float32 sum of the centroids (Q, K, D) that codes (N, Q) choose."""
    added = np.zeros((len(codes), centroids.shape[2]), np.float32)
    for level, book in enumerate(centroids):
        added += book[codes[:, level]]
    return added


def fit_residual(chunks: Chunks, k: int, levels: int, settings: Settings) -> tuple[Frames, dict[str, Any]]:
    """Centroids (Q, K, D), each level by k-means on what the ones before left over."""
    done: list[Frames] = []
    facts: dict[str, Any] = {"inertia": [], "passes": [], "reseeded": []}

    def left_over() -> Any:
        for chunk in chunks():
            for centroids in done:
                chunk = chunk - centroids[nearest(chunk, centroids)]
            yield chunk

    for level in range(levels):
        found = kmeans(left_over, k, dataclasses.replace(settings, seed=settings.seed + level))
        done.append(found.centroids)
        facts["inertia"].append(found.inertia)
        facts["passes"].append(found.passes)
        facts["reseeded"].append(found.reseeded)
    return np.stack(done), {**facts, "frames": found.num_frames}


def fit_additive(chunks: Chunks, k: int, levels: int, settings: Settings) -> tuple[Frames, Frames, dict[str, Any]]:
    """Centroids (Q, K, D), predictor (Q, K, D + 1) and facts, from the reservoir."""
    sample = reservoir(chunks(), settings.reservoir, np.random.default_rng(settings.seed))
    centroids, _ = fit_residual(lambda: [sample], k, levels, dataclasses.replace(settings, passes=5))
    classifier = _Classifier(sample, levels, k, settings.seed)
    codes = Search(centroids).refine(sample, greedy(sample, centroids))
    inertia: list[float] = []
    for _ in range(ROUNDS):
        centroids = _least_squares(sample, codes, centroids)
        inertia.append(float(np.square(sample.astype(np.float64) - total(centroids, codes)).sum(axis=1).mean()))
        classifier.learn(codes)
        predictor = classifier.as_points()
        likely = predict(sample, predictor)
        codes = Search(centroids).refine(sample, likely)
    facts = {"inertia": inertia, "frames": len(sample), "predicted": float((likely == codes).mean())}
    return centroids, predictor, facts


class _Classifier:
    """Multinomial regression of the codes of every codebook on the frame, on one thread, the same by seed."""

    def __init__(self, sample: Frames, levels: int, k: int, seed: int) -> None:
        self._mean = sample.mean(axis=0, dtype=np.float64)
        # one scale for all dimensions: distances between frames keep their meaning
        self._scale = float(np.sqrt(np.square(sample - self._mean).mean())) or 1.0
        self._frames = torch.from_numpy(((sample - self._mean) / self._scale).astype(np.float32))
        self._weights = torch.zeros(levels, k, sample.shape[1], requires_grad=True)
        self._bias = torch.zeros(levels, k, requires_grad=True)
        self._random = torch.Generator().manual_seed(seed)

    def learn(self, codes: Codes) -> None:

        from speechssl.encoders.precision import one_thread

        targets = torch.from_numpy(codes)
        optimizer = torch.optim.Adam([self._weights, self._bias], lr=RATE)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
        with one_thread():
            for _ in range(STEPS):
                rows = torch.randint(len(codes), (BATCH,), generator=self._random)
                logits = torch.einsum("nd,qkd->nqk", self._frames[rows], self._weights) + self._bias
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[rows].flatten())
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
                optimizer.step()
                falling.step()

    def as_points(self) -> Frames:
        """(Q, K, D + 1) for frames as they come, with the scale and the mean folded in."""
        weights = self._weights.detach().numpy().astype(np.float64) / self._scale
        return as_points(weights, self._bias.detach().numpy().astype(np.float64) - weights @ self._mean)


def as_points(weights: NDArray[np.float64], bias: NDArray[np.float64]) -> Frames:
    """Points (Q, K, D + 1) such that the one nearest to (x, 0) is that of the largest w . x + b.

    Args:
        weights: (Q, K, D).
        bias: (Q, K).
    """
    # |(x, 0) - (w, s)|^2 = |x|^2 - 2 (w . x + b) + constant if s^2 = constant - |w|^2 - 2 b
    free = -np.square(weights).sum(axis=2) - 2 * bias
    last = np.sqrt(free - free.min(axis=1, keepdims=True))
    return np.concatenate([weights, last[..., None]], axis=2).astype(np.float32)


def _least_squares(sample: Frames, codes: Codes, centroids: Frames) -> Frames:
    """Centroids that minimise the squared error of the codes, with a little pull towards where they are."""
    from scipy.sparse import csr_matrix

    levels, k, dim = centroids.shape
    columns = (codes + k * np.arange(levels)).ravel()
    rows = np.repeat(np.arange(len(sample)), levels)
    design = csr_matrix((np.ones(len(columns)), (rows, columns)), (len(sample), levels * k))
    flat = centroids.reshape(-1, dim).astype(np.float64)
    gram = (design.T @ design).toarray() + RIDGE * np.eye(levels * k)
    solved = np.linalg.solve(gram, design.T @ sample.astype(np.float64) + RIDGE * flat)
    return solved.reshape(centroids.shape).astype(np.float32)
