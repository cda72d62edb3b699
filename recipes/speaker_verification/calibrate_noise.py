"""Fit calibrations for pairs of which one or both recordings are under noise and write them into an embedder file.

    python recipes/speaker_verification/calibrate_noise.py speaker.safetensors MANIFEST.csv --output new.safetensors

The file has a calibration of clear pairs already (``calibrate.py``), which says up to which SNR a recording is noisy.
Pieces of recordings of the training speakers of ``--corpora`` are heard under noise of 3 to 20 dB: half of it coloured,
half recorded (``noise_*`` of the manifest, split ``train``), drawn by a fixed seed. The calibrations know pairs whose
noisy recording, or the clearer of two noisy ones, has ``LEAST`` dB or more; noisier ones get no decision. No trial
pairs recordings of two corpora, so that no corpus gives its speakers away. ``calibrate_lines.py`` comes before it.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from calibrate_lines import SPEAKERS, calibrated, kept, piece, write
from lines import RATE, Samples, chosen, heard

from speechssl import audio, checkpoints, errors
from speechssl.signals import Embedder
from speechssl.training import distort, manifests
from speechssl.verification import band, decisions, embedders

RATIOS = (3.0, 20.0)  # dB of the noise
LEAST = 13.0  # dB: most white noise of 10 dB leaves more, of 5 dB less


def recorded_noises(manifest: Path, split: str) -> list[Path]:
    """Recordings of noise in a manifest."""
    every = manifests.rows(manifest)
    rows = [row for row in every if row["corpus"].startswith("noise_") and row["split"] == split]
    return [manifest.parent / row["path"] for row in rows]


def under_noise(samples: Samples, rng: np.random.Generator, noises: list[Path]) -> Samples:
    """Samples (T,) under noise, coloured or recorded, of a ratio drawn from ``RATIOS``."""
    noise = distort.coloured_noise(rng, len(samples))
    if noises and rng.random() < 0.5:
        found = audio.read_mono(noises[int(rng.integers(len(noises)))], RATE).samples.numpy()
        if float(np.square(found).mean()) > 1e-9:
            noise = np.resize(np.roll(found, int(rng.integers(len(found)))), len(samples))
    return distort.with_noise(samples, noise, rng.uniform(*RATIOS))


def utterances(
    files: list[tuple[str, Path]], embedder: Embedder, noises: list[Path] | None, seed: int
) -> tuple[list[decisions.Utterance], np.ndarray]:
    """Recordings with a second of speech, under noise or, without ``noises``, as they are, and their speakers."""
    found, speakers = [], []
    for number, (name, file) in enumerate(files):
        rng = np.random.default_rng([seed, number])
        cut = piece(file, rng)
        one = heard(cut if noises is None else under_noise(cut, rng, noises), RATE, embedder)
        if one.seconds >= 1 and one.band is not None:
            found.append(one)
            speakers.append(name)
    return found, np.array(speakers)


def trials(
    first: tuple[list[decisions.Utterance], np.ndarray],
    second: tuple[list[decisions.Utterance], np.ndarray],
    clear: float,
) -> dict[str, np.ndarray]:
    """Scores, labels, speakers and seconds of pairs of noisy recordings, with the SNR that is needed.

    Args:
        first, second: recordings and their speakers; the same, or the clear ones.
        clear: dB up to which a recording is noisy.
    """
    vectors, seconds, snr = [], [], []
    for found, _ in (first, second):
        vectors.append(np.stack([one.embedding.vector.double().numpy() for one in found]))
        seconds.append(np.array([one.seconds for one in found]))
        snr.append(np.array([one.band.snr if one.band else np.nan for one in found]))
    if first is second:
        best = np.maximum(snr[0][:, None], snr[1])
        pairs = np.triu((best >= LEAST) & (best < clear), 1)
    else:
        pairs = ((snr[0] >= LEAST) & (snr[0] < clear))[:, None] & (snr[1] >= clear)
    one, two = np.nonzero(pairs)
    return {
        "scores": (vectors[0] @ vectors[1].T)[one, two],
        "is_target": first[1][one] == second[1][two],
        "enrolment_speakers": first[1][one],
        "test_speakers": second[1][two],
        "seconds": np.stack([seconds[0][one], seconds[1][two]], axis=1),
    }


def fitted(parts: list[dict[str, np.ndarray]], sides: int, rate: float) -> dict[str, Any]:
    """The calibration for so many noisy sides, as the header keeps it."""
    result = calibrated(parts, "training speakers under noise", rate, dataclasses.replace(band.FULL, snr=LEAST))
    return kept(dataclasses.replace(result, cautious=True, noisy=sides))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpora", nargs="+", default=["librispeech", "an4"])
    parser.add_argument("--each", type=int, default=3, help="recordings of each speaker")
    parser.add_argument("--false-alarm", type=float, default=0.005, help="rate of the threshold")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    checkpoint = checkpoints.load(args.model, kind="embedder")
    clear = (checkpoint.header.get("calibration") or {}).get("bands", {}).get("snr")
    if not clear:
        raise SystemExit(f"{args.model} has no calibration that knows noise; run calibrate.py first")
    embedder, noises = embedders.load(args.model, device="cpu"), recorded_noises(args.manifest, "train")
    parts: dict[int, list[dict[str, np.ndarray]]] = {2: [], 1: []}
    for corpus in args.corpora:
        files = chosen(args.manifest, corpus, "train", SPEAKERS, args.each)
        noisy = utterances(files, embedder, noises, args.seed)
        parts[2].append(trials(noisy, noisy, clear))
        parts[1].append(trials(noisy, utterances(files, embedder, None, args.seed + 1), clear))
    lines = [fitted(found, sides, args.false_alarm) for sides, found in parts.items()]
    others = [line for line in checkpoint.header["calibration"].get("lines", []) if not line.get("noisy")]
    write(args.output, checkpoint, [*others, *lines])


if __name__ == "__main__":
    errors.run_recipe(main)
