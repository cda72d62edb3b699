"""Objectives on two crops of an utterance against their definitions in numpy, under bfloat16, and in training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechssl.training.objectives.added import Added
from speechssl.training.objectives.barlow import BarlowTwins, barlow
from speechssl.training.objectives.byol import Byol
from speechssl.training.objectives.dino import Dino
from speechssl.training.objectives.margin import GatedMargin
from speechssl.training.objectives.moco import MoCo
from speechssl.training.objectives.nt_xent import NTXent, nt_xent
from speechssl.training.objectives.vicreg import VICReg, vicreg
from speechssl.training.rank import centred_rank

CHANNELS, DIM, BATCH = 6, 8, 10
Floats = NDArray[np.float64]

OBJECTIVES: dict[str, Callable[..., nn.Module]] = {
    "nt-xent": NTXent,
    "moco": lambda network, **more: MoCo(network, dim=DIM, queue=32, **more),
    "vicreg": lambda network, **more: VICReg(network, dim=DIM, hidden=16, **more),
    "barlow": lambda network, **more: BarlowTwins(network, dim=DIM, hidden=16, **more),
    "byol": lambda network, **more: Byol(network, dim=DIM, hidden=16, outputs=8, **more),
    "dino": lambda network, **more: Dino(network, dim=DIM, prototypes=12, hidden=16, bottleneck=8, **more),
    "margin": lambda network, **more: GatedMargin(network, dim=DIM, labels=torch.arange(BATCH), **more),
}


class Pooled(nn.Module):
    """Crops (B, T, C) to embeddings (B, E): mean over time, one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, DIM)

    def forward(self, frames: Tensor) -> Tensor:
        found: Tensor = self.linear(frames.mean(1))
        return found


def batch_of(seed: int, *, noise: float = 0.4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(BATCH, 1, CHANNELS, generator=generator)
    crops = centres + noise * torch.randn(2, BATCH, 7, CHANNELS, generator=generator)
    return {"global": crops, "row": torch.arange(BATCH)}


def pair(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, two = torch.randn(2, *shape, generator=generator)
    return one, two + one


def unit(x: Floats) -> Floats:
    found: Floats = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return found


def surprise(cosines: Floats, right: int, temperature: float, margin: float) -> float:
    logits = cosines / temperature
    logits[right] -= margin / temperature
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[right])


def test_nt_xent_is_its_definition() -> None:
    one, two = pair(0, 5, DIM)
    x = unit(torch.cat([one, two]).double().numpy())
    expected = []
    for i in range(10):
        others = [j for j in range(10) if j != i]
        expected.append(surprise(x[others] @ x[i], others.index((i + 5) % 10), 0.07, 0.1))
    loss, accuracy = nt_xent(torch.stack([one, two]), temperature=0.07, margin=0.1)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-4)
    nearest = [np.argmax(np.where(np.arange(10) == i, -2, x @ x[i])) == (i + 5) % 10 for i in range(10)]
    assert float(accuracy) == pytest.approx(np.mean(nearest))


