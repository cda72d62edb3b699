"""Effective rank of vectors: how many directions they use."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_me(vectors: Tensor) -> Tensor:
    """RankMe of vectors (N, D): the exponential of the entropy of their normalised singular values, 1 to min(N, D).

    The vectors are not centred, so a large common mean lowers the value.

    Source: Garrido et al. 2023, arXiv:2210.02885, section 3; there a constant of 1e-7 is added to the shares.
    """
    values = torch.linalg.svdvals(vectors.double())
    share = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.exp(-torch.xlogy(share, share).sum())


def centred_rank(vectors: Tensor) -> Tensor:
    """``rank_me`` of vectors (N, D) minus their mean; 1 for equal vectors.

    Source: Roy and Vetterli 2007, effective rank.
    """
    centred = vectors.double() - vectors.double().mean(0)
    # equal vectors leave only rounding noise, whose rank would be high
    if float(centred.norm()) < 1e-6 * float(vectors.double().norm()):
        return torch.ones((), dtype=torch.float64)
    return rank_me(centred)
