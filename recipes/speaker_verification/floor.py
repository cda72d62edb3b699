"""Let the embedder of a file hear nothing below a floor, and write it with a cohort that is heard so.

    python recipes/speaker_verification/floor.py speaker.safetensors MANIFEST.csv --output floored.safetensors

What lies far below the loud frames is the silence of a microphone or of a codec, which strangers may share: digital
silence made strangers of Common Voice alike. The weights stay. The calibrations are left out, because scores change:
``calibrate.py`` and ``calibrate_lines.py`` come next.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path

import torch
from rich.progress import track

from speechssl import audio, checkpoints, errors
from speechssl.training import manifests
from speechssl.verification import embedders
from speechssl.verification.embedders import log_mel

COHORT = 300  # recordings
CORPORA = "librispeech,an4,picovoice_s2i"
SECONDS = 12.0  # of a recording, at most


def cohort_files(manifest: Path, corpora: str) -> list[Path]:
    """Recordings of the split ``train``, drawn by their names."""
    rows = manifests.chosen(manifest, corpora.split(","), ["train"], needed=(*manifests.COLUMNS, "seconds"))
    rows.sort(key=lambda row: zlib.crc32(row["path"].encode()))
    return [manifest.parent / row["path"] for row in rows if float(row["seconds"]) >= 2][:COHORT]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--decibels", type=float, default=50.0, help="of the floor below the loud frames")
    parser.add_argument("--corpora", default=CORPORA, help="of the cohort, with commas between")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(arguments)
    files = cohort_files(args.manifest, args.corpora)
    if not files:
        raise SystemExit(f"{args.manifest}: no recordings of 2 s of {args.corpora}, split 'train'")
    embedder = embedders.load(args.model, device="cpu")
    if not isinstance(embedder, log_mel.LogMelEmbedder):
        raise SystemExit(f"{args.model} does not hear log-mel bands; only a file that does has a floor")
    embedder.floor = args.decibels
    vectors = [embedder.embed(audio.read(path).first(SECONDS)).vector for path in track(files, description="cohort")]
    checkpoint = checkpoints.load(args.model, kind="embedder")
    header = {key: part for key, part in checkpoint.header.items() if key not in ("sha256", "format", "calibration")}
    header["input"] = {**header["input"], "floor": args.decibels}
    checkpoints.save(args.output, {**checkpoint.tensors, "cohort": torch.stack(vectors).half()}, header)
    print(json.dumps({"output": str(args.output), "decibels": args.decibels, "cohort": len(vectors)}))


if __name__ == "__main__":
    errors.run_recipe(main)
