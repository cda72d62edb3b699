"""Turn folders of recordings into one log-mel cache, whatever their layout.

    python recipes/dino_speaker/prepare.py voxceleb1 voxceleb2 --output cache
    python recipes/dino_speaker/prepare.py my_speakers --output cache       # my_speakers/NAME/**/recording.wav
    python recipes/dino_speaker/prepare.py voxceleb1 --output waves --samples --rooms DATA/rir

A path with a VoxCeleb identity (``id10001``) anywhere in it, as a folder or at the head of the file name, is that
speaker's, so the official zips, their merged or converted copies and flat folders all do; other recordings are of the
speaker their first folder names. Identities id10270 to id10309, the speakers of VoxCeleb1-O, go to the split ``test``,
all others to ``train``. A folder with a ``manifest.csv`` (columns path, corpus, speaker, split) is taken at its word.

Recordings may be of any format, rate and number of channels. Writes ``mel.npy`` (frames, 80) float16, 10 ms a frame, or
with ``--samples`` ``samples.npy`` (frames, 160) int16 at 16 kHz, and ``rooms.npz`` of the impulse responses below
``--rooms``; ``index.json``, and ``skipped.jsonl`` with what could not be used. Frames are appended to the file, not
gathered in memory; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.audio.files import SUFFIXES
from speechssl.errors import SpeechSSLError
from speechssl.training import manifests

IDENTITY = re.compile(r"^(id\d{5})(?![0-9])")
TESTED = range(10270, 10310)  # the 40 speakers of VoxCeleb1-O
HEADER = 128  # bytes before the frames in the array
SHORTEST, LONGEST = 0.4, 120.0  # seconds; more than that of one recording is cut off


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Path, corpus, speaker, language and split of every recording below a folder, in order of path."""
    if (folder / "manifest.csv").is_file():
        keys = ("path", "corpus", "speaker", "language", "split")
        rows = manifests.rows(folder / "manifest.csv", needed=("path", "speaker"))
        return [{key: row.get(key, "") for key in keys} for row in rows]
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


def read(path: Path) -> np.ndarray | str:
    """Samples (T,) float32 of a recording at 16 kHz, or why there are none."""
    from speechssl import audio

    try:
        waveform = audio.read_mono(path, 16000)
    except SpeechSSLError as error:
        return str(error)
    if waveform.seconds < SHORTEST:
        return f"{waveform.seconds:.2f} s; {SHORTEST} s needed"
    return waveform.samples[: round(LONGEST * 16000)].numpy()


def samples_of(path: Path) -> np.ndarray | str:
    """Samples (F, 160) int16 of a recording, filled up with zeros, or why there are none."""
    samples = read(path)
    if isinstance(samples, str):
        return samples
    whole = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    return np.pad(whole, (0, -len(whole) % 160)).reshape(-1, 160)


def bands_of(path: Path) -> np.ndarray | str:
    """Log-mel bands (F, 80) float16 of a recording, or why there are none."""
    import torch

    from speechssl.audio.mel import kaldi

    torch.set_num_threads(1)
    samples = read(path)
    return samples if isinstance(samples, str) else kaldi(torch.from_numpy(samples)).numpy().astype(np.float16)


