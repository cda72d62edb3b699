"""BYOL: a student predicts what its averaged teacher makes of the other crop; no negatives.

Source: Grill et al. 2020, arXiv:2006.07733, section 3.1.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.added import Added, with_added
from speechssl.training.objectives.momentum import follow, rising
from speechssl.training.objectives.projector import projector


class Byol(nn.Module):
    """Squared distance of unit vectors: the student's prediction of one crop, the teacher's projection of the other.

    Args:
        network: crops (B, T, C) to embeddings (B, E); copied for the teacher.
        dim: numbers per embedding, E.
        hidden, outputs: widths of projector and predictor; 4096 and 256 in the paper.
        steps: of the whole run, over which the teacher's momentum rises to 1 along a cosine.
        momentum: of the teacher at the start; 0.996 in the paper.
        added: further losses of the embeddings.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        hidden: int = 1024,
        outputs: int = 256,
        steps: int = 1000,
        momentum: float = 0.99,
        added: Sequence[Added] = (),
    ) -> None:
        super().__init__()
        self.network, self.added = network, tuple(added)
        self.projector = projector(dim, hidden, outputs, layers=2)
        self.predictor = projector(outputs, hidden, outputs, layers=2)
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.teacher_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.steps, self.momentum = steps, momentum

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (2, B, T, C), B >= 2; both crops are predicted from the other."""
        views = batch["global"]
        found = self.network(views.flatten(0, 1)).float()
        predicted = self.predictor(self.projector(found)).float().unflatten(0, views.shape[:2])
        with torch.no_grad():
            taught = self.teacher_projector(self.teacher(views.flatten(0, 1)).float()).float()
        taught = taught.unflatten(0, views.shape[:2]).flip(0)
        cosines = functional.cosine_similarity(predicted, taught, dim=-1)  # (2, B)
        losses = {"total": (2 - 2 * cosines).mean(1).sum(), "cosine": cosines.detach().mean()}
        return with_added(losses, found.unflatten(0, views.shape[:2]), self.added)

    def after_step(self, step: int) -> None:
        """Move the teacher toward the student."""
        momentum = rising(self.momentum, step, self.steps)
        follow(self.teacher, self.network, momentum)
        follow(self.teacher_projector, self.projector, momentum)
