"""Masked contrast as in wav2vec 2.0: tell the quantised target of a masked frame from those of other masked frames.

Source: Baevski et al. 2020, arXiv:2006.11477, sections 2 and 3; the quantiser hears log-mel frames through a linear
map, as in w2v-BERT, Chung et al. 2021, arXiv:2108.06209, section 3.1.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl import checkpoints
from speechssl.training.objectives.masking import Masked


class MaskedContrast(Masked):
    """Cosines of masked frames with their quantised target and with ``distractors`` of the same recording.

    Targets are products of ``groups`` codebooks, chosen by a Gumbel softmax that transformers has; a second loss asks
    that all their entries are used.

    Args:
        network: transformers model whose ``forward(input)`` gives ``last_hidden_state``.
        dim: numbers per frame of the network's output; ``input_dim`` of its input.
        groups, codes: codebooks and entries of each; 2 of 320 in the paper.
        distractors: for each masked frame, drawn from the other masked frames of its recording; 100 in the paper.
        temperature: of the cosines.
        diversity: weight of the second loss.
        hottest, coolest, cooling: temperature of the Gumbel softmax: from, to, and the factor of each step.
        mask_probability, mask_span: share and length in frames of the masked spans.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        input_dim: int,
        groups: int = 2,
        codes: int = 64,
        distractors: int = 100,
        temperature: float = 0.1,
        diversity: float = 0.1,
        hottest: float = 2.0,
        coolest: float = 0.5,
        cooling: float = 0.9995,
        mask_probability: float = 0.65,
        mask_span: int = 10,
    ) -> None:
        super().__init__(network, input_dim=input_dim, mask_probability=mask_probability, mask_span=mask_span)
        checkpoints.transformers()  # a torchaudio that does not load must not end the recipe
        wav2vec2 = importlib.import_module("transformers.models.wav2vec2.modeling_wav2vec2")
        config = wav2vec2.Wav2Vec2Config(
            conv_dim=(dim,),
            conv_kernel=(1,),
            conv_stride=(1,),
            num_codevector_groups=groups,
            num_codevectors_per_group=codes,
            codevector_dim=dim,
        )
        self.enter = nn.Sequential(nn.Linear(input_dim, dim), nn.LayerNorm(dim))
        self.quantiser = wav2vec2.Wav2Vec2GumbelVectorQuantizer(config)
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros(()))  # done, so that a resumed run is as cool
        # as transformers begins a whole model
        nn.init.normal_(self.quantiser.weight_proj.weight)
        nn.init.zeros_(self.quantiser.weight_proj.bias)
        nn.init.uniform_(self.quantiser.codevectors)
        self.to_context, self.to_target = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.entries, self.distractors = groups * codes, distractors
        self.temperature, self.diversity = temperature, diversity
        self.hottest, self.coolest, self.cooling = hottest, coolest, cooling

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``input`` (B, T, C); ``clean`` (B, T, C), where given, is what the quantiser hears.

        ``found`` is the share of masked frames whose own target is nearest, ``perplexity`` how many entries are used.
        """
        frames = batch["input"]
        mask = self.draw_mask(frames)
        hidden = self.hidden(frames, mask)  # (M, D)
        self.quantiser.temperature = max(self.coolest, self.hottest * self.cooling ** float(self.steps))
        # in bfloat16, logits of the quantiser and cosines would be too coarse
        with torch.autocast(frames.device.type, enabled=False):
            chosen, perplexity = self.quantiser(self.enter(batch.get("clean", frames)[mask].float())[None])
            targets = self.to_target(chosen[0])
            logits = self.logits(self.to_context(hidden.float()), targets, self.others(mask))
        contrast = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        unused = (self.entries - perplexity) / self.entries
        return {
            "total": contrast + self.diversity * unused,
            "contrast": contrast.detach(),
            "found": (logits.argmax(-1) == 0).float().mean(),
            "perplexity": perplexity.detach(),
            "masked_share": mask.float().mean(),
        }

    def others(self, mask: Tensor) -> Tensor:
        """Numbers (M, K) among the M masked frames of the mask (B, T): others of the same recording, drawn evenly."""
        counts = mask.sum(1)
        firsts = (counts.cumsum(0) - counts).repeat_interleave(counts)[:, None]
        many = counts.repeat_interleave(counts)[:, None]
        own = torch.arange(len(firsts), device=mask.device)[:, None] - firsts
        drawn = (torch.rand(len(firsts), self.distractors, device=mask.device) * (many - 1)).long()
        # a recording of one masked frame has no other
        return firsts + (drawn + (drawn >= own)).clamp(max=many - 1)

    def logits(self, context: Tensor, targets: Tensor, others: Tensor) -> Tensor:
        """Cosines over the temperature (M, 1 + K): a frame's own target, then others; equal ones do not count."""
        candidates = torch.cat([targets[:, None], targets[others]], 1)
        cosines = functional.cosine_similarity(context[:, None], candidates, dim=-1) / self.temperature
        equal = (candidates[:, 1:] == targets[:, None]).all(-1)
        return torch.cat([cosines[:, :1], cosines[:, 1:].masked_fill(equal, -torch.inf)], 1)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Cool the Gumbel softmax."""
        self.steps.fill_(step + 1)
