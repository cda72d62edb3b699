"""Heads on the hidden states of several blocks of an encoder: one vector for an utterance.

All take states (B, T, L, D) of L blocks and give embeddings (B, dim), not normalised.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from speechssl.errors import InputError
from speechssl.verification.embedders.ecapa import Ecapa


class LayeredEcapa(nn.Module):
    """ECAPA-TDNN on the softmax-weighted mean of the blocks.

    Args:
        blocks, features: L and D of the states.
        dim: of the embedding.
        ecapa: further arguments of ``Ecapa``.
    Source: Yang et al. 2021, arXiv:2105.01051, section 2.2 (the mean); Chen et al. 2022, arXiv:2110.13900 (with ECAPA).
    """

    def __init__(self, blocks: int, features: int, *, dim: int = 192, **ecapa: Any) -> None:
        super().__init__()
        self.layer_weights = nn.Parameter(torch.zeros(blocks))
        self.ecapa = Ecapa(features, dim=dim, **ecapa)

    def forward(self, states: Tensor) -> Tensor:
        return self.ecapa(weighted(states, self.layer_weights))


class Mhfa(nn.Module):
    """Multi-head factorised attention: keys and values have weights of the blocks of their own.

    Args:
        blocks, features: L and D of the states.
        dim: of the embedding.
        heads: H, each with attention of its own.
        compressed: numbers of a key and of a value.
    Source: Peng et al. 2022, arXiv:2210.01273, section 3.
    """

    def __init__(self, blocks: int, features: int, *, dim: int = 192, heads: int = 16, compressed: int = 64) -> None:
        super().__init__()
        self.key_weights = nn.Parameter(torch.zeros(blocks))
        self.value_weights = nn.Parameter(torch.zeros(blocks))
        self.key = nn.Linear(features, compressed)
        self.value = nn.Linear(features, compressed)
        self.attention = nn.Linear(compressed, heads)
        self.last = nn.Linear(heads * compressed, dim)

    def forward(self, states: Tensor) -> Tensor:
        keys = self.key(weighted(states, self.key_weights))  # (B, T, K)
        values = self.value(weighted(states, self.value_weights))
        shares = torch.softmax(self.attention(keys).float(), dim=1)  # (B, T, H), over time
        return self.last((shares.transpose(1, 2) @ values.float()).flatten(1))


class Statistics(nn.Module):
    """A linear map of the means and standard deviations over time of every block; may be fitted in closed form.

    Args:
        blocks, features: L and D of the states.
        dim: of the embedding.
    """

    def __init__(self, blocks: int, features: int, *, dim: int = 64) -> None:
        super().__init__()
        self.last = nn.Linear(2 * blocks * features, dim)

    def forward(self, states: Tensor) -> Tensor:
        return self.last(statistics(states))


HEADS: dict[str, type[LayeredEcapa | Mhfa | Statistics]] = {
    "ecapa": LayeredEcapa,
    "mhfa": Mhfa,
    "statistics": Statistics,
}


def make(name: str, blocks: int, features: int, **config: Any) -> nn.Module:
    """A head by its name in ``HEADS``.

    Raises:
        InputError: an unknown name.
    """
    if name not in HEADS:
        raise InputError(f"no head {name!r}; {', '.join(HEADS)} are known")
    return HEADS[name](blocks, features, **config)


def weighted(states: Tensor, weights: Tensor) -> Tensor:
    """Mean (B, T, D) of states (B, T, L, D) with the softmax of weights (L,)."""
    return torch.einsum("btld,l->btd", states, torch.softmax(weights, dim=0))


def statistics(states: Tensor) -> Tensor:
    """Means and standard deviations (B, 2 * L * D) over time of states (B, T, L, D)."""
    # in float32 also under autocast: the variance is a small difference of large numbers
    states = states.float()
    return torch.cat([states.mean(1).flatten(1), states.std(1, correction=0).flatten(1)], dim=1)
