"""Verification over telephone lines, codecs, filters, rooms and noise: error rates and abstentions, line by line.

    python recipes/speaker_verification/lines.py MANIFEST.csv --corpus librispeech --split dev --speakers 6 --each 6

Every recording (its first ``--seconds``) goes over every line by a fixed seed. Trials are all pairs: both sides over
the line, and one side over the line against the other at the microphone. A row says the EER of the scores; how many
pairs of strangers the shipped threshold would accept if every pair were decided (``forced``); how many are accepted as
it is; how many pairs of strangers, and of one speaker, get no decision; the JSON also has the highest probability given
to strangers.
``--bands`` prints the quantiles of the measured upper edges instead, and how many recordings ``band.FULL`` holds.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy import signal

from speechssl import audio, errors
from speechssl.signals import Embedder, Waveform
from speechssl.training import manifests
from speechssl.verification import band, decisions, embedders, metrics

RATE = 16000
Samples = NDArray[np.float32]
Line = Callable[[Samples, np.random.Generator], tuple[Samples, int]]


def filtered(samples: Samples, edges: float | list[float], kind: str) -> Samples:
    """Samples (T,) after a Butterworth filter of order 8 (a band: 6 at each end); edges in Hz."""
    order = 6 if kind == "bandpass" else 8
    found: Samples = signal.sosfilt(signal.butter(order, edges, kind, fs=RATE, output="sos"), samples)
    return found.astype(np.float32)


def coded(samples: Samples, rate: int, form: str, subtype: str, level: float | None = None) -> tuple[Samples, int]:
    """Samples and rate after a codec of libsndfile; ``level`` 0 is the highest bitrate, 0.99 nearly the lowest."""
    file = io.BytesIO()
    constant = {"bitrate_mode": "CONSTANT"} if form == "MP3" else {}
    soundfile.write(file, samples, rate, format=form, subtype=subtype, compression_level=level, **constant)
    file.seek(0)
    return soundfile.read(file, dtype="float32")


def at_8_khz(samples: Samples) -> Samples:
    return audio.resample(Waveform(torch.from_numpy(samples), RATE), 8000).samples.numpy()


def in_a_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """Samples (T,) with exponentially decaying noise as the room's answer, 0.4 s to -60 dB, direct sound at 3 dB."""
    time = np.arange(round(0.4 * RATE)) / RATE
    answer = rng.normal(size=len(time)) * np.exp(-6.9 * time / 0.4)
    wet = signal.fftconvolve(samples, answer / np.sqrt(2 * (answer**2).sum()))[: len(samples)]
    return (samples + wet).astype(np.float32)


def with_noise(samples: Samples, rng: np.random.Generator, decibels: float) -> Samples:
    noise = rng.normal(size=len(samples)) * np.sqrt((samples**2).mean() / 10 ** (decibels / 10))
    return (samples + noise).astype(np.float32)


LINES: dict[str, Line] = {
    "clean": lambda x, _: (x, RATE),
    "8 kHz, G.711 u-law": lambda x, _: coded(at_8_khz(x), 8000, "WAV", "ULAW"),
    "300-3400 Hz in 16 kHz": lambda x, _: (filtered(x, [300, 3400], "bandpass"), RATE),
    # of MPEG-2 at 16 kHz: constant bitrates from 160 down to 8 kbit/s
    "MP3 16 kbit/s": lambda x, _: coded(x, RATE, "MP3", "MPEG_LAYER_III", 0.95),
    "MP3 32 kbit/s": lambda x, _: coded(x, RATE, "MP3", "MPEG_LAYER_III", 0.85),
    "Opus 8 kbit/s": lambda x, _: coded(x, RATE, "OGG", "OPUS", 0.99),
    "low-pass 2 kHz": lambda x, _: (filtered(x, 2000, "lowpass"), RATE),
    "low-pass 4 kHz": lambda x, _: (filtered(x, 4000, "lowpass"), RATE),
    "low-pass 6 kHz": lambda x, _: (filtered(x, 6000, "lowpass"), RATE),
    "low-pass 7 kHz": lambda x, _: (filtered(x, 7000, "lowpass"), RATE),
    "high-pass 300 Hz": lambda x, _: (filtered(x, 300, "highpass"), RATE),
    "room, 0.4 s": lambda x, rng: (in_a_room(x, rng), RATE),
    "white noise, 10 dB": lambda x, rng: (with_noise(x, rng, 10), RATE),
}


def chosen(manifest: Path, corpus: str, split: str, speakers: int, each: int) -> list[tuple[str, Path]]:
    """Speakers and paths of a corpus and split: evenly spaced among the recordings of each of the first speakers."""
    by_speaker: dict[str, list[Path]] = {}
    for row in manifests.chosen(manifest, [corpus], [split]):
        by_speaker.setdefault(row["speaker"], []).append(manifest.parent / row["path"])
    return [
        (name, file)
        for name, files in sorted(by_speaker.items())[:speakers]
        for file in [files[number] for number in np.linspace(0, len(files) - 1, min(each, len(files))).astype(int)]
    ]


def heard(samples: Samples, rate: int, embedder: Embedder) -> decisions.Utterance:
    """The utterance of samples (T,), embedded and with its band, without the search for doubts."""
    waveform = Waveform(torch.from_numpy(np.ascontiguousarray(samples, np.float32)), rate)
    seconds = audio.speech_seconds(waveform)
    return decisions.Utterance("", embedder.embed(waveform), seconds, "", band=band.measure(waveform))


