"""DinoSR: self-distillation with online clustering (Liu et al. 2023, arXiv:2305.10005, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.momentum import MaskedStudent, follow


class DinoSR(MaskedStudent):
    """A student predicts, at masked frames, the codewords an averaged teacher gives the clean input.

    Each of the teacher's last ``num_layers`` blocks has a codebook that follows the frames assigned to it by a moving
    average; no gradient reaches teacher or codebooks. A codeword that few frames choose is moved to a random frame of
    the batch; all codewords start that way. In the paper, codewords start at random and stay there until frames choose
    them. The first few that move towards the frames then win all frames (10 of 256 in each codebook).

    Args:
        network: transformers model whose ``forward(input, output_hidden_states=True)`` gives ``hidden_states``.
        dim: numbers per frame of the network's output; ``input_dim`` of its input.
        num_codes: codewords per codebook; 256 in the paper.
        num_layers: teacher blocks with a codebook; 8 of 12 in the paper.
        teacher_decay: of the moving average of the weights; ``code_decay`` of the codewords.
        least_use: a codeword moves if its share of the frames is below this factor times equal use.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        input_dim: int,
        num_codes: int = 256,
        num_layers: int = 3,
        teacher_decay: float = 0.999,
        code_decay: float = 0.9,
        least_use: float = 0.02,
        mask_probability: float = 0.65,
        mask_span: int = 10,
    ) -> None:
        super().__init__(network, input_dim=input_dim, mask_probability=mask_probability, mask_span=mask_span)
        self.heads = nn.ModuleList(nn.Linear(dim, num_codes) for _ in range(num_layers))
        self.register_buffer("sums", torch.zeros(num_layers, num_codes, dim))
        self.register_buffer("counts", torch.zeros(num_layers, num_codes))
        self.teacher_decay, self.code_decay, self.least_use = teacher_decay, code_decay, least_use
        self.sums: Tensor
        self.counts: Tensor

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C); ``clean`` (B, T, C), where given, is what the teacher hears."""
        frames = batch["input"]
        mask = self.draw_mask(frames)
        codes = self._codes(batch.get("clean", frames), mask)  # (L, M)
        hidden = self.hidden(frames, mask)
        logits = torch.stack([head(hidden).float() for head in self.heads])  # (L, M, K)
        loss = functional.cross_entropy(logits.flatten(0, 1), codes.flatten())
        correct = (logits.argmax(-1) == codes).float().mean()
        used = sum(len(torch.bincount(layer).nonzero()) for layer in codes) / self.counts.numel()
        return {
            "total": loss,
            "masked_accuracy": correct.detach(),
            "masked_share": mask.float().mean(),
            "used_codes": torch.tensor(used),
        }

    @torch.no_grad()
    def _codes(self, clean: Tensor, mask: Tensor) -> Tensor:
        """Codewords (L, M) of the teacher's masked frames; the codebooks follow them while training."""
        states = self.teacher(clean, output_hidden_states=True).hidden_states[-len(self.heads) :]
        return torch.stack([self._assign(number, _standardised(state)[mask]) for number, state in enumerate(states)])

    def _assign(self, layer: int, frames: Tensor) -> Tensor:
        frames = frames.float()
        if self.training:
            self._put_unused_on(layer, frames)
        # sums of bfloat16 products would be wrong by 0.4 %
        with torch.autocast(frames.device.type, enabled=False):
            centres = self.sums[layer] / self.counts[layer, :, None].clamp(min=1e-6)
            ids = torch.cdist(frames, centres).argmin(1)
            if self.training:
                one_hot = functional.one_hot(ids, len(centres)).float()
                self.sums[layer].lerp_(one_hot.T @ frames, 1 - self.code_decay)
                self.counts[layer].lerp_(one_hot.sum(0), 1 - self.code_decay)
        return ids

    def _put_unused_on(self, layer: int, frames: Tensor) -> None:
        """Move the codewords of a codebook that are not in use to frames (M, D) drawn at random."""
        equal = len(frames) / self.counts.shape[1]
        unused = (self.counts[layer] < self.least_use * equal).nonzero()[:, 0]
        drawn = frames[torch.randint(len(frames), (len(unused),), device=frames.device)]
        # as if equally used, so that they have some steps to find frames of their own
        self.sums[layer, unused] = drawn * equal
        self.counts[layer, unused] = equal

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher toward the student; faster in the first steps."""
        follow(self.teacher, self.network, min(self.teacher_decay, (1 + step) / (10 + step)))


def _standardised(frames: Tensor) -> Tensor:
    """Instance norm over time, as the paper does before clustering."""
    return (frames - frames.mean(1, keepdim=True)) / (frames.std(1, keepdim=True) + 1e-5)
