"""Spans of masked frames, shared by the masked-prediction objectives."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Masked(nn.Module):
    """A network that hears masked frames.

    Args:
        network: transformers model whose ``forward(input)`` gives ``last_hidden_state``.
        input_dim: numbers per frame of its input.
        mask_probability, mask_span: share and length in frames of the masked spans.
    """

    def __init__(self, network: nn.Module, *, input_dim: int, mask_probability: float, mask_span: int) -> None:
        super().__init__()
        self.network = network
        self.mask_vector = nn.Parameter(torch.randn(input_dim) * 0.1)
        self.mask_probability, self.mask_span = mask_probability, mask_span

    def draw_mask(self, frames: Tensor) -> Tensor:
        """Mask (B, T) bool of frames (B, T, C)."""
        batch, length = frames.shape[:2]
        return span_mask(batch, length, probability=self.mask_probability, span=self.mask_span, device=frames.device)

    def hidden(self, frames: Tensor, mask: Tensor) -> Tensor:
        """What the network gives (M, D) at masked frames; it hears the same learnt vector at all of them."""
        heard = torch.where(mask[..., None], self.mask_vector.to(frames.dtype), frames)
        hidden: Tensor = self.network(heard).last_hidden_state[mask]
        return hidden


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