class Cache:
    """An array that grows, with a journal of what is in it: ``mel.npy``, or with ``samples`` ``samples.npy``."""

    def __init__(self, folder: Path, *, samples: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._name, self._type, self._width = ("samples.npy", "<i2", 160) if samples else ("mel.npy", "<f2", 80)
        self.folder, self._journal = folder, folder / "journal.jsonl"
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        if lines and not (folder / self._name).exists():
            raise SystemExit(f"{folder} was begun with{'out' if samples else ''} --samples; use another folder")
        self.done = [json.loads(line) for line in lines if line.endswith("}")]  # the last one may be cut short
        self.frames = sum(row["frames"] for row in self.done if "frames" in row)
        self._array = (folder / self._name).open("r+b" if (folder / self._name).exists() else "w+b")
        end = HEADER + 2 * self._width * self.frames
        self._array.truncate(end)  # frames whose line was not written are made again
        self._array.seek(end)
        self._journal.write_text("".join(json.dumps(row) + "\n" for row in self.done))
        self._lines = self._journal.open("a")

    def add(self, row: dict[str, Any], found: np.ndarray | str) -> None:
        """Append a recording's frames, or the reason why it has none."""
        if isinstance(found, str):
            row = {**row, "reason": found}
        else:
            self._array.write(np.ascontiguousarray(found).tobytes())
            self._array.flush()
            row = {**row, "start": self.frames, "frames": len(found)}
            self.frames += len(found)
        self.done.append(row)
        self._lines.write(json.dumps(row) + "\n")
        self._lines.flush()

    def finish(self) -> dict[str, Any]:
        """Write the header of the array, the index and the list of what was left out."""
        shape = f"{{'descr': '{self._type}', 'fortran_order': False, 'shape': ({self.frames}, {self._width}), }}"
        self._array.seek(0)
        length = (HEADER - 10).to_bytes(2, "little")
        self._array.write(b"\x93NUMPY\x01\x00" + length + shape.ljust(HEADER - 11).encode())
        self._array.write(b"\n")
        self._array.close()
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


def write_rooms(folder: Path, output: Path) -> int:
    """Write every impulse response (.flac, .wav) below a folder to ``rooms.npz``, from its direct sound on.

    The direct sound is the first sample half as loud as the loudest; what is kept has unit energy and two seconds at
    most. Returns how many there are.
    """
    from speechssl import audio

    rooms = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".wav")):
        response = audio.read_mono(path, 16000).samples.numpy()
        kept = response[max(0, int(np.argmax(np.abs(response) > 0.5 * np.abs(response).max())) - 8) :][:32000]
        rooms[path.stem] = kept / (np.sqrt(np.square(kept).sum()) + 1e-9)
    if not rooms:
        raise SystemExit(f"{folder}: no impulse responses (.flac, .wav)")
    np.savez(output / "rooms.npz", **rooms)
    return len(rooms)


def computed(paths: list[Path], workers: int, *, samples: bool) -> Iterator[np.ndarray | str]:
    """Bands or samples of every path in order, a few ahead: results of a million recordings do not wait in memory."""
    with ProcessPoolExecutor(workers) as pool:
        for start in range(0, len(paths), 256):
            yield from pool.map(samples_of if samples else bands_of, paths[start : start + 256], chunksize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--samples", action="store_true", help="keep samples instead of log-mel bands")
    parser.add_argument("--rooms", type=Path, default=None, help="folder of room impulse responses; with --samples")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if missing := [
        str(folder) for folder in [*args.folders, *([args.rooms] if args.rooms else [])] if not folder.is_dir()
    ]:
        raise SystemExit(f"no such folder: {', '.join(missing)}")
    rows = [(folder, row) for folder in args.folders for row in rows_of(folder)]
    if not rows:
        raise SystemExit("no recordings; folders such as VoxCeleb's, or NAME/recording.wav inside a folder, needed")
    cache = Cache(args.output, samples=args.samples)
    known = {(row["corpus"], row["path"]) for row in cache.done}
    todo = [(folder, row) for folder, row in rows if (row["corpus"], row["path"]) not in known]
    from rich.progress import track

    results = computed([folder / row["path"] for folder, row in todo], args.workers, samples=args.samples)
    for (_, row), found in track(zip(todo, results, strict=True), total=len(todo), description="recordings"):
        cache.add(row, found)
    counts = cache.finish()
    if args.rooms:
        counts["rooms"] = write_rooms(args.rooms, args.output)
    print(json.dumps(counts))


if __name__ == "__main__":
    errors.run_recipe(main)
