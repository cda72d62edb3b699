"""What ``speechssl verify`` refuses as no speech: of real recordings, of noise and of music.

    python recipes/speaker_verification/refusals.py MANIFEST.csv --speech librispeech:dev an4:test \\
        --noise noise_esc10:test --other MUSIC_DIR ...

A recording is one with a second of sound that passes by its energy. Shorter ones of a speaker are joined until it has
4 s; ``--other`` folders are cut into pieces of 10 s. A row says how many there were, how many were refused, how many of
the others get the remark that they sound unlike speech, and, for the choice of the limit, quantiles of the log odds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from speechssl import audio, errors
from speechssl.audio import activity
from speechssl.audio.files import SUFFIXES
from speechssl.audio.mel import kaldi
from speechssl.signals import Embedder, Waveform
from speechssl.training import manifests
from speechssl.verification import embedders, screening, speech_classifier

RATE = 16000


def recordings(manifest: Path, corpus: str, split: str, most: int) -> Iterator[torch.Tensor]:
    """Samples of the utterances of a corpus and split, evenly drawn; those under 2 s are joined by speaker."""
    rows = manifests.chosen(manifest, [corpus], [split])
    waiting: dict[str, list[torch.Tensor]] = {}
    for row in rows[:: max(1, len(rows) // most)]:
        samples = audio.read_mono(manifest.parent / row["path"], RATE).samples
        parts = waiting.setdefault(row["speaker"], [])
        parts.append(samples)
        if len(samples) > 2 * RATE or sum(map(len, parts)) >= 4 * RATE:
            yield torch.cat(waiting.pop(row["speaker"]))


def pieces(folder: Path, seconds: float = 10.0) -> Iterator[torch.Tensor]:
    """Samples of pieces of recordings in a folder, the first ten of each that are at least half as long as wanted."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            parts = audio.read_mono(path, RATE).samples.split(round(seconds * RATE))
            yield from (part for part in parts[:10] if len(part) >= seconds / 2 * RATE)


def judged(sounds: Iterator[torch.Tensor], embedder: Embedder) -> dict[str, object]:
    """Counts, and quantiles of the log odds of the first 10 s."""
    found, refused, doubted, odds, model = 0, 0, 0, [], speech_classifier.load_model()
    cohort = embedder.cohort
    for samples in sounds:
        waveform = Waveform(samples.clone(), RATE)
        if activity.speech_seconds(waveform) >= screening.MIN_SPEECH:
            found += 1
            if speech_classifier.hear(waveform).likely < screening.MIN_SPEECH:
                refused += 1
            else:
                doubted += screening.unlike_speech(embedder.embed(waveform), cohort)
            mel = kaldi(samples[: 10 * RATE]).numpy()
            odds.append(float(model.odds(speech_classifier.features(mel)[None])[0]))
    quantiles = torch.tensor(odds or [0.0]).quantile(torch.tensor([0.0, 0.01, 0.5, 0.9, 1.0])).tolist()
    return {
        "of": found,
        "refused": refused,
        "doubted": doubted,
        "odds_0_1_50_90_100": [round(value, 1) for value in quantiles],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--speech", nargs="*", default=[], metavar="CORPUS:SPLIT")
    parser.add_argument("--noise", nargs="*", default=[], metavar="CORPUS:SPLIT")
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--most", type=int, default=10**9, help="utterances of each corpus")
    args = parser.parse_args()
    torch.set_num_threads(1)
    embedder = embedders.load(args.model)
    for name in (*args.speech, *args.noise):
        corpus, split = name.split(":")
        row = judged(recordings(args.manifest, corpus, split, args.most), embedder)
        print(json.dumps({"recordings": name, **row}), flush=True)
    for path in args.other:
        print(json.dumps({"recordings": path.name, **judged(pieces(path), embedder)}), flush=True)


if __name__ == "__main__":
    errors.run_recipe(main)
