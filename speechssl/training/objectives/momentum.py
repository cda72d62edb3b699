"""A network that follows another slowly: the teacher of DINO, BYOL and MoCo."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Move the parameters of ``slow`` toward those of ``fast``; ``momentum`` in [0, 1] is what stays."""
    for kept, now in zip(slow.parameters(), fast.parameters(), strict=True):
        kept.lerp_(now, 1 - momentum)


def rising(momentum: float, step: int, steps: int) -> float:
    """Momentum that rises from its first value to 1 along a cosine, over ``steps`` (Grill et al. 2020, section 3.2)."""
    progress = min(1.0, step / max(1, steps))
    return 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
