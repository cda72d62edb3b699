"""Turn a manifest into one cache of waveforms, for encoders that hear samples and for what rooms do to them.

Writes to OUTPUT: ``samples.npy`` (T,) int16 at 16 kHz, every utterance filled up with zeros to whole frames of 10 ms;
``index.json``, a row an utterance with its manifest fields, its first frame and its count of frames (10 ms), as the
log-mel cache of ``prepare.py`` has them. Files that cannot be used are listed in ``skipped.jsonl``. ``--rooms`` names a
folder of room impulse responses, which become ``rooms.npz``.

    python recipes/ssl_pretraining/waves.py MANIFEST.csv --output waves --rooms DATA/rir
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
from prepare import SAMPLE_RATE, read_samples

from speechssl import errors
from speechssl.training import manifests

FRAME = 160  # samples in 10 ms
ROOM_SECONDS = 2.0  # of an impulse response that is kept


def _read_row(root: Path, row: dict[str, str]) -> np.ndarray | str:
    samples = read_samples(root, row)
    if isinstance(samples, str):
        return samples
    if not np.isfinite(samples).all():
        return "NaN or infinite samples"
    whole = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    return np.pad(whole, (0, -len(whole) % FRAME))


def write_waves(manifest: Path, output: Path, *, workers: int) -> dict[str, Any]:
    """Write ``samples.npy``, ``index.json`` and ``skipped.jsonl``; returns the counts."""
    rows = manifests.rows(manifest, needed=(*manifests.COLUMNS, "language"))
    output.mkdir(parents=True, exist_ok=True)
    index, skipped, start = [], [], 0
    raw, final = output / "tmp.samples.raw", output / "samples.npy"
    try:
        with ProcessPoolExecutor(workers) as pool, raw.open("wb") as file:
            results = pool.map(partial(_read_row, manifest.parent), rows, chunksize=32)
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, str):
                    skipped.append({"path": row["path"], "reason": result})
                    continue
                file.write(result.tobytes())
                fields = {key: row[key] for key in ("path", "corpus", "speaker", "language", "split")}
                index.append({**fields, "start": start, "frames": len(result) // FRAME})
                start += len(result) // FRAME
        np.save(output / "tmp.samples.npy", np.memmap(raw, np.int16, "r", shape=(start * FRAME,)))
        os.replace(output / "tmp.samples.npy", final)
    except OSError as error:
        raise SystemExit(f"{output}: cannot write the cache ({error}); it takes 115 MB an hour twice over") from error
    finally:
        raw.unlink(missing_ok=True)
    (output / "index.json").write_text(json.dumps(index))
    (output / "skipped.jsonl").write_text("".join(json.dumps(item) + "\n" for item in skipped))
    return {"utterances": len(index), "hours": round(start / 360000, 3), "skipped": len(skipped)}


def write_rooms(folder: Path, output: Path) -> int:
    """Write every impulse response under a folder to ``rooms.npz``, from its direct sound on; returns their count."""
    import soundfile

    rooms = {}
    for path in sorted(folder.rglob("*.flac")) + sorted(folder.rglob("*.wav")):
        response, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        if sample_rate != SAMPLE_RATE:
            raise SystemExit(f"{path}: {sample_rate} Hz; {SAMPLE_RATE} Hz needed")
        rooms[path.stem] = from_direct_sound(response[:, 0])[: int(ROOM_SECONDS * SAMPLE_RATE)]
    if not rooms:
        raise SystemExit(f"{folder}: no impulse responses (.flac, .wav)")
    np.savez(output / "rooms.npz", **rooms)
    return len(rooms)


def from_direct_sound(response: np.ndarray) -> np.ndarray:
    """An impulse response (T,) that begins with its direct sound, of unit energy, so that labels stay in time."""
    loudest = int(np.argmax(np.abs(response)))
    # the direct sound may come before a louder reflection, by 10 ms at most
    early = np.abs(response[max(0, loudest - FRAME) : loudest + 1])
    first = max(0, loudest - FRAME) + int(np.argmax(early > 0.5 * early[-1]))
    kept = response[max(0, first - 8) :].astype(np.float32)
    return kept / (np.sqrt(np.square(kept).sum()) + 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rooms", type=Path, default=None, help="folder of room impulse responses at 16 kHz")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    counts = write_waves(args.manifest, args.output, workers=args.workers)
    if args.rooms:
        counts["rooms"] = write_rooms(args.rooms, args.output)
    print(json.dumps(counts))


if __name__ == "__main__":
    errors.run_recipe(main)
