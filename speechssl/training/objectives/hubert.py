"""Masked-unit prediction as in HuBERT (Hsu et al. 2021, arXiv:2106.07447, section II)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.masking import Masked


class MaskedUnits(Masked):
    """Predict the cluster of every masked frame from its surroundings.

    The units come from the clean recording while the input may be perturbed (another vocal tract, noise), so the
    network learns to ignore what the clusters do not hold (ContentVec, Qian et al. 2022).

    Args:
        network: transformers model whose ``forward(input)`` gives ``last_hidden_state``.
        dim: numbers per frame of the network's output; ``input_dim`` of its input.
        num_units: clusters.
        mask_probability, mask_span: share and length in frames of the masked spans (10 frames = 200 ms).
        temperature: of the cosine logits; 0.1 in the paper.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        input_dim: int,
        num_units: int,
        mask_probability: float = 0.65,
        mask_span: int = 10,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(network, input_dim=input_dim, mask_probability=mask_probability, mask_span=mask_span)
        self.projection = nn.Linear(dim, dim)
        self.codes = nn.Parameter(torch.randn(num_units, dim))
        self.temperature = temperature

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C) with targets ``units`` (B, T) int64."""
        frames, units = batch["input"], batch["units"]
        mask = self.draw_mask(frames)
        hidden = self.hidden(frames, mask)  # (M, D)
        projected = self.projection(hidden).float()
        # in bfloat16, cosines would be too coarse to divide by the temperature
        with torch.autocast(projected.device.type, enabled=False):
            cosines = functional.normalize(projected, dim=-1) @ functional.normalize(self.codes.float(), dim=-1).T
            logits = cosines / self.temperature
        loss = functional.cross_entropy(logits, units[mask])
        correct = (logits.argmax(-1) == units[mask]).float().mean()
        used = len(torch.bincount(logits.argmax(-1)).nonzero()) / logits.shape[-1]
        return {
            "total": loss,
            "masked_accuracy": correct.detach(),
            "masked_share": mask.float().mean(),
            "predicted_units": torch.tensor(used),
        }
