"""What the training scripts of ``recipes/`` share: options, seeds, the run and what it prints."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speechssl.training.distributed import Processes
from speechssl.training.loop import Batches, Machine, Schedule, fit

# they may change when a run is resumed
FREE = frozenset(
    ("cache", "run", "steps", "decay", "threads", "device", "workers", "checkpoint_seconds", "max_seconds")
)


def parser(
    description: str | None,
    *,
    steps: int,
    decay: float,
    rate: float,
    threads: int = 1,
    checkpoint_seconds: float = 240.0,
) -> argparse.ArgumentParser:
    """A parser with the cache and the options of every training script; the arguments are their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="folder that prepare.py wrote")
    parser.add_argument("--run", type=Path, required=True, help="folder of this run; a stopped run is resumed")
    parser.add_argument("--steps", type=int, default=steps, help="optimiser steps of the whole run")
    parser.add_argument("--decay", type=float, default=decay, help="share of the steps at the end with a falling rate")
    parser.add_argument("--rate", type=float, default=rate, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=threads, help="of torch, on the CPU")
    parser.add_argument("--checkpoint-seconds", type=float, default=checkpoint_seconds, help="between checkpoints")
    parser.add_argument("--max-seconds", type=float, default=math.inf, help="save and end after this time")
    parser.add_argument("--toy", action="store_true", help="a network and batches so small that a run takes seconds")
    return parser


def seed(args: argparse.Namespace) -> None:
    """Set torch's threads and its random state from ``--threads`` and ``--seed``."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)


def train(
    args: argparse.Namespace,
    objective: nn.Module,
    batches: Batches,
    *,
    config: dict[str, Any],
    every: int = 20,
    processes: Processes | None = None,
    **schedule: Any,
) -> nn.Module:
    """Train, or resume, the run of ``--run``; returns the averaged copy of the objective.

    Args:
        args: of a ``parser``; ``workers`` if the script has the option.
        objective: see ``loop.fit``.
        batches: see ``loop.fit``.
        config: everything that defines the run.
        every: a line with the losses is printed for every so many steps.
        processes: that train together.
        **schedule: of ``loop.Schedule``, besides what ``args`` tells.
    """

    def show(step: int, losses: dict[str, float]) -> None:
        if step % every == 0:
            print(json.dumps({"step": step, **{name: round(value, 3) for name, value in losses.items()}}), flush=True)

    return fit(
        objective,
        batches,
        Schedule(steps=args.steps, decay=args.decay, rate=args.rate, **schedule),
        folder=args.run,
        config=config,
        seed=args.seed,
        machine=Machine(
            device=args.device,
            workers=getattr(args, "workers", 0),
            processes=processes,
            checkpoint_seconds=args.checkpoint_seconds,
            max_seconds=args.max_seconds,
        ),
        on_step=show,
    )
