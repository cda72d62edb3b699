"""Fit the calibration of an embedder file anew and write it with the same weights, under a new fingerprint.

    python recipes/dino_speaker/calibrate.py cache speaker.safetensors --output speaker.safetensors

Reads the speaker names of the cache's training speakers, as ``export.py`` does for a new file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from evaluate import Held
from export import CALIBRATION, embeddings_of, fit_calibration

from speechssl import checkpoints
from speechssl.embedders import log_mel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = log_mel.read(args.model).network
    data = [Held(args.cache, corpus, split, limit=limit) for corpus, split, limit in CALIBRATION]
    data = [held for held in data if len(set(held.speakers.tolist())) > 1]
    found = fit_calibration([embeddings_of(network, held) for held in data], data)
    checkpoint = checkpoints.load(args.model, kind="embedder")
    header = {key: value for key, value in checkpoint.header.items() if key not in ("sha256", "format")}
    checkpoints.save(args.output, checkpoint.tensors, {**header, "calibration": found})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
