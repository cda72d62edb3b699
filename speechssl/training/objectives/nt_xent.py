"""Contrastive learning of speakers: two crops of one utterance agree, all other utterances of the batch do not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.added import Added, with_added


class NTXent(nn.Module):
    """Normalised-temperature cross-entropy with an additive margin, on the embeddings themselves.

    Args:
        network: crops (B, T, C) to embeddings (B, E).
        temperature: of the softmax over cosines; 0.03 for speakers in the paper.
        margin: taken off the cosine of the two crops of one utterance; 0.1 in the paper.
        added: further losses of the embeddings.
    Source: Lepage and Dehak 2023, arXiv:2306.03664, "Experimenting with additive margins for contrastive
        self-supervised speaker verification"; continued in Lepage and Dehak 2024, arXiv:2404.14913.
    """

    def __init__(
        self, network: nn.Module, *, temperature: float = 0.07, margin: float = 0.1, added: Sequence[Added] = ()
    ) -> None:
        super().__init__()
        self.network, self.added = network, tuple(added)
        self.temperature, self.margin = temperature, margin

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (2, B, T, C): ``accuracy`` is how often the other crop is the nearest of all."""
        views = batch["global"]
        found = self.network(views.flatten(0, 1)).float().unflatten(0, views.shape[:2])
        loss, accuracy = nt_xent(found, temperature=self.temperature, margin=self.margin)
        return with_added({"total": loss, "accuracy": accuracy}, found, self.added)


def nt_xent(embeddings: Tensor, *, temperature: float, margin: float) -> tuple[Tensor, Tensor]:
    """Loss of embeddings (2, B, E), and how often the other crop is the nearest of all."""
    size = embeddings.shape[1]
    # in bfloat16, cosines would be too coarse to divide by the temperature
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = functional.normalize(embeddings.float().flatten(0, 1), dim=1)
        cosines = unit @ unit.T  # (2B, 2B)
    other = (torch.arange(2 * size, device=unit.device) + size) % (2 * size)
    itself = torch.eye(2 * size, dtype=torch.bool, device=unit.device)
    cosines = cosines.masked_fill(itself, -torch.inf)
    correct = (cosines.argmax(1) == other).float().mean()
    margins = functional.one_hot(other, 2 * size) * margin
    return functional.cross_entropy((cosines - margins) / temperature, other), correct.detach()
