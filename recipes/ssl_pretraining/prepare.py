"""Turn a manifest into one log-mel cache.

Writes to OUTPUT: ``mel.npy`` (frames, 80) float16, the log-mel bands of 10 ms frames exactly as transformers'
SeamlessM4TFeatureExtractor computes them before its normalisation; ``index.json``, a row an utterance with its first
frame, count and manifest fields. Files that are unreadable, too short (under 0.4 s) or of another sample rate are
skipped, counted, and listed in ``skipped.jsonl``.

    python recipes/ssl_pretraining/prepare.py MANIFEST.csv --output cache
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.training import manifests

SAMPLE_RATE = 16000
MIN_SECONDS = 0.4


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Kaldi log-mel bands (F, 80) of samples (T,) in [-1, 1] at 16 kHz, one frame every 10 ms."""
    import torch

    from speechssl.audio.mel import kaldi

    return kaldi(torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))).numpy()


def read_samples(root: Path, row: dict[str, str]) -> np.ndarray | str:
    """The first channel (T,) float32 of a recording of the manifest, or why it is left out."""
    import soundfile

    try:
        samples, sample_rate = soundfile.read(root / row["path"], dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        return f"unreadable: {error}"
    if sample_rate != SAMPLE_RATE:
        return f"sample rate {sample_rate} Hz; {SAMPLE_RATE} Hz needed"
    if len(samples) < MIN_SECONDS * SAMPLE_RATE:
        return f"{len(samples) / SAMPLE_RATE:.2f} s; {MIN_SECONDS} s needed"
    return samples[:, 0]


def _prepare_row(root: Path, row: dict[str, str]) -> np.ndarray | str:
    import torch

    torch.set_num_threads(1)
    samples = read_samples(root, row)
    if isinstance(samples, str):
        return samples
    mel = log_mel(samples)
    if not np.isfinite(mel).all():
        return "NaN or infinite samples"
    return mel.astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    rows = manifests.rows(args.manifest, needed=(*manifests.COLUMNS, "language"))
    from rich.progress import track

    args.output.mkdir(parents=True, exist_ok=True)
    index: list[dict[str, Any]] = []
    mels, skipped = [], []
    start = 0
    with ProcessPoolExecutor(args.workers) as pool:
        results = pool.map(partial(_prepare_row, args.manifest.parent), rows, chunksize=32)
        for row, result in track(zip(rows, results, strict=False), total=len(rows), description="log-mel"):
            if isinstance(result, str):
                skipped.append({"path": row["path"], "reason": result})
                continue
            mels.append(result)
            fields = {key: row[key] for key in ("path", "corpus", "speaker", "language", "split")}
            index.append({**fields, "start": start, "frames": len(result)})
            start += len(result)
    np.save(args.output / "tmp.mel.npy", np.concatenate(mels))
    os.replace(args.output / "tmp.mel.npy", args.output / "mel.npy")
    (args.output / "index.json").write_text(json.dumps(index))
    (args.output / "skipped.jsonl").write_text("".join(json.dumps(item) + "\n" for item in skipped))
    print(json.dumps({"utterances": len(index), "hours": round(start / 360000, 3), "skipped": len(skipped)}))


if __name__ == "__main__":
    errors.run_recipe(main)
