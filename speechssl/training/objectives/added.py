"""Further losses on the same embeddings, such as a weak contrast beside VICReg."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from speechssl.errors import InputError


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


def terms(texts: Sequence[str], known: Mapping[str, Callable[[Tensor], Tensor]]) -> list[Added]:
    """What ``--also NAME:WEIGHT`` of the training scripts says.

    Args:
        texts: such as ``nt-xent:0.1``.
        known: losses by name.
    Raises:
        InputError: an unknown name, or a weight that is not above 0 and finite.
    """
    found = []
    for text in texts:
        name, _, weight = text.partition(":")
        try:
            value = float(weight)
        except ValueError:
            value = 0.0
        if name not in known or not 0 < value < float("inf"):
            needed = f"NAME:WEIGHT needed, such as {next(iter(known))}:0.1, with one of {', '.join(known)}"
            raise InputError(f"--also {text}: {needed}, and a weight above 0")
        found.append(Added(name, value, known[name]))
    return found


def with_added(losses: dict[str, Tensor], embeddings: Tensor, added: Sequence[Added]) -> dict[str, Tensor]:
    """Losses with those ``added``, of embeddings (2, B, E) or frames (N, D): a term each, and all of them in ``total``.

    Source: Lepage and Dehak 2022, arXiv:2207.05506, "Label-efficient self-supervised speaker verification with
        information maximization and contrastive learning": VICReg and 0.1 times NT-Xent.
    """
    for one in added:
        value = one.loss(embeddings)
        losses = {**losses, "total": losses["total"] + one.weight * value, one.name: value.detach()}
    return losses
