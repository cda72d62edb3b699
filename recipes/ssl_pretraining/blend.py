"""Average encoder files of one training, and go part of the way back to the network that the training began with.

    python recipes/ssl_pretraining/blend.py early.safetensors late.safetensors --output blended.safetensors \\
        --init whisper-base=MODEL.BIN --back 0.1

Weights of one run at two ends of its rate lie in one valley: their mean finds the same sound in other voices more
often than either, on speech that is like that of the training and on speech that is not. The pretrained weights have
heard far more kinds of speech; what is mixed in of them helps the speech that is not alike. The projection is averaged
only, for the pretrained network has none.

Source: Wortsman et al. 2022, arXiv:2203.05482 (means of weights), and arXiv:2109.01903 (the way back).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from speechssl import checkpoints, errors


def mean(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors, float32, each the mean of those of one name.

    Raises:
        SystemExit: other names or shapes.
    """
    first = {name: tensor.shape for name, tensor in parts[0].items()}
    for part in parts[1:]:
        if first != {name: tensor.shape for name, tensor in part.items()}:
            raise SystemExit("the encoders are of different sizes; files of one training needed")
    return {
        name: sum((part[name].float() for part in parts[1:]), parts[0][name].float()) / len(parts) for name in first
    }


def back(tensors: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Tensors moved by a share toward those of the same name in ``start``; the others stay.

    Raises:
        SystemExit: no tensor has a name and shape of ``start``.
    """
    common = {name for name, tensor in tensors.items() if name in start and start[name].shape == tensor.shape}
    if not common:
        raise SystemExit("--init: another network than the one that the training began with")
    return {
        name: (1 - share) * tensor.float() + share * start[name].float() if name in common else tensor
        for name, tensor in tensors.items()
    }


def start_of(init: str, header: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of the network that a training began with, under the names of an encoder file."""
    from pretrained import pretrained

    network = pretrained(init, blocks=int(header["layer"]), key_dim=1)
    return {name.removeprefix("body.encoder."): tensor.detach() for name, tensor in network.state_dict().items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", type=Path, nargs="+", help="files of export.py")
    parser.add_argument("--init", default=None, help="as it was given to train.py")
    parser.add_argument("--back", type=float, default=0.0, help="share of the network of --init; 0 to 1")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    if bool(args.back) != bool(args.init) or not 0 <= args.back <= 1:
        raise SystemExit(
            f"--back {args.back:g} with --init {args.init}; a share from 0 to 1 and both or neither needed"
        )
    files = [checkpoints.load(path, kind="encoder") for path in args.encoders]
    header = dict(files[0].header)
    # rounded as files are, so that a blend of two steps is that of one
    tensors = {name: tensor.half() for name, tensor in mean([file.tensors for file in files]).items()}
    if args.back:
        tensors = back(tensors, start_of(args.init, header), args.back)
    made_of = [file.header.get("provenance", {}) for file in files]
    header["provenance"] = {"recipe": "recipes/ssl_pretraining", "blend": made_of, "back": args.back}
    checkpoints.save(args.output, {name: tensor.half().contiguous() for name, tensor in tensors.items()}, header)


if __name__ == "__main__":
    errors.run_recipe(main)
