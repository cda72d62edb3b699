"""Supervised contrast: embeddings of one class are alike, those of others are not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sup_con(embeddings: Tensor, labels: Tensor, *, temperature: float = 0.1) -> Tensor:
    """The loss whose logarithm is outside the sum over the others of one class, averaged over the embeddings.

    Args:
        embeddings: (N, E); their lengths do not count.
        labels: (N,) int64.
        temperature: of the cosines.
    Returns:
        A scalar; 0 where no class has two.
    Source: Khosla et al. 2020, arXiv:2004.11362, equation 2 (L_out).
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = functional.normalize(embeddings.float(), dim=-1)
        alone = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        shares = (unit @ unit.T / temperature).masked_fill(alone, -torch.inf).log_softmax(-1)
    same = (labels[:, None] == labels[None]) & ~alone
    paired = same.any(1)
    if not paired.any():
        return embeddings.sum() * 0.0
    found = shares.masked_fill(~same, 0.0).sum(1)[paired] / same.sum(1)[paired]
    return -found.mean()
