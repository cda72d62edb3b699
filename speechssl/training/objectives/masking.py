"""Spans of masked frames, shared by the masked-prediction objectives."""

from __future__ import annotations

import torch
from torch import Tensor


def span_mask(batch: int, length: int, *, probability: float, span: int, device: torch.device) -> Tensor:
    """Mask (B, T) bool: every frame starts a span with ``probability`` / ``span``; at least one span a row.

    Args:
        probability: expected share of frames covered if spans did not overlap.
        span: frames per span.
    """
    starts = torch.rand(batch, length, device=device) < probability / span
    starts[torch.arange(batch, device=device), torch.randint(max(1, length - span), (batch,), device=device)] = True
    reach = starts.float().cumsum(1)
    before = torch.nn.functional.pad(reach, (span, 0))[:, :length]
    return (reach - before) > 0


def apply_mask(frames: Tensor, mask: Tensor, vector: Tensor) -> Tensor:
    """Frames (B, T, C) with ``vector`` (C,) where ``mask`` (B, T) is true."""
    return torch.where(mask[..., None], vector.to(frames.dtype), frames)
