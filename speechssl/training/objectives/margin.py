"""Additive angular margin on labels that may be wrong: the second stage, on clusters of the first stage's embeddings.

The loss of a wrong pseudo-label stays high for long, so examples with a loss above the gate are left out. Two normal
distributions are fitted to the recent log losses, one for right and one for wrong labels; the gate is where they cross.
An example that is left out may learn from the network instead, where that is sure of another label (label correction).

Sources: Deng et al. 2019, arXiv:1801.07698 (margin); Tao et al. 2022, arXiv:2110.03869 (loss-gated learning); Han et
al. 2022, arXiv:2208.01928 (the gate from two distributions, label correction).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from speechssl.errors import InputError
from speechssl.training.objectives.added import Added, with_added

KEPT = 4096  # losses the gate is fitted to


class GatedMargin(nn.Module):
    """Classifier over pseudo-speakers on top of an embedder; examples with a high loss are left out.

    Args:
        network: crops (B, T, C) to embeddings (B, E).
        dim: numbers per embedding, E.
        labels: (R,) class of every row of the cache, negative where there is none.
        scale: of the cosines; 30 in speaker recipes.
        margin: added to the angle of the right class, radians; 0.2 in speaker recipes.
        gate_from: steps before the gate closes for the first time; until then all labels count.
        gate_every: steps between two fits of the gate; 0 leaves it open.
        correct: probability that the network must give to a class, on another crop of the utterance, before a row above
            the gate learns from these probabilities; None: such rows do not count.
        added: further losses of the embeddings, rows without a label included.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        labels: Tensor,
        scale: float = 30.0,
        margin: float = 0.2,
        gate_from: int = 200,
        gate_every: int = 50,
        correct: float | None = None,
        added: Sequence[Added] = (),
    ) -> None:
        super().__init__()
        classes = int(labels.max()) + 1
        if classes < 2:
            raise InputError(f"{classes} pseudo-speaker(s) in the labels; two needed: cluster into more")
        self.network, self.added, self.correct = network, tuple(added), correct
        self.weight = nn.Parameter(functional.normalize(torch.randn(classes, dim), dim=1))
        self.scale, self.margin = scale, margin
        self.gate_from, self.gate_every = gate_from, gate_every
        self.register_buffer("labels", labels.long())
        self.register_buffer("gate", torch.tensor(math.inf))
        self.register_buffer("recent", torch.full((KEPT,), math.nan))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.labels: Tensor
        self.gate: Tensor
        self.recent: Tensor
        self.seen: Tensor

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (G, B, T, C) and their ``row`` (B,) of the cache; rows without a label do not count."""
        views = batch["global"]
        labels = self.labels[batch["row"]].repeat(len(views))
        known = labels >= 0
        embeddings = self.network(views.flatten(0, 1)).float()
        # in bfloat16, cosines near 1 round to 1, where the gradient of the angle is infinite
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = functional.normalize(embeddings, dim=1) @ functional.normalize(self.weight.float(), dim=1).T
        labels = labels.clamp(min=0)
        each = functional.cross_entropy(
            self.scale * with_margin(cosines, labels, self.margin), labels, reduction="none"
        )
        taken = known & (each.detach() <= self.gate)
        if self.training:
            self._remember(each.detach()[known])
        right = (cosines.argmax(1) == labels)[known].float()
        again, corrected = self._corrected(cosines, len(views), known & ~taken)
        losses = {
            "total": (each * taken + again * corrected).sum() / (taken | corrected).sum().clamp(min=1),
            "accuracy": right.mean() if len(right) else torch.zeros(()),
            "taken": taken.sum() / known.sum().clamp(min=1),
            "corrected": corrected.sum() / known.sum().clamp(min=1),
        }
        return with_added(losses, embeddings.unflatten(0, views.shape[:2]), self.added)

    def _corrected(self, cosines: Tensor, views: int, left_out: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy (G * B,) with the probabilities another crop gives, and which rows are to learn from it."""
        if self.correct is None or views < 2:
            return torch.zeros_like(cosines[:, 0]), torch.zeros_like(left_out)
        logits = self.scale * cosines  # (G * B, K)
        other = logits.detach().roll(len(logits) // views, 0).softmax(1)
        sure = other.amax(1) > self.correct
        return -(other * logits.log_softmax(1)).sum(1), left_out & sure

    @torch.no_grad()
    def _remember(self, losses: Tensor) -> None:
        places = (int(self.seen) + torch.arange(len(losses), device=losses.device)) % KEPT
        self.recent[places] = losses
        self.seen += len(losses)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Fit the gate again every ``gate_every`` steps."""
        if self.gate_every and step >= self.gate_from and (step - self.gate_from) % self.gate_every == 0:
            losses = self.recent[~self.recent.isnan()].double().cpu().numpy()
            if len(losses) > 50:
                self.gate.fill_(gate_of(losses))


def with_margin(cosines: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Cosines (B, K), float32, with the angle of the right class widened by ``margin`` radians.

    Where the wider angle would exceed pi, the cosine falls linearly instead, by ``margin * sin(margin)``, so that a
    gradient remains (as in the published code of ArcFace).
    """
    right = cosines.gather(1, labels[:, None])
    angle = torch.acos(right.clamp(-1 + 1e-6, 1 - 1e-6))
    widened = torch.where(angle + margin <= math.pi, torch.cos(angle + margin), right - margin * math.sin(margin))
    return cosines.scatter(1, labels[:, None], widened)


def gate_of(losses: NDArray[np.float64], *, steps: int = 50) -> float:
    """Loss at which the upper of two normal distributions of the log losses becomes the likelier one.

    Returns:
        Infinity, an open gate, where the losses do not fall into two groups: means nearer than two deviations.
    """
    x = np.log(np.maximum(losses, 1e-8))
    means = np.quantile(x, [0.25, 0.9])
    spread, share = np.full(2, x.std() + 1e-6), np.array([0.7, 0.3])
    for _ in range(steps):
        owned = _posterior(x, means, spread, share)
        weight = owned.sum(0) + 1e-9
        share, means = weight / len(x), (owned * x[:, None]).sum(0) / weight
        spread = np.sqrt((owned * (x[:, None] - means) ** 2).sum(0) / weight) + 1e-3
    if means[1] - means[0] < 2 * min(spread) or share.min() < 0.01:
        return math.inf
    grid = np.linspace(means[0], means[1], 512)
    upper = _posterior(grid, means, spread, share)[:, 1]
    return float(np.exp(grid[np.argmax(upper >= 0.5)])) if (upper >= 0.5).any() else math.inf


def _posterior(
    x: NDArray[np.float64], means: NDArray[np.float64], spread: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    log = np.log(share + 1e-12) - np.log(spread) - 0.5 * ((x[:, None] - means) / spread) ** 2
    return np.exp(log - np.logaddexp(log[:, :1], log[:, 1:]))
