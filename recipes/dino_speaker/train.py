"""Train a speaker embedder without labels, on a cache of ``prepare.py``.

    python recipes/dino_speaker/train.py cache --run runs/contrast --objective nt-xent --max-seconds 1200
    python recipes/dino_speaker/train.py cache --run runs/dino --start runs/contrast --max-seconds 1800
    python recipes/dino_speaker/train.py cache --run runs/margin --start runs/dino --labels runs/dino/labels.npy
    python recipes/dino_speaker/train.py waves --run runs/lines --start runs/dino --objective nt-xent --lines 0.5
    python recipes/dino_speaker/train.py waves --run runs/ssl --front-end tiny --blocks 1-3 --objective vicreg
    accelerate launch --num_processes 4 recipes/dino_speaker/train.py cache --run runs/dino --accelerate

``--labels`` begins the second stage, an angular margin on the pseudo-speakers of ``cluster.py``; ``--labels-of SHARE``
learns with the names of so many of the speakers instead. ``--also nt-xent:0.1`` adds a weak contrast to any objective.
``--lines`` and ``--front-end`` need a cache of ``prepare.py --samples``: crops go over telephones, codecs and filters,
and a head on the blocks of an encoder is trained, the highest ``--unfreeze`` blocks with it at a tenth of the rate.
With ``--accelerate`` every process draws batches of its own and gradients are averaged: four processes make batches
four times as large. A run that was stopped goes on when the same command is given again. ``--toy`` is a run of seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import front_end
import numpy as np
import torch
from crops import Settings, SpeakerCrops
from networks import SIZES, config_of, make_network, start_from
from torch import Tensor, nn
from waves import Lines, WaveCrops

from speechssl import checkpoints, errors
from speechssl.training import script
from speechssl.training.distributed import launched
from speechssl.training.objectives.added import Added, terms
from speechssl.training.objectives.barlow import BarlowTwins
from speechssl.training.objectives.byol import Byol
from speechssl.training.objectives.dino import Dino
from speechssl.training.objectives.margin import GatedMargin
from speechssl.training.objectives.moco import MoCo
from speechssl.training.objectives.nt_xent import NTXent, nt_xent
from speechssl.training.objectives.vicreg import VICReg, vicreg
from speechssl.verification.embedders import heads

OBJECTIVES = ("dino", "nt-xent", "moco", "vicreg", "barlow", "byol")
VICREG = (25.0, 25.0, 1.0)  # weights of the paper, where it is added on embeddings without a projector


def make_objective(args: argparse.Namespace, network: nn.Module, dim: int) -> nn.Module:
    """The loss module, with the network inside as ``network``."""
    more: dict[str, Any] = {"added": further(args)}
    angles = {name: getattr(args, name) for name in ("temperature", "margin") if getattr(args, name) is not None}
    hidden = 64 if args.toy else 1024
    if args.objective == "margin":
        labels = torch.from_numpy(labels_of(args))
        first, every = int(args.gate * args.steps), max(1, args.steps // 12)
        more |= {"gate_from": first, "gate_every": 0 if args.labels_of else every, "correct": args.correct}
        margin = {} if args.margin is None else {"margin": args.margin}
        return GatedMargin(network, dim=dim, labels=labels, **margin, **more)
    if args.objective == "nt-xent":
        return NTXent(network, **angles, **more)
    if args.objective == "moco":
        return MoCo(network, dim=dim, queue=16 * args.utterances, **angles, **more)
    if args.objective == "vicreg":
        return VICReg(network, dim=dim, hidden=hidden, **more)
    if args.objective == "barlow":
        return BarlowTwins(network, dim=dim, hidden=hidden, **more)
    if args.objective == "byol":
        return Byol(network, dim=dim, hidden=hidden, steps=args.steps, **more)
    return Dino(network, dim=dim, hidden=hidden, prototypes=args.prototypes, steps=args.steps, **more)


def further(args: argparse.Namespace) -> list[Added]:
    """Losses of ``--also NAME:WEIGHT``."""
    known = {
        "nt-xent": partial(contrast, temperature=args.temperature or 0.07, margin=args.margin or 0.0),
        "vicreg": information,
    }
    return terms(args.also, known)


def contrast(embeddings: Tensor, *, temperature: float, margin: float) -> Tensor:
    return nt_xent(embeddings, temperature=temperature, margin=margin)[0]


def information(embeddings: Tensor) -> Tensor:
    terms = vicreg(embeddings[0], embeddings[1])
    return torch.stack([weight * term for weight, term in zip(VICREG, terms, strict=True)]).sum()


def labels_of(args: argparse.Namespace) -> np.ndarray:
    """Class of every row of the cache, -1 where there is none: pseudo-speakers, or a share of the speakers by name."""
    index = json.loads((args.cache / "index.json").read_text())
    if args.labels:
        if not args.labels.is_file():
            raise SystemExit(f"{args.labels} does not exist; cluster.py makes labels")
        found: np.ndarray = np.load(args.labels, allow_pickle=False)
        if found.shape != (len(index),):
            raise SystemExit(f"{args.labels} has labels of {found.size} rows, {args.cache} has {len(index)}")
        return found
    names = [
        f"{row['corpus']}/{row['speaker']}"
        if row["split"] == "train" and not row["corpus"].startswith("noise") and row["speaker"]
        else ""
        for row in index
    ]
    known = sorted(set(names) - {""})
    count = round(args.labels_of * len(known))
    if count < 2:
        raise SystemExit(f"--labels-of {args.labels_of} of {len(known)} speakers is {count}; two needed")
    taken = np.random.default_rng(args.seed).permutation(known)[:count]
    numbers = {str(name): number for number, name in enumerate(taken)}
    return np.array([numbers.get(name, -1) for name in names])


def parse() -> argparse.Namespace:
    parser = script.parser(__doc__, steps=4000, decay=0.3, rate=1e-3, checkpoint_seconds=180.0)
    parser.add_argument("--objective", choices=OBJECTIVES, default="dino")
    parser.add_argument("--also", action="append", default=[], metavar="NAME:WEIGHT", help="a further loss")
    parser.add_argument("--temperature", type=float, default=None, help="of nt-xent and moco; 0.07")
    parser.add_argument("--margin", type=float, default=None, help="of nt-xent and moco, 0.1; of labels, 0.2 radians")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--start", type=Path, default=None, help="run or embedder file whose network is the first one")
    parser.add_argument("--front-end", default=None, metavar="NAME", help="encoder, for speechssl.load_encoder")
    parser.add_argument("--blocks", default="1-3", help="of the encoder, whose states the head sees, such as 1-3,6")
    parser.add_argument("--head", choices=sorted(heads.HEADS), default="mhfa")
    parser.add_argument("--unfreeze", type=int, default=0, metavar="N", help="train the highest N blocks too")
    parser.add_argument("--lines", type=float, default=None, metavar="P", help="share of crops that go over a line")
    parser.add_argument("--narrow", action="store_true", help="hear only the bands that a telephone carries")
    parser.add_argument(
        "--labels", type=Path, default=None, help="pseudo-speakers of cluster.py, to learn with a margin"
    )
    parser.add_argument("--labels-of", type=float, default=None, metavar="SHARE", help="speakers whose names are known")
    parser.add_argument("--gate", type=float, default=1 / 3, help="share of the steps in which all labels are believed")
    parser.add_argument("--correct", type=float, default=None, metavar="P", help="probability that corrects a label")
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
    if args.labels or args.labels_of:
        args.objective = "margin"
    if args.warp is None:
        args.warp = 0.0 if args.objective == "margin" else 0.12
    return args


def describe_network(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """What ``make_network`` takes, and the numbers of an embedding."""
    dim = int(SIZES[args.size]["dim"])
    if args.front_end:
        config: dict[str, Any] = {"dim": dim}
        if args.head == "ecapa":
            config |= front_end.SIZES[args.size]
        blocks = front_end.numbers(args.blocks)
        more = {"blocks": blocks, "head": args.head, "head_config": config, "unfreeze": args.unfreeze}
        return {"front_end": args.front_end, **more}, dim
    if args.start and (network := config_of(args.start).get("network")):
        return {"network": network}, int(network["dim"])
    return {"size": args.size}, dim


def make_batches(args: argparse.Namespace, settings: Settings) -> SpeakerCrops:
    """Crops of log-mel bands; of samples for lines and front ends."""
    if args.front_end is None and args.lines is None:
        return SpeakerCrops(args.cache, settings, seed=args.seed)
    lines = Lines(line=0.5 if args.lines is None else args.lines)
    return WaveCrops(args.cache, settings, lines, seed=args.seed, samples=args.front_end is not None)


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
        narrow=args.narrow,
    )
    network_config, dim = describe_network(args)
    network = make_network(network_config)
    if args.start:
        config_of(args.start)  # says what is missing
        start_from(network, args.start)
    batches = make_batches(args, settings)
    objective = make_objective(args, network, dim)
    if args.front_end:
        objective.slower = {"network.tuned.": front_end.SLOWER}  # type: ignore[assignment]
    keys = ("objective", "size", "rate", "seed", "prototypes", "steps", "decay", "also", "temperature", "margin")
    config = {key: getattr(args, key) for key in keys} | {"settings": dataclasses.asdict(settings)} | network_config
    config |= {"lines": args.lines, "start": args.start.name if args.start else None}
    if args.labels:
        config |= {"labels": checkpoints.sha256_of(args.labels), "gate": args.gate, "correct": args.correct}
    if args.labels_of:
        config["labels_of"] = args.labels_of
    if processes:
        config["processes"] = processes.count
    script.train(
        args, objective, batches, config=config, every=10, processes=processes,
        warmup=min(100, args.steps // 10), average=0.99,
    )  # fmt: skip


if __name__ == "__main__":
    errors.run_recipe(main)
