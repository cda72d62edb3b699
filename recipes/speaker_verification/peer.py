"""Scores of Resemblyzer (supervised GE2E, thousands of speakers) for a trial list, to compare with on the same trials.

    python recipes/speaker_verification/peer.py dev.csv --root DATA --output peer.csv

Runs where resemblyzer 0.1.4 is installed; needs nothing of this project, which then measures the scores:
``evaluate.py dev.csv --scores peer.csv``.
"""

from __future__ import annotations

import argparse
import csv
import sys
import types
from pathlib import Path

import numpy as np

from speechssl import errors


def embeddings(names: list[str], root: Path) -> dict[str, np.ndarray]:
    """Unit vectors of recordings, with Resemblyzer's own speech detection and level."""
    # read files only; not needed here
    for name in ("torchaudio", "resampy"):
        sys.modules.setdefault(name, types.ModuleType(name))
    import soundfile
    import torch
    from resemblyzer import VoiceEncoder, preprocess_wav

    torch.set_num_threads(1)
    encoder = VoiceEncoder("cpu", verbose=False)
    found = {}
    for name in names:
        samples, rate = soundfile.read(root / name, dtype="float32", always_2d=True)
        if rate != 16000:
            raise SystemExit(f"{root / name}: {rate} Hz; 16000 Hz needed")
        found[name] = encoder.embed_utterance(preprocess_wav(np.pad(samples.mean(1), (0, max(0, 8000 - len(samples))))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with args.trials.open(newline="") as file:
        rows = list(csv.DictReader(file))
    vectors = embeddings(sorted({row[side] for row in rows for side in ("enrolment", "test")}), args.root)
    for row in rows:
        row["score"] = f"{float(vectors[row['enrolment']] @ vectors[row['test']]):.6f}"
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    errors.run_recipe(main)
