"""Teach and test ``speechssl.verification.synthetic``: our own conversions and spoken texts against recordings.

    python recipes/speaker_verification/synthetic.py make MANIFEST.csv made/train --split train --voices 110 --each 6 \\
        --corpora librispeech,an4,cmu_arctic,ljspeech,rhasspy_kathleen,rhasspy_kerstin,picovoice_s2i
    python recipes/speaker_verification/synthetic.py teach MANIFEST.csv made/train --output synthetic.safetensors
    python recipes/speaker_verification/synthetic.py test MANIFEST.csv made/dev --split dev --corpora librispeech

``make`` converts random recordings to random voices of the corpora, with every converter, and lets the voices say
transcripts. ``teach`` hears these and as many recordings again of the same corpora through random codecs, noise and
filters, so that neither a codec nor a microphone tells the two apart; a fifth of the speakers choose the limit, at
which 1 of 100 of their recordings is suspected. ``test`` prints how many of both are suspected: as they are, and over
lines.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lines import LINES, Line, coded, with_noise
from rich.console import Console
from rich.progress import track
from teach import taught, write

from speechssl import audio, errors
from speechssl.audio import activity
from speechssl.conversion.bundles import load_bundle
from speechssl.signals import Waveform
from speechssl.synthesis.say import load_synthesizer
from speechssl.training import distort, manifests
from speechssl.verification import band, synthetic
from speechssl.verification.speech_classifier import Model

PROGRESS = Console(stderr=True)
# the default most often
CONVERTERS = (
    *["regression"] * 8, "uniform", "uniform", "variance", "selection", "selection", "selection", "continuous",
    "continuous", "transport", "shift",
)  # fmt: skip
SAID = 0.18  # share of spoken texts
REFERENCE = (12.0, 45.0)  # seconds
SOURCE = (3.0, 12.0)
FALSE = 0.01  # share of recordings of unseen speakers above the limit
HELD = 5  # every so many of the speakers choose the limit
EACH = 3  # disguises of a recording that teach
TESTED: dict[str, Line] = {
    "clean": LINES["clean"],
    "MP3 64 kbit/s": lambda x, _: coded(x, activity.RATE, "MP3", "MPEG_LAYER_III", 0.6),
    "Opus 32 kbit/s": lambda x, _: coded(x, activity.RATE, "OGG", "OPUS", 0.9),
    "room, 0.4 s": LINES["room, 0.4 s"],
    "white noise, 20 dB": lambda x, rng: (with_noise(x, rng, 20), activity.RATE),
    "white noise, 10 dB": LINES["white noise, 10 dB"],
}


def rows_of(args: argparse.Namespace) -> list[dict[str, str]]:
    """Rows of the manifest: path, corpus, speaker, seconds, language, text, split."""
    return manifests.chosen(args.manifest, args.corpora.split(","), [args.split])


def make(args: argparse.Namespace) -> None:
    """Write conversions and spoken texts, and ``index.jsonl``: path, how, speaker."""
    rng, rows = np.random.default_rng(args.seed), rows_of(args)
    args.made.mkdir(parents=True, exist_ok=True)
    speakers: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        speakers.setdefault(f"{row['corpus']}/{row['speaker']}", []).append(row)
    long = [name for name, files in speakers.items() if sum(float(row["seconds"]) for row in files) >= REFERENCE[0]]
    sources = [row for row in rows if SOURCE[0] <= float(row["seconds"]) <= SOURCE[1]]
    texts = [row["text"] for row in sources if row["language"] == "en" and 0 < len(row["text"]) < 120]
    system = load_bundle("tiny")
    speaker = load_synthesizer(system=system)
    with (args.made / "index.jsonl").open("w") as index:
        for number in track(range(args.voices), description="voices", console=PROGRESS):
            if args.voices > len(long):
                name = long[rng.integers(len(long))]
            else:
                name = long[number * len(long) // args.voices]
            voice = system.matching_set(_reference(args.manifest.parent, speakers[name], rng), name=f"{number}")
            for each in range(args.each):
                if rng.random() < SAID:
                    how = "say"
                    made = speaker.say(texts[rng.integers(len(texts))].capitalize() + ".", voice).waveform
                else:
                    how = str(rng.choice(CONVERTERS))
                    source = args.manifest.parent / sources[rng.integers(len(sources))]["path"]
                    made = system.convert(source, voice, converter=how).waveform
                audio.write(args.made / f"{number:03}-{each}.flac", made)
                index.write(json.dumps({"path": f"{number:03}-{each}.flac", "how": how, "speaker": name}) + "\n")


def _reference(root: Path, rows: list[dict[str, str]], rng: np.random.Generator) -> list[Path]:
    """Recordings of a speaker in random order, up to a random length."""
    files = [rows[i] for i in rng.permutation(len(rows))]
    wanted, found, total = rng.uniform(*REFERENCE), [], 0.0
    for row in files:
        if total >= wanted:
            break
        found.append(root / row["path"])
        total += float(row["seconds"])
    return found


def made_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]


def disguised(samples: distort.Samples, rng: np.random.Generator, *, coded: bool) -> distort.Samples:
    """Through random codecs, microphones and noise; ``coded`` first as recordings of the corpora are, by Opus."""
    if coded:
        samples = distort.coded(samples, "opus", float(rng.uniform(0.85, 0.96)))
    if rng.random() < 0.3:
        samples = distort.through_channel(samples, rng)
    if rng.random() < 0.15:
        room = distort.simulated_room(rng, rng.uniform(0.1, 0.7), rng.uniform(3.0, 18.0))
        samples = distort.in_room(samples, room)
    if rng.random() < 0.4:
        white = rng.standard_normal(len(samples), dtype=np.float32)
        noise = white if rng.random() < 0.4 else distort.coloured_noise(rng, len(samples))
        samples = distort.with_noise(samples, noise, rng.uniform(6, 40))
    drawn = rng.random()
    for codec, share in (("opus", 0.25), ("mp3", 0.4), ("vorbis", 0.5)):
        if drawn < share:
            return distort.coded(samples, codec, float(rng.uniform(0.2, 0.94)))
    return samples


def examples(paths: list[tuple[Path, bool]], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Features (n, S) of each recording: of ``EACH`` random stretches in disguise."""
    for path, made in track(paths, description="hearing", console=PROGRESS):
        samples = audio.read_mono(path, activity.RATE).samples.numpy()
        found = []
        for _ in range(EACH):
            length = min(len(samples), round(rng.uniform(2.0, synthetic.SECONDS) * activity.RATE))
            start = int(rng.integers(0, len(samples) - length + 1))
            part = samples[start : start + length]
            found.append(synthetic.features(disguised(part, rng, coded=made and rng.random() < 0.7)))
        yield np.stack(found)


