"""What a synthesizer is trained on: keys, pitch, voicing and durations of aligned speech."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = {"keys": 1.0, "cosine": 2.0, "pitch": 0.2, "voicing": 0.2, "durations": 0.1, "pauses": 0.1}


class TextToKeysLoss(nn.Module):
    """Losses of ``synthesis.network.TextToKeys``, which is inside as ``network``.

    Retrieval searches by cosine, so that is minimised beside the square error of the standardised keys, which is the
    same for small errors but weighs all directions alike.

    Args:
        network: with its scales set from the training speech.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a batch: ``symbols``, ``stresses``, ``durations``, ``borders`` (B, L); ``keys`` (B, T, D) as encoded;
        ``pitch`` (B, T, 2), log-F0 and voiced fraction; tokens of padding last -1 frame."""
        # a network has more than PyTorch's stubs know of a module
        network: Any = self.network
        there = batch["durations"] >= 0
        durations = batch["durations"].clamp(min=0)
        hidden, lengths = network.encode(batch["symbols"], batch["stresses"], there)
        frames, mask = network.decode(hidden, durations)
        keys = batch["keys"].float()[:, : mask.shape[1]]
        pitch = batch["pitch"][:, : mask.shape[1]]
        standard = (keys - network.key_mean) / network.key_spread
        predicted, _ = network.unscaled(frames)
        mean, spread = network.pitch_scale
        voiced = mask & (pitch[..., 1] > 0.5)
        silent = there & batch["borders"] & (durations == 0)
        sounding = there & (durations > 0)
        parts = {
            "keys": _mean((frames.keys - standard).square().mean(-1), mask),
            "cosine": _mean(1 - F.cosine_similarity(predicted, keys, dim=-1), mask),
            "pitch": _mean((frames.log_f0 - (pitch[..., 0] - mean) / spread).abs(), voiced),
            "voicing": _mean(_logistic(frames.voiced, (pitch[..., 1] > 0.5).float()), mask),
            "durations": _mean(_gaussian(durations.clamp(min=1).float().log(), lengths.mean, lengths.spread), sounding),
            "pauses": _mean(_logistic(lengths.silent, silent.float()), there & batch["borders"]),
        }
        return {"total": sum((WEIGHTS[name] * part for name, part in parts.items()), torch.zeros(())), **parts}


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _logistic(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _gaussian(values: Tensor, mean: Tensor, log_spread: Tensor) -> Tensor:
    """Negative log likelihood, up to a constant."""
    return 0.5 * ((values - mean) / log_spread.exp()).square() + log_spread
