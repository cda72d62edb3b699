"""Write a run's averaged network as an embedder file, with the last map, cohort and calibration fitted.

    python recipes/dino_speaker/export.py cache runs/dino --output speaker.safetensors --name tiny-speaker
    python recipes/dino_speaker/export.py cache runs/dino --narrow runs/narrow --output speaker.safetensors
    python recipes/dino_speaker/export.py waves --front-end tiny --blocks 1-2 --output closed.safetensors

The last map and the cohort use no labels. The calibration does, those of the cache's training speakers. With
``--front-end`` and no run, a linear map of the means and deviations of the blocks is fitted in closed form. ``--lines``
lets the crops of the last map go over telephones, codecs and filters; it needs a cache of ``prepare.py --samples``.
``--narrow`` adds a second network, for recordings that came over a telephone. Embedder files do in place of runs;
``--half-way-from`` takes the mean of the weights with those the run began with.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import front_end
import numpy as np
import torch
from crops import SCALE, Settings, SpeakerCrops
from evaluate import Held, all_pairs, network_embedding, vectors_of
from front_end import OnEncoder
from networks import config_of, ecapa_config, make_network, trained
from torch import nn
from waves import Lines, WaveCrops
from whiten import SHRINK, collect, discriminants, join_plain

from speechssl import checkpoints, encoders, errors
from speechssl.errors import InputError
from speechssl.verification import calibration
from speechssl.verification.embedders import heads, log_mel, ssl
from speechssl.verification.embedders.ecapa import Ecapa, plain_statistics

CALIBRATION = (("librispeech", "train", 160), ("an4", "train", 150))  # corpus, split, utterances


def averaged(run: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Network of a run, or of an embedder file, and what is known of its training."""
    if run.is_file():
        header = checkpoints.peek(run)
        return trained(run), {**header["provenance"], "config": config_of(run)}
    config = config_of(run)
    steps = json.loads((run / "last" / "state.json").read_text())["step"]
    return trained(run), {"recipe": "recipes/dino_speaker", "config": config, "steps": steps}


def half_way(network: nn.Module, source: Path) -> None:
    """Take the mean of the weights with those of a run or a file that this network began with."""
    theirs = trained(source).state_dict()
    mixed = {name: (one + theirs[name]) / 2 for name, one in network.state_dict().items() if one.is_floating_point()}
    network.load_state_dict({**network.state_dict(), **mixed})


def arguments_of(config: dict[str, Any], network: Ecapa) -> dict[str, Any]:
    """Arguments of an ``Ecapa`` as it is now; the config is that of the run or file it came from."""
    made: dict[str, Any] = config.get("network") or ecapa_config(config["size"])
    return {**made, "plain": network.plain, "dim": network.fc.out_channels}


