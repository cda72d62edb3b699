"""DINO: its loss against the definition, its teacher, its head, and the collapse that must stop a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from speechssl.errors import CheckpointError
from speechssl.training.objectives.dino import CollapseWatch, Dino, koleo
from speechssl.training.objectives.nt_xent import NTXent

DIM, CHANNELS = 8, 6


class Pooled(nn.Module):
    """Crops (B, T, C) to embeddings (B, E): mean over time, one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, DIM)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.linear(frames.mean(1))


def make(seed: int = 0, **options: object) -> Dino:
    torch.manual_seed(seed)
    return Dino(Pooled(), dim=DIM, prototypes=12, hidden=16, bottleneck=5, **options)


def crops(seed: int = 0, size: int = 16) -> dict[str, torch.Tensor]:
    """Utterances of speakers that differ in their mean."""
    generator = torch.Generator().manual_seed(seed)
    speaker = torch.randn(size, 1, CHANNELS, generator=generator)
    views = [speaker + 0.3 * torch.randn(size, length, CHANNELS, generator=generator) for length in (9, 9, 5, 5, 5)]
    return {"global": torch.stack(views[:2]), "local": torch.stack(views[2:])}


def test_loss_is_the_mean_cross_entropy_over_pairs_of_different_views() -> None:
    objective = make(diversity=0.0, freeze=0)
    objective.centre.normal_(0, 0.1)
    batch = crops()
    centre = objective.centre.clone()
    losses = objective.losses(batch)
    views = [*batch["global"], *batch["local"]]
    with torch.no_grad():
        student = [objective.head(objective.network(view)).double().numpy() / 0.1 for view in views]
        teacher = [objective.teacher_head(objective.teacher(view)).double() for view in batch["global"]]
    targets = [np.exp(((t - centre.double()) / 0.04).numpy()) for t in teacher]
    values = []
    for number, target in enumerate(targets):
        p = target / target.sum(1, keepdims=True)
        for other, logits in enumerate(student):
            if other != number:
                log_q = logits - np.log(np.exp(logits).sum(1, keepdims=True))
                values.append(-(p * log_q).sum(1).mean())
    assert len(values) == 2 * 4
    assert losses["total"].item() == pytest.approx(float(np.mean(values)), rel=1e-5)


def test_no_gradient_reaches_the_teacher_and_it_follows_the_student() -> None:
    objective = make(momentum=0.9, steps=100)
    objective.losses(crops())["total"].backward()
    assert all(p.grad is None for p in (*objective.teacher.parameters(), *objective.teacher_head.parameters()))
    assert all(p.grad is not None for p in objective.network.parameters())
    before = objective.teacher.linear.weight.clone()
    with torch.no_grad():
        objective.network.linear.weight.add_(1.0)
    objective.after_step(0)
    assert torch.allclose(objective.teacher.linear.weight, before + 0.1, atol=1e-6)
    objective.after_step(100)  # at the end of the run the momentum is 1
    assert torch.allclose(objective.teacher.linear.weight, before + 0.1, atol=1e-6)


def test_centre_is_the_running_mean_of_the_teachers_outputs() -> None:
    objective = make(centre_momentum=0.75)
    batch = crops()
    with torch.no_grad():
        mean = objective.teacher_head(objective.teacher(batch["global"].flatten(0, 1))).mean(0)
    objective.losses(batch)
    assert torch.allclose(objective.centre, 0.25 * mean, atol=1e-6)
    objective.eval()
    kept = objective.centre.clone()
    objective.losses(batch)
    assert torch.equal(objective.centre, kept)


def test_head_gives_cosines_whatever_the_length_of_the_prototypes() -> None:
    head = make().head
    embeddings = torch.randn(4, DIM)
    first = head(embeddings)
    with torch.no_grad():
        head.prototypes.mul_(7)
    assert first.abs().max() <= 1
    assert torch.allclose(head(embeddings), first, atol=1e-6)


def test_prototypes_rest_at_the_start() -> None:
    objective = make(freeze=2)
    for step in range(3):
        objective.zero_grad(set_to_none=True)
        objective.losses(crops())["total"].backward()
        assert (objective.head.prototypes.grad is not None) == (step >= 2)
        objective.after_step(step)


