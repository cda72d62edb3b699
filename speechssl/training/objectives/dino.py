"""DINO for speakers: a student learns to sort crops of an utterance into the prototypes its averaged teacher chooses.

No negatives and no labels. What keeps the trivial answers away is centring (the teacher's mean output is taken off, so
that no prototype wins everything) and sharpening (a low teacher temperature, so that not all are equally likely).
Whether it works is watched: ``CollapseWatch`` stops a run that has lost the embedding.

Source: Caron et al. 2021, arXiv:2104.14294, section 3 and algorithm 1; for speakers, Cho et al. 2022, arXiv:2208.05445.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.errors import CheckpointError
from speechssl.training.objectives.added import Added, with_added
from speechssl.training.objectives.momentum import follow, rising
from speechssl.training.rank import centred_rank


class Dino(nn.Module):
    """Student, teacher and head. The student sees all crops, the teacher only the global ones.

    Args:
        network: crops (B, T, C) to embeddings (B, E); copied for the teacher.
        dim: numbers per embedding, E.
        prototypes: 65536 in the paper, for a million pictures; about the number of speakers times four serves here.
        hidden, bottleneck: widths of the head.
        steps: of the whole run, over which the teacher's momentum rises to 1 along a cosine.
        momentum: of the teacher at the start; 0.996 in the paper, for batches of 1024.
        student_temperature: of the student's softmax; 0.1 in the paper.
        teacher_temperature: at the start and after ``warmup`` steps; 0.04 to 0.07 in the paper.
        centre_momentum: of the running mean of the teacher's outputs.
        centring: False only to show that the run collapses without.
        diversity: weight of the KoLeo term, which keeps the embeddings of a batch apart; 0.1 in DINOv2.
        freeze: steps at the start in which the prototypes do not move.
        added: further losses of the embeddings of the global crops.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        prototypes: int = 1024,
        hidden: int = 1024,
        bottleneck: int = 256,
        steps: int = 1000,
        momentum: float = 0.99,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.06),
        warmup: int = 200,
        centre_momentum: float = 0.9,
        centring: bool = True,
        diversity: float = 0.1,
        freeze: int = 50,
        added: Sequence[Added] = (),
    ) -> None:
        super().__init__()
        self.network, self.added = network, tuple(added)
        self.head = DinoHead(dim, hidden=hidden, bottleneck=bottleneck, prototypes=prototypes)
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.teacher_head = copy.deepcopy(self.head).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(prototypes))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        self.centre: Tensor
        self.step: Tensor
        self.steps, self.momentum, self.warmup, self.freeze = steps, momentum, warmup, freeze
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.centre_momentum, self.centring, self.diversity = centre_momentum, centring, diversity
        self.watch = CollapseWatch(prototypes)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of ``global`` (G, B, T, C) and, where given, ``local`` (L, B, S, C)."""
        # the paper freezes the prototypes for the first epoch; the optimiser skips what needs no gradient
        self.head.prototypes.requires_grad_(self.training and int(self.step) >= self.freeze)
        targets, outputs = self._teach(batch["global"])
        embeddings = self.network(batch["global"].flatten(0, 1)).float()
        logits = [self.head(embeddings).unflatten(0, batch["global"].shape[:2])]
        if "local" in batch:
            local = self.network(batch["local"].flatten(0, 1)).float()
            logits.append(self.head(local).unflatten(0, batch["local"].shape[:2]))
        student = functional.log_softmax(torch.cat(logits) / self.student_temperature, dim=-1)
        dino = _cross_entropy(targets, student)
        first = embeddings[: batch["global"].shape[1]]
        spread = koleo(first)
        if self.training:
            self._recentre(outputs)
        losses = {"total": dino + self.diversity * spread, "dino": dino.detach()}
        found = embeddings.unflatten(0, batch["global"].shape[:2])
        return with_added(losses | self.watch(targets, first.detach()), found, self.added)

    @torch.no_grad()
    def _teach(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Targets (G, B, K) that sum to one, and the outputs they come from."""
        outputs = self.teacher_head(self.teacher(views.flatten(0, 1)).float()).unflatten(0, views.shape[:2])
        centred = outputs - self.centre if self.centring else outputs
        return functional.softmax(centred / self._temperature(), dim=-1), outputs

    def _temperature(self) -> float:
        start, end = self.teacher_temperature
        return start + (end - start) * min(1.0, float(self.step) / max(1, self.warmup))

    @torch.no_grad()
    def _recentre(self, outputs: Tensor) -> None:
        self.centre.lerp_(outputs.flatten(0, 1).mean(0), 1 - self.centre_momentum)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the teacher toward the student; stop the run if the embedding has collapsed.

        Raises:
            CheckpointError: collapsed for ``CollapseWatch.patience`` steps; the message says how.
        """
        momentum = rising(self.momentum, step, self.steps)
        follow(self.teacher, self.network, momentum)
        follow(self.teacher_head, self.head, momentum)
        self.step.fill_(step + 1)
        self.watch.check(step)


class DinoHead(nn.Module):
    """Embedding (B, E) to cosines with K prototypes: three layers, an L2-normalised bottleneck, unit prototypes."""

    def __init__(self, dim: int, *, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, embeddings: Tensor) -> Tensor:
        narrow = functional.normalize(self.layers(embeddings).float(), dim=-1)
        # divided by a temperature of 0.04, cosines in bfloat16 would be too coarse
        with torch.autocast(embeddings.device.type, enabled=False):
            return narrow @ functional.normalize(self.prototypes.float(), dim=-1).T


class CollapseWatch(nn.Module):
    """Signs of collapse in every batch, smoothed over steps, and the decision to stop.

    Args:
        prototypes: K.
        patience: steps in a row that must look collapsed; the first ``grace`` steps do not count.
    """

    def __init__(self, prototypes: int, *, patience: int = 30, grace: int = 100) -> None:
        super().__init__()
        self.prototypes, self.patience, self.grace = prototypes, patience, grace
        self.register_buffer("seen", torch.ones(3))
        self.register_buffer("bad", torch.zeros((), dtype=torch.long))
        self.seen: Tensor
        self.bad: Tensor

    @torch.no_grad()
    def forward(self, targets: Tensor, embeddings: Tensor) -> dict[str, Tensor]:
        """Of targets (G, B, K) and embeddings (B, E).

        Returns:
            ``used_prototypes``: perplexity of the mean target, 1 (one wins everything) to K;
            ``kl_to_uniform``: mean KL divergence of a target from the uniform, 0 (nothing is told apart) to log K nats;
            ``rank``: effective rank of the centred unit embeddings, 1 to E.
        """
        flat = targets.flatten(0, 1).double()
        mean = flat.mean(0)
        used = torch.exp(-torch.xlogy(mean, mean).sum())
        divergence = math.log(self.prototypes) + torch.xlogy(flat, flat).sum(-1).mean()
        values = torch.stack([used, divergence, centred_rank(functional.normalize(embeddings.double(), dim=1))]).float()
        if self.training:
            self.seen.copy_(values)
        return {"used_prototypes": values[0], "kl_to_uniform": values[1], "rank": values[2]}

    def check(self, step: int) -> None:
        """Count a step that looks collapsed.

        Raises:
            CheckpointError: the ``patience``-th in a row.
        """
        used, divergence, rank = self.seen.tolist()
        signs = []
        if used < 2:
            signs.append(f"one prototype wins nearly everything ({used:.2f} used of {self.prototypes})")
        if divergence < 0.01 * math.log(self.prototypes):
            signs.append(f"targets are uniform (KL divergence from uniform {divergence:.4f} nats)")
        if rank < 2:
            signs.append(f"embeddings lie on a line (effective rank {rank:.2f})")
        self.bad.fill_(int(self.bad) + 1 if signs and step >= self.grace else 0)
        if int(self.bad) >= self.patience:
            raise CheckpointError(
                f"training collapsed at step {step}: {'; '.join(signs)}, for {self.patience} steps. Keep centring on, "
                "lower the teacher temperature if targets are uniform, raise the momentum, or lower the rate; "
                "start again in a new folder"
            )


def koleo(embeddings: Tensor) -> Tensor:
    """Minus the mean log distance of each unit vector (B, E) to its nearest neighbour (Sablayrolles et al. 2019)."""
    unit = functional.normalize(embeddings, dim=1)
    cosines = unit @ unit.T - 3 * torch.eye(len(unit), device=unit.device)
    nearest = cosines.argmax(1)
    return -torch.log((unit - unit[nearest]).norm(dim=1) + 1e-4).mean()


def _cross_entropy(targets: Tensor, student: Tensor) -> Tensor:
    """Mean over pairs of a teacher view (G, B, K) and another student view (V, B, K); the first G views are shared."""
    products = -torch.einsum("gbk,vbk->gv", targets, student) / targets.shape[1]
    other = ~torch.eye(len(targets), len(student), dtype=torch.bool, device=student.device)
    return products[other].mean()
