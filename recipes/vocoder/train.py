"""Train the vocoder of the embedded bundle on a cache of ``prepare.py``.

    python recipes/vocoder/train.py cache --run runs/vocoder --steps 3000

A run that was stopped goes on when the same command is given again; ``--init`` starts from another run's network, or
from a vocoder file.
``--toy`` is a run of seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from batches import INPUTS, NEIGHBOURS, OWN_VALUES, VocoderBatches
from safetensors.torch import load_file

from speechssl import checkpoints, errors
from speechssl.training import script
from speechssl.training.objectives.resynthesis import Resynthesis, Weights
from speechssl.vocoders.source_filter import SourceFilter, SourceFilterConfig

TOY = {"width": 32, "hidden": 48, "num_layers": 2, "key_width": 8}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script.parser(__doc__, steps=3000, decay=0.35, rate=1e-3)
    parser.add_argument("--init", type=Path, default=None, help="run or vocoder file to start from")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--adversarial-from", type=int, default=1000)
    parser.add_argument("--mel", type=float, default=15.0)
    parser.add_argument("--adversarial", type=float, default=1.0)
    parser.add_argument("--matching", type=float, default=2.0)
    parser.add_argument("--corrupt", type=float, default=0.0, help="share of frames given wrong values")
    parser.add_argument("--neighbours", default=",".join(map(str, NEIGHBOURS)), help="averaged, drawn from these")
    parser.add_argument("--strange-keys", type=float, default=0.0, help="share of crops with keys of other speakers")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--batch-seconds", type=float, default=20.0)
    parser.add_argument("--width", type=int, default=48, help="of the discriminators")
    parser.add_argument("--periods", default="", help="of discriminators of the waveform, 2,3,5,7,11; for a GPU")
    parser.add_argument("--own-values", type=float, default=OWN_VALUES, help="share of crops with their own frames")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches; for a GPU")
    args = parser.parse_args(arguments)
    if args.toy:
        args.steps, args.adversarial_from, args.frames, args.batch_seconds, args.width = 6, 2, 40, 1.6, 8
    return args


def make_objective(args: argparse.Namespace, batches: VocoderBatches) -> Resynthesis:
    """The generator, starting as WORLD, in its losses."""
    torch.manual_seed(args.seed)
    first = batches(0)
    size = TOY if args.toy else {}
    config = SourceFilterConfig(key_dim=first["keys"].shape[-1], order=first["values"].shape[-1] // 4 - 1, **size)
    generator = SourceFilter(config)
    mean, deviation = batches.statistics()
    generator.mean.copy_(torch.from_numpy(mean))
    generator.deviation.copy_(torch.from_numpy(deviation))
    objective = Resynthesis(
        generator,
        INPUTS,
        adversarial_from=args.adversarial_from,
        width=args.width,
        weights=Weights(mel=args.mel, adversarial=args.adversarial, matching=args.matching),
        periods=[int(period) for period in args.periods.split(",") if period],
    )
    if args.init is not None:
        # parts that the other has not stay as they begin
        objective.load_state_dict(first_weights(args.init), strict=False)
        objective.step.zero_()
    return objective


def first_weights(start: Path) -> dict[str, torch.Tensor]:
    """Averaged weights of a run, or those of a vocoder that ``export.py`` wrote."""
    if start.is_file():
        tensors = checkpoints.load(start, kind="vocoder").tensors
        return {f"generator.{name}": tensor.float() for name, tensor in tensors.items()}
    return load_file(start / "last" / "average.safetensors")


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    script.seed(args)
    batches = VocoderBatches(
        args.cache,
        frames=args.frames,
        batch_seconds=args.batch_seconds,
        seed=args.seed,
        corrupt=args.corrupt,
        neighbours=[int(number) for number in args.neighbours.split(",")],
        strange_keys=args.strange_keys,
        own_values=args.own_values,
    )
    objective = make_objective(args, batches)
    config = {name: value for name, value in vars(args).items() if name not in script.FREE}
    config = {**config, "init": str(args.init), "network": asdict(objective.generator.config)}
    script.train(args, objective, batches, config=config, every=10, warmup=args.warmup, weight_decay=0.01)


if __name__ == "__main__":
    errors.run_recipe(main)
