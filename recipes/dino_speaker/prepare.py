"""Turn folders of recordings into one log-mel cache, whatever their layout.

    python recipes/dino_speaker/prepare.py voxceleb1 voxceleb2 --output cache
    python recipes/dino_speaker/prepare.py my_speakers --output cache       # my_speakers/NAME/**/recording.wav

A path with a VoxCeleb identity (``id10001``) anywhere in it, as a folder or at the head of the file name, is that
speaker's, so the official zips, their merged or converted copies and flat folders all do; other recordings are of the
speaker their first folder names. Identities id10270 to id10309, the speakers of VoxCeleb1-O, go to the split ``test``,
all others to ``train``. A folder with a ``manifest.csv`` (columns path, corpus, speaker, split) is taken at its word.

Recordings may be of any format, rate and number of channels. Writes ``mel.npy`` (frames, 80) float16, 10 ms a frame,
``index.json``, and ``skipped.jsonl`` with what could not be used. Frames are appended to the file, not gathered in
memory; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.errors import SpeechSSLError
from speechssl.verification.trials import SUFFIXES

IDENTITY = re.compile(r"^(id\d{5})(?![0-9])")
TESTED = range(10270, 10310)  # the 40 speakers of VoxCeleb1-O
HEADER = 128  # bytes before the frames in mel.npy
SHORTEST, LONGEST = 0.4, 120.0  # seconds; more than that of one recording is cut off


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Path, corpus, speaker, language and split of every recording below a folder, in order of path."""
    if (folder / "manifest.csv").is_file():
        with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
            keys = ("path", "corpus", "speaker", "language", "split")
            return [{key: row.get(key, "") for key in keys} for row in csv.DictReader(file)]
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            speaker = speaker_of(relative)
            if speaker is not None:
                found.append(
                    {
                        "path": relative.as_posix(),
                        "corpus": folder.name,
                        "speaker": speaker,
                        "language": "",
                        "split": "test" if is_tested(speaker) else "train",
                    }
                )
    return found


def speaker_of(path: Path) -> str | None:
    """The speaker a path below the folder names; None for a stray file at its top."""
    for part in path.parts:
        if match := IDENTITY.match(part):
            return match.group(1)
    return path.parts[0] if len(path.parts) > 1 else None


def is_tested(speaker: str) -> bool:
    """Whether a VoxCeleb1-O trial may ask for this speaker."""
    return IDENTITY.match(speaker) is not None and int(speaker[2:7]) in TESTED


def bands_of(path: Path) -> np.ndarray | str:
    """Log-mel bands (F, 80) float16 of a recording, or why there are none."""
    import torch

    from speechssl import audio
    from speechssl.audio.mel import kaldi

    torch.set_num_threads(1)
    try:
        waveform = audio.read_mono(path, 16000)
    except SpeechSSLError as error:
        return str(error)
    if waveform.seconds < SHORTEST:
        return f"{waveform.seconds:.2f} s; {SHORTEST} s needed"
    return kaldi(waveform.samples[: round(LONGEST * 16000)]).numpy().astype(np.float16)


class Cache:
    """``mel.npy`` that grows, with a journal of what is in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._journal = folder, folder / "journal.jsonl"
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        self.done = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be cut short
        self.frames = sum(row["frames"] for row in self.done if "frames" in row)
        self._mel = (folder / "mel.npy").open("r+b" if (folder / "mel.npy").exists() else "w+b")
        self._mel.truncate(HEADER + 160 * self.frames)  # frames whose line was not written are made again
        self._mel.seek(HEADER + 160 * self.frames)
        self._journal.write_text("".join(json.dumps(row) + "\n" for row in self.done))
        self._lines = self._journal.open("a")

    def add(self, row: dict[str, Any], found: np.ndarray | str) -> None:
        """Append a recording's frames, or the reason why it has none."""
        if isinstance(found, str):
            row = {**row, "reason": found}
        else:
            self._mel.write(np.ascontiguousarray(found).tobytes())
            self._mel.flush()
            row = {**row, "start": self.frames, "frames": len(found)}
            self.frames += len(found)
        self.done.append(row)
        self._lines.write(json.dumps(row) + "\n")
        self._lines.flush()

    def finish(self) -> dict[str, Any]:
        """Write the header of the array, the index and the list of what was left out."""
        shape = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({self.frames}, 80), }}"
        self._mel.seek(0)
        self._mel.write(b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + shape.ljust(HEADER - 11).encode())
        self._mel.write(b"\n")
        self._mel.close()
        self._lines.close()
        good = [row for row in self.done if "frames" in row]
        (self.folder / "index.json.part").write_text(json.dumps(good))
        os.replace(self.folder / "index.json.part", self.folder / "index.json")
        bad = [row for row in self.done if "reason" in row]
        (self.folder / "skipped.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bad))
        speakers = {(row["corpus"], row["speaker"]) for row in good}
        return {
            "utterances": len(good),
            "speakers": len(speakers),
            "hours": round(self.frames / 360000, 3),
            "skipped": len(bad),
        }


def computed(paths: list[Path], workers: int) -> Iterator[np.ndarray | str]:
    """Bands of every path in order, a few ahead: results of a million recordings do not wait in memory."""
    with ProcessPoolExecutor(workers) as pool:
        for start in range(0, len(paths), 256):
            yield from pool.map(bands_of, paths[start : start + 256], chunksize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if missing := [str(folder) for folder in args.folders if not folder.is_dir()]:
        raise SystemExit(f"no such folder: {', '.join(missing)}")
    rows = [(folder, row) for folder in args.folders for row in rows_of(folder)]
    if not rows:
        raise SystemExit("no recordings; folders such as VoxCeleb's, or NAME/recording.wav inside a folder, needed")
    cache = Cache(args.output)
    known = {(row["corpus"], row["path"]) for row in cache.done}
    todo = [(folder, row) for folder, row in rows if (row["corpus"], row["path"]) not in known]
    from rich.progress import track

    results = computed([folder / row["path"] for folder, row in todo], args.workers)
    for (_, row), found in track(zip(todo, results, strict=True), total=len(todo), description="log-mel"):
        cache.add(row, found)
    print(json.dumps(cache.finish()))


if __name__ == "__main__":
    errors.run_recipe(main)
