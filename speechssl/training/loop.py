"""The training loop, with checkpoints from which a run resumes bit for bit."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from speechssl.checkpoints import files
from speechssl.encoders.rounding import has_fast_bfloat16
from speechssl.errors import CheckpointError, InputError
from speechssl.training.distributed import Processes

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


@dataclass(frozen=True)
class Machine:
    """Where a run is computed and for how long; a run may be resumed with another one.

    Args:
        device: of torch; ``processes`` bring their own.
        bfloat16: compute under autocast to bfloat16; None: if the device multiplies bfloat16 fast.
        workers: processes that make batches, where one thread is too slow for the device; 0 for a thread. The batches,
            and so the run, are the same.
        processes: that train together (``distributed.launched``), each on its own device and on batches of its own; the
            first one writes. N of them with ``accumulate`` A see the batches of one with N * A.
        checkpoint_seconds: time between checkpoints.
        max_seconds: time after which the run is saved and ``fit`` returns.
    """

    device: str = "cpu"
    bfloat16: bool | None = None
    workers: int = 0
    processes: Processes | None = None
    checkpoint_seconds: float = 240.0
    max_seconds: float = math.inf

    def settled(self) -> Machine:
        """The same with the device and the precision that are used; ``processes`` only if there are several."""
        together = self.processes if self.processes is not None and self.processes.count > 1 else None
        device = self.device if together is None else together.device
        bfloat16 = fast_at_bfloat16(device) if self.bfloat16 is None else self.bfloat16
        return replace(self, processes=together, device=device, bfloat16=bfloat16)


def fit(
    objective: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    folder: Path,
    config: dict[str, Any],
    seed: int,
    machine: Machine = Machine(),
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> nn.Module:
    """Minimise ``objective.losses(batch)["total"]``; returns the averaged copy of the objective.

    On SIGTERM the step at hand is finished, a checkpoint is saved, and the process exits.

    Each step depends only on (config, seed, step) and the weights: ``batches(step)`` is a pure function and the
    random state is set from (seed, step), so a resumed run equals one that never stopped.

    Args:
        objective: module with ``losses(batch) -> {"total": scalar, ...}``.
        batches: batch number -> tensors on the CPU; called ahead of time, in a thread or in ``machine.workers``.
        folder: of this run: ``last/`` (checkpoint), ``log.jsonl``, ``config.json``.
        config: everything that defines the run; a resumed run with another config is refused.
        on_step: called with the step and its losses.
    Raises:
        InputError: the folder holds a run with another config (differences are in the message).
        CheckpointError: the loss became NaN or infinite; the message names the step, and the last checkpoint is kept.
    """
    machine = machine.settled()
    together = machine.processes
    rank = 0 if together is None else together.rank
    objective.to(machine.device)
    run = _Run(folder, objective, make_optimizers(objective, schedule), writes=rank == 0)
    first = run.resume(config)
    if together is not None:
        together.wait()  # nobody writes before all have read
        batches = _share_of(batches, together, schedule.accumulate)
    with _told_to_stop() as told:
        for step, group in _ahead(batches, first, schedule.steps, schedule.accumulate, machine.workers):
            torch.manual_seed(hash((seed, step, rank) if rank else (seed, step)) % 2**31)
            losses = _step(objective, group, run.optimizers, schedule, step, machine)
            run.took(step, losses, min(schedule.average, (1 + step) / (10 + step)))
            if on_step is not None:
                on_step(step, losses)
            over = bool(told) or run.seconds > machine.max_seconds
            over = over if together is None else together.decide(over)
            if run.unsaved_seconds > machine.checkpoint_seconds or over or step + 1 == schedule.steps:
                run.save(step + 1)
            if over:
                break
    if told:
        raise SystemExit(128 + told[0])
    if together is not None:
        together.wait()  # the last checkpoint is there when the call returns
    return run.average


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """A list that receives the signal number when SIGTERM arrives."""
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told  # only there can signals be heard
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def fast_at_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32: on GPUs, and on CPUs with native products.

    Other CPUs take ten times as long as in float32.
    """
    return torch.device(device).type != "cpu" or has_fast_bfloat16()


