"""The training loop: its optimisers against torch's, shares of the rate, and batches made by processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from speechssl.training.loop import Float32Muon, Machine, Schedule, fit, make_optimizers


class Line(nn.Module):
    """Two layers, and one that learns at a tenth of the rate."""

    slower = {"judge.": 0.1}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.judge = nn.Linear(6, 1)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden = batch["x"]
        for layer in self.layers:
            hidden = torch.tanh(layer(hidden))
        # a count, made on the CPU, whatever the device
        return {"total": (self.judge(hidden) - 1).square().mean(), "used": torch.tensor(len(batch["x"]))}


def batches(step: int) -> dict[str, Tensor]:
    return {"x": torch.randn(5, 6, generator=torch.Generator().manual_seed(step))}


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_muon_in_float32_is_torchs_without_its_rounding(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.05, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = Float32Muon([ours], **options), torch.optim.Muon([theirs], **options)  # type: ignore[arg-type]
    for _ in range(6):
        gradient = torch.randn(shape)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert float((theirs - start).detach().norm() / start.norm()) > 0.03  # it moved at all


def test_what_is_slower_learns_at_its_share_of_the_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = Line()
    before = {name: parameter.detach().clone() for name, parameter in whole.named_parameters()}
    fit(whole, batches, Schedule(steps=1, warmup=1, decay=0.0, rate=0.01, weight_decay=0.0),
        folder=tmp_path, config={}, seed=0, machine=Machine(bfloat16=False))  # fmt: skip
    moved = {
        name: float((parameter - before[name]).detach().abs().max()) for name, parameter in whole.named_parameters()
    }
    # the first step of AdamW is the rate itself
    assert moved["judge.weight"] == pytest.approx(0.001, rel=0.01)
    assert moved["layers.0.bias"] == pytest.approx(0.01, rel=0.01)
    groups = make_optimizers(whole, Schedule(steps=1))
    assert sum(len(group["params"]) for one in groups for group in one.param_groups) == len(before)


def test_processes_make_the_batches_of_a_thread_in_their_order(tmp_path: Path) -> None:
    logs = []
    for workers in (0, 2):
        torch.manual_seed(0)
        folder = tmp_path / str(workers)
        machine = Machine(workers=workers)
        fit(Line(), batches, Schedule(steps=9, accumulate=2), folder=folder, config={}, seed=0, machine=machine)
        logs.append([json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()])
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]] == list(range(9))
    assert [row["total"] for row in logs[0]] == [row["total"] for row in logs[1]]
    assert logs[0][0]["used"] == 5
