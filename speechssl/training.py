"""The one visible training loop, with checkpoints from which a run resumes bit for bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from speechssl.distributed import Processes
from speechssl.errors import CheckpointError, InputError

Batches = Callable[[int], dict[str, Tensor]]


@dataclass(frozen=True)
class Schedule:
    """Warm-up, constant rate, linear decay to zero: a run may be lengthened or ended early without replanning.

    Args:
        steps: optimiser steps of the whole run.
        warmup: steps of linear warm-up.
        decay: fraction of ``steps`` at the end over which the rate falls to zero.
        rate: learning rate between the two.
        weight_decay: decoupled, on matrices only.
        clip: largest global gradient norm.
        average: decay of the exponential moving average of the weights; the average is what is shipped.
        accumulate: batches per optimiser step.
    """

    steps: int
    warmup: int = 200
    decay: float = 0.3
    rate: float = 2e-3
    weight_decay: float = 0.02
    clip: float = 1.0
    average: float = 0.998
    accumulate: int = 1

    def factor(self, step: int) -> float:
        """Share of ``rate`` at a step, in [0, 1]."""
        start = self.steps * (1 - self.decay)
        falling = 1.0 if step < start else max(0.0, (self.steps - step) / max(1.0, self.steps - start))
        return min(1.0, (step + 1) / max(1, self.warmup)) * falling


def fit(
    objective: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    folder: Path,
    config: dict[str, Any],
    seed: int,
    device: str = "cpu",
    bfloat16: bool = True,
    checkpoint_seconds: float = 240.0,
    max_seconds: float = math.inf,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    processes: Processes | None = None,
) -> nn.Module:
    """Minimise ``objective.losses(batch)["total"]``; returns the averaged copy of the objective.

    Each step depends on (config, seed, step) and the weights alone: ``batches(step)`` is a pure function and the
    random state is set from (seed, step), so a resumed run equals one that never stopped.

    Args:
        objective: module with ``losses(batch) -> {"total": scalar, ...}``.
        batches: batch number -> tensors on the CPU; called ahead of time in a thread.
        folder: of this run: ``last/`` (checkpoint), ``log.jsonl``, ``config.json``.
        config: everything that defines the run; a resumed run with another config is refused.
        checkpoint_seconds, max_seconds: time between checkpoints, and after which the call saves and returns.
        on_step: called with the step and its losses.
        processes: that train together (``distributed.launched``), each on its own device and on batches of its own; the
            first one writes. N of them with ``accumulate`` A see the batches of one with N * A.
    Raises:
        InputError: the folder holds a run with another config (differences are in the message).
        CheckpointError: the loss became NaN or infinite; the message names the step, and the last checkpoint is kept.
    """
    together = processes if processes is not None and processes.count > 1 else None
    device = device if together is None else together.device
    objective.to(device)
    average = _copy_of(objective)
    optimizers = make_optimizers(objective, schedule)
    run = _Run(folder, objective, average, optimizers, writes=together is None or together.rank == 0)
    first = run.resume(config)
    if together is not None:
        together.wait()  # nobody writes before all have read
        batches = _share_of(batches, together, schedule.accumulate)
    rank = 0 if together is None else together.rank
    began = saved = time.monotonic()
    for step, batch_group in _ahead(batches, first, schedule.steps, schedule.accumulate):
        torch.manual_seed(hash((seed, step, rank) if rank else (seed, step)) % 2**31)
        losses = _step(objective, batch_group, optimizers, schedule, step, device, bfloat16, together)
        _update_average(average, objective, min(schedule.average, (1 + step) / (10 + step)))
        if not all(math.isfinite(value) for value in losses.values()):
            raise CheckpointError(
                f"{folder}: loss at step {step} is {losses}; the last good checkpoint is kept in {run.last}"
            )
        run.log(step, losses, time.monotonic() - began)
        if on_step is not None:
            on_step(step, losses)
        now = time.monotonic()
        over = now - began > max_seconds if together is None else together.decide(now - began > max_seconds)
        if now - saved > checkpoint_seconds or over or step + 1 == schedule.steps:
            run.save(step + 1)
            saved = now
            if over:
                break
    if together is not None:
        together.wait()  # the last checkpoint is there when the call returns
    return average


def _share_of(batches: Batches, together: Processes, accumulate: int) -> Batches:
    """Every process takes its own of the batches of each step."""

    def share(number: int) -> dict[str, Tensor]:
        step, part = divmod(number, accumulate)
        return batches((step * together.count + together.rank) * accumulate + part)

    return share


def make_optimizers(objective: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the network's blocks, AdamW for everything else.

    Muon (Jordan et al. 2024) needs about half the steps of AdamW at this size; its updates are scaled to AdamW's.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        inside_block = ".layers." in name and parameter.ndim == 2 and "embedding" not in name
        (matrices if inside_block else others if parameter.ndim >= 2 else plain).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": others, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=schedule.rate,
            betas=(0.9, 0.98),
        )
    ]
    if matrices:
        muon = torch.optim.Muon(
            matrices, lr=schedule.rate, weight_decay=schedule.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


def _step(
    objective: nn.Module,
    group: list[dict[str, Tensor]],
    optimizers: list[torch.optim.Optimizer],
    schedule: Schedule,
    step: int,
    device: str,
    bfloat16: bool,
    together: Processes | None,
) -> dict[str, float]:
    objective.train()
    sums: dict[str, float] = {}
    for batch in group:
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bfloat16):
            losses = objective.losses(batch)  # type: ignore[operator]
        (losses["total"] / len(group)).backward()
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(group)
    if together is not None:
        together.average_gradients(objective)
        together.average(objective.buffers())
        sums = together.mean(sums)
    sums["gradient_norm"] = float(nn.utils.clip_grad_norm_(objective.parameters(), schedule.clip))
    for optimizer in optimizers:
        for parameters in optimizer.param_groups:
            parameters["lr"] = schedule.rate * schedule.factor(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    after = getattr(objective, "after_step", None)
    if after is not None:  # e.g. a momentum teacher
        after(step)
    return sums


def _ahead(batches: Batches, first: int, steps: int, accumulate: int) -> Iterator[tuple[int, list[dict[str, Tensor]]]]:
    """Steps with their batches, made two steps ahead in a thread."""

    def group(step: int) -> list[dict[str, Tensor]]:
        return [batches(step * accumulate + part) for part in range(accumulate)]

    with ThreadPoolExecutor(1) as pool:
        waiting = [(step, pool.submit(group, step)) for step in range(first, min(first + 2, steps))]
        while waiting:
            step, future = waiting.pop(0)
            following = (waiting[-1][0] if waiting else step) + 1
            if following < steps:
                waiting.append((following, pool.submit(group, following)))
            yield step, future.result()


def _copy_of(objective: nn.Module) -> nn.Module:
    import copy

    average = copy.deepcopy(objective)
    average.requires_grad_(False)
    return average.eval()


@torch.no_grad()
def _update_average(average: nn.Module, objective: nn.Module, decay: float) -> None:
    pairs = zip(average.parameters(), objective.parameters(), strict=True)
    for mean, current in pairs:
        mean.lerp_(current, 1 - decay)
    for kept, now in zip(average.buffers(), objective.buffers(), strict=True):
        kept.copy_(now)


class _Run:
    """The files of one run. ``last`` is replaced only by a complete checkpoint, so a full disk cannot lose it."""

    def __init__(
        self,
        folder: Path,
        objective: nn.Module,
        average: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        *,
        writes: bool = True,
    ) -> None:
        self.folder, self.last, self._writes = folder, folder / "last", writes
        self._objective, self._average, self._optimizers = objective, average, optimizers

    def resume(self, config: dict[str, Any]) -> int:
        """Step to go on from: 0 in a new folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.json"
        # what only says how long to go on may change
        config = json.loads(json.dumps({key: value for key, value in config.items() if key not in ("steps", "decay")}))
        if path.exists():
            before = json.loads(path.read_text())
            if before != config:
                keys = sorted(key for key in before.keys() | config.keys() if before.get(key) != config.get(key))
                changes = "; ".join(f"{key}: {before.get(key)!r} before, {config.get(key)!r} now" for key in keys)
                raise InputError(
                    f"{self.folder}: this run was started with another config ({changes}); use another folder"
                )
        if self._writes:
            path.write_text(json.dumps(config, indent=1))
        if not self.last.exists():
            return 0
        self._objective.load_state_dict(load_file(self.last / "objective.safetensors"))
        self._average.load_state_dict(load_file(self.last / "average.safetensors"))
        for number, optimizer in enumerate(self._optimizers):
            _load_optimizer(optimizer, load_file(self.last / f"optimizer{number}.safetensors"))
        return int(json.loads((self.last / "state.json").read_text())["step"])

    def save(self, step: int) -> None:
        """Replace the last checkpoint; only the process that writes does."""
        if not self._writes:
            return
        new, old = self.folder / "new", self.folder / "old"
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir()
            save_file(_contiguous(self._objective.state_dict()), new / "objective.safetensors")
            save_file(_contiguous(self._average.state_dict()), new / "average.safetensors")
            for number, optimizer in enumerate(self._optimizers):
                save_file(_optimizer_tensors(optimizer), new / f"optimizer{number}.safetensors")
            (new / "state.json").write_text(json.dumps({"step": step}))
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise CheckpointError(
                f"{self.folder}: cannot write a checkpoint ({error}); the last one is kept"
            ) from error
        shutil.rmtree(old, ignore_errors=True)
        if self.last.exists():
            os.replace(self.last, old)
        os.replace(new, self.last)
        shutil.rmtree(old, ignore_errors=True)

    def log(self, step: int, losses: dict[str, float], seconds: float) -> None:
        """A line of ``log.jsonl``."""
        if not self._writes:
            return
        with (self.folder / "log.jsonl").open("a") as file:
            rounded = {name: round(value, 5) for name, value in losses.items()}
            file.write(json.dumps({"step": step, "seconds": round(seconds, 1), **rounded}) + "\n")


def _contiguous(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"{number}.{name}"] = torch.as_tensor(value).detach().contiguous().clone()
    return tensors


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
