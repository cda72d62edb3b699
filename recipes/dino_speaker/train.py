"""Train a speaker embedder without labels, on a log-mel cache of ``prepare.py``.

    python recipes/dino_speaker/train.py cache --run runs/contrast --objective nt-xent --max-seconds 1200
    python recipes/dino_speaker/train.py cache --run runs/dino --start runs/contrast --max-seconds 1800
    python recipes/dino_speaker/train.py cache --run runs/margin --start runs/dino --labels runs/dino/labels.npy
    accelerate launch --num_processes 4 recipes/dino_speaker/train.py cache --run runs/dino --accelerate

``--labels`` begins the second stage, an angular margin on the pseudo-speakers of ``cluster.py``. With ``--accelerate``
every process draws batches of its own and gradients are averaged: four processes make batches four times as large.
A run that was stopped goes on when the same command is given again. ``--toy`` is a run of seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import Settings, SpeakerCrops
from safetensors.torch import load_file
from torch import nn

from speechssl import checkpoints, errors
from speechssl.training import script
from speechssl.training.augmentation import NUM_BANDS
from speechssl.training.distributed import launched
from speechssl.training.objectives.dino import Dino
from speechssl.training.objectives.margin import GatedMargin
from speechssl.training.objectives.nt_xent import NTXent
from speechssl.verification.embedders.ecapa import Ecapa

SIZES: dict[str, dict[str, Any]] = {
    "toy": {"channels": 32, "dim": 24, "bottleneck": 16, "scale": 4, "padding": "zeros"},
    "tiny": {"channels": 128, "dim": 128, "bottleneck": 64, "padding": "zeros"},
    "small": {"channels": 256, "dim": 192, "bottleneck": 128, "padding": "zeros"},
}


def make_network(size: str) -> Ecapa:
    """ECAPA-TDNN on pairs of log-mel frames; ``tiny`` has 0.7 M parameters."""
    return Ecapa(2 * NUM_BANDS, **SIZES[size])


def make_objective(args: argparse.Namespace, network: Ecapa) -> nn.Module:
    """The loss module, with the network inside as ``network``."""
    dim = SIZES[args.size]["dim"]
    if args.objective == "nt-xent":
        return NTXent(network)
    if args.objective == "margin":
        labels = torch.from_numpy(np.load(args.labels, allow_pickle=False))
        first, every = int(args.gate * args.steps), max(1, args.steps // 12)
        return GatedMargin(network, dim=dim, labels=labels, gate_from=first, gate_every=every)
    hidden = 64 if args.size == "toy" else 1024
    return Dino(network, dim=dim, hidden=hidden, prototypes=args.prototypes, steps=args.steps)


def start_from(network: nn.Module, run: Path) -> None:
    """Copy the averaged network of another run."""
    tensors = load_file(run / "last" / "average.safetensors")
    network.load_state_dict({name[8:]: tensor for name, tensor in tensors.items() if name.startswith("network.")})


def parse() -> argparse.Namespace:
    parser = script.parser(__doc__, steps=4000, decay=0.3, rate=1e-3, checkpoint_seconds=180.0)
    parser.add_argument("--objective", choices=["dino", "nt-xent"], default="dino")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--start", type=Path, default=None, help="run whose averaged network is the first one")
    parser.add_argument(
        "--labels", type=Path, default=None, help="pseudo-speakers of cluster.py, to learn with a margin"
    )
    parser.add_argument("--gate", type=float, default=1 / 3, help="share of the steps in which all labels are believed")
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--global-seconds", type=float, default=4.0)
    parser.add_argument("--local-seconds", type=float, default=2.0)
    parser.add_argument("--local-crops", type=int, default=4)
    parser.add_argument("--warp", type=float, default=None, help="of the voice; 0.12, and 0 where voices have labels")
    parser.add_argument("--prototypes", type=int, default=1024)
    parser.add_argument("--accelerate", action="store_true", help="one of several processes of accelerate launch")
    args = parser.parse_args()
    if args.toy:
        args.size, args.utterances, args.prototypes = "toy", min(args.utterances, 8), min(args.prototypes, 32)
        args.global_seconds, args.local_seconds, args.local_crops = 0.8, 0.4, 2
        args.steps = min(args.steps, 20)
    if args.labels:
        args.objective = "margin"
    if args.warp is None:
        args.warp = 0.0 if args.labels else 0.12
    return args


def main() -> None:
    args = parse()
    script.seed(args)
    processes = launched() if args.accelerate else None
    settings = Settings(
        utterances=args.utterances,
        global_frames=round(100 * args.global_seconds),
        local_frames=round(100 * args.local_seconds),
        local_crops=args.local_crops if args.objective == "dino" else 0,
        warp=args.warp,
    )
    network = make_network(args.size)
    if args.start:
        start_from(network, args.start)
    objective = make_objective(args, network)
    batches = SpeakerCrops(args.cache, settings, seed=args.seed)
    keys = ("objective", "size", "rate", "seed", "prototypes", "steps", "decay")
    config = {key: getattr(args, key) for key in keys} | {"settings": dataclasses.asdict(settings)}
    config["start"] = args.start.name if args.start else None
    if args.labels:
        config |= {"labels": checkpoints.sha256_of(args.labels), "gate": args.gate}
    if processes:
        config["processes"] = processes.count
    script.train(
        args, objective, batches, config=config, every=10, processes=processes,
        warmup=min(100, args.steps // 10), average=0.99,
    )  # fmt: skip


if __name__ == "__main__":
    errors.run_recipe(main)
