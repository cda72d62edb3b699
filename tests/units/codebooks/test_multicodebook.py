"""Codebooks that add up, and the predictor that makes their codes easy to predict."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.units.codebooks import multicodebook as mvq
from speechssl.units.codebooks.codebook import Codebook
from speechssl.units.codebooks.fitting import fit
from speechssl.units.codebooks.kmeans import Settings

QUICK = Settings(reservoir=3000, batch=256, batches=20, passes=8, starts=1)
K, LEVELS = 16, 4


def frames(n: int, seed: int) -> np.ndarray:
    """Points that lie about a curved surface, as features do."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 6))
    mixed = np.tanh(hidden @ np.random.default_rng(7).normal(size=(6, 24)))
    return (5 + 2 * mixed + 0.1 * rng.normal(size=mixed.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def book() -> Codebook:
    x = frames(3000, 0)
    return fit(lambda: np.array_split(x, 3), K, features="a/1", frame_rate=50.0, family="mvq", levels=LEVELS,
               settings=QUICK)  # fmt: skip


def error(x: np.ndarray, codes: np.ndarray, centroids: np.ndarray) -> float:
    return float(np.square(x - mvq.total(centroids, codes)).sum(1).mean())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 1.0, 30.0]))
def test_the_nearest_point_is_the_likeliest_class(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(2, 5, 4)) * scale, rng.normal(size=(2, 5)) * scale
    x = rng.normal(size=(40, 4)).astype(np.float32)
    logits = np.einsum("nd,qkd->nqk", x.astype(np.float64), weights) + bias
    found = mvq.predict(x, mvq.as_points(weights, bias))
    best = np.take_along_axis(logits, found[..., None], 2)[..., 0]
    # points are float32, so classes that are as good as equal may change places
    assert (best >= logits.max(2) - 1e-4 * scale * (1 + scale)).all()


def test_one_seed_one_codebook(book: Codebook) -> None:
    x = frames(3000, 0)
    again = fit(lambda: np.array_split(x, 3), K, features="a/1", frame_rate=50.0, family="mvq", levels=LEVELS,
                settings=QUICK)  # fmt: skip
    assert again.fingerprint == book.fingerprint
    assert book.facts["fit"]["predicted"] > 0.3


def test_codes_leave_less_error_than_residual_codes_of_the_same_size(book: Codebook) -> None:
    x, new = frames(3000, 0), frames(2000, 1)
    residual = fit(lambda: [x], K, features="a/1", frame_rate=50.0, family="rvq", levels=LEVELS, settings=QUICK)
    assert error(new, book.codes_of(new), book.centroids) < error(new, residual.codes_of(new), residual.centroids)


def test_codes_are_easier_to_predict_than_those_of_a_residual_start(book: Codebook) -> None:
    x, new = frames(3000, 0), frames(2000, 1)
    search = mvq.Search(book.centroids)
    started = [search.refine(part, mvq.greedy(part, book.centroids)) for part in (x, new)]
    ours = [book.codes_of(part) for part in (x, new)]
    assert predictability(x, new, ours) < predictability(x, new, started)
    assert error(new, ours[1], book.centroids) < 1.02 * error(new, started[1], book.centroids)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 6), k=st.integers(1, 7))
def test_no_sweep_makes_it_worse_and_frames_do_not_know_each_other(seed: int, levels: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(levels, k, 5)).astype(np.float32) * 10 ** rng.uniform(-3, 3)
    x = (centroids.std() * rng.normal(size=(30, 5)) * 2).astype(np.float32)
    search, codes = mvq.Search(centroids), rng.integers(0, k, (30, levels))
    for sweeps in range(4):
        found = search.refine(x, codes, sweeps)
        after = np.square(x - mvq.total(centroids, found)).sum(1)
        before = np.square(x - mvq.total(centroids, search.refine(x, codes, max(0, sweeps - 1)))).sum(1)
        assert (after <= before * (1 + 1e-4) + 1e-9).all()
    alone = np.concatenate([search.refine(row[None], code[None], 3) for row, code in zip(x, codes, strict=True)])
    assert np.array_equal(alone, found)


def test_a_group_is_searched_as_well_as_by_trying_everything() -> None:
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(3, 4, 6)).astype(np.float32)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    everything = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    errors = np.square(x[:, None] - mvq.total(centroids, everything)).sum(2)
    # four centroids each, three codebooks in one group: all of the 64 combinations are on offer
    found = mvq.Search(centroids).refine(x, np.zeros((200, 3), np.int64))
    assert np.square(x - mvq.total(centroids, found)).sum(1) == pytest.approx(errors.min(1), abs=1e-4)


def predictability(x: np.ndarray, new: np.ndarray, codes: list[np.ndarray]) -> float:
    """Nats a code that a classifier trained afresh on x needs on new frames."""
    torch.manual_seed(0)
    mean, spread = x.mean(0), x.std()
    old, unseen = (torch.from_numpy((part - mean) / spread) for part in (x, new))
    targets, wanted = (torch.from_numpy(part) for part in codes)
    linear = torch.nn.Linear(x.shape[1], LEVELS * K)
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.03)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(linear(old).view(-1, K), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return float(torch.nn.functional.cross_entropy(linear(unseen).view(-1, K), wanted.flatten()))
