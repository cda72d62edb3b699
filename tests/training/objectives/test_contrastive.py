"""Masked contrast against its definition: distractors of one recording, cosines, entries in use."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from speechssl.training.objectives.contrastive import MaskedContrast

DIM = 16


class Known(nn.Module):
    """Gives what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, frames: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.scale * frames)


@pytest.fixture
def objective() -> MaskedContrast:
    torch.manual_seed(0)
    return MaskedContrast(Known(), dim=DIM, input_dim=DIM, codes=6, distractors=30)


def test_distractors_are_other_masked_frames_of_the_same_recording(objective: MaskedContrast) -> None:
    mask = torch.zeros(3, 20, dtype=torch.bool)
    mask[0, 3:8] = mask[1, 7] = mask[2, :2] = True
    others = objective.others(mask)
    assert others.shape == (8, 30)
    row = mask.nonzero()[:, 0]
    assert (row[others] == row[:, None]).all()
    own = torch.arange(8)[:, None]
    alone = row == 1
    assert (others[~alone] != own[~alone]).all()
    assert (others[alone] == own[alone]).all()
    # each of the four others is drawn
    assert set(others[0].tolist()) == {1, 2, 3, 4}


def test_the_loss_is_the_share_of_the_own_target_among_the_distractors(objective: MaskedContrast) -> None:
    context, targets = torch.randn(5, DIM), torch.randn(5, DIM)
    targets[3] = targets[0]
    others = torch.tensor([[1, 3], [0, 2], [4, 4], [2, 0], [3, 1]])
    logits = objective.logits(context, targets, others).detach().numpy()
    found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (context.numpy(), targets.numpy())]
    weights = np.exp(unit[0] @ unit[1].T / 0.1)
    for row in range(5):
        # a distractor that is the frame's own target is none
        allowed = [other for other in others[row].tolist() if not np.allclose(targets[other], targets[row])]
        assert found[row, 0] == pytest.approx(weights[row, row] / (weights[row, [row, *allowed]].sum()), rel=1e-4)


def test_both_losses_are_in_the_total_and_gradients_reach_everything(objective: MaskedContrast) -> None:
    found = objective.losses({"input": torch.randn(2, 60, DIM), "clean": torch.randn(2, 60, DIM)})
    unused = (12 - found["perplexity"]) / 12
    torch.testing.assert_close(found["total"].detach(), found["contrast"] + 0.1 * unused)
    assert 1 <= float(found["perplexity"]) <= 12
    found["total"].backward()
    silent = {name for name, one in objective.named_parameters() if one.grad is None}
    assert silent == set()


def test_what_can_be_foretold_is_found_and_what_cannot_is_not(objective: MaskedContrast) -> None:
    """Recordings whose every span of ten frames is one of six sounds, so that a span's rest tells the masked part."""
    sounds = torch.eye(DIM)[:6] * 4

    class Neighbours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(DIM, DIM)

        def forward(self, frames: torch.Tensor) -> SimpleNamespace:
            # the mean of 41 frames around
            return SimpleNamespace(last_hidden_state=self.map(functional.avg_pool1d(frames.mT, 41, 1, 20).mT))

    shares = {}
    for kind in ("sounds", "others"):
        torch.manual_seed(1)
        learner = MaskedContrast(Neighbours(), dim=DIM, input_dim=DIM, codes=6, mask_probability=0.3)
        learner.quantiser.eval()  # the entry that is likeliest, so that a sound has one from the first step
        optimiser = torch.optim.Adam(learner.parameters(), lr=1e-2)
        for _ in range(80):
            frames, others = (sounds[torch.randint(6, (4, 4)).repeat_interleave(60, 1)] for _ in range(2))
            found = learner.losses({"input": frames, "clean": frames if kind == "sounds" else others})
            optimiser.zero_grad()
            found["total"].backward()
            optimiser.step()
        assert found["perplexity"] > 3
        shares[kind] = float(found["found"])
    assert shares["sounds"] > 0.8 > 0.6 > shares["others"]


def test_cosines_are_float32_under_bfloat16_and_the_choice_cools(objective: MaskedContrast) -> None:
    totals = []
    for enabled in (True, False):
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            totals.append(float(objective.losses({"input": torch.ones(2, 60, DIM).cumsum(1) / 60})["contrast"]))
    assert totals[0] == pytest.approx(totals[1], rel=1e-4)
    for steps, temperature in ((0, 2.0), (100, 2.0 * 0.9995**100), (10**6, 0.5)):
        if steps:
            objective.after_step(steps - 1)
        objective.losses({"input": torch.randn(2, 30, DIM)})
        assert objective.quantiser.temperature == pytest.approx(temperature)
