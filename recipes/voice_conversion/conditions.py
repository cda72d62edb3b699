"""Sources as people record them: in a room, with noise; and the frames of speech that a conversion of them loses."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from speechssl import audio
from speechssl.signals import Waveform
from speechssl.training import distort

ROOMS = {"room": (0.64, 0.0), "hall": (2.2, -3.0)}  # T60 in seconds; dB, direct sound to reverberation
CONDITIONS = ("clean", *ROOMS, "noise")
NOISE = 10.0  # dB, speech to noise
LOST = 20.0  # dB
SPAN = 0.02  # seconds of a level
QUIET = 30.0  # dB under the loudest tenth of the speech; softer frames of the source do not count


def degraded(path: Path, condition: str, folder: Path) -> Path:
    """The recording in a condition, written to the folder; the same for the same file name, whatever else is drawn.

    Raises:
        ValueError: an unknown condition.
    """
    if condition == "clean":
        return path
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    samples = audio.read_mono(path, distort.SAMPLE_RATE).samples.numpy()
    if condition in ROOMS:
        samples = distort.in_room(samples, distort.simulated_room(rng, *ROOMS[condition]))
    elif condition == "noise":
        samples = distort.with_noise(samples, distort.coloured_noise(rng, len(samples)), NOISE)
    else:
        raise ValueError(f"no condition {condition!r}; one of {', '.join(CONDITIONS)} needed")
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{path.stem}-{condition}.wav"
    audio.write(made, Waveform(torch.from_numpy(samples / max(1.0, float(np.abs(samples).max()))), distort.SAMPLE_RATE))
    return made


def levels(waveform: Waveform, span: float = SPAN) -> np.ndarray:
    """(n,) dB of every ``span`` seconds."""
    size = round(span * waveform.sample_rate)
    samples = waveform.samples.double().numpy()
    return 10 * np.log10(np.square(samples[: len(samples) // size * size]).reshape(-1, size).mean(axis=1) + 1e-12)


def lost_frames(source: Waveform, made: Waveform) -> float:
    """Share of the speech frames of the dry source that are more than 20 dB too quiet in what was made of it.

    Too quiet against the source at the same median level, so that the loudness of the whole does not count.
    """
    dry, wet = levels(source), levels(made)
    count = min(len(dry), len(wet))
    dry, wet = dry[:count], wet[:count]
    speech = dry > np.quantile(dry, 0.9) - QUIET
    difference = wet[speech] - dry[speech]
    return float((difference < np.median(difference) - LOST).mean())