def untrained(seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """The network as it is made, to see what training adds."""
    torch.manual_seed(seed)
    config = {"size": "tiny"}
    return make_network(config), {"recipe": "recipes/dino_speaker", "config": config, "steps": 0}


def crops_of(args: argparse.Namespace, settings: Settings, *, samples: bool = False) -> SpeakerCrops:
    """Augmented crops of unlabelled utterances, over lines where asked for."""
    if args.lines is None and not samples:
        return SpeakerCrops(args.cache, settings, seed=args.seed)
    return WaveCrops(args.cache, settings, Lines(line=args.lines or 0.0), seed=args.seed, samples=samples)


def add_plain(network: Ecapa, args: argparse.Namespace, *, narrow: bool = False) -> None:
    """Join discriminants of the input's own statistics."""
    settings = Settings(utterances=64, global_crops=4, local_crops=0, global_frames=250, narrow=narrow)
    crops = crops_of(args, settings)
    statistics = collect(crops, plain_statistics, count=args.batches)
    directions, mean = discriminants(statistics, dim=args.dim)
    join_plain(network, directions, mean, statistics.reshape(-1, len(mean)), crops(0)["global"].flatten(0, 1))


def closed_form(args: argparse.Namespace) -> tuple[OnEncoder, dict[str, Any]]:
    """Discriminants of the means and deviations of an encoder's blocks."""
    config = {"front_end": args.front_end, "blocks": front_end.numbers(args.blocks), "head": "statistics"}
    config |= {"head_config": {"dim": args.dim}, "unfreeze": 0}
    network = front_end.make(config)
    settings = Settings(utterances=32, global_crops=3, local_crops=0, global_frames=250)
    crops = crops_of(args, settings, samples=True)
    with torch.inference_mode():
        statistics = collect(crops, lambda x: heads.statistics(network.states(x)), count=args.batches)
    directions, mean = discriminants(statistics, dim=args.dim)
    last = network.head.last
    last.weight.data = torch.from_numpy(directions).float()
    last.bias.data = -last.weight.data @ torch.from_numpy(mean).float()
    return network, {"recipe": "recipes/dino_speaker", "config": config, "steps": 0}


def embeddings_of(network: nn.Module, narrow: nn.Module | None, data: Held) -> np.ndarray:
    """Embeddings (N, E) of whole utterances; with the part of the second network where there is one."""
    found = vectors_of(network_embedding(network), data.samples, data.mels)
    if narrow is None:
        return found
    heard = vectors_of(network_embedding(narrow, narrow=True), data.samples, data.mels)
    parts = ((found, 1.0), (heard, log_mel.NARROW))
    return np.concatenate([share * part / np.linalg.norm(part, axis=1, keepdims=True) for part, share in parts], axis=1)


def save(
    args: argparse.Namespace,
    network: nn.Module,
    narrow: nn.Module | None,
    provenance: dict[str, Any],
    vectors: list[Any],
) -> None:
    """Write the file of either family; ``vectors`` with their ``Held`` for cohort and calibration."""
    joined = np.concatenate([found for found, _ in vectors])
    chosen = np.random.default_rng(args.seed).permutation(len(joined))[:300]
    cohort = nn.functional.normalize(torch.from_numpy(joined[chosen]).float(), dim=1)
    fitted = fit_calibration([found for found, _ in vectors], [held for _, held in vectors])
    config = provenance["config"]
    if isinstance(network, OnEncoder):
        encoder = ssl.described(
            config["front_end"], encoders.load(config["front_end"], layer=max(config["blocks"])), None
        )
        header = {"name": args.name, "licence": args.licence, "provenance": provenance}
        header |= {"calibration": fitted} if fitted else {}
        header |= {"encoder": encoder, "blocks": list(network.blocks), "dim": config["head_config"]["dim"]}
        header |= {"head": config["head"], "config": config["head_config"]}
        ssl.write(args.output, network.head, header, tuned=network.tuned_tensors(), cohort=cohort)
        return
    log_mel.write(
        args.output,
        network,
        name=args.name,
        config=arguments_of(config, network),
        scale=SCALE,
        narrow=None if narrow is None else (narrow, arguments_of(provenance["narrow"]["config"], narrow)),
        provenance=provenance,
        licence=args.licence,
        cohort=cohort,
        calibration=fitted,
    )


def fit_calibration(vectors: list[np.ndarray], data: list[Held]) -> dict[str, Any] | None:
    """Ratio and threshold from all pairs within each corpus, so that no corpus gives its speakers away.

    None, and a remark on standard error, if the scores cannot be calibrated.
    """
    samples = [all_pairs(x, held.speakers) for x, held in zip(vectors, data, strict=True)]
    scores, labels, one, two = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    try:
        found = calibration.calibrate(
            scores, labels, one, two, origin="-", source="the training speakers of recipes/dino_speaker", draws=100
        )
    except InputError as error:
        print(f"remark: written without a calibration: {error}", file=sys.stderr)
        return None
    values = found.as_dict()
    del values["origin"]  # that of the file, which does not exist yet
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("run", type=Path, nargs="?", default=None, help="none: the untrained network")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", default="tiny-speaker")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--front-end", default=None, metavar="NAME", help="encoder, where there is no run")
    parser.add_argument("--blocks", default="1-2", help="of the encoder")
    parser.add_argument("--lines", type=float, default=None, metavar="P", help="share of crops that go over a line")
    parser.add_argument(
        "--narrow", type=Path, default=None, metavar="RUN", help="run of train.py --narrow, to go along"
    )
    parser.add_argument(
        "--half-way-from", type=Path, default=None, metavar="RUN", help="mean of the weights with these"
    )
    parser.add_argument("--batches", type=int, default=40, help="of utterances for the last map; 0 keeps it")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.front_end and not args.run:
        network, provenance = closed_form(args)
    else:
        network, provenance = averaged(args.run) if args.run else untrained(args.seed)
        if args.half_way_from:
            half_way(network, args.half_way_from)
            provenance["half_way_from"] = args.half_way_from.name
        if args.batches and isinstance(network, Ecapa) and not network.plain:
            add_plain(network, args)
    if args.batches:
        provenance["plain"] = {"batches": args.batches, "shrink": SHRINK, "seed": args.seed, "lines": args.lines}
    data = [Held(args.cache, corpus, split, limit=limit) for corpus, split, limit in CALIBRATION]
    data = [held for held in data if len(set(held.speakers.tolist())) > 1]
    narrow = None
    if args.narrow:
        narrow, provenance["narrow"] = averaged(args.narrow)
        if args.batches:
            add_plain(narrow, args, narrow=True)
    save(args, network, narrow, provenance, [(embeddings_of(network, narrow, held), held) for held in data])
    print(json.dumps({"output": str(args.output), "parameters": sum(p.numel() for p in network.parameters())}))


if __name__ == "__main__":
    errors.run_recipe(main)
