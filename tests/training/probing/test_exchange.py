"""Exchanged halves: what is learnt from normal sounds alone tells halves that do not belong together."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from speechssl.training.probing import anomalies, exchange


def _sounds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Vectors whose halves are of one kind, vectors whose halves are of two, and the kinds of the former."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(2, 3, 10)) * 1.5
    kinds = rng.integers(3, size=count)

    def vectors(firsts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        found = np.concatenate([centres[0][firsts], centres[1][seconds]], 1)
        return (found + rng.normal(size=found.shape)).astype(np.float32)

    return vectors(kinds, kinds), vectors(kinds, (kinds + 1) % 3), [f"kind {kind}" for kind in kinds]


def test_halves_that_do_not_belong_together_are_found_among_many_numbers_that_say_nothing() -> None:
    rng = np.random.default_rng(1)

    def among_noise(vectors: np.ndarray) -> np.ndarray:
        noise = rng.normal(size=(2, len(vectors), 40)).astype(np.float32)
        return np.concatenate([vectors[:, :10], noise[0], vectors[:, 10:], noise[1]], 1)

    normal, _, kinds = _sounds(120, 0)
    good, bad, _ = _sounds(60, 1)
    known, test = among_noise(normal), among_noise(np.concatenate([good, bad]))
    anomalous = np.arange(120) >= 60
    plain = anomalies.areas(anomalies.distances(known, test), anomalous)["auc"]
    vectors = exchange.learnt(known, test, kinds)
    assert [one.shape for one in vectors] == [(120, 128), (120, 128)]
    np.testing.assert_allclose((vectors[0] ** 2).sum(1), 2.0, rtol=1e-5)
    found = anomalies.areas(anomalies.distances(*vectors), anomalous)["auc"]
    assert found > max(0.9, plain + 0.1)
    again = exchange.learnt(known, test, kinds)
    assert all(np.array_equal(a, b) for a, b in zip(vectors, again, strict=True))


def test_the_loss_is_that_of_the_kinds_of_both_halves() -> None:
    torch.manual_seed(0)
    halves = tuple(functional.normalize(torch.randn(6, 4), dim=-1) for _ in range(2))
    targets, centres = functional.one_hot(torch.arange(6) % 2, 2).float(), torch.randn(6, 8)
    torch.manual_seed(5)
    found = float(exchange._loss(halves, targets, centres, 3.0))
    torch.manual_seed(5)
    other, swapped = torch.randperm(6), torch.rand(6) < 0.5
    assert 0 < int(swapped.sum()) < 6
    losses = []
    for row in range(6):
        second = int(other[row]) if swapped[row] else row
        vector = torch.cat([halves[0][row], halves[1][second]])
        shares = (3.0 * functional.cosine_similarity(vector[None], centres)).log_softmax(0)
        wanted = [2 + row % 2, 4 + second % 2] if swapped[row] else [row % 2]
        losses.append(-float(shares[wanted].mean()))
    assert abs(found - np.mean(losses)) < 1e-5
