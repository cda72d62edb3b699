"""Several processes train what one with their batches together does; one alone notices nothing."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import forking
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("accelerate")

SCRIPT = """
import sys
from pathlib import Path

import torch

from speechssl.training.distributed import launched
from speechssl.training.loop import Machine, Schedule, fit


class Regression(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)
        self.register_buffer("seen", torch.zeros(3))

    def losses(self, batch):
        self.seen.lerp_(batch["x"].mean(0), 0.5)
        return {"total": (self.linear(batch["x"])[:, 0] - batch["x"].sum(1)).square().mean()}


def batches(number):
    return {"x": torch.randn(4, 3, generator=torch.Generator().manual_seed(number))}


folder, steps, accumulate = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
processes = launched() if sys.argv[4] == "accelerate" else None
schedule = Schedule(steps=steps, accumulate=accumulate, warmup=2, rate=0.01, decay=0)
machine = Machine(bfloat16=False, processes=processes)
seen = fit(Regression(), batches, schedule, folder=folder, config={"x": 1}, seed=0, machine=machine).seen
print("rank", 0 if processes is None else processes.rank, seen.tolist(), flush=True)
"""


def train(tmp_path: Path, name: str, *, steps: int = 6, accumulate: int = 1, how: str = "plain", count: int = 1) -> str:
    """Run the script in one process, or in several that know of each other as ``accelerate launch`` tells them."""
    base = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(count):
        more = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        told = {key: str(value) for key, value in more.items()} if count > 1 else {}
        words = (tmp_path / name, steps, accumulate, how)
        running.append(forking.Program(SCRIPT, *words, environment={**base, **told}))
    answers = [program.ended() for program in running]
    # where one fails, the others lose the connection: each says what it saw
    failed = [answer.stderr[-2000:] for answer in answers if answer.returncode]
    assert not failed, "\n".join(failed)
    return "".join(answer.stdout for answer in answers)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "last" / "objective.safetensors")


def test_one_process_gives_the_same_as_none(tmp_path: Path) -> None:
    train(tmp_path, "plain")
    train(tmp_path, "one", how="accelerate")
    one, two = weights(tmp_path / "plain"), weights(tmp_path / "one")
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_two_processes_give_what_one_does_with_both_batches_and_resume(tmp_path: Path) -> None:
    train(tmp_path, "plain", accumulate=2)
    train(tmp_path, "two", how="accelerate", count=2, steps=3)
    told = train(tmp_path, "two", how="accelerate", count=2)
    one, two = weights(tmp_path / "plain"), weights(tmp_path / "two")
    for name in ("linear.weight", "linear.bias"):
        assert torch.allclose(one[name], two[name], atol=1e-6)
    lines = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(6))  # the first one alone writes
    # buffers are averaged, so both hold the same
    held = {line.split(" ", 2)[2] for line in told.splitlines() if line.startswith("rank")}
    assert len(held) == 1