def test_vicreg_is_its_definition() -> None:
    one, two = pair(1, 12, 5)
    a, b = one.double().numpy() * 0.5, two.double().numpy()
    variance, covariance = 0.0, 0.0
    for side in (a, b):
        variance += np.maximum(0, 1 - np.sqrt(side.var(0, ddof=1) + 1e-4)).mean() / 2
        matrix = np.cov(side.T)
        covariance += sum(matrix[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    expected = (((a - b) ** 2).mean(), variance, covariance)
    found = vicreg(torch.from_numpy(a), torch.from_numpy(b))
    assert [float(term) for term in found] == pytest.approx(expected, rel=1e-5)
    same = torch.ones(6, 5)
    assert [float(term) for term in vicreg(same, same)] == pytest.approx([0, 0.99, 0], abs=1e-6)


def test_barlow_twins_is_its_definition() -> None:
    one, two = pair(2, 40, 5)
    a, b = ((x - x.mean(0)) / x.std(0) for x in (one.double().numpy(), two.double().numpy()))
    correlation = a.T @ b / 40
    agreement = sum((1 - correlation[i, i]) ** 2 for i in range(5))
    redundancy = sum(correlation[i, j] ** 2 for i in range(5) for j in range(5) if i != j)
    assert [float(term) for term in barlow(one, two)] == pytest.approx([agreement, redundancy], rel=1e-3)


def test_byol_is_its_definition_and_its_teacher_follows() -> None:
    torch.manual_seed(0)
    objective = Byol(Pooled(), dim=DIM, hidden=16, outputs=4, steps=10, momentum=0.9).train()
    batch = batch_of(0)
    nn.init.normal_(objective.teacher.linear.weight)
    views = batch["global"].flatten(0, 1)
    with torch.no_grad():
        predicted = unit(objective.predictor(objective.projector(objective.network(views))).double().numpy())
        taught = unit(objective.teacher_projector(objective.teacher(views)).double().numpy())
    expected = sum(2 - 2 * (predicted[:BATCH] * taught[BATCH:]).sum(1)) / BATCH
    expected += sum(2 - 2 * (predicted[BATCH:] * taught[:BATCH]).sum(1)) / BATCH
    found = objective.losses(batch)["total"]
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    found.backward()
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())
    before = objective.teacher.linear.weight.clone()
    objective.after_step(5)
    momentum = 1 - 0.1 * (math.cos(math.pi / 2) + 1) / 2
    expected_weight = momentum * before + (1 - momentum) * objective.network.linear.weight
    torch.testing.assert_close(objective.teacher.linear.weight, expected_weight.detach())


def test_moco_is_its_definition_and_its_queue_moves_on() -> None:
    torch.manual_seed(0)
    objective = MoCo(Pooled(), dim=DIM, queue=16, temperature=0.1, margin=0.05, momentum=0.9).train()
    nn.init.normal_(objective.teacher.linear.weight)
    queue = np.zeros((0, DIM))
    for step in range(3):
        batch = batch_of(step)
        with torch.no_grad():
            queries = unit(objective.network(batch["global"][0]).double().numpy())
            keys = unit(objective.teacher(batch["global"][1]).double().numpy())
        known = np.concatenate([keys, queue])
        expected = np.mean([surprise(known @ queries[i], i, 0.1, 0.05) for i in range(BATCH)])
        found = objective.losses(batch)
        assert float(found["total"].detach()) == pytest.approx(expected, rel=1e-4)
        queue = np.concatenate([queue, keys])[-16:]
    kept = objective.queue.double().numpy()
    assert np.allclose(np.sort(kept, 0), np.sort(queue, 0), atol=1e-6)
    before = objective.teacher.linear.weight.clone()
    objective.after_step(0)
    torch.testing.assert_close(
        objective.teacher.linear.weight, before.lerp(objective.network.linear.weight, 0.1).detach()
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_and_gradients_are_finite_under_bfloat16(name: str) -> None:
    torch.manual_seed(0)
    objective = OBJECTIVES[name](Pooled()).train()
    batch = batch_of(0, noise=0.01)  # crops so alike that cosines are near 1
    plain = float(copy.deepcopy(objective).losses(batch)["total"].detach())
    with torch.autocast("cpu", torch.bfloat16):
        total = objective.losses(batch)["total"]
    total.backward()
    assert total.dtype == torch.float32
    assert float(total.detach()) == pytest.approx(plain, rel=0.2, abs=0.2)
    gradients = [parameter.grad for parameter in objective.network.parameters()]
    assert all(
        gradient is not None and gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_further_loss_is_added_with_its_weight(name: str) -> None:
    torch.manual_seed(0)
    network, batch = Pooled(), batch_of(0)
    contrast = Added("nt-xent", 0.1, lambda found: nt_xent(found, temperature=0.07, margin=0.0)[0])
    both = OBJECTIVES[name](network, added=[contrast]).eval()
    state = {key: value.clone() for key, value in both.state_dict().items()}
    alone = OBJECTIVES[name](network).eval()
    alone.load_state_dict(state)
    found, expected = both.losses(batch), alone.losses(batch)
    with torch.no_grad():
        further = contrast.loss(network(batch["global"].flatten(0, 1)).unflatten(0, (2, BATCH)))
    assert float(found["nt-xent"]) == pytest.approx(float(further), rel=1e-5)
    assert float(found["total"].detach()) == pytest.approx(float(expected["total"].detach()) + 0.1 * float(further))


def trained(objective: nn.Module) -> Tensor:
    """Embeddings (B, E) of one crop each after a hundred steps."""
    optimizer = torch.optim.Adam(objective.network.parameters(), lr=0.02)
    for step in range(100):
        objective.losses(batch_of(step))["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found: Tensor = objective.network(batch_of(1000)["global"][0])
    return found


def test_vicreg_collapses_without_its_variance_only() -> None:
    ranks = []
    for variance in (25.0, 0.0):
        torch.manual_seed(0)
        objective = VICReg(Pooled(), dim=DIM, hidden=16, variance=variance, covariance=0.0).train()
        objective.projector = nn.Identity()  # batch norm alone keeps some variance up
        found = trained(objective)
        ranks.append((float(centred_rank(found)), float(found.std(0).mean())))
    (rank, spread), (_, collapsed) = ranks
    assert rank > 3
    assert spread > 0.5
    assert collapsed < 0.1 * spread


def test_a_row_above_the_gate_learns_from_the_other_crop_where_that_is_sure() -> None:
    torch.manual_seed(0)
    labels = torch.arange(BATCH)
    objective = GatedMargin(Pooled(), dim=DIM, labels=labels, scale=20.0, margin=0.0, correct=0.5).eval()
    batch = batch_of(0, noise=0.05)
    plain = objective.losses(batch)
    assert float(plain["corrected"]) == 0  # the gate is open
    objective.gate.fill_(-1.0)  # shut: no label is believed
    with torch.no_grad():
        found = unit(objective.network(batch["global"].flatten(0, 1)).double().numpy())
        logits = 20 * found @ unit(objective.weight.double().numpy()).T
    chance = np.exp(logits - logits.max(1, keepdims=True))
    chance /= chance.sum(1, keepdims=True)
    other = np.concatenate([chance[BATCH:], chance[:BATCH]])
    each = -(other * np.log(chance)).sum(1)
    objective.correct = float(np.median(other.max(1)))
    sure = other.max(1) > objective.correct
    assert sure.sum() == BATCH
    losses = objective.losses(batch)
    assert float(losses["total"].detach()) == pytest.approx(each[sure].mean(), rel=1e-3)
    assert float(losses["corrected"]) == pytest.approx(sure.mean())
    assert float(losses["taken"]) == 0
