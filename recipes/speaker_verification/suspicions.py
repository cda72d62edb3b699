"""How often two speakers are suspected, in recordings of one and of two, and what else passes for speech.

    python recipes/speaker_verification/suspicions.py MANIFEST.csv --split dev --count 60 --other MUSIC_DIR

Recordings of 20 s are put together from utterances of one speaker, or of two who take turns or talk at once.
``--other`` are folders of recordings without speech (music, noise): counted is how many would be scored, and how
many of those are doubted.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch

from speechssl import audio, embedders, verification
from speechssl.interfaces import Embedder
from speechssl.signals import Waveform
from speechssl.trials import SUFFIXES

RATE, SECONDS = 16000, 20


def stretch(paths: list[Path], rng: np.random.Generator, seconds: float) -> torch.Tensor:
    """Samples of that many seconds from random utterances, at equal level."""
    parts: list[torch.Tensor] = []
    while sum(len(part) for part in parts) < seconds * RATE:
        samples = audio.read_mono(paths[int(rng.integers(len(paths)))], RATE).samples
        parts.append(samples * (0.05 / samples.square().mean().sqrt().clamp(min=1e-6)))
    return torch.cat(parts)[: round(seconds * RATE)]


def recording(kind: str, speakers: dict[str, list[Path]], rng: np.random.Generator) -> Waveform:
    """One of ``one``, ``turns`` (half each, once taken over), ``brief`` (a quarter by the other) and ``at once``."""
    first, second = (speakers[name] for name in rng.choice(sorted(speakers), 2, replace=False))
    if kind == "one":
        samples = stretch(first, rng, SECONDS)
    elif kind == "at once":
        samples = stretch(first, rng, SECONDS) + stretch(second, rng, SECONDS)
    else:
        share = 0.5 if kind == "turns" else 0.25
        samples = torch.cat([stretch(first, rng, (1 - share) * SECONDS), stretch(second, rng, share * SECONDS)])
    return Waveform(samples.contiguous(), RATE)


def passing(folder: Path, embedder: Embedder) -> dict[str, int]:
    """Of pieces of 8 s at most: how many hold a second of what passes for speech, and how many of those are doubted."""
    found = {"of": 0, "scored": 0, "doubted": 0}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        samples = audio.read_mono(path, RATE).samples
        for part in samples[: 60 * RATE].split(8 * RATE):
            found["of"] += 1
            piece = Waveform(part.clone(), RATE)
            if audio.speech_seconds(piece) >= verification.MIN_SPEECH:
                found["scored"] += 1
                cohort = getattr(embedder, "cohort", None)
                found["doubted"] += verification.unlike_speech(embedder.embed(piece), cohort)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpus", default="librispeech")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    speakers: dict[str, list[Path]] = {}
    with args.manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["corpus"], row["split"]) == (args.corpus, args.split):
                speakers.setdefault(row["speaker"], []).append(args.manifest.parent / row["path"])
    embedder = embedders.load(args.model)
    calibration = verification.shipped_calibration(embedder)
    if calibration is None:
        raise SystemExit(f"{embedder.origin} came without a calibration; give a model that has one")
    rng = np.random.default_rng(args.seed)
    for kind in ("one", "turns", "brief", "at once"):
        ratios = [
            verification.two_speaker_llr(recording(kind, speakers, rng), embedder, calibration)
            for _ in range(args.count)
        ]
        known = [ratio for ratio in ratios if ratio is not None]
        suspected = sum(ratio < verification.SUSPICION for ratio in known)
        quantiles = np.quantile(known, [0.05, 0.5, 0.95]).round(2).tolist() if known else []
        row = {"recordings": kind, "of": args.count, "suspected": suspected, "ratio_5_50_95": quantiles}
        print(json.dumps(row), flush=True)
    for folder in args.other:
        print(json.dumps({"recordings": folder.name, **passing(folder, embedder)}), flush=True)


if __name__ == "__main__":
    main()
