"""A self-supervised encoder in front of a head: what ``train.py --front-end`` trains, on crops of samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from speechssl import encoders
from speechssl.encoders.encoder import SSLEncoder
from speechssl.errors import InputError
from speechssl.verification.embedders import heads, ssl

SLOWER = 0.1  # rate of unfrozen blocks, where that of the head is 1
# of the head ``ecapa``; the others have their own defaults
SIZES: dict[str, dict[str, Any]] = {
    "toy": {"channels": 16, "bottleneck": 8, "scale": 4, "padding": "zeros"},
    "tiny": {"channels": 128, "bottleneck": 64, "padding": "zeros"},
    "small": {"channels": 256, "bottleneck": 128, "padding": "zeros"},
}


class OnEncoder(nn.Module):
    """Samples (B, S) to embeddings (B, E). Frozen weights stay in the encoder's own file, and out of checkpoints.

    Args:
        encoder: of the highest of the blocks.
        blocks: whose states the head sees.
        head: of ``heads.HEADS``.
        unfreeze: highest blocks that are trained.
    """

    def __init__(self, encoder: SSLEncoder, blocks: list[int], head: nn.Module, *, unfreeze: int = 0) -> None:
        super().__init__()
        self.blocks = ssl.check_blocks(blocks, encoder)
        if not 0 <= unfreeze <= encoder.layer:
            raise InputError(f"{unfreeze} blocks to unfreeze; {encoder.origin} has {encoder.layer} up to the highest")
        self.head = head
        self.encoder = (encoder,)  # in a tuple, so that it is no part of this module
        numbers = range(encoder.layer - unfreeze + 1, encoder.layer + 1)
        self.tuned = nn.ModuleDict({str(number): encoder.trunk.blocks[number - 1] for number in numbers})
        self.tuned.requires_grad_(True)

    def forward(self, samples: Tensor) -> Tensor:
        found: Tensor = self.head(self.states(samples))
        return found

    def states(self, samples: Tensor) -> Tensor:
        """Hidden states (B, T, L, D) of samples (B, S), which must fit one window."""
        return torch.stack([self._states(one) for one in samples])

    def _states(self, samples: Tensor) -> Tensor:
        (encoder,) = self.encoder
        with torch.no_grad():
            frames = torch.cat(list(encoder.front_end.frames(lambda: [samples])))
        with torch.set_grad_enabled(torch.is_grad_enabled() and len(self.tuned) > 0):
            states = list(encoder.trunk.states(frames, num_valid=encoder.front_end.num_valid(len(samples))))
        return torch.stack([states[block] for block in self.blocks], dim=1)

    def tuned_tensors(self) -> dict[str, Tensor]:
        """Of the unfrozen blocks, named as ``ssl.write`` takes them."""
        return {f"blocks.{name}": tensor.detach() for name, tensor in self.tuned.state_dict().items()}


def make(config: dict[str, Any]) -> OnEncoder:
    """The network of a run's config: ``front_end``, ``blocks``, ``head``, ``head_config``, ``unfreeze``."""
    encoder = encoders.load(config["front_end"], layer=max(config["blocks"]), device="cpu")
    blocks = ssl.check_blocks(config["blocks"], encoder)
    width = ssl.width_of(encoder, blocks)
    head = heads.make(config["head"], len(blocks), width, **config["head_config"])
    return OnEncoder(encoder, list(blocks), head, unfreeze=config["unfreeze"])


def numbers(text: str) -> list[int]:
    """``"1-3,6"`` as [1, 2, 3, 6].

    Raises:
        InputError: neither numbers nor ranges.
    """
    found: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise InputError(f"blocks {text!r}; numbers and ranges such as 1-3,6 needed") from error
    return found