def _share_of(batches: Batches, together: Processes, accumulate: int) -> Batches:
    """The batches of one process: every process gets different ones in each step."""

    def share(number: int) -> dict[str, Tensor]:
        step, part = divmod(number, accumulate)
        return batches((step * together.count + together.rank) * accumulate + part)

    return share


def make_optimizers(objective: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the network's blocks, AdamW for everything else.

    Muon (Jordan et al. 2024) needs about half the steps of AdamW at this size; its updates are scaled to AdamW's. An
    objective's ``slower`` maps a prefix of names to a factor on the rate; AdamW trains these parameters.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    slower: dict[str, float] = getattr(objective, "slower", {})
    slow: dict[float, list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        share = next((share for start, share in slower.items() if name.startswith(start)), None)
        if share is not None:
            slow.setdefault(share, []).append(parameter)
            continue
        inside_block = ".layers." in name and parameter.ndim == 2 and "embedding" not in name
        (matrices if inside_block else others if parameter.ndim >= 2 else plain).append(parameter)
    groups = [{"params": others, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    groups += [{"params": found, "weight_decay": 0.0, "share": share} for share, found in slow.items()]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=schedule.rate, betas=(0.9, 0.98))]
    if matrices:
        kind = torch.optim.Muon if fast_at_bfloat16(str(matrices[0].device)) else Float32Muon
        muon = kind(matrices, lr=schedule.rate, weight_decay=schedule.weight_decay, adjust_lr_fn="match_rms_adamw")
        optimizers.append(muon)
    return optimizers


class Float32Muon(torch.optim.Muon):
    """Muon that orthogonalises in float32; torch uses bfloat16, which takes seconds on many CPUs."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient, by ``match_rms_adamw``, with Nesterov's momentum."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                buffer = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                update = _orthogonal(parameter.grad.lerp(buffer, group["momentum"]), group)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-0.2 * group["lr"] * math.sqrt(max(parameter.shape)))


def _orthogonal(gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """About the nearest matrix with orthogonal rows or columns, by the Newton-Schulz iteration of Muon."""
    a, b, c = group["ns_coefficients"]
    is_tall = gradient.shape[0] > gradient.shape[1]
    x = gradient.T if is_tall else gradient
    x = x / x.norm().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x


def _step(
    objective: nn.Module,
    group: list[dict[str, Tensor]],
    optimizers: list[torch.optim.Optimizer],
    schedule: Schedule,
    step: int,
    machine: Machine,
) -> dict[str, float]:
    objective.train()
    device, together = machine.device, machine.processes
    totals: dict[str, Tensor] = {}
    for batch in group:
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bool(machine.bfloat16)):
            losses = objective.losses(batch)  # type: ignore[operator]
        (losses["total"] / len(group)).backward()
        for name, value in losses.items():
            share = value.detach().float().to(device) / len(group)  # counts are made on the CPU
            totals[name] = totals[name] + share if name in totals else share
    if together is not None:
        together.average_gradients(objective)
        together.average(objective.buffers())
    norm = nn.utils.clip_grad_norm_(objective.parameters(), schedule.clip)
    for optimizer in optimizers:
        for parameters in optimizer.param_groups:
            parameters["lr"] = schedule.rate * schedule.factor(step) * parameters.get("share", 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    after = getattr(objective, "after_step", None)
    if after is not None:  # e.g. a momentum teacher
        after(step)
    # read last: a step waits for the device once
    sums = dict(zip(totals, torch.stack(list(totals.values())).tolist(), strict=True))
    if together is not None:
        sums = together.mean(sums)
    return {**sums, "gradient_norm": float(norm)}


def _ahead(
    batches: Batches, first: int, steps: int, accumulate: int, workers: int
) -> Iterator[tuple[int, list[dict[str, Tensor]]]]:
    """Steps with their batches, made ahead in a thread or in worker processes."""
    groups = _Groups(batches, first, steps, accumulate)
    if workers:
        # batch_size None: an item is a batch already; the loader keeps their order
        loader = torch.utils.data.DataLoader(groups, batch_size=None, num_workers=workers, prefetch_factor=4)
        yield from zip(range(first, steps), loader, strict=True)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(groups.__getitem__, place) for place in range(min(2, len(groups)))]
        for place in range(len(groups)):
            if place + 2 < len(groups):
                waiting.append(pool.submit(groups.__getitem__, place + 2))
            yield first + place, waiting.pop(0).result()


class _Groups(torch.utils.data.Dataset[list[dict[str, Tensor]]]):
    """The batches of every step from ``first`` on."""

    def __init__(self, batches: Batches, first: int, steps: int, accumulate: int) -> None:
        self._batches, self._first, self._accumulate = batches, first, accumulate
        self._count = max(0, steps - first)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> list[dict[str, Tensor]]:
        start = (self._first + place) * self._accumulate
        return [self._batches(start + part) for part in range(self._accumulate)]


@torch.no_grad()
def _update_average(average: nn.Module, objective: nn.Module, decay: float) -> None:
    averages, parameters = list(average.parameters()), list(objective.parameters())
    torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averages, parameters, None)  # type: ignore[no-untyped-call]
    for kept, now in zip(average.buffers(), objective.buffers(), strict=True):
        kept.copy_(now)


class _Run:
    """The files of one run. ``last`` is replaced only by a complete checkpoint, so a full disk cannot lose it."""

    def __init__(
        self,
        folder: Path,
        objective: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        *,
        writes: bool = True,
    ) -> None:
        self.folder, self.last, self._writes = folder, folder / "last", writes
        self.average = copy.deepcopy(objective).requires_grad_(False).eval()
        self.optimizers, self._objective = optimizers, objective
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since this process took up the run."""
        return time.monotonic() - self._began

    @property
    def unsaved_seconds(self) -> float:
        """Since the last checkpoint."""
        return time.monotonic() - self._saved

    def resume(self, config: dict[str, Any]) -> int:
        """Load the last checkpoint and return its step; 0 in a new folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.json"
        # the length of the run may change
        config = json.loads(json.dumps({key: value for key, value in config.items() if key not in ("steps", "decay")}))
        if path.exists():
            before = json.loads(path.read_text())
            if before != config:
                keys = sorted(key for key in before.keys() | config.keys() if before.get(key) != config.get(key))
                changes = "; ".join(f"{key}: {before.get(key)!r} before, {config.get(key)!r} now" for key in keys)
                raise InputError(
                    f"{self.folder}: this run was started with another config ({changes}); use another folder"
                )
        elif self._writes:
            # whole or not at all: another process of the run may be reading
            files.write_text(path, json.dumps(config, indent=1))
        if not self.last.exists():
            return 0
        self._objective.load_state_dict(load_file(self.last / "objective.safetensors"))
        self.average.load_state_dict(load_file(self.last / "average.safetensors"))
        for number, optimizer in enumerate(self.optimizers):
            _load_optimizer(optimizer, load_file(self.last / f"optimizer{number}.safetensors"))
        return int(json.loads((self.last / "state.json").read_text())["step"])

    def save(self, step: int) -> None:
        """Replace the last checkpoint; only the process that writes does."""
        self._saved = time.monotonic()
        if not self._writes:
            return
        new, old = self.folder / "new", self.folder / "old"
        shutil.rmtree(new, ignore_errors=True)
        try:
            new.mkdir()
            save_file(_contiguous(self._objective.state_dict()), new / "objective.safetensors")
            save_file(_contiguous(self.average.state_dict()), new / "average.safetensors")
            for number, optimizer in enumerate(self.optimizers):
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

    def took(self, step: int, losses: dict[str, float], decay: float) -> None:
        """A step was taken: follow it with the average, and write a line of ``log.jsonl``.

        Raises:
            CheckpointError: a loss is NaN or infinite.
        """
        if not all(math.isfinite(value) for value in losses.values()):
            raise CheckpointError(
                f"{self.folder}: loss at step {step} is {losses}; the last good checkpoint is kept in {self.last}"
            )
        _update_average(self.average, self._objective, decay)
        if self._writes:
            rounded = {name: round(value, 5) for name, value in losses.items()}
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, "seconds": round(self.seconds, 1), **rounded}) + "\n")


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