def teach(args: argparse.Namespace) -> None:
    """Fit the detector, choose its limit, write it."""
    rng, made, rows = np.random.default_rng(args.seed), made_of(args.made), rows_of(args)
    rows = [row for row in rows if float(row["seconds"]) >= SOURCE[0]]
    # as evenly over the speakers as their recordings allow
    counts = Counter(row["speaker"] for row in rows)
    weights = np.array([1 / counts[row["speaker"]] ** 0.7 for row in rows])
    chosen = rng.choice(len(rows), min(len(rows), args.real), replace=False, p=weights / weights.sum())
    rows = [rows[i] for i in chosen]
    paths = [(args.made / one["path"], True) for one in made]
    paths += [(args.manifest.parent / row["path"], False) for row in rows]
    names = [one["speaker"] for one in made] + [f"{row['corpus']}/{row['speaker']}" for row in rows]
    found = list(examples(paths, rng))
    real = np.array([not made for _, made in paths])
    speakers = {name: number for number, name in enumerate(sorted(set(names)))}
    held = np.array([speakers[name] % HELD == 0 for name in names])
    first = fitted(found, real, ~held, args.seed)
    odds = {kind: _odds(first, found, held & which) for kind, which in (("real", real), ("made", ~real))}
    limit = float(np.quantile(odds["real"], 1 - FALSE))
    print(json.dumps({"limit": round(limit, 2), "held_made_found": round(float((odds["made"] > limit).mean()), 3)}))
    model = dataclasses.replace(fitted(found, real, real | ~real, args.seed), limit=limit)
    facts = {"recipe": "recipes/speaker_verification/synthetic.py", "corpora": args.corpora, "seed": args.seed}
    write(model, args.output, facts, kind=synthetic.KIND)