def row_of(
    pairs: list[tuple[decisions.Utterance, decisions.Utterance, bool]], embedder: Embedder
) -> dict[str, float | int]:
    """The numbers of trials: both sides, and whether one speaker speaks."""
    calibration = decisions.shipped_calibration(embedder)
    assert calibration is not None, "a model without calibration"
    labels = np.array([same for _, _, same in pairs])
    known: dict[str, Any] = {"calibration": calibration, "cohort": embedder.cohort}
    found = [decisions.verify([one], two, **known) for one, two, _ in pairs]
    wide = band.Band(0.0, RATE / 2)
    forced = [
        decisions.verify([dataclasses.replace(one, band=wide)], dataclasses.replace(two, band=wide), **known)
        for one, two, _ in pairs
    ]
    accepted, undecided = (np.array([row.accepted is value for row in found]) for value in (True, None))
    return {
        "strangers": int((~labels).sum()),
        "same": int(labels.sum()),
        "eer": metrics.roc([row.score for row in found], labels).eer(),
        "forced_false_acceptance": float(np.mean([row.accepted is True for row in forced], where=~labels)),
        "false_acceptance": float(accepted[~labels].mean()),
        "same_accepted": float(accepted[labels].mean()),
        "strangers_undecided": float(undecided[~labels].mean()),
        "same_undecided": float(undecided[labels].mean()),
        "highest_probability_of_strangers": max(
            (row.probability or 0.0 for row, same in zip(found, labels, strict=True) if not same), default=0.0
        ),
    }


def over_lines(
    recordings: list[tuple[str, Samples]], embedder: Embedder, seed: int, chosen_lines: dict[str, Line]
) -> dict[str, list]:
    """Utterances of all recordings by line."""
    return {
        name: [
            heard(*line(samples, np.random.default_rng([seed, number])), embedder)
            for number, (_, samples) in enumerate(recordings)
        ]
        for name, line in chosen_lines.items()
    }


def measured(
    recordings: list[tuple[str, Samples]], embedder: Embedder, seed: int, chosen_lines: dict[str, Line]
) -> dict[str, dict[str, dict]]:
    """Rows by line: ``line`` against itself, and against ``clean``."""
    lines = over_lines(recordings, embedder, seed, chosen_lines)
    names = [name for name, _ in recordings]
    found: dict[str, dict[str, dict]] = {}
    for line, heard_ones in lines.items():
        numbers = list(itertools.combinations(range(len(names)), 2))
        within = [(heard_ones[i], heard_ones[j], names[i] == names[j]) for i, j in numbers]
        across = [(lines["clean"][i], heard_ones[j], names[i] == names[j]) for i, j in numbers]
        found[line] = {"line": row_of(within, embedder)}
        if line != "clean":
            found[line]["clean"] = row_of(across, embedder)
    return found


def report(found: dict[str, dict[str, dict]], output: Path | None) -> None:
    """Print the rows, and write them as JSON where that is asked for."""
    print("| line | against | EER, % | strangers accepted if forced, % | accepted, % | strangers undecided, % "
          "| one speaker undecided, % | one speaker accepted, % |")  # fmt: skip
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    shown = (
        "eer", "forced_false_acceptance", "false_acceptance", "strangers_undecided", "same_undecided", "same_accepted"
    )  # fmt: skip
    for line, rows in found.items():
        for against, row in rows.items():
            cells = " | ".join(f"{100 * row[key]:.1f}" for key in shown)
            print(f"| {line} | {'itself' if against == 'line' else against} | {cells} |")
    if output:
        output.write_text(json.dumps(found, indent=2), encoding="utf-8")


def print_bands(recordings: list[tuple[str, Samples]], seed: int) -> None:
    """Quantiles of the upper edges on every line, and the share that ``band.FULL`` holds."""
    for name, line in LINES.items():
        found = []
        for number, (_, samples) in enumerate(recordings):
            sound, rate = line(samples, np.random.default_rng([seed, number]))
            found.append(band.measure(Waveform(torch.from_numpy(np.ascontiguousarray(sound, np.float32)), rate)))
        edges = np.array([0.0 if one is None else one.high for one in found])
        known = 100 * np.mean([one is not None and band.FULL.holds(one) for one in found])
        print(name, "Hz at 0, 5, 50, 95, 100 %:", np.quantile(edges, [0, 0.05, 0.5, 0.95, 1]).round().tolist(),
              f"full band: {known:.1f} %")  # fmt: skip


def options(description: str | None) -> argparse.ArgumentParser:
    """Which recordings of which people, and where the result goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpus", default="librispeech")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--speakers", type=int, default=6)
    parser.add_argument("--each", type=int, default=6, help="recordings of each speaker")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each recording, from its beginning")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser


def read(args: argparse.Namespace) -> list[tuple[str, Samples]]:
    """Speaker and samples of each recording."""
    files = chosen(args.manifest, args.corpus, args.split, args.speakers, args.each)
    most = round(args.seconds * RATE)
    return [(name, audio.read_mono(file, RATE).samples.numpy()[:most]) for name, file in files]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--bands", action="store_true", help="print the bands of the lines instead of error rates")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recordings = read(args)
    if args.bands:
        print_bands(recordings, args.seed)
        return
    found = measured(recordings, embedders.load(args.model, device="cpu"), args.seed, LINES)
    report(found, args.output)


if __name__ == "__main__":
    errors.run_recipe(main)
