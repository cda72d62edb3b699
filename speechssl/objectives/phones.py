"""Frame-wise phone targets from forced alignments: the short supervised stage of the embedded encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORE = -100  # frames without a target, as in torch's cross_entropy


class PhoneStates(nn.Module):
    """Cross-entropy of phone states, and of the phones before and after, on every frame.

    The states (thirds of a phone) make the frames sharp in time. The neighbouring phones make frames of one phone in
    different contexts differ, so that retrieval prefers a frame from the same context.

    Args:
        network: transformers model whose ``forward(input)`` gives ``last_hidden_state`` and ``hidden_states``.
        dim: numbers per frame of the network's output.
        num_states, num_phones: sizes of the targets.
        middle_layer: block whose output learns the states too (it keeps the early blocks phonetic).
        context_weight, middle_weight: weights of the two auxiliary losses beside the states' 1.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        num_states: int,
        num_phones: int,
        middle_layer: int,
        context_weight: float = 0.3,
        middle_weight: float = 0.3,
    ) -> None:
        super().__init__()
        self.network = network
        self.middle_layer = middle_layer
        self.context_weight, self.middle_weight = context_weight, middle_weight
        self.state_head = nn.Linear(dim, num_states)
        self.middle_head = nn.Linear(dim, num_states)
        self.previous_head = nn.Linear(dim, num_phones)
        self.next_head = nn.Linear(dim, num_phones)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C) with targets ``states``, ``previous``, ``next`` (B, T) int64, -100 = none."""
        output = self.network(batch["input"], output_hidden_states=True)
        last, middle = output.last_hidden_state, output.hidden_states[self.middle_layer]
        logits = self.state_head(last)  # (B, T, S)
        state = _cross_entropy(logits, batch["states"])
        previous = _cross_entropy(self.previous_head(last), batch["previous"])
        following = _cross_entropy(self.next_head(last), batch["next"])
        middle_state = _cross_entropy(self.middle_head(middle), batch["states"])
        total = state + self.context_weight * (previous + following) / 2 + self.middle_weight * middle_state
        known = batch["states"] != IGNORE
        correct = (logits.argmax(-1) == batch["states"])[known].float().mean()
        return {"total": total, "state": state, "context": (previous + following) / 2, "state_accuracy": correct.detach()}


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORE, label_smoothing=0.05)
