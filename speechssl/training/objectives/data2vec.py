"""data2vec: predict an averaged teacher's view of the whole recording from a masked one.

Baevski et al. 2022, arXiv:2202.03555, section 3; several masks for each pass of the teacher as in data2vec 2.0, Baevski
et al. 2022, arXiv:2212.07525, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.masking import apply_mask, span_mask
from speechssl.training.objectives.momentum import MaskedStudent, follow


class Data2Vec(MaskedStudent):
    """Regress, at masked frames, the mean of the teacher's last blocks on the input without masks.

    The student hears masked frames as a learnt vector, as in the first paper; data2vec 2.0 leaves them out.

    Args:
        network: transformers model whose ``forward(input, output_hidden_states=True)`` gives ``hidden_states``.
        dim: numbers per frame of the network's output; ``input_dim`` of its input.
        num_layers: last blocks of the teacher whose outputs are averaged; 8 of 12 in the paper.
        masks: of each recording for one pass of the teacher; 8 in data2vec 2.0 on speech, 4 here for memory.
        first_decay, last_decay, ramp: the moving average of the weights, which rises over so many steps.
        mask_probability, mask_span: share and length in frames of the masked spans.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        input_dim: int,
        num_layers: int = 3,
        masks: int = 4,
        first_decay: float = 0.999,
        last_decay: float = 0.9999,
        ramp: int = 30_000,
        mask_probability: float = 0.65,
        mask_span: int = 10,
    ) -> None:
        super().__init__(network, input_dim=input_dim, mask_probability=mask_probability, mask_span=mask_span)
        self.head = nn.Linear(dim, dim)
        self.num_layers, self.masks = num_layers, masks
        self.first_decay, self.last_decay, self.ramp = first_decay, last_decay, ramp

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C); ``clean`` (B, T, C), where given, is what the teacher hears.

        ``target_spread`` is the mean deviation of the targets over frames, which goes to 0 if training collapses.
        """
        frames = batch["input"]
        targets = self.targets(batch.get("clean", frames)).repeat(self.masks, 1, 1)  # (masks * B, T, D)
        many = frames.repeat(self.masks, 1, 1)
        mask = span_mask(*many.shape[:2], probability=self.mask_probability, span=self.mask_span, device=frames.device)
        hidden = self.network(apply_mask(many, mask, self.mask_vector)).last_hidden_state[mask]
        found = self.head(hidden).float()
        return {
            "total": functional.mse_loss(found, targets[mask]),
            "masked_share": mask.float().mean(),
            "target_spread": targets.std((0, 1)).mean(),
        }

    @torch.no_grad()
    def targets(self, clean: Tensor) -> Tensor:
        """Mean (B, T, D) float32 of the teacher's last blocks, each at zero mean and unit deviation over time."""
        states = self.teacher(clean, output_hidden_states=True).hidden_states[-self.num_layers :]
        # variances of bfloat16 would be too coarse
        normed = [functional.instance_norm(state.float().transpose(1, 2)).transpose(1, 2) for state in states]
        return torch.stack(normed).mean(0)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher toward the student; slower and slower over the first ``ramp`` steps."""
        share = min(1.0, step / self.ramp)
        follow(self.teacher, self.network, self.first_decay + share * (self.last_decay - self.first_decay))
