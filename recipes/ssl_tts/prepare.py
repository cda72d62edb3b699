"""Extract what a synthesizer learns from, once: keys of an encoder and F0, of the transcribed speech of one speaker.

Takes a manifest (CSV with the columns path and text, perhaps corpus, speaker, language and split; audio paths relative
to its folder) or a folder in the manner of LJ Speech (``metadata.csv`` with ``name|text|normalised text`` lines beside
``wavs/``). Writes to OUTPUT: ``keys.npy`` (N, D) float16; ``pitch.npy`` (N, 2) float32, the mean log-F0 of each frame
(0 where unvoiced) and the fraction of it that is voiced; ``index.json``, the facts and a row an utterance.

    python recipes/ssl_tts/prepare.py MANIFEST.csv --corpus rhasspy_kathleen --output cache
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import audio, errors
from speechssl.conversion.bundles import load_bundle
from speechssl.errors import InputError
from speechssl.signals import Encoder
from speechssl.training import manifests


def read_rows(source: Path) -> list[dict[str, str]]:
    """Rows with ``path`` (absolute), ``text``, and what else the manifest says.

    Raises:
        InputError: no transcribed utterance, or a table without the needed columns.
    """
    rows = list(_lj_speech(source) if source.is_dir() else _manifest(source))
    if not rows:
        raise InputError(f"{source}: no transcribed utterance; a table of recordings with their text needed")
    return rows


def some_minutes(rows: list[dict[str, str]], minutes: float) -> list[dict[str, str]]:
    """All rows but those of ``train`` (or no split) after so many minutes of it: a new voice has no more."""
    kept, seconds = [], 0.0
    for row in rows:
        if row.get("split", "train") == "train":
            if seconds >= 60 * minutes:
                continue
            seconds += float(row.get("seconds") or audio.read_mono(row["path"], 16_000).seconds)
        kept.append(row)
    return kept


def _manifest(path: Path) -> Iterator[dict[str, str]]:
    for row in manifests.rows(path, needed=("path", "text")):
        if row["text"].strip():
            yield {**row, "path": str(path.parent / row["path"])}


def _lj_speech(folder: Path) -> Iterator[dict[str, str]]:
    path = folder / "metadata.csv"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, texts = line.partition("|")
        text = texts.rpartition("|")[2].strip()
        if not name or not text:
            raise InputError(f"{path}, line {number}: name|text or name|text|normalised text needed, got {line!r}")
        yield {"path": str(folder / "wavs" / f"{name}.wav"), "text": text, "split": "train"}


def frame_pitch(f0: np.ndarray, frames: int, frame_rate: float) -> np.ndarray:
    """Log-F0 and voicing (frames, 2) of a contour (F,) in Hz, one value every 5 ms, 0 where unvoiced."""
    step = 1 / (0.005 * frame_rate)
    pitch = np.zeros((frames, 2), np.float32)
    for frame in range(frames):
        # the window of a frame of 20 ms is centred on 12.5 ms
        first = round(frame * step + 1)
        values = f0[first : first + round(step)]
        voiced = values[values > 0]
        if len(voiced):
            pitch[frame] = np.log(voiced).mean(), len(voiced) / len(values)
    return pitch


def encode_row(row: dict[str, str], encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Keys (N, D) float16 and pitch (N, 2) of one recording."""
    waveform = audio.read_mono(row["path"], encoder.sample_rate)
    keys = encoder.encode(waveform).frames.half().numpy()
    return keys, frame_pitch(audio.f0(waveform).numpy(), len(keys), encoder.frame_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--corpus", default=None, help="only rows of this corpus")
    parser.add_argument("--speaker", default=None, help="only rows of this speaker")
    parser.add_argument("--model", default="tiny", help="whose keys; any that speechssl convert takes")
    parser.add_argument("--layer", type=int, default=None)
    parser.add_argument("--language", default="en-us")
    parser.add_argument("--limit", type=int, default=None, help="stop after this many utterances")
    parser.add_argument("--minutes", type=float, default=None, help="of the split train, the first so many")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch
    from rich.progress import track

    torch.set_num_threads(args.threads)
    rows = [
        row
        for row in read_rows(args.source)
        if row.get("corpus") in (args.corpus or row.get("corpus"),)
        and row.get("speaker") in (args.speaker or row.get("speaker"),)
    ][: args.limit]
    if args.minutes is not None:
        rows = some_minutes(rows, args.minutes)
    encoder = load_bundle(args.model, layer=args.layer).encoder
    keys, pitches, index, skipped = [], [], [], []
    start = 0
    for row in track(rows, description="keys and F0"):
        try:
            made, pitch = encode_row(row, encoder)
        except InputError as error:
            skipped.append({"path": row["path"], "reason": str(error)})
            continue
        keys.append(made)
        pitches.append(pitch)
        fields = {key: row[key] for key in ("text", "speaker", "split") if row.get(key)}
        index.append({"path": os.path.relpath(row["path"], args.source.parent), **fields, "start": start})
        index[-1]["frames"] = len(made)
        start += len(made)
    if not index:
        raise SystemExit(f"{args.source}: no utterance could be used; the first of {len(skipped)}: {skipped[:1]}")
    facts: dict[str, Any] = {"origin": encoder.origin, "frame_rate": encoder.frame_rate, "language": args.language}
    args.output.mkdir(parents=True, exist_ok=True)
    np.save(args.output / "keys.npy", np.concatenate(keys))
    np.save(args.output / "pitch.npy", np.concatenate(pitches))
    (args.output / "index.json").write_text(json.dumps({**facts, "utterances": index, "skipped": skipped}))
    print(
        json.dumps(
            {"utterances": len(index), "minutes": round(start / encoder.frame_rate / 60, 1), "skipped": len(skipped)}
        )
    )


if __name__ == "__main__":
    errors.run_recipe(main)
