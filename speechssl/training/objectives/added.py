"""Further losses on the same embeddings, such as a weak contrast beside VICReg."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Added:
    """A loss that is added to that of an objective.

    Args:
        name: under which it is logged.
        weight: of the loss in the sum.
        loss: of the embeddings (2, B, E), float32, of two crops each, or of frames (N, D).
    """

    name: str
    weight: float
    loss: Callable[[Tensor], Tensor]


def with_added(losses: dict[str, Tensor], embeddings: Tensor, added: Sequence[Added]) -> dict[str, Tensor]:
    """Losses with those ``added``, of embeddings (2, B, E) or frames (N, D): a term each, and all of them in ``total``.

    Source: Lepage and Dehak 2022, arXiv:2207.05506, "Label-efficient self-supervised speaker verification with
        information maximization and contrastive learning": VICReg and 0.1 times NT-Xent.
    """
    for one in added:
        value = one.loss(embeddings)
        losses = {**losses, "total": losses["total"] + one.weight * value, one.name: value.detach()}
    return losses
