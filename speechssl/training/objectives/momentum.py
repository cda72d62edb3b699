"""A network that follows another slowly: the teacher of DINO, BYOL, MoCo, DinoSR and data2vec."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from speechssl.training.objectives.masking import Masked


class MaskedStudent(Masked):
    """A network that hears masked frames, and its averaged copy, the teacher, which is without dropout."""

    def __init__(self, network: nn.Module, *, input_dim: int, mask_probability: float, mask_span: int) -> None:
        super().__init__(network, input_dim=input_dim, mask_probability=mask_probability, mask_span=mask_span)
        self.teacher = copy.deepcopy(network).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MaskedStudent:
        """Set the mode of the student; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Move the parameters of ``slow`` toward those of ``fast``; ``momentum`` in [0, 1] is what stays."""
    for kept, now in zip(slow.parameters(), fast.parameters(), strict=True):
        kept.lerp_(now, 1 - momentum)


def rising(momentum: float, step: int, steps: int) -> float:
    """Momentum that rises from its first value to 1 along a cosine, over ``steps`` (Grill et al. 2020, section 3.2)."""
    progress = min(1.0, step / max(1, steps))
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
