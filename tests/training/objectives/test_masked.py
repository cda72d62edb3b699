"""Masked prediction: a teacher without dropout, codebooks and cosines in float32."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from speechssl.training.objectives.data2vec import Data2Vec, heard_places
from speechssl.training.objectives.dinosr import DinoSR
from speechssl.training.objectives.hubert import MaskedUnits
from speechssl.training.objectives.masking import span_mask

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


def _data2vec(**options: Any) -> Data2Vec:
    torch.manual_seed(0)
    return Data2Vec(Blocks(dropout=0.3), dim=DIM, input_dim=DIM, num_layers=2, **options)


def test_targets_of_data2vec_are_the_mean_of_standardised_blocks() -> None:
    objective, frames = _data2vec().train(), torch.randn(3, 20, DIM)
    states = [state.numpy() for state in objective.teacher(frames).hidden_states[1:]]
    wanted = [(one - one.mean(1, keepdims=True)) / np.sqrt(one.var(1, keepdims=True) + 1e-5) for one in states]
    np.testing.assert_allclose(objective.targets(frames).numpy(), np.mean(wanted, axis=0), atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        found = objective.targets(frames)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), np.mean(wanted, axis=0), atol=0.1)


def test_the_loss_of_data2vec_is_the_squared_error_at_masked_frames_under_every_mask() -> None:
    objective, batch = _data2vec(masks=3).eval(), {"input": torch.randn(2, 40, DIM), "clean": torch.randn(2, 40, DIM)}
    calls = []
    objective.teacher.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(5)
    found = objective.losses(batch)
    assert len(calls) == 1
    torch.manual_seed(5)
    mask = span_mask(6, 40, probability=0.65, span=10, device=torch.device("cpu"))
    assert not torch.equal(mask[:2], mask[2:4])
    targets, errors = objective.targets(batch["clean"]), []
    for row in range(6):
        heard = torch.where(mask[row, :, None], objective.mask_vector, batch["input"][row % 2])
        output = objective.head(objective.network(heard[None]).last_hidden_state[0])
        errors.append(((output - targets[row % 2]) ** 2)[mask[row]])
    torch.testing.assert_close(found["total"], torch.cat(errors).mean())
    assert float(found["masked_share"]) == pytest.approx(float(mask.float().mean()))
    found["total"].backward()
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())
    assert all(parameter.grad is not None for parameter in objective.network.parameters())


def test_the_teacher_of_data2vec_follows_by_its_rising_decay() -> None:
    objective = _data2vec(first_decay=0.5, last_decay=0.9, ramp=10)
    objective.network.layers[0].weight.data += 1.0
    before = objective.teacher.layers[0].weight.clone()
    objective.after_step(0)
    torch.testing.assert_close(objective.teacher.layers[0].weight, before + 0.5)
    objective.after_step(10)
    torch.testing.assert_close(objective.teacher.layers[0].weight, before + 0.5 + 0.1 * 0.5)
    assert not objective.train().teacher.training


def test_the_share_of_masked_frames_is_stated() -> None:
    frames = torch.randn(2, 50, DIM)
    dinosr = DinoSR(Blocks(), dim=DIM, input_dim=DIM, num_codes=8, num_layers=1)
    hubert = MaskedUnits(Blocks(), dim=DIM, input_dim=DIM, num_units=5)
    for objective in (dinosr, hubert):
        torch.manual_seed(3)
        stated = objective.losses({"input": frames, "units": torch.zeros(2, 50, dtype=torch.int64)})["masked_share"]
        torch.manual_seed(3)
        mask = span_mask(2, 50, probability=0.65, span=10, device=torch.device("cpu"))
        assert float(stated) == pytest.approx(float(mask.float().mean()))


def test_the_second_data2vec_hears_no_masked_frame() -> None:
    heard = []

    def partly(network: nn.Module, frames: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        heard.append((frames, places))
        return network(frames).last_hidden_state

    objective = _data2vec(masks=2, partly=partly, mask_probability=0.3)
    frames = torch.arange(40.0)[None, :, None].expand(3, -1, DIM).contiguous()
    torch.manual_seed(3)
    found = objective.losses({"input": frames})
    torch.manual_seed(3)
    mask = span_mask(6, 40, probability=0.3, span=10, device=torch.device("cpu"))
    ((kept, places),) = heard
    assert not mask.gather(1, places).any()
    assert places.shape[1] == int((~mask).sum(1).min())
    assert torch.equal(kept[..., 0], places.float())
    assert (places.diff() > 0).all()
    found["total"].backward()
    assert all(one.grad is not None for one in [*objective.network.parameters(), *objective.head.parameters()])
    assert all(one.grad is None for one in objective.teacher.parameters())


def test_a_row_that_is_masked_as_a_whole_keeps_a_frame() -> None:
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[1, 2:6] = False
    places = heard_places(mask)
    assert places.shape == (2, 1)
    assert 2 <= int(places[1, 0]) < 6