def train(objective: Dino, steps: int) -> dict[str, float]:
    optimizer = torch.optim.AdamW(objective.parameters(), lr=5e-3)
    losses = {}
    for step in range(steps):
        objective.train()
        losses = objective.losses(crops(seed=step, size=32))
        losses["total"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        objective.after_step(step)
    return {name: value.item() for name, value in losses.items()}


def test_without_centring_the_run_collapses_and_is_stopped() -> None:
    objective = make(centring=False, diversity=0.0, momentum=0.9, freeze=0, steps=10**6)
    with pytest.raises(CheckpointError, match=r"training collapsed at step \d+: .*Keep centring on"):
        train(objective, 600)


def test_with_centring_the_same_run_goes_on() -> None:
    objective = make(centring=True, diversity=0.0, momentum=0.9, freeze=0, steps=10**6)
    losses = train(objective, 600)
    assert losses["used_prototypes"] > 4
    assert losses["rank"] > 3


@pytest.mark.parametrize(
    ("targets", "embeddings", "message"),
    [
        (torch.eye(10)[:1].expand(2, 20, 10), None, "one prototype wins"),
        (torch.full((2, 20, 10), 0.1), None, "targets are uniform"),
        (None, torch.linspace(-1, 1, 20)[:, None] * torch.ones(20, 6) + torch.eye(6)[0], "effective rank"),
    ],
)
def test_every_kind_of_collapse_is_named(
    targets: torch.Tensor | None, embeddings: torch.Tensor | None, message: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    watch = CollapseWatch(10, patience=3, grace=5)
    good = torch.softmax(4 * torch.randn(2, 20, 10, generator=generator), -1)
    spread = torch.randn(20, 6, generator=generator)
    for step in range(20):
        watch(good, spread)
        watch.check(step)
    watch(good if targets is None else targets, spread if embeddings is None else embeddings)
    watch.check(0)  # within the grace
    watch.check(20)
    watch.check(21)
    with pytest.raises(CheckpointError, match=message):
        watch.check(22)


def test_signs_at_their_extremes() -> None:
    watch = CollapseWatch(10)
    one_each = watch(torch.eye(10)[None], torch.randn(10, 4))
    assert float(one_each["used_prototypes"]) == pytest.approx(10)
    assert float(one_each["kl_to_uniform"]) == pytest.approx(math.log(10))
    uniform = watch(torch.full((1, 10, 10), 0.1), torch.ones(10, 4))
    assert float(uniform["kl_to_uniform"]) == pytest.approx(0, abs=1e-6)
    assert float(uniform["rank"]) == 1


def test_koleo_falls_when_neighbours_part() -> None:
    near = torch.tensor([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.01]])
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert koleo(apart).item() == pytest.approx(-math.log(math.sqrt(2)), abs=1e-3)
    assert koleo(near).item() > 3


def test_contrast_equals_its_definition() -> None:
    torch.manual_seed(0)
    objective = NTXent(Pooled(), temperature=0.2, margin=0.1)
    views = crops(size=5)["global"]
    with torch.no_grad():
        vectors = torch.cat([objective.network(view) for view in views]).double().numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = []
    for i in range(10):
        other = (i + 5) % 10
        positive = math.exp((unit[i] @ unit[other] - 0.1) / 0.2)
        rest = sum(math.exp(unit[i] @ unit[j] / 0.2) for j in range(10) if j not in (i, other))
        values.append(-math.log(positive / (positive + rest)))
    losses = objective.losses({"global": views})
    assert losses["total"].item() == pytest.approx(float(np.mean(values)), rel=1e-5)
    identical = objective.losses({"global": views[:1].expand(2, -1, -1, -1)})
    assert float(identical["accuracy"]) == 1


def test_contrast_is_the_same_under_bfloat16() -> None:
    torch.manual_seed(0)
    objective = NTXent(nn.Identity(), temperature=0.03)
    views = torch.randn(2, 6, DIM)
    plain = objective.losses({"global": views})["total"]
    with torch.autocast("cpu", torch.bfloat16):
        assert float(objective.losses({"global": views})["total"]) == pytest.approx(float(plain), rel=1e-6)
