"""How often two speakers are suspected, in recordings of one and of two.

    python recipes/speaker_verification/suspicions.py MANIFEST.csv --split dev --count 60

Recordings of 20 s are put together from utterances of one speaker, or of two who take turns or talk at once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from speechssl import audio, errors
from speechssl.signals import Waveform
from speechssl.training import manifests
from speechssl.verification import decisions, embedders, screening

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--corpus", default="librispeech")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    speakers: dict[str, list[Path]] = {}
    for row in manifests.chosen(args.manifest, [args.corpus], [args.split]):
        speakers.setdefault(row["speaker"], []).append(args.manifest.parent / row["path"])
    embedder = embedders.load(args.model)
    calibration = decisions.shipped_calibration(embedder)
    if calibration is None:
        raise SystemExit(f"{embedder.origin} came without a calibration; give a model that has one")
    rng = np.random.default_rng(args.seed)
    for kind in ("one", "turns", "brief", "at once"):
        drawn = [recording(kind, speakers, rng) for _ in range(args.count)]
        ratios = [screening.two_speaker_llr(waveform, embedder, calibration) for waveform in drawn]
        found = [ratio for ratio in ratios if ratio is not None]
        row = {"recordings": kind, "of": args.count, "suspected": sum(x < screening.SUSPICION for x in found)}
        if found:
            row["ratios_0_10_50_90_100"] = np.quantile(found, [0, 0.1, 0.5, 0.9, 1]).round(1).tolist()
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    errors.run_recipe(main)
