"""The layers between an embedding and a loss that would otherwise spoil it; they are thrown away after training."""

from __future__ import annotations

import itertools

from torch import nn


def projector(dim: int, hidden: int, outputs: int, *, layers: int = 3) -> nn.Sequential:
    """Linear maps with batch norm and ReLU between them, (B, dim) to (B, outputs), as VICReg and Barlow Twins have."""
    widths = [dim, *[hidden] * (layers - 1)]
    inner: list[nn.Module] = []
    for inputs, width in itertools.pairwise(widths):
        inner += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*inner, nn.Linear(widths[-1], outputs, bias=False))
