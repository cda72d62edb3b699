"""VICReg: two crops agree, every number varies over the batch, and no two numbers say the same.

No negatives and no teacher: variance and covariance keep the trivial answers away.

Source: Bardes et al. 2022, arXiv:2105.04906, section 4.1 and algorithm 1; for speakers, Lepage and Dehak 2022,
    arXiv:2207.05506.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.added import Added, with_added
from speechssl.training.objectives.projector import projector

LEAST = 1e-4  # added to a variance before its root, whose gradient is infinite at 0


class VICReg(nn.Module):
    """Invariance, variance and covariance of projected embeddings.

    Args:
        network: crops (B, T, C) to embeddings (B, E).
        dim: numbers per embedding, E.
        hidden: width of the projector; 8192 in the paper, 2048 for speakers.
        invariance, variance, covariance: weights; 25, 25 and 1 in the paper. Without variance the network collapses.
        added: further losses of the embeddings.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        hidden: int = 1024,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        added: Sequence[Added] = (),
    ) -> None:
        super().__init__()
        self.network, self.added = network, tuple(added)
        self.projector = projector(dim, hidden, hidden)
        self.weights = (invariance, variance, covariance)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (2, B, T, C), B >= 2, and the three terms without their weights."""
        views = batch["global"]
        found = self.network(views.flatten(0, 1)).float()
        one, two = self.projector(found).float().chunk(2)
        terms = vicreg(one, two)
        total = sum((weight * term for weight, term in zip(self.weights, terms, strict=True)), torch.zeros(()))
        names = ("invariance", "variance", "covariance")
        losses = {"total": total} | {name: term.detach() for name, term in zip(names, terms, strict=True)}
        return with_added(losses, found.unflatten(0, views.shape[:2]), self.added)


def vicreg(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance of projections (B, P), without weights."""
    # covariances are sums over the batch of products that nearly cancel
    with torch.autocast(one.device.type, enabled=False):
        one, two = one.float(), two.float()
        invariance = functional.mse_loss(one, two)
        # of each side, as in the paper's (4); the paper adds the two covariances
        spread = torch.stack([variance(side) for side in (one, two)]).mean()
        shared = torch.stack([covariance(side) for side in (one, two)]).sum()
    return invariance, spread, shared


def variance(values: Tensor) -> Tensor:
    """How far the deviation of the columns of values (N, D) is below 1, on average."""
    return functional.relu(1 - (values.var(0) + LEAST).sqrt()).mean()


def covariance(values: Tensor) -> Tensor:
    """Sum of the squared covariances of different columns of values (N, D), over D."""
    centred = values - values.mean(0)
    square = centred.T @ centred / (len(values) - 1)
    return (square.square().sum() - square.diagonal().square().sum()) / len(square)
