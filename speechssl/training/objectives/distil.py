"""Distillation to multi-codebook indexes (MVQ-KD, Guo et al. 2022, arXiv:2211.00508)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class CodebookDistillation(nn.Module):
    """A student predicts the indexes a multi-codebook quantiser gives each frame of a larger teacher.

    Args:
        network: student whose ``forward(input)`` gives ``last_hidden_state``.
        dim: numbers per frame of the student's output.
        num_codebooks, num_codes: of the quantiser.
    """

    def __init__(self, network: nn.Module, *, dim: int, num_codebooks: int, num_codes: int) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(dim, num_codebooks * num_codes)
        self.num_codebooks, self.num_codes = num_codebooks, num_codes

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C) with targets ``indexes`` (B, T, N) int64."""
        logits = self.head(self.network(batch["input"]).last_hidden_state).float()
        logits = logits.unflatten(-1, (self.num_codebooks, self.num_codes))  # (B, T, N, K)
        targets = batch["indexes"]
        loss = functional.cross_entropy(logits.flatten(0, 2), targets.flatten())
        return {"total": loss, "accuracy": (logits.argmax(-1) == targets).float().mean().detach()}
