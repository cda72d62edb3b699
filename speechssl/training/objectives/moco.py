"""Momentum contrast: a crop is told from a queue of earlier utterances, so that batches may be small.

Source: He et al. 2020, arXiv:1911.05722, algorithm 1; for speakers Xia et al. 2021, arXiv:2012.07178.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.added import Added, with_added
from speechssl.training.objectives.momentum import follow


class MoCo(nn.Module):
    """Cross-entropy of the key of the other crop among those of the queue.

    Args:
        network: crops (B, T, C) to embeddings (B, E); copied for the keys.
        dim: numbers per embedding, E.
        queue: keys of earlier utterances; 10,000 for VoxCeleb in Xia et al. An utterance should not be drawn again
            while its key is there.
        temperature: of the softmax over cosines; 0.07 in the paper.
        margin: taken off the cosine of the right key.
        momentum: of the network of the keys; 0.999 in the paper, for a million steps.
        added: further losses of the embeddings.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        queue: int = 1024,
        temperature: float = 0.07,
        margin: float = 0.1,
        momentum: float = 0.99,
        added: Sequence[Added] = (),
    ) -> None:
        super().__init__()
        self.network, self.added = network, tuple(added)
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.temperature, self.margin, self.momentum = temperature, margin, momentum
        self.register_buffer("queue", torch.zeros(queue, dim))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.queue: Tensor
        self.seen: Tensor

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (2, B, T, C): ``accuracy`` is how often the other crop's key is the nearest of all."""
        views = batch["global"]
        size = views.shape[1]
        found = self.network(views.flatten(0, 1)).float().unflatten(0, views.shape[:2])
        with torch.no_grad():
            keys = functional.normalize(self.teacher(views[1]).float(), dim=1)
        filled = self.queue[: min(int(self.seen), len(self.queue))]
        # in bfloat16, cosines would be too coarse to divide by the temperature
        with torch.autocast(keys.device.type, enabled=False):
            queries = functional.normalize(found[0], dim=1)
            # before the queue fills, the keys of the batch alone
            cosines = queries @ torch.cat([keys, filled]).T  # (B, B + K)
        right = torch.arange(size, device=keys.device)
        margins = functional.one_hot(right, cosines.shape[1]) * self.margin
        loss = functional.cross_entropy((cosines - margins) / self.temperature, right)
        accuracy = (cosines.detach().argmax(1) == right).float().mean()
        if self.training:
            places = (int(self.seen) + torch.arange(size, device=keys.device)) % len(self.queue)
            self.queue[places] = keys
            self.seen += size
        return with_added({"total": loss, "accuracy": accuracy}, found, self.added)

    def after_step(self, step: int) -> None:
        """Move the network of the keys toward the other."""
        follow(self.teacher, self.network, self.momentum)
