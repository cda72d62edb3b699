"""The margin against its definition, and a gate that shuts out wrong labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from speechssl.errors import InputError
from speechssl.training.objectives.margin import GatedMargin, gate_of, with_margin

CHANNELS, DIM = 6, 8


class Pooled(nn.Module):
    """Crops (B, T, C) to embeddings (B, E): mean over time, one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, DIM)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.linear(frames.mean(1))


def batch_of(centres: torch.Tensor, rows: torch.Tensor, owner: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noise = 0.3 * torch.randn(2, len(rows), 7, CHANNELS, generator=generator)
    return {"global": centres[owner[rows]][None, :, None] + noise, "row": rows}


def test_margin_widens_the_angle_of_the_right_class_only() -> None:
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(5, 4, generator=generator) * 1.8 - 0.85
    labels = torch.tensor([0, 3, 1, 1, 2])
    found = with_margin(cosines, labels, 0.2)
    for row, label in enumerate(labels.tolist()):
        for column in range(4):
            angle = math.acos(float(cosines[row, column]))
            expected = math.cos(angle + 0.2) if column == label else float(cosines[row, column])
            assert float(found[row, column]) == pytest.approx(expected, abs=1e-5)


def test_beyond_pi_the_margin_falls_linearly_and_keeps_its_gradient() -> None:
    cosines = torch.tensor([[math.cos(math.pi - 0.1), 0.0], [-1.0, 0.0]], requires_grad=True)
    found = with_margin(cosines, torch.tensor([0, 0]), 0.2)
    expected = cosines.detach()[:, 0] - 0.2 * math.sin(0.2)
    torch.testing.assert_close(found.detach()[:, 0], expected)
    found[:, 0].sum().backward()
    assert cosines.grad is not None
    assert torch.equal(cosines.grad[:, 0], torch.ones(2))


def test_gradients_are_finite_under_bfloat16_at_cosines_near_one() -> None:
    torch.manual_seed(0)
    objective = GatedMargin(nn.Identity(), dim=DIM, labels=torch.tensor([0, 1]))
    views = objective.weight.detach()[None, :, :] + 0.02 * torch.randn(2, 2, DIM)
    views.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        total = objective.losses({"global": views, "row": torch.tensor([0, 1])})["total"]
    total.backward()
    plain = objective.losses({"global": views, "row": torch.tensor([0, 1])})["total"]
    assert float(total.detach()) == pytest.approx(float(plain.detach()), rel=1e-5)
    for gradient in (objective.weight.grad, views.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_loss_is_the_cross_entropy_of_labelled_rows_below_the_gate() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, -1, 2, 1])
    objective = GatedMargin(Pooled(), dim=DIM, labels=labels, margin=0.1, scale=5.0)
    rows = torch.tensor([4, 2, 0, 3])
    batch = {"global": torch.randn(2, 4, 7, CHANNELS), "row": rows}

    def each() -> list[float]:
        weight = nn.functional.normalize(objective.weight, dim=1)
        values = []
        for view in batch["global"]:
            unit = nn.functional.normalize(objective.network(view), dim=1)
            for vector, label in zip(unit, labels[rows].tolist(), strict=True):
                if label < 0:
                    continue
                logits = 5 * (vector @ weight.T)
                logits[label] = 5 * torch.cos(torch.acos(vector @ weight[label]) + 0.1)
                values.append(float(-torch.log_softmax(logits, 0)[label].detach()))
        return values

    expected = each()
    assert len(expected) == 6
    found = objective.losses(batch)
    assert float(found["total"].detach()) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(found["taken"]) == 1
    limit = float(np.median(expected))
    objective.gate.fill_(limit)
    found = objective.losses(batch)
    assert float(found["total"].detach()) == pytest.approx(np.mean([x for x in expected if x <= limit]), rel=1e-5)
    assert float(found["taken"]) == pytest.approx(0.5)


def test_gate_lies_between_two_groups_and_stays_open_for_one() -> None:
    rng = np.random.default_rng(0)
    right, wrong = np.exp(rng.normal(-2, 0.5, 3000)), np.exp(rng.normal(2, 0.5, 600))
    gate = gate_of(np.concatenate([right, wrong]))
    assert np.quantile(right, 0.99) < gate < np.quantile(wrong, 0.01)
    assert gate_of(right) == math.inf
    assert gate_of(np.full(500, 0.3)) == math.inf


def test_wrong_labels_are_shut_out_and_right_ones_learnt() -> None:
    torch.manual_seed(0)
    centres = 2 * torch.randn(10, CHANNELS)
    owner = torch.arange(300) % 10
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(300, generator=generator) < 0.2
    labels = torch.where(wrong, (owner + 1 + torch.randint(0, 9, (300,), generator=generator)) % 10, owner)
    objective = GatedMargin(Pooled(), dim=DIM, labels=labels, scale=10.0, gate_from=100, gate_every=25).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.03)
    for step in range(300):
        rows = torch.randint(0, 300, (64,), generator=generator)
        found = objective.losses(batch_of(centres, rows, owner, step))
        found["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        objective.after_step(step)
        if step < 100:
            assert objective.gate.isinf()
    assert objective.gate.isfinite()
    objective.eval()
    for rows, expected in ((torch.nonzero(wrong)[:, 0], 0.1), (torch.nonzero(~wrong)[:, 0], 0.9)):
        taken = float(objective.losses(batch_of(centres, rows, owner, 999))["taken"])
        assert taken < expected if expected < 0.5 else taken > expected


def test_labels_of_one_speaker_are_refused() -> None:
    with pytest.raises(InputError, match=r"1 pseudo-speaker\(s\)"):
        GatedMargin(Pooled(), dim=DIM, labels=torch.tensor([0, 0, -1]))
