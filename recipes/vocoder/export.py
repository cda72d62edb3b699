"""Write the averaged generator of a run as the vocoder file that ``speechssl.vocoders.load`` reads.

python recipes/vocoder/export.py runs/vocoder speechssl/models/tiny/vocoder.safetensors --data "LibriSpeech ..."
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file

from speechssl.vocoders import neural
from speechssl.vocoders.source_filter import SourceFilter, SourceFilterConfig


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--key-origin", default="tiny/6")
    parser.add_argument("--data", default="", help="what it was trained on, for the header")
    parser.add_argument("--licence", default="MIT")
    args = parser.parse_args(arguments)
    config = json.loads((args.run / "config.json").read_text())
    network = SourceFilter(SourceFilterConfig(**config["network"]))
    state = load_file(args.run / "last" / "average.safetensors")
    head = "generator."
    network.load_state_dict({name[len(head) :]: part for name, part in state.items() if name.startswith(head)})
    step = json.loads((args.run / "last" / "state.json").read_text())["step"]
    facts = {"recipe": "recipes/vocoder", "steps": step, "data": args.data, "config": config}
    vocoder = neural.SourceFilterVocoder(network, key_origin=args.key_origin, device="cpu")
    path = neural.save(args.output, vocoder, licence=args.licence, provenance=facts)
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {weights / 1e6:.2f} M weights")


if __name__ == "__main__":
    main()
