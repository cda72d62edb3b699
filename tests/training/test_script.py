"""What training scripts share: their options, and a run that is resumed with another machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from speechssl.training import script


class Slope(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"total": (batch["x"] @ self.weight - batch["x"].sum(1)).square().mean()}


def batches(number: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(4, 3, generator=torch.Generator().manual_seed(number))}


def test_what_is_free_may_change_when_a_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = script.parser("Words.", steps=4, decay=0.5, rate=0.1)
    for more in (["--max-seconds", "0"], ["--steps", "6", "--checkpoint-seconds", "1"]):
        args = parser.parse_args(["cache", "--run", str(tmp_path), *more])
        script.seed(args)
        config = {name: value for name, value in vars(args).items() if name not in script.FREE}
        average = script.train(args, Slope(), batches, config=config, every=2, warmup=1)
    assert json.loads((tmp_path / "config.json").read_text()) == {"rate": 0.1, "seed": 0, "toy": False}
    assert json.loads((tmp_path / "last" / "state.json").read_text()) == {"step": 6}
    assert [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()] == [0, 2, 4]
    assert 0 < float(average.weight.mean()) < 1
