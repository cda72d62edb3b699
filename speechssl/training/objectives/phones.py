"""Frame-wise phone targets from forced alignments: the short supervised stage of the embedded encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RETRIEVAL_FRAMES = 1536  # enough for every phone to have others of its kind
IGNORE = -100  # frames without a target, as in torch's cross_entropy


class PhoneStates(nn.Module):
    """Cross-entropy of phone states and of the phones before and after, and a retrieval loss, on every frame.

    The states (thirds of a phone) make the frames sharp in time. The neighbouring phones make frames of one phone in
    different contexts differ, so that retrieval prefers a frame from the same context. A classifier can be right while
    the cosine of its frames is not: the retrieval loss (neighbourhood components analysis, Goldberger et al. 2004) asks
    that the frames of other speakers nearest by cosine, which is how frames are retrieved later, have the same phone.

    Args:
        network: transformers model whose ``forward(input)`` gives ``last_hidden_state`` and ``hidden_states``.
        dim: numbers per frame of the network's output.
        num_states, num_phones: sizes of the targets.
        middle_layer: block whose output learns the states too (it keeps the early blocks phonetic).
        middle_dim: numbers per frame of that block's output; None for ``dim``.
        context_weight, middle_weight, retrieval_weight: weights of the other losses beside the states' 1.
        temperature: of the cosines in the retrieval loss.
        retrieval_frames: of a batch, drawn at random, that the retrieval loss compares with one another.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        num_states: int,
        num_phones: int,
        middle_layer: int,
        middle_dim: int | None = None,
        context_weight: float = 0.3,
        middle_weight: float = 0.3,
        retrieval_weight: float = 1.0,
        temperature: float = 0.07,
        retrieval_frames: int = RETRIEVAL_FRAMES,
    ) -> None:
        super().__init__()
        self.network = network
        self.middle_layer = middle_layer
        self.context_weight, self.middle_weight = context_weight, middle_weight
        self.retrieval_weight, self.temperature = retrieval_weight, temperature
        self.retrieval_frames = retrieval_frames
        self.states_per_phone = num_states // num_phones
        self.state_head = nn.Linear(dim, num_states)
        self.middle_head = nn.Linear(middle_dim or dim, num_states)
        self.previous_head = nn.Linear(dim, num_phones)
        self.next_head = nn.Linear(dim, num_phones)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C) with targets ``states``, ``previous``, ``next`` (B, T) int64, -100 = none.

        ``speaker`` (B,) int64 tells crops of one speaker from others'; without it every crop counts as a speaker.
        """
        output = self.network(batch["input"], output_hidden_states=True)
        last, middle = output.last_hidden_state, output.hidden_states[self.middle_layer]
        logits = self.state_head(last)  # (B, T, S)
        state = _cross_entropy(logits, batch["states"])
        previous = _cross_entropy(self.previous_head(last), batch["previous"])
        following = _cross_entropy(self.next_head(last), batch["next"])
        middle_state = _cross_entropy(self.middle_head(middle), batch["states"])
        total = state + self.context_weight * (previous + following) / 2 + self.middle_weight * middle_state
        retrieval, hits = self._retrieval(last, batch["states"], batch.get("speaker"))
        known = batch["states"] != IGNORE
        correct = (logits.argmax(-1) == batch["states"])[known].float().mean()
        return {
            "total": total + self.retrieval_weight * retrieval,
            "state": state,
            "context": (previous + following) / 2,
            "retrieval": retrieval,
            "state_accuracy": correct.detach(),
            "retrieval_accuracy": hits.detach(),
        }

    def _retrieval(self, frames: Tensor, states: Tensor, speaker: Tensor | None) -> tuple[Tensor, Tensor]:
        """Loss, and share of frames whose nearest frame of another speaker has their phone."""
        if speaker is None:
            speaker = torch.arange(len(frames), device=frames.device)
        known = (states != IGNORE).nonzero()
        chosen = known[torch.randperm(len(known), device=frames.device)[: self.retrieval_frames]].unbind(1)
        labels, who = states[chosen], speaker[chosen[0]]
        with torch.autocast(frames.device.type, enabled=False):
            unit = functional.normalize(frames[chosen].float(), dim=-1)  # (F, D)
            similarity = unit @ unit.T / self.temperature
        others = who[:, None] != who[None]
        # a frame with nobody else's beside it has no part in the loss
        log_share = similarity.masked_fill(~others & others.any(1, keepdim=True), -torch.inf).log_softmax(-1)
        loss = frames.new_zeros((), dtype=torch.float32)
        for classes in (labels, labels // self.states_per_phone):
            same = (classes[:, None] == classes[None]) & others
            matched = same.any(1)
            if matched.any():
                found = log_share[matched].masked_fill(~same[matched], -torch.inf).logsumexp(-1)
                loss = loss - found.mean() / 2
        return loss, (classes[log_share.argmax(-1)] == classes).float().mean()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORE, label_smoothing=0.05)
