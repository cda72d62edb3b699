"""Write the averaged weights of a run as an encoder of ours, or as a transformers folder.

python recipes/ssl_pretraining/export.py runs/phones --layer 6 --output encoder.safetensors --name tiny
python recipes/ssl_pretraining/export.py runs/phones --hub folder
python recipes/ssl_pretraining/export.py runs/heard --output encoder.safetensors --name heard
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from network import SIZES, make_network
from safetensors.torch import load_file

from speechssl import checkpoints, errors
from speechssl.encoders.weights import own

# SeamlessM4TFeatureExtractor's own settings, which the cache of prepare.py was made with
INPUT = {
    "type": "log-mel",
    "feature_size": 80,
    "num_mel_bins": 80,
    "sampling_rate": 16000,
    "stride": 2,
    "do_normalize_per_mel_bins": True,
}
WHISPER_INPUT = {"type": "whisper-log-mel", "feature_size": 80, "sampling_rate": 16000, "n_fft": 400, "hop_length": 160}


def averaged_network(run: Path) -> torch.nn.Module:
    """The network of a run with its averaged weights, or of an encoder file of ours, in eval mode."""
    if run.suffix == ".safetensors":
        return _network_of_file(run)
    config = json.loads((run / "config.json").read_text())
    if config.get("size") not in SIZES:
        raise SystemExit(f"{run}: the cache holds log-mel bands; a run of train.py on them or a log-mel file needed")
    network = make_network(config["size"])
    tensors = load_file(run / "last" / "average.safetensors")
    mine = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    network.load_state_dict(mine)
    return network.eval()


def fine_tuned_network(run: Path) -> torch.nn.Module:
    """The network of a run that began with a pretrained encoder, with its averaged weights, in eval mode.

    Raises:
        SystemExit: the run has no such network or no checkpoint.
    """
    from pretrained import network_like

    config = json.loads((run / "config.json").read_text())
    if config.get("size") != "pretrained":
        raise SystemExit(f"{run}: a run on log-mel bands; evaluate.py measures those")
    tensors = load_file(run / "last" / "average.safetensors")
    return network_like({key.removeprefix("network."): value for key, value in tensors.items()}, config).eval()


def fine_tuned_file(run: Path, *, name: str, licence: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and header of the encoder file of a run that began with a pretrained encoder."""
    network: Any = fine_tuned_network(run)
    body, layer = network.body, network.num_blocks
    inner = body.encoder if hasattr(body, "encoder") else body.network
    kept = inner.config.to_diff_dict()
    for key in ("transformers_version", "architectures", "_name_or_path", "dtype"):
        kept.pop(key, None)
    if hasattr(body, "encoder"):
        given: dict[str, Any] = WHISPER_INPUT
    elif kept["model_type"] == "wav2vec2-bert":
        given = INPUT
    else:
        given = {"type": "waveform", "normalise": body.normalise is not None}
    tensors = dict(inner.state_dict())
    tensors |= {f"projection.{part}": tensor for part, tensor in network.projection.state_dict().items()}
    about = {"name": name, "layer": layer, "origin": f"{name}/{layer}", "input": given, "licence": licence}
    family = kept.pop("model_type")
    return tensors, {"kind": "encoder", "family": family, "config": kept, "provenance": _provenance(run)} | about


def _provenance(run: Path) -> dict[str, Any]:
    config = json.loads((run / "config.json").read_text())
    steps = json.loads((run / "last" / "state.json").read_text())["step"]
    return {"recipe": "recipes/ssl_pretraining", "config": config, "steps": steps}


def _network_of_file(path: Path) -> torch.nn.Module:
    transformers = checkpoints.transformers()
    weights = own.read(path)
    if weights.config["model_type"] != "wav2vec2-bert":
        raise SystemExit(f"{path}: a {weights.config['model_type']} network; the cache is for log-mel input only")
    # the file holds the blocks up to its layer
    config = transformers.Wav2Vec2BertConfig(**weights.config | {"num_hidden_layers": weights.layer})
    network = transformers.Wav2Vec2BertModel(config)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.tensors.items()})
    return network.eval()


def header(run: Path, *, name: str, layer: int, licence: str) -> dict[str, Any]:
    """What the checkpoint says of itself."""
    config = json.loads((run / "config.json").read_text())
    network = make_network(config["size"])
    kept = network.config.to_diff_dict()  # type: ignore[operator]
    kept.pop("transformers_version", None)
    return {
        "kind": "encoder",
        "family": "wav2vec2-bert",
        "name": name,
        "layer": layer,
        "origin": f"{name}/{layer}",
        "config": kept,
        "input": INPUT,
        "provenance": _provenance(run),
        "licence": licence,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--layer", type=int, default=None, help="block to tap; default: the last")
    parser.add_argument("--name", default="tiny")
    parser.add_argument("--licence", default="MIT")
    parser.add_argument("--output", type=Path, default=None, help="safetensors file with float16 weights")
    parser.add_argument("--hub", type=Path, default=None, help="folder for save_pretrained, float32")
    args = parser.parse_args()
    if args.run.is_dir() and json.loads((args.run / "config.json").read_text()).get("size") == "pretrained":
        if args.hub or args.layer or not args.output:
            raise SystemExit(f"{args.run} began with a pretrained encoder: it is written with --output, whole")
        tensors, head = fine_tuned_file(args.run, name=args.name, licence=args.licence)
        checkpoints.save(args.output, {key: tensor.half() for key, tensor in tensors.items()}, head)
        return
    network = averaged_network(args.run)
    if args.output:
        layer = args.layer or network.config.num_hidden_layers  # type: ignore[union-attr]
        keep = {
            key: tensor.half()
            for key, tensor in network.state_dict().items()
            if not key.startswith("encoder.layers.") or int(key.split(".")[2]) < layer
        }
        checkpoints.save(args.output, keep, header(args.run, name=args.name, layer=layer, licence=args.licence))
    if args.hub:
        from transformers import SeamlessM4TFeatureExtractor

        network.save_pretrained(args.hub)  # type: ignore[operator]
        SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2).save_pretrained(args.hub)


if __name__ == "__main__":
    errors.run_recipe(main)
