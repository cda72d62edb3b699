"""data2vec: predict an averaged teacher's view of the whole recording from a masked one.

Baevski et al. 2022, arXiv:2202.03555, section 3; several masks for each pass of the teacher, and a student that does
not hear masked frames at all, as in data2vec 2.0, Baevski et al. 2022, arXiv:2212.07525, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.training.objectives.momentum import MaskedStudent, follow

# network, frames (B, K, C), their places (B, K) among (B, T) -> last hidden state (B, K, D)
Partly = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Data2Vec(MaskedStudent):
    """Regress, at masked frames, the mean of the teacher's last blocks on the input without masks.

    Args:
        network: transformers model whose ``forward(input, output_hidden_states=True)`` gives ``hidden_states``.
        dim: numbers per frame of the network's output; ``input_dim`` of its input.
        num_layers: last blocks of the teacher whose outputs are averaged; 8 of 12 in the paper.
        masks: of each recording for one pass of the teacher; 8 in data2vec 2.0 on speech, 4 here for memory.
        first_decay, last_decay, ramp: the moving average of the weights, which rises over so many steps.
        mask_probability, mask_span: share and length in frames of the masked spans.
        partly: how the network hears some frames alone, as in data2vec 2.0: the student then hears those that are not
            masked, and a small convolutional decoder, with noise at the masked ones, predicts. None: the student hears
            masked frames as a learnt vector, as in the first paper.
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
        partly: Partly | None = None,
    ) -> None:
        super().__init__(network, input_dim=input_dim, mask_probability=mask_probability, mask_span=mask_span)
        self.head = nn.Linear(dim, dim) if partly is None else Decoder(dim)
        self.partly = partly
        self.num_layers, self.masks = num_layers, masks
        self.first_decay, self.last_decay, self.ramp = first_decay, last_decay, ramp

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C); ``clean`` (B, T, C), where given, is what the teacher hears.

        ``target_spread`` is the mean deviation of the targets over frames, which goes to 0 if training collapses.
        """
        frames = batch["input"]
        targets = self.targets(batch.get("clean", frames)).repeat(self.masks, 1, 1)  # (masks * B, T, D)
        many = frames.repeat(self.masks, 1, 1)
        mask = self.draw_mask(many)
        if self.partly is None:
            found = self.head(self.hidden(many, mask)).float()
        else:
            places = heard_places(mask)
            kept = many.gather(1, places[..., None].expand(-1, -1, many.shape[-1]))
            found = self.head(self.partly(self.network, kept, places), places, mask.shape[1])[mask].float()
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


class Decoder(nn.Module):
    """Four convolutions over time, with residuals, from the heard frames and noise at the others to every frame.

    Source: Baevski et al. 2022, arXiv:2212.07525, section 3.2 and table 9.
    """

    NOISE = 0.02  # deviation
    KERNEL, LAYERS, GROUPS = 7, 4, 16

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim, dim, self.KERNEL, padding=self.KERNEL // 2, groups=min(self.GROUPS, dim))
            for _ in range(self.LAYERS)
        )
        self.leave = nn.Linear(dim, dim)

    def forward(self, heard: Tensor, places: Tensor, length: int) -> Tensor:
        """Frames (B, length, D) from those heard (B, K, D) at ``places`` (B, K)."""
        full = self.NOISE * torch.randn(len(heard), length, heard.shape[-1], device=heard.device, dtype=heard.dtype)
        full = full.scatter(1, places[..., None].expand_as(heard), heard)
        for convolution in self.convolutions:
            inner = functional.layer_norm(convolution(full.mT).mT, full.shape[-1:])
            full = full + functional.gelu(inner)
        return self.leave(full)


def heard_places(mask: Tensor) -> Tensor:
    """Places (B, K), rising, of frames that the mask (B, T) leaves; K is the fewest of a row, drawn in the others.

    One frame stays where a row is masked as a whole.
    """
    free = torch.where(mask, -1.0, torch.rand(mask.shape, device=mask.device))
    count = max(1, int((~mask).sum(1).min()))
    return free.topk(count, dim=1).indices.sort(1).values
