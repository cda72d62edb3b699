"""Train an encoder on a log-mel cache, with one of six objectives, or a pretrained one on waveforms, with phones.

    python recipes/ssl_pretraining/train.py cache --objective phones --alignments alignments.jsonl --run runs/phones
    python recipes/ssl_pretraining/train.py cache --objective hubert --units units0.npy --run runs/hubert1
    python recipes/ssl_pretraining/train.py cache --objective dinosr --run runs/dinosr
    python recipes/ssl_pretraining/train.py cache --objective data2vec --partly --run runs/data2vec2
    python recipes/ssl_pretraining/train.py cache --objective hubert --units units0.npy --init runs/hubert1 \
        --also e2mc:0.1 --run runs/spread
    python recipes/ssl_pretraining/train.py cache --objective distil --indexes indexes.npy --run runs/distil
    python recipes/ssl_pretraining/train.py waves --objective phones --alignments alignments.jsonl --run runs/heard \
        --init whisper-base=MODEL.BIN --blocks 4

``--init`` starts from the weights of another run (the supervised stage on top of a label-free encoder) or of an
encoder file; with a cache of ``waves.py``, from a pretrained encoder: ``whisper-base=MODEL.BIN`` or anything that
``speechssl.load_encoder`` takes (``wavlm-base-plus``, a folder of transformers).
A run that was stopped goes on from its last checkpoint when the same command is given again; ``--steps`` and
``--decay`` may then differ, which lengthens the run or ends it early. ``--toy`` trains a very small network briefly.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from align import PHONES, STATES_PER_PHONE
from batches import Augmentation, MelBatches, phone_tracks
from network import SIZES, make_network, partly, speed_up
from pretrained import KEY_DIM, pretrained
from safetensors.torch import load_file
from wave_batches import Distortion, WaveBatches

from speechssl import checkpoints, errors
from speechssl.training import script
from speechssl.training.augmentation import NUM_BANDS
from speechssl.training.objectives import entropy
from speechssl.training.objectives.added import terms
from speechssl.training.objectives.contrastive import MaskedContrast
from speechssl.training.objectives.data2vec import Data2Vec
from speechssl.training.objectives.dinosr import DinoSR
from speechssl.training.objectives.distil import CodebookDistillation
from speechssl.training.objectives.hubert import MaskedUnits
from speechssl.training.objectives.phones import RETRIEVAL_FRAMES, PhoneStates

TAUGHT = {"dinosr": DinoSR, "data2vec": Data2Vec}  # a teacher hears the clean input
OBJECTIVES = ("phones", "hubert", "contrast", *TAUGHT, "distil")
INPUT_DIM = 2 * NUM_BANDS
TOY = {"size": "toy", "steps": 6, "batch_seconds": 6.0}
SLOWER = 0.2  # rate of what is pretrained, where 1 is that of the projection and the heads


def fine_tuned(args: argparse.Namespace) -> torch.nn.Module:
    """The phones objective around a pretrained network."""
    network = pretrained(args.init, blocks=args.blocks, key_dim=args.key_dim)
    objective = phone_states(network, args, dim=args.key_dim, blocks=network.num_blocks, middle_dim=network.dim)
    objective.slower = {"network.body.": args.slower}  # type: ignore[assignment]
    return objective


def phone_states(network: torch.nn.Module, args: argparse.Namespace, *, blocks: int, **dims: int) -> PhoneStates:
    """The phones objective with a head in the middle of the blocks."""
    return PhoneStates(
        network,
        num_states=len(PHONES) * STATES_PER_PHONE,
        num_phones=len(PHONES),
        middle_layer=max(1, 2 * blocks // 3),
        retrieval_frames=args.retrieval_frames,
        **dims,
    )


def make_objective(args: argparse.Namespace) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
    """The objective around a fresh network, and its targets for every cached frame."""
    network = make_network(args.size, dropout=args.dropout)
    dim = int(network.config.hidden_size)  # type: ignore[union-attr, arg-type]
    blocks = int(network.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    if args.objective == "phones":
        phones = phone_states(network, args, dim=dim, blocks=blocks)
        return phones, phone_tracks(args.cache, _needed(args.alignments, "--alignments"))
    if args.objective == "hubert":
        units = np.load(_needed(args.units, "--units"))
        return MaskedUnits(network, dim=dim, input_dim=INPUT_DIM, num_units=int(units.max()) + 1), {"units": units}
    if args.objective == "contrast":
        return MaskedContrast(network, dim=dim, input_dim=INPUT_DIM), {}
    if args.objective in TAUGHT:
        more = {"partly": partly} if args.partly else {}
        return TAUGHT[args.objective](network, dim=dim, input_dim=INPUT_DIM, num_layers=min(3, blocks), **more), {}
    indexes = np.load(_needed(args.indexes, "--indexes"))
    sizes = {"num_codebooks": indexes.shape[1], "num_codes": int(indexes.max()) + 1}
    return CodebookDistillation(network, dim=dim, **sizes), {"indexes": indexes}


def initialise(objective: torch.nn.Module, start: Path) -> None:
    """Copy weights into those parts that have the same name and shape.

    Args:
        objective: to begin.
        start: an earlier run, whose averaged weights are taken, or an encoder that ``export.py`` wrote.
    """
    if start.is_file():
        tensors = checkpoints.load(start, kind="encoder").tensors
        theirs = {f"network.{name}": tensor.float() for name, tensor in tensors.items()}
    else:
        theirs = load_file(start / "last" / "average.safetensors")
    mine = objective.state_dict()
    fitting = {name: tensor for name, tensor in theirs.items() if name in mine and mine[name].shape == tensor.shape}
    objective.load_state_dict(mine | fitting)
    print(json.dumps({"initialised": len(fitting), "fresh": len(mine) - len(fitting)}), flush=True)


def describe(args: argparse.Namespace, augmentation: Augmentation | Distortion) -> dict[str, Any]:
    """Everything that defines the run."""
    keys = ("objective", "size", "rate", "batch_seconds", "seed", "steps", "decay", "dropout", "retrieval_frames")
    config = {key: getattr(args, key) for key in keys}
    config["init"] = str(args.init) if args.init else None
    # runs that began before these options go on
    config |= {key: value for key, value in (("also", args.also), ("partly", args.partly)) if value}
    if isinstance(augmentation, Distortion):
        config |= {"size": "pretrained", "blocks": args.blocks, "key_dim": args.key_dim, "slower": args.slower}
        # the published name, wherever the file lies
        config["init"] = args.init.partition("=")[0]
    return config | {"augmentation": dataclasses.asdict(augmentation)}


def from_mel(args: argparse.Namespace) -> tuple[torch.nn.Module, MelBatches, Augmentation]:
    """Objective, batches and augmentation of a network of ours on log-mel bands."""
    augmentation = Augmentation()
    objective, tracks = make_objective(args)
    if args.init:
        initialise(objective, Path(args.init))
    speed_up(objective.network)  # type: ignore[arg-type]
    if args.objective in TAUGHT:
        speed_up(objective.teacher)  # type: ignore[arg-type]
    batches = MelBatches(
        args.cache,
        tracks,
        batch_seconds=args.batch_seconds,
        augmentation=augmentation,
        seed=args.seed,
        clean=args.objective in (*TAUGHT, "contrast"),
        device=args.device,
    )
    return objective, batches, augmentation


def fine_tuning(args: argparse.Namespace) -> tuple[torch.nn.Module, WaveBatches, Distortion]:
    """Objective, batches and distortion of a pretrained network on waveforms."""
    if args.objective != "phones" or not args.init:
        raise SystemExit(f"{args.cache} holds waveforms: they are for --objective phones with --init NAME")
    distortion = Distortion()
    tracks = phone_tracks(args.cache, _needed(args.alignments, "--alignments"))
    batches = WaveBatches(args.cache, tracks, batch_seconds=args.batch_seconds, distortion=distortion, seed=args.seed)
    print(json.dumps({"hours": round(batches.hours, 2)}), flush=True)
    return fine_tuned(args), batches, distortion


def main(arguments: list[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    if args.toy:
        vars(args).update(TOY)
    script.seed(args)
    if args.partly and args.objective != "data2vec":
        raise SystemExit(f"--partly is for --objective data2vec, not {args.objective}")
    added = terms(args.also, entropy.TERMS)
    given: Any = fine_tuning(args) if (args.cache / "samples.npy").exists() else from_mel(args)
    objective, batches, augmentation = given
    if added:
        entropy.on_frames(objective, added)
    print(json.dumps({"parameters": sum(p.numel() for p in objective.network.parameters())}), flush=True)
    script.train(args, objective, batches, config=describe(args, augmentation), warmup=args.warmup)


def _parser() -> argparse.ArgumentParser:
    parser = script.parser(__doc__, steps=4000, decay=0.3, rate=2e-3, threads=2)
    parser.add_argument("--objective", choices=OBJECTIVES, required=True)
    parser.add_argument("--alignments", type=Path, default=None, help="of align.py, for phones")
    parser.add_argument("--units", type=Path, default=None, help="of cluster.py, for hubert")
    parser.add_argument("--indexes", type=Path, default=None, help="of quantise.py, for distil")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--batch-seconds", type=float, default=40.0)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--retrieval-frames", type=int, default=RETRIEVAL_FRAMES, help="of a batch, compared; phones")
    parser.add_argument("--warmup", type=int, default=200, help="steps of rising rate")
    parser.add_argument("--init", default=None, help="run, encoder file or pretrained encoder to start from")
    parser.add_argument("--blocks", type=int, default=None, help="of a pretrained encoder; default: all")
    parser.add_argument("--key-dim", type=int, default=KEY_DIM, help="numbers per frame, of a pretrained encoder")
    parser.add_argument("--partly", action="store_true", help="the student hears no masked frames; data2vec")
    parser.add_argument(
        "--also", action="append", default=[], metavar="NAME:WEIGHT", help="a further loss: e2mc, variance, covariance"
    )
    parser.add_argument("--slower", type=float, default=SLOWER, help="share of the rate for what is pretrained")
    return parser


def _needed(path: Path | None, option: str) -> Path:
    if path is None or not path.exists():
        raise SystemExit(f"{option}: {path or 'not given'}; this objective needs the file, see the recipe's README")
    return path


if __name__ == "__main__":
    errors.run_recipe(main)
