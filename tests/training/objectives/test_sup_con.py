"""Supervised contrast against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechssl.training.objectives.sup_con import sup_con


def test_it_is_the_mean_over_pairs_of_one_class() -> None:
    rng = np.random.default_rng(0)
    embeddings, labels = rng.normal(size=(9, 5)), np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    weights, terms = np.exp(unit @ unit.T / 0.1), []
    for i in range(9):
        others = [a for a in range(9) if a != i]
        same = [p for p in others if labels[p] == labels[i]]
        if same:
            terms.append(-np.mean([np.log(weights[i, p] / weights[i, others].sum()) for p in same]))
    found = sup_con(torch.from_numpy(embeddings), torch.from_numpy(labels))
    assert len(terms) == 8
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        again = sup_con(torch.from_numpy(embeddings), torch.from_numpy(labels))
    assert float(again) == pytest.approx(float(found), rel=1e-5)


def test_classes_of_one_give_nothing_and_a_gradient_that_is_zero() -> None:
    embeddings = torch.randn(4, 3, requires_grad=True)
    value = sup_con(embeddings, torch.arange(4))
    value.backward()
    assert (float(value.detach()), float(embeddings.grad.abs().max())) == (0.0, 0.0)
