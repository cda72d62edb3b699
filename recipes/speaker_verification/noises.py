"""Verification under noise: made noise of several ratios, and recordings of noise that no training heard.

    python recipes/speaker_verification/noises.py MANIFEST.csv --corpus librispeech --split dev --speakers 6 --each 5

Trials and columns are those of ``lines.py``. The recordings of noise are those of the manifest's ``noise_*``, split
``test``; each trial has two of them.
"""

from __future__ import annotations

from functools import partial

import lines
import numpy as np
import torch
from calibrate_noise import recorded_noises
from lines import RATE, Line, Samples, with_noise

from speechssl import audio, errors
from speechssl.training import distort
from speechssl.verification import embedders


def coloured(samples: Samples, rng: np.random.Generator, decibels: float) -> tuple[Samples, int]:
    """Samples under noise between hiss and rumble."""
    return distort.with_noise(samples, distort.coloured_noise(rng, len(samples)), decibels), RATE


def noises(recorded: list[Samples]) -> dict[str, Line]:
    """Kinds of noise; ``recorded`` is laid under at 10 and 20 dB."""

    def white(samples: Samples, rng: np.random.Generator, decibels: float) -> tuple[Samples, int]:
        return with_noise(samples, rng, decibels), RATE

    def of_a_place(samples: Samples, rng: np.random.Generator, decibels: float) -> tuple[Samples, int]:
        sound = recorded[int(rng.integers(len(recorded)))]
        return distort.with_noise(samples, np.resize(sound, len(samples)), decibels), RATE

    found: dict[str, Line] = {"clean": lambda samples, _: (samples, RATE)}
    found |= {f"white, {decibels} dB": partial(white, decibels=decibels) for decibels in (20, 15, 10, 5)}
    found |= {f"coloured, {decibels} dB": partial(coloured, decibels=decibels) for decibels in (15, 10, 5)}
    return found | {f"recorded, {decibels} dB": partial(of_a_place, decibels=decibels) for decibels in (20, 10)}


def main() -> None:
    args = lines.options(__doc__).parse_args()
    torch.set_num_threads(1)
    sounds = [audio.read_mono(path, RATE).samples.numpy() for path in recorded_noises(args.manifest, "test")]
    sounds = [sound for sound in sounds if float(np.square(sound).mean()) > 1e-9]
    if not sounds:
        raise SystemExit(f"{args.manifest} has no recordings of noise of the split 'test'")
    embedder = embedders.load(args.model, device="cpu")
    found = lines.measured(lines.read(args), embedder, args.seed, noises(sounds))
    lines.report(found, args.output)


if __name__ == "__main__":
    errors.run_recipe(main)
