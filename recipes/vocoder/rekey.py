"""Give a vocoder the keys of another encoder, without training it.

    python recipes/vocoder/rekey.py vocoder.safetensors manifest.csv --model heard.safetensors --output new.safetensors

Both encoders hear the same recordings. A linear map from the new keys to the old keys (least squares with a ridge) is
folded into the layer of the vocoder that hears keys. The result sounds nearly as before with the keys of the new
encoder, and is where ``train.py --init`` should start from. Prints the cosine and the share of the variance that the
map reaches on recordings that it was not fitted on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import zlib
from pathlib import Path

import torch
from torch import Tensor

from speechssl import audio, checkpoints, encoders, errors
from speechssl.training import manifests
from speechssl.vocoders import source_filter

HELD_OUT = 8  # one recording of so many is not fitted on
RIDGE = 1e-3  # of the mean variance of the new keys


def choose(manifest: Path, minutes: float) -> list[Path]:
    """Recordings of the split ``train`` in an order that depends on their names only, about so many minutes long."""
    every = manifests.rows(manifest, needed=("path", "corpus", "seconds", "split"))
    rows = [row for row in every if row["split"] == "train" and not row["corpus"].startswith("noise")]
    rows.sort(key=lambda row: zlib.crc32(row["path"].encode()))
    paths, seconds = [], 0.0
    for row in rows:
        if seconds < 60 * minutes and float(row["seconds"]) > 2:
            paths.append(manifest.parent / row["path"])
            seconds += float(row["seconds"])
    if len(paths) < 2 * HELD_OUT:
        raise SystemExit(f"{manifest}: {len(paths)} recordings of the split 'train' over 2 s; {2 * HELD_OUT} needed")
    return paths


def keys_of(model: str, paths: list[Path]) -> list[Tensor]:
    """(N, D) keys of each recording at the loudness that the vocoder is trained with."""
    encoder = encoders.load(model)
    waveforms = (audio.set_loudness(audio.read_mono(path, 16_000), -26.0) for path in paths)
    return [encoder.encode(waveform).frames.float().cpu() for waveform in waveforms]


def linear_map(new: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix (D_old, D_new) and bias (D_old,) of the least-squares map, with a ridge on the matrix."""
    new, old = new.double(), old.double()
    middle, aim = new.mean(0), old.mean(0)
    centred = new - middle
    square = centred.T @ centred
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    matrix = torch.linalg.solve(square, centred.T @ (old - aim)).T
    return matrix.float(), (aim - matrix @ middle).float()


def fit(new: list[Tensor], old: list[Tensor]) -> tuple[Tensor, Tensor, dict[str, float]]:
    """The map, and how close it comes on the held-out recordings."""
    pairs = [(a[: len(b)], b[: len(a)]) for a, b in zip(new, old, strict=True)]
    fitted = [pair for number, pair in enumerate(pairs) if number % HELD_OUT]
    matrix, bias = linear_map(torch.cat([a for a, _ in fitted]), torch.cat([b for _, b in fitted]))
    asked, wanted = (torch.cat(side) for side in zip(*pairs[::HELD_OUT], strict=True))
    found = asked @ matrix.T + bias
    left = (found - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()
    facts = {"cosine": float(torch.cosine_similarity(found, wanted).mean()), "variance_explained": float(1 - left)}
    return matrix, bias, {name: round(value, 4) for name, value in facts.items()}


def rekeyed(vocoder: source_filter.SourceFilterVocoder, matrix: Tensor, bias: Tensor) -> source_filter.SourceFilter:
    """The vocoder's network with the map in front of its layer that hears keys."""
    before = vocoder.network
    config = dataclasses.replace(before.config, key_dim=matrix.shape[1])
    state = {name: tensor.cpu().float() for name, tensor in before.state_dict().items()}
    state["keys.bias"] = state["keys.bias"] + state["keys.weight"] @ bias
    state["keys.weight"] = state["keys.weight"] @ matrix
    network = source_filter.SourceFilter(config)
    network.load_state_dict(state)
    return network


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocoder", type=Path)
    parser.add_argument("manifest", type=Path, help="CSV with the columns path, corpus, seconds and split")
    parser.add_argument("--model", required=True, help="the encoder whose keys the vocoder is to take")
    parser.add_argument("--old-model", default="tiny", help="the encoder whose keys the vocoder takes now")
    parser.add_argument("--minutes", type=float, default=30.0, help="of recordings that the map is fitted on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    before = checkpoints.load(args.vocoder, kind="vocoder").header
    vocoder = source_filter.load(args.vocoder, device="cpu")
    old, new = (encoders.load(model).origin for model in (args.old_model, args.model))
    if old != vocoder.key_origin:
        raise SystemExit(f"{args.vocoder} takes keys of {vocoder.key_origin}, not of {old}; give --old-model")
    paths = choose(args.manifest, args.minutes)
    matrix, bias, facts = fit(keys_of(args.model, paths), keys_of(args.old_model, paths))
    made = source_filter.SourceFilterVocoder(rekeyed(vocoder, matrix, bias), key_origin=new, device="cpu")
    source = {"of": checkpoints.fingerprint(args.vocoder), "recordings": len(paths), "minutes": args.minutes}
    provenance = {**before.get("provenance", {}), "rekeyed": source | facts}
    source_filter.save(args.output, made, licence=before["licence"], provenance=provenance)
    print(json.dumps({"output": str(args.output), "key_origin": new, **facts}))


if __name__ == "__main__":
    errors.run_recipe(main)
