"""Vectors in which anomalous sounds stand out, learnt from normal ones alone by exchanging halves (FeatEx).

Source: Wilkinghoff 2024, arXiv:2312.09578, "Self-supervised learning for anomalous sound detection", section 3; the
logits are cosines at a fixed scale, as in AdaCos, Zhang et al. 2019, arXiv:1905.00292, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Floats = NDArray[np.float32]
WIDTH = 64  # of each half of a learnt vector
STEPS, BATCH, RATE = 400, 64, 1e-3
EXCHANGED = 0.5  # probability that a vector gets its second half from another recording
KEPT = 1e-6  # least deviation of a number


class Halves(nn.Module):
    """Two branches, one a half of the input (B, D); each gives a half of the vector (B, 2 * WIDTH), of length 1."""

    def __init__(self, dims: tuple[int, int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, 2 * WIDTH), nn.GELU(), nn.Dropout(0.2), nn.Linear(2 * WIDTH, WIDTH))
            for dim in dims
        )
        self.dims = dims

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        halves = vectors[:, : self.dims[0]], vectors[:, self.dims[0] :]
        one, two = (
            functional.normalize(branch(half), dim=-1) for branch, half in zip(self.branches, halves, strict=True)
        )
        return one, two


def learnt(normal: Floats, test: Floats, kinds: Sequence[str], *, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vectors (N, 128) of the normal recordings and (M, 128) of the test, by two branches trained on the normal ones.

    A classifier learns the kind of each recording, and of recordings whose second half was exchanged the kinds of both
    halves, as other classes: so it must hear which halves belong together.

    Args:
        normal, test: pooled vectors (N, D) and (M, D): means, then deviations.
        kinds: of the normal recordings, such as the machine; all one where nothing is known.
        seed: of the branches and of what is exchanged.
    """
    mean, spread = normal.mean(0), normal.std(0) + KEPT
    known, asked = (torch.from_numpy((one - mean) / spread).float() for one in (normal, test))
    names, numbers = np.unique(np.array(kinds), return_inverse=True)
    classes = 3 * len(names)  # whole, and the first and the second half of what was exchanged
    targets = functional.one_hot(torch.from_numpy(numbers), len(names)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        half = known.shape[1] // 2
        network = Halves((half, known.shape[1] - half))
        centres = nn.Parameter(torch.randn(classes, 2 * WIDTH))
        optimiser = torch.optim.AdamW([*network.parameters(), centres], lr=RATE, weight_decay=1e-2)
        scale = math.sqrt(2) * math.log(classes - 1)
        for _ in range(STEPS):
            chosen = torch.randint(len(known), (min(BATCH, len(known)),))
            loss = _loss(network(known[chosen]), targets[chosen], centres, scale)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        network.eval()
        with torch.no_grad():
            first, second = (torch.cat(network(one), -1).numpy() for one in (known, asked))
    return first, second


def _loss(halves: tuple[Tensor, Tensor], targets: Tensor, centres: Tensor, scale: float) -> Tensor:
    """Cross-entropy of vectors of which some have the second half of another; ``targets`` (B, C)."""
    one, two = halves
    other = torch.randperm(len(one))
    swapped = (torch.rand(len(one)) < EXCHANGED)[:, None]
    vectors = torch.cat([one, torch.where(swapped, two[other], two)], -1)
    nothing = torch.zeros_like(targets)
    whole = torch.cat([targets, nothing, nothing], -1)
    mixed = torch.cat([nothing, targets / 2, targets[other] / 2], -1)
    logits = scale * functional.normalize(vectors, dim=-1) @ functional.normalize(centres, dim=-1).T
    return functional.cross_entropy(logits, torch.where(swapped, mixed, whole))
