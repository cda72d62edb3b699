"""Widening: frames get back the spread that averaging takes away."""

from __future__ import annotations

import torch
from torch import Tensor

from speechssl.conversion.converters.means import Surroundings, centre_of, pieces

WIDEST = 1.6  # largest factor of a spread: recipes/voice_conversion/RESULTS.md


def widened(frames: Tensor, voice: Surroundings, limit: float = WIDEST) -> Tensor:
    """Frames (N, V) with the spread that averaging took away: c + r (frame - c), per dimension.

    c is the mean of all values of the voice. r is the spread of all the neighbours of all frames, as single frames
    have it, over the spread of the frames; it is held within 1 and the limit.

    Args:
        frames: (N, V) means of some of the neighbours.
        voice: the neighbours of each frame.
        limit: >= 1.
    Source: what Toda and Tokuda 2007 call global variance, here by a linear map.
    """
    centre, indices = centre_of(voice.values), voice.neighbours.indices
    single = _spread(voice.values, indices.flatten(), centre)
    ratio = (single / _spread(frames, torch.arange(len(frames)), centre).clamp(min=1e-6)).clamp(1.0, limit).float()
    return (frames - centre.float()).mul_(ratio).add_(centre.float())


def _spread(values: Tensor, rows: Tensor, near: Tensor) -> Tensor:
    """(V,) float64 standard deviation of rows of values, in pieces; ``near`` is a point near their mean."""
    total, squares = torch.zeros(2, values.shape[1], dtype=torch.float64)
    for part in pieces(len(rows), values.shape[1] * 4):
        away = values[rows[part]].double() - near
        total += away.sum(dim=0)
        squares += away.square().sum(dim=0)
    variances: Tensor = squares / len(rows) - (total / len(rows)) ** 2
    return variances.clamp(min=0.0).sqrt()
