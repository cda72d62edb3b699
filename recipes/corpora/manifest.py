"""The manifest all training recipes read, of a corpus as its publishers lay it out.

    python recipes/corpora/manifest.py librispeech LibriSpeech --output manifest.csv
    python recipes/corpora/manifest.py libritts-r LibriTTS_R --output data/manifest.csv --convert data
    python recipes/corpora/manifest.py vctk VCTK-Corpus-0.92 --output data/manifest.csv --convert data
    python recipes/corpora/manifest.py common-voice cv-corpus/de --language de --output data/m.csv --convert data
    python recipes/corpora/manifest.py ljspeech LJSpeech-1.1 --output data/manifest.csv --convert data
    python recipes/corpora/manifest.py folder recordings --output manifest.csv          # speaker/**/*.wav, no text
    python recipes/corpora/manifest.py librispeech . --download dev-clean --output manifest.csv

Columns: path (relative to the manifest), corpus, speaker, seconds, language, text, split. Whole speakers go to ``dev``
and ``test`` by a hash of their name, so that the split never changes and no speaker is in two; a corpus of one speaker
is split by recording. ``--convert`` writes 16 kHz mono FLAC, which recipes need where the corpus has another rate;
what is there already is kept, so a stopped run goes on. ``--download`` fetches LibriSpeech or LibriTTS from OpenSLR.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from speechssl import audio, errors
from speechssl.errors import InputError

SAMPLE_RATE = 16_000
COLUMNS = ("path", "corpus", "speaker", "seconds", "language", "text", "split")


@dataclass(frozen=True)
class Row:
    """One recording as the corpus describes it."""

    path: Path
    speaker: str
    text: str = ""


def librispeech(root: Path) -> Iterator[Row]:
    """``**/speaker/chapter/speaker-chapter.trans.txt`` beside the FLAC files."""
    for transcript in sorted(root.rglob("*.trans.txt")):
        for line in transcript.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            yield Row(transcript.parent / f"{name}.flac", name.split("-")[0], text)


def libritts(root: Path) -> Iterator[Row]:
    """``**/speaker/chapter/*.wav`` with ``*.normalized.txt`` beside each."""
    for path in sorted(root.rglob("*.wav")):
        text = path.with_suffix(".normalized.txt")
        yield Row(path, path.name.split("_")[0], _read(text))


def vctk(root: Path) -> Iterator[Row]:
    """``wav48_silence_trimmed/speaker/*_mic1.flac`` (0.92) or ``wav48/speaker/*.wav``, texts in ``txt/speaker``."""
    files = sorted(root.glob("wav48_silence_trimmed/*/*_mic1.flac")) or sorted(root.glob("wav48/*/*.wav"))
    for path in files:
        speaker, name = path.parent.name, path.stem.removesuffix("_mic1")
        yield Row(path, speaker, _read(root / "txt" / speaker / f"{name}.txt"))


def common_voice(root: Path) -> Iterator[Row]:
    """``validated.tsv`` and ``clips``; the speaker is the client's id."""
    table = root / "validated.tsv"
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Row(root / "clips" / row["path"], row["client_id"][:16], row["sentence"])


def ljspeech(root: Path) -> Iterator[Row]:
    """``metadata.csv`` (name|text|normalised text) and ``wavs``."""
    for line in (root / "metadata.csv").read_text(encoding="utf-8").splitlines():
        parts = line.split("|")
        yield Row(root / "wavs" / f"{parts[0]}.wav", root.name, parts[-1])


def folder(root: Path) -> Iterator[Row]:
    """``speaker/**`` with audio of any kind; texts, where there are, in ``.txt`` files of the same names."""
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in audio.SUFFIXES):
        inside = path.relative_to(root).parts
        yield Row(path, inside[0] if len(inside) > 1 else root.name, _read(path.with_suffix(".txt")))


LAYOUTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "librispeech": librispeech, "libritts-r": libritts, "vctk": vctk, "common-voice": common_voice,
    "ljspeech": ljspeech, "folder": folder,
}  # fmt: skip


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def split_of(name: str, *, dev: float, test: float) -> str:
    """``train``, ``dev`` or ``test`` by a hash of the name."""
    place = zlib.crc32(name.encode()) / 2**32
    return "test" if place < test else "dev" if place < test + dev else "train"


def examine(job: tuple[Path, Path | None]) -> tuple[float, int] | str:
    """Seconds and sample rate of a recording, which is converted if a place is given; or why it is left out."""
    from speechssl import audio

    path, converted = job
    try:
        if converted is None:
            facts = audio.info(path)
            return facts.seconds, facts.sample_rate
        if not converted.exists():
            converted.parent.mkdir(parents=True, exist_ok=True)
            waveform = audio.read_mono(path, SAMPLE_RATE)
            peak = float(waveform.samples.abs().max())
            # resampling may overshoot full scale by a little
            audio.write(converted, type(waveform)(waveform.samples / max(1.0, peak), SAMPLE_RATE))
        return audio.info(converted).seconds, SAMPLE_RATE
    except InputError as error:
        return str(error)


def download(corpus: str, root: Path, part: str) -> None:
    """Fetch a part of a corpus from OpenSLR, checked against its published checksum."""
    known = {"librispeech": "LIBRISPEECH", "libritts-r": "LIBRITTS"}
    if corpus not in known:
        raise SystemExit(
            f"{corpus} cannot be fetched here: its publishers ask for a form; get it from them, then give its folder"
        )
    try:
        with errors.importing("torchaudio", purpose="--download"):
            from torchaudio import datasets
    except InputError as error:
        raise SystemExit(str(error)) from error
    root.mkdir(parents=True, exist_ok=True)
    getattr(datasets, known[corpus])(root, url=part, download=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=LAYOUTS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--language", default="en")
    parser.add_argument("--convert", type=Path, default=None, metavar="FOLDER", help="write 16 kHz copies there")
    parser.add_argument("--download", metavar="PART", default=None, help="e.g. dev-clean; fetched into ROOT first")
    parser.add_argument("--dev", type=float, default=0.03)
    parser.add_argument("--test", type=float, default=0.03)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(arguments)
    if not 0 <= args.dev + args.test < 1 or min(args.dev, args.test) < 0:
        raise SystemExit(f"--dev {args.dev:g} and --test {args.test:g} are shares; together below 1 needed")
    if args.output.is_dir():
        raise SystemExit(f"--output {args.output} is a folder; the name of a CSV file needed")
    if args.download:
        download(args.corpus, args.root, args.download)
    if not args.root.is_dir():
        raise SystemExit(f"{args.root} is no folder; the folder of the corpus needed")
    try:
        rows = list(LAYOUTS[args.corpus](args.root))
    except OSError as error:
        raise SystemExit(f"{args.root} is not laid out as {args.corpus}: {error}") from error
    if not rows:
        raise SystemExit(f"{args.root}: no recordings in the layout of {args.corpus}; see --help for the others")
    found = write(rows, args)
    print(json.dumps(found))


def write(rows: list[Row], args: argparse.Namespace) -> dict[str, object]:
    """Write the manifest and, beside it, ``skipped.jsonl``; returns what was found."""
    alone = len({row.speaker for row in rows}) == 1
    copies = [
        args.convert / args.corpus / row.speaker / f"{row.path.stem}.flac" if args.convert else None for row in rows
    ]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    kept, skipped, rates, seconds = [], [], set(), 0.0
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = [(row.path, copy) for row, copy in zip(rows, copies, strict=True)]
        for row, copy, result in zip(rows, copies, pool.map(examine, jobs, chunksize=16), strict=True):
            if isinstance(result, str):
                skipped.append({"path": str(row.path), "reason": result})
                continue
            path = os.path.relpath(copy or row.path, args.output.parent)
            split = split_of(row.path.stem if alone else row.speaker, dev=args.dev, test=args.test)
            facts = (
                path,
                args.corpus,
                row.speaker,
                f"{result[0]:.3f}",
                args.language,
                " ".join(row.text.split()),
                split,
            )
            kept.append(facts)
            rates.add(result[1])
            seconds += result[0]
    temporary = args.output.with_name(f".{args.output.name}.part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *kept])
    os.replace(temporary, args.output)
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in skipped]
    args.output.with_name("skipped.jsonl").write_text("".join(lines), encoding="utf-8")
    found = {"recordings": len(kept), "hours": round(seconds / 3600, 3), "skipped": len(skipped)}
    if rates - {SAMPLE_RATE}:
        found["note"] = f"recordings at {sorted(rates)} Hz; training needs {SAMPLE_RATE}: give --convert FOLDER"
    return found


if __name__ == "__main__":
    errors.run_recipe(main)
