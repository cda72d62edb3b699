"""The networks of this recipe: made anew, or read from a run or from an embedder file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import front_end
from safetensors.torch import load_file
from torch import nn

from speechssl import checkpoints
from speechssl.training.augmentation import NUM_BANDS
from speechssl.verification.embedders import log_mel
from speechssl.verification.embedders.ecapa import Ecapa

SIZES: dict[str, dict[str, Any]] = {
    "toy": {"channels": 32, "dim": 24, "bottleneck": 16, "scale": 4, "padding": "zeros"},
    "tiny": {"channels": 128, "dim": 128, "bottleneck": 64, "padding": "zeros"},
    "small": {"channels": 256, "dim": 192, "bottleneck": 128, "padding": "zeros"},
}


def make_network(config: dict[str, Any]) -> nn.Module:
    """The network that a run's config describes.

    Args:
        config: ``front_end`` and what ``front_end.make`` takes; or ``network``, arguments of ``Ecapa``; or ``size``, of
            an ECAPA-TDNN on pairs of log-mel frames: ``tiny`` has 0.7 M parameters.
    """
    if config.get("front_end"):
        return front_end.make(config)
    return Ecapa(**(config.get("network") or ecapa_config(config["size"])))


def ecapa_config(size: str) -> dict[str, Any]:
    return {"input_dim": 2 * NUM_BANDS, **SIZES[size]}


def config_of(source: Path) -> dict[str, Any]:
    """Config of a run, or of an embedder file on log-mel bands.

    Raises:
        SystemExit: no run and no such file.
    """
    if source.is_file():
        header = checkpoints.peek(source)
        if header.get("family") != "ecapa":
            raise SystemExit(f"{source} is no embedder on log-mel bands; give one, or a run")
        return {"network": {**header["config"], "dilations": tuple(header["config"].get("dilations", (2, 3, 4)))}}
    if not (source / "config.json").is_file() or not (source / "last").is_dir():
        raise SystemExit(f"{source} is no run with a checkpoint, and no embedder file; train.py --run makes one")
    found: dict[str, Any] = json.loads((source / "config.json").read_text())
    return found


def start_from(network: nn.Module, source: Path) -> None:
    """Copy the averaged network of a run, or that of an embedder file on log-mel bands."""
    if source.is_file():
        network.load_state_dict(log_mel.read(source).network.state_dict())
        return
    tensors = load_file(source / "last" / "average.safetensors")
    network.load_state_dict({name[8:]: tensor for name, tensor in tensors.items() if name.startswith("network.")})


def trained(source: Path) -> nn.Module:
    """The averaged network of a run, or that of an embedder file."""
    network = make_network(config_of(source))
    start_from(network, source)
    return network
