"""Write a run's averaged network as an embedder file, with the last map, cohort and calibration fitted.

    python recipes/dino_speaker/export.py cache runs/dino --output speaker.safetensors --name tiny-speaker

The last map and the cohort use no labels. The calibration does, those of the cache's training speakers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crops import SCALE, Settings, SpeakerCrops
from evaluate import Held, all_pairs, network_embedding
from train import SIZES, make_network, start_from
from whiten import collect, discriminants, join_plain

from speechssl import errors
from speechssl.verification import calibration
from speechssl.verification.embedders import log_mel
from speechssl.verification.embedders.ecapa import Ecapa

CALIBRATION = (("librispeech", "train", 160), ("an4", "train", 150))  # corpus, split, utterances


def averaged(run: Path) -> tuple[Ecapa, dict[str, Any]]:
    """Network of a run and what is known of its training."""
    config = json.loads((run / "config.json").read_text())
    network = make_network(config["size"])
    start_from(network, run)
    steps = json.loads((run / "last" / "state.json").read_text())["step"]
    return network, {"recipe": "recipes/dino_speaker", "config": config, "steps": steps}


def untrained(seed: int) -> tuple[Ecapa, dict[str, Any]]:
    """The network as it is made, to see what training adds."""
    torch.manual_seed(seed)
    return make_network("tiny"), {"recipe": "recipes/dino_speaker", "config": {"size": "tiny"}, "steps": 0}


def add_plain(network: Ecapa, cache: Path, *, batches: int, dim: int, shrink: float, seed: int) -> None:
    """Join discriminants of the input's own statistics, over augmented crops of unlabelled utterances."""
    settings = Settings(utterances=64, global_crops=4, local_crops=0, global_frames=250)
    crops = SpeakerCrops(cache, settings, seed=seed)
    statistics = collect(crops, count=batches)
    directions, mean = discriminants(statistics, dim=dim, shrink=shrink)
    join_plain(network, directions, mean, statistics.reshape(-1, len(mean)), crops(0)["global"].flatten(0, 1))


def embeddings_of(network: Ecapa, data: Held) -> np.ndarray:
    """Embeddings (N, E) of whole utterances."""
    embed = network_embedding(network)
    return np.stack([embed(mel) for mel in data.mels])


def fit_calibration(vectors: list[np.ndarray], data: list[Held]) -> dict[str, Any]:
    """Ratio and threshold from all pairs within each corpus, so that no corpus gives its speakers away."""
    samples = [all_pairs(x, held.speakers) for x, held in zip(vectors, data, strict=True)]
    scores, labels, one, two = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    found = calibration.calibrate(
        scores, labels, one, two, origin="-", source="the training speakers of recipes/dino_speaker", draws=100
    )
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
    parser.add_argument("--batches", type=int, default=40, help="of 64 utterances for the last map; 0 keeps it")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--shrink", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, provenance = averaged(args.run) if args.run else untrained(args.seed)
    config = {"input_dim": 160, **SIZES[provenance["config"]["size"]]}
    if args.batches:
        add_plain(network, args.cache, batches=args.batches, dim=args.dim, shrink=args.shrink, seed=args.seed)
        config |= {"plain": True, "dim": network.fc.out_channels}
        provenance["plain"] = {"batches": args.batches, "shrink": args.shrink, "seed": args.seed}
    data = [Held(args.cache, corpus, split, limit=limit) for corpus, split, limit in CALIBRATION]
    data = [held for held in data if len(set(held.speakers.tolist())) > 1]
    vectors = [embeddings_of(network, held) for held in data]
    joined = np.concatenate(vectors)
    chosen = np.random.default_rng(args.seed).permutation(len(joined))[:300]
    log_mel.write(
        args.output,
        network,
        name=args.name,
        config=config,
        scale=SCALE,
        provenance=provenance,
        licence=args.licence,
        cohort=torch.nn.functional.normalize(torch.from_numpy(joined[chosen]).float(), dim=1),
        calibration=fit_calibration(vectors, data),
    )
    print(json.dumps({"output": str(args.output), "parameters": sum(p.numel() for p in network.parameters())}))


if __name__ == "__main__":
    errors.run_recipe(main)