def fitted(found: list[np.ndarray], real: np.ndarray, which: np.ndarray, seed: int) -> Model:
    """The two layers on those recordings; high where synthetic."""
    made, heard = (np.concatenate([found[i] for i in np.flatnonzero(which & kind)]) for kind in (~real, real))
    return taught(made, np.ones(len(made)), heard, seed)


def _odds(model: Model, found: list[np.ndarray], which: np.ndarray) -> np.ndarray:
    return model.odds(np.concatenate([found[i] for i in np.flatnonzero(which)]))


def test(args: argparse.Namespace) -> None:
    """Print the share of recordings and of what was made that is suspected, over lines."""
    rows = rows_of(args)
    rng = np.random.default_rng(args.seed)
    rows = [rows[i] for i in sorted(rng.permutation(len(rows))[: args.real])]
    groups: dict[str, list[Path]] = {"recordings": [args.manifest.parent / row["path"] for row in rows]}
    for one in made_of(args.made):
        groups.setdefault("texts" if one["how"] == "say" else "conversions", []).append(args.made / one["path"])
    print("| suspected, % (not judged, %) | " + " | ".join(f"{k} ({len(groups[k])})" for k in groups) + " |")
    print("|---|" + "---:|" * len(groups))
    for line in TESTED:
        cells = []
        for name, paths in groups.items():
            judged = [
                verdict(path, line, args.seed) for path in track(paths, description=f"{line}, {name}", console=PROGRESS)
            ]
            none = 100 * np.mean([one is None for one in judged])
            cells.append(f"{100 * np.mean([one is True for one in judged]):.1f} ({none:.0f})")
        print(f"| {line} | " + " | ".join(cells) + " |", flush=True)


def verdict(path: Path, line: str, seed: int) -> bool | None:
    """Whether a recording over a line is suspected; None where it is not judged."""
    samples = audio.read_mono(path, activity.RATE).samples.numpy()
    heard, rate = TESTED[line](samples, np.random.default_rng(seed))
    waveform = Waveform(torch.from_numpy(np.ascontiguousarray(heard, np.float32)), rate)
    found = band.measure(waveform)
    return synthetic.suspected(waveform, found) if synthetic.judged(found) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("make", "teach", "test"))
    parser.add_argument("manifest", type=Path)
    parser.add_argument("made", type=Path, help="folder of what was made")
    parser.add_argument("--corpora", default="librispeech,an4,cmu_arctic,ljspeech,rhasspy_kathleen,rhasspy_kerstin,"
                        "picovoice_s2i", help="corpora of the manifest, with commas")  # fmt: skip
    parser.add_argument("--split", default="train")
    parser.add_argument("--voices", type=int, default=110, help="voices that are made")
    parser.add_argument("--each", type=int, default=6, help="conversions and texts of a voice")
    parser.add_argument("--real", type=int, default=1500, help="recordings that teach, or are tested, at most")
    parser.add_argument("--output", type=Path, default=Path("synthetic.safetensors"), help="file of teach")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"make": make, "teach": teach, "test": test}[args.step](args)


if __name__ == "__main__":
    errors.run_recipe(main)
