"""Fit calibrations for pairs over telephones, codecs and filters and write them into an embedder file.

    python recipes/speaker_verification/calibrate_lines.py speaker.safetensors MANIFEST.csv --output new.safetensors

The file has a calibration of full-band pairs already (``calibrate.py``). Pieces of recordings of the training speakers
of ``--corpora`` are heard as recorded, and over lines drawn by a fixed seed (``distort.over_a_line``). Two calibrations
are added: for pairs of which both came over lines, and for pairs of which one did. Both know the bands that nearly all
of these recordings had, and compare what the network for telephones made of them. Strangers of a kind that was not in
the training are too often alike over lines, so that nobody is accepted: what is not clearly different gets no decision.
``--false-alarm`` sets thresholds for a rate instead. No trial pairs recordings of two corpora, so that no corpus gives
its speakers away.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lines import RATE, Samples, chosen, heard
from numpy.typing import NDArray

from speechssl import audio, checkpoints, errors
from speechssl.signals import Embedder
from speechssl.training import distort
from speechssl.verification import band, by_cohort, calibration, decisions, embedders, logistic, scoring
from speechssl.verification.embedders import log_mel

SPEAKERS = 10**6
SECONDS = (1.5, 12.0)  # of a recording, drawn on a logarithmic scale
DOUBT = -2.2  # ratio from which voices over lines may be one: probability 0.1
LEAST = 3000.0  # Hz: with less, nothing is decided
CLEAR = 20.0  # dB: where both recordings have less, noise makes strangers alike, and nothing is decided
WHICH = {"telephones, codecs and filters": (1, 1), "a telephone, codec or filter on one side": (1, 0)}


def piece(file: Path, rng: np.random.Generator) -> Samples:
    """A part of a recording, of a length drawn from ``SECONDS``."""
    samples = audio.read_mono(file, RATE).samples.numpy()
    length = round(RATE * float(np.exp(rng.uniform(*np.log(SECONDS)))))
    first = int(rng.integers(max(1, len(samples) - length)))
    return samples[first : first + length]


def over_lines(file: Path, embedder: Embedder, rng: np.random.Generator) -> list[decisions.Utterance]:
    """A recording as it is, and over a line that takes a part of its band; nothing if it holds no second of speech."""
    samples = piece(file, rng)
    found = [heard(samples, RATE, embedder), heard(distort.over_a_line(samples, rng), RATE, embedder)]
    return found if min(one.seconds for one in found) >= 1 else []


def trials(
    utterances: list[list[decisions.Utterance]],
    speakers: NDArray[np.str_],
    sides: tuple[int, int],
    part: tuple[int, int] | None,
    cohort: NDArray[np.float64],
) -> dict[str, Any]:
    """Scores, labels, speakers, seconds and nearness to the cohort of all pairs: each side over a line of its own."""
    vectors = np.stack([[one.embedding.vector.double().numpy() for one in both] for both in utterances])
    vectors = scoring.counting(vectors, part)
    seconds = np.array([[one.seconds for one in both] for both in utterances])
    scores = vectors[:, sides[0]] @ vectors[:, sides[1]].T
    narrow = np.array([not known(both[1]) for both in utterances])
    second = narrow if sides[1] else np.array([known(both[0]) for both in utterances])
    pairs = narrow[:, None] & second & ~np.eye(len(scores), dtype=bool)
    one, two = np.nonzero(np.triu(pairs) if sides[1] else pairs)
    near = [by_cohort.measured(vectors[:, side], scoring.counting(cohort, part)) for side in sides]
    return {
        "first": near[0][one],
        "second": near[1][two],
        "scores": scores[one, two],
        "is_target": speakers[one] == speakers[two],
        "enrolment_speakers": speakers[one],
        "test_speakers": speakers[two],
        "seconds": np.stack([seconds[one, sides[0]], seconds[two, sides[1]]], axis=1),
    }


def known(one: decisions.Utterance) -> bool:
    """Whether the calibration of full-band recordings holds this one."""
    return one.band is not None and band.FULL.holds(one.band)


def fitted(
    parts: list[tuple[list[list[decisions.Utterance]], NDArray[np.str_]]],
    name: str,
    rate: float | None,
    part: tuple[int, int] | None,
    cohort: NDArray[np.float64],
) -> dict[str, Any]:
    """One calibration, as the header keeps it."""
    sides = WHICH[name]
    found = [trials(utterances, speakers, sides, part, cohort) for utterances, speakers in parts]
    bands = [both[1].band for utterances, _ in parts for both in utterances if not known(both[1])]
    highs, lows = (np.array([getattr(one, end) for one in bands if one is not None]) for end in ("high", "low"))
    narrow = band.KnownBands(
        max(LEAST, float(np.quantile(highs, 0.025))), RATE / 2, float(np.quantile(lows, 0.975)), CLEAR
    )
    result = calibrated(found, f"training speakers over {name}", rate, narrow)
    if rate is None:
        limit = result.score_at(DOUBT)
        result = dataclasses.replace(result, threshold=limit, threshold_low=limit, threshold_high=limit, accepts=False)
    return kept(dataclasses.replace(result, wider=None if sides[1] else band.FULL, part=part, cautious=True))


def calibrated(
    found: list[dict[str, Any]], source: str, rate: float | None, bands: band.KnownBands
) -> calibration.Calibration:
    """The calibration on trials of several corpora; where these know the nearness to a cohort, with what it adds."""
    joined = {key: np.concatenate([one[key] for one in found]) for key in found[0]}
    scores, labels, added = joined.pop("scores"), joined.pop("is_target"), None
    if "first" in joined:
        near = joined.pop("first"), joined.pop("second")
        added = logistic.fit_by_cohort(scores, labels, joined["seconds"], *near)
        scores = scores + added.added(*near)
    return calibration.calibrate(
        scores, labels, joined.pop("enrolment_speakers"), joined.pop("test_speakers"), **joined, origin="-",
        source=source, false_alarm=rate, bands=bands, by_cohort=added, draws=50,
    )  # fmt: skip


def kept(found: calibration.Calibration) -> dict[str, Any]:
    """A calibration as the header of the one it belongs to keeps it."""
    return {key: value for key, value in found.as_dict().items() if key not in ("origin", "lines")}


def write(output: Path, checkpoint: checkpoints.Checkpoint, lines: list[dict[str, Any]]) -> None:
    """Save a calibrated file with these further calibrations, and print those."""
    header = {key: value for key, value in checkpoint.header.items() if key not in ("sha256", "format")}
    header["calibration"] = {**header["calibration"], "lines": lines}
    checkpoints.save(output, checkpoint.tensors, header)
    print(json.dumps(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpora", nargs="+", default=["librispeech", "an4"])
    parser.add_argument("--each", type=int, default=5, help="recordings of each speaker")
    parser.add_argument("--false-alarm", type=float, default=None, help="rate of the thresholds; nobody is accepted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    embedder = embedders.load(args.model, device="cpu")
    if embedder.cohort is None:
        raise SystemExit(f"{args.model} has no cohort; floor.py makes one")
    parts = []
    for corpus in args.corpora:
        files = chosen(args.manifest, corpus, "train", SPEAKERS, args.each)
        both = [
            (name, over_lines(file, embedder, np.random.default_rng([args.seed, number])))
            for number, (name, file) in enumerate(files)
        ]
        both = [(name, found) for name, found in both if found]
        parts.append(([found for _, found in both], np.array([name for name, _ in both])))
    part = None
    if isinstance(embedder, log_mel.LogMelEmbedder) and embedder.narrow is not None:
        part = (embedder.network.fc.out_channels, embedder.dim)
    cohort = embedder.cohort.double().numpy()
    lines = [fitted(parts, name, args.false_alarm, part, cohort) for name in WHICH]
    write(args.output, checkpoints.load(args.model, kind="embedder"), lines)


if __name__ == "__main__":
    errors.run_recipe(main)
