"""Terms on frames: entropies by spacings, covariances, and their sum with any objective."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from speechssl.errors import InputError
from speechssl.training.objectives import entropy, vicreg
from speechssl.training.objectives.added import terms
from speechssl.training.objectives.hubert import MaskedUnits

DIM = 8


def test_the_entropy_is_that_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    even, half, point = rng.random(4000), rng.random(4000) / 2, np.full(4000, 0.3)
    found = entropy.entropy(torch.from_numpy(np.stack([even, half, point], 1)))
    assert found[0] == pytest.approx(0.0, abs=0.03)
    assert found[1] == pytest.approx(np.log(0.5), abs=0.03)
    assert found[2] < -8
    # the definition, in numpy
    ordered, m = np.sort(half), round(4000**0.5)
    gaps = [ordered[i + m] - ordered[i] for i in range(4000 - m)]
    assert float(found[1]) == pytest.approx(np.mean(np.log(np.array(gaps) * 4001 / m)))


def test_the_criterion_is_least_where_numbers_are_normal_and_say_nothing_of_each_other() -> None:
    torch.manual_seed(0)
    free = torch.randn(2000, DIM)
    alike = free[:, :1].expand(-1, DIM)
    found = [float(entropy.e2mc(one)) for one in (free, 0.2 * free, alike)]
    assert found[0] < min(found[1:])
    assert found[0] == pytest.approx(0.0, abs=0.05)


def test_covariance_and_variance_are_as_defined() -> None:
    values = np.random.default_rng(0).normal(size=(50, DIM)) * np.linspace(0.2, 2, DIM)
    square = np.cov(values.T)
    wanted = (square**2).sum() - (np.diag(square) ** 2).sum()
    assert float(vicreg.covariance(torch.from_numpy(values))) == pytest.approx(wanted / DIM)
    spread = np.sqrt(np.diag(square) + 1e-4)
    assert float(vicreg.variance(torch.from_numpy(values))) == pytest.approx(np.maximum(0, 1 - spread).mean())


class Narrow(nn.Module):
    """Frames through a map that uses few directions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(DIM, DIM, bias=False)
        self.map.weight.data = torch.randn(DIM, 2) @ torch.randn(2, DIM) * 0.1

    def forward(self, frames: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.map(frames))


def test_a_term_is_added_to_any_objective_and_widens_its_frames() -> None:
    torch.manual_seed(0)
    batch = {"input": torch.randn(4, 100, DIM), "units": torch.randint(5, (4, 100))}
    # masked frames, which this network gives all alike, are few
    plain = MaskedUnits(Narrow(), dim=DIM, input_dim=DIM, num_units=5, mask_probability=0.05, mask_span=2)
    torch.manual_seed(1)
    before = plain.losses(batch)["total"]
    objective = entropy.on_frames(plain, terms(["e2mc:0.5", "variance:2"], entropy.TERMS))
    torch.manual_seed(1)
    found = objective.losses(batch)
    torch.testing.assert_close(found["total"], before + 0.5 * found["e2mc"] + 2 * found["variance"])
    optimiser = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for _ in range(60):
        loss = objective.losses(batch)["total"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = objective.losses(batch)
    assert after["e2mc"] < found["e2mc"] - 0.5
    assert after["variance"] < 0.5 * found["variance"]


def test_sums_are_float32_under_bfloat16() -> None:
    torch.manual_seed(0)
    objective = entropy.on_frames(
        MaskedUnits(Narrow(), dim=DIM, input_dim=DIM, num_units=5), terms(["e2mc:1"], entropy.TERMS)
    )
    batch = {"input": torch.randn(4, 100, DIM), "units": torch.randint(5, (4, 100))}
    with torch.autocast("cpu", torch.bfloat16):
        found = objective.losses(batch)
    assert found["e2mc"].dtype == torch.float32
    found["total"].backward()
    assert all(torch.isfinite(one.grad).all() for one in objective.parameters() if one.grad is not None)


@pytest.mark.parametrize("text", ["e2mc", "e2mc:", "e2mc:-1", "e2mc:nan", "entropy:1", ":1"])
def test_another_term_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"such as e2mc:0\.1, with one of e2mc, variance, covariance"):
        terms([text], entropy.TERMS)
