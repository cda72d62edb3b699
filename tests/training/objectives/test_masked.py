"""Masked prediction: a teacher without dropout, codebooks and cosines in float32."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from speechssl.training.objectives.dinosr import DinoSR
from speechssl.training.objectives.hubert import MaskedUnits

DIM = 16


class Blocks(nn.Module):
    """Two layers with dropout, called as a model of transformers is."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(DIM, DIM) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: torch.Tensor, output_hidden_states: bool = False) -> SimpleNamespace:
        states = [frames]
        for layer in self.layers:
            states.append(self.dropout(layer(states[-1])))
        return SimpleNamespace(last_hidden_state=states[-1], hidden_states=states)


def test_the_teacher_of_dinosr_hears_without_dropout() -> None:
    torch.manual_seed(0)
    objective = DinoSR(Blocks(dropout=0.3), dim=DIM, input_dim=DIM, num_codes=8, num_layers=2)
    frames = torch.randn(2, 30, DIM)
    for mode in (True, False, True):
        assert objective.train(mode).network.training is mode
        first, second = (objective.teacher(frames).last_hidden_state for _ in range(2))
        assert torch.equal(first, second)
    # a new objective is in train mode
    new = DinoSR(Blocks(dropout=0.3), dim=DIM, input_dim=DIM, num_codes=8, num_layers=2)
    assert torch.equal(new.teacher(frames).last_hidden_state, new.teacher(frames).last_hidden_state)


def test_codewords_are_summed_in_float32_under_bfloat16() -> None:
    torch.manual_seed(0)
    frames = torch.randn(400, DIM)
    found = []
    for enabled in (True, False):
        torch.manual_seed(1)
        objective = DinoSR(Blocks(), dim=DIM, input_dim=DIM, num_codes=8, num_layers=1).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            objective._assign(0, frames)
        found.append(objective.sums)
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-6)


def test_cosines_of_masked_units_are_float32_under_bfloat16() -> None:
    class Known(nn.Module):
        def forward(self, frames: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=frames)

    torch.manual_seed(0)
    objective = MaskedUnits(Known(), dim=DIM, input_dim=DIM, num_units=5)
    objective.projection = nn.Identity()
    batch = {"input": torch.randn(3, 40, DIM), "units": torch.randint(5, (3, 40))}
    totals = []
    for enabled in (True, False):
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses = objective.losses(batch)
        totals.append(float(losses["total"].detach()))
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
