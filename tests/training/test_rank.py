"""Effective ranks, against the definition in numpy and at their extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from speechssl.training.rank import centred_rank, rank_me


def definition(vectors: np.ndarray) -> float:
    values = np.linalg.svd(vectors, compute_uv=False)
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def test_both_ranks_are_their_definitions() -> None:
    vectors = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).double() + 3
    assert float(rank_me(vectors)) == pytest.approx(definition(vectors.numpy()))
    assert float(centred_rank(vectors)) == pytest.approx(definition((vectors - vectors.mean(0)).numpy()))
    # the common mean is one large direction
    assert float(rank_me(vectors)) < 0.6 * float(centred_rank(vectors))


def test_ranks_at_their_extremes() -> None:
    crosses = torch.cat([torch.eye(4), -torch.eye(4)])
    assert float(rank_me(crosses)) == pytest.approx(4)
    assert float(centred_rank(crosses)) == pytest.approx(4)
    equal = torch.nn.functional.normalize(torch.randn(1, 30), dim=1).expand(9, 30)
    assert float(rank_me(equal)) == pytest.approx(1)
    assert float(centred_rank(equal)) == 1
    assert float(rank_me(torch.zeros(3, 4))) == 1
