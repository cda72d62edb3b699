"""Write the averaged generator of a run as the vocoder file that ``speechssl.vocoders.load`` reads.

python recipes/vocoder/export.py runs/vocoder speechssl/models/tiny/vocoder.safetensors --data "LibriSpeech ..."

``--half-way-from`` takes the mean of its weights and those of the file it was trained from: half of what was learnt
since, which keeps more of what was known (Wortsman et al. 2022).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file

from speechssl import checkpoints, encoders, errors
from speechssl.vocoders import source_filter
from speechssl.vocoders.source_filter import SourceFilter, SourceFilterConfig


def average(network: SourceFilter, other: Path) -> None:
    """Move the weights half way to those of a vocoder file; tables and statistics of the values, too."""
    first = source_filter.load(other, device="cpu").network
    if first.config != network.config:
        raise SystemExit(f"{other}: sizes {first.config}, where the run has {network.config}; the same needed")
    theirs = first.state_dict()
    network.load_state_dict({name: (part + theirs[name]) / 2 for name, part in network.state_dict().items()})


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--key-origin", default=None, help="encoder/layer of the keys; default: those of tiny")
    parser.add_argument("--data", default="", help="what it was trained on, for the header")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--half-way-from", type=Path, default=None, help="a vocoder file of the same sizes")
    args = parser.parse_args(arguments)
    config = json.loads((args.run / "config.json").read_text())
    network = SourceFilter(SourceFilterConfig(**config["network"]))
    state = load_file(args.run / "last" / "average.safetensors")
    head = "generator."
    network.load_state_dict({name[len(head) :]: part for name, part in state.items() if name.startswith(head)})
    step = json.loads((args.run / "last" / "state.json").read_text())["step"]
    facts = {"recipe": "recipes/vocoder", "steps": step, "data": args.data, "config": config}
    if args.half_way_from is not None:
        average(network, args.half_way_from)
        facts["half_way_from"] = checkpoints.fingerprint(args.half_way_from)
    vocoder = source_filter.SourceFilterVocoder(
        network, key_origin=args.key_origin or encoders.load("tiny").origin, device="cpu"
    )
    path = source_filter.save(args.output, vocoder, licence=args.licence, provenance=facts)
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {weights / 1e6:.2f} M weights")


if __name__ == "__main__":
    errors.run_recipe(main)
