"""Barlow Twins: the correlations of the numbers of two crops are those of the identity.

Source: Zbontar et al. 2021, arXiv:2103.03230, section 2 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechssl.training.objectives.added import Added, with_added
from speechssl.training.objectives.projector import projector


class BarlowTwins(nn.Module):
    """Squared distance of the cross-correlation of projected embeddings from the identity.

    Args:
        network: crops (B, T, C) to embeddings (B, E).
        dim: numbers per embedding, E.
        hidden: width of the projector; 8192 in the paper.
        redundancy: weight of what is off the diagonal; 0.005 in the paper.
        added: further losses of the embeddings.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        hidden: int = 1024,
        redundancy: float = 0.005,
        added: Sequence[Added] = (),
    ) -> None:
        super().__init__()
        self.network, self.added = network, tuple(added)
        self.projector = projector(dim, hidden, hidden)
        self.redundancy = redundancy

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (2, B, T, C), B >= 2, and the two terms without their weights."""
        views = batch["global"]
        found = self.network(views.flatten(0, 1)).float()
        agreement, redundancy = barlow(*self.projector(found).float().chunk(2))
        losses = {
            "total": agreement + self.redundancy * redundancy,
            "agreement": agreement.detach(),
            "redundancy": redundancy.detach(),
        }
        return with_added(losses, found.unflatten(0, views.shape[:2]), self.added)


def barlow(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the diagonal and off it, of the cross-correlation (P, P) of projections (B, P)."""
    with torch.autocast(one.device.type, enabled=False):
        # 1e-5 as batch norm has it: a number that does not vary stays finite
        sides = [
            (side - side.mean(0)) * (side.var(0, correction=0) + 1e-5).rsqrt() for side in (one.float(), two.float())
        ]
        correlation = sides[0].T @ sides[1] / len(one)
        diagonal = correlation.diagonal()
        return (1 - diagonal).square().sum(), correlation.square().sum() - diagonal.square().sum()
