"""Verification of people who whisper or shout, speak briefly, or speak over music or another voice.

    python recipes/speaker_verification/manner.py MANIFEST.csv --corpus librispeech --split dev --speakers 6 --each 6

Trials and columns are those of ``lines.py``. Whispering and shouting are made from the same recordings: a whisper keeps
the envelope of linear prediction and has noise for its source; a shout by WORLD has a higher and livelier F0, a flatter
spectrum and longer sounds. Real whispers and shouts change more than that, so the errors are lower bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import lines
import numpy as np
import torch
from lines import RATE, Line, Samples
from scipy import signal
from scipy.linalg import solve_toeplitz

from speechssl import errors
from speechssl.training import distort
from speechssl.verification import embedders

Way = Callable[[Samples, np.random.Generator], Samples]

ORDER, FRAME = 20, 400  # of the linear prediction; samples of a frame of 25 ms, every half of it
FLATTER = 6.0  # dB an octave from 500 Hz to 4 kHz that a shout gains


def whispered(samples: Samples) -> Samples:
    """Samples (T,) with noise through the envelope of each frame, as loud as it; lows are weak, as in whispers."""
    rng = np.random.default_rng(0)
    hop, window = FRAME // 2, np.hanning(FRAME)
    noise = rng.normal(size=len(samples))
    found = np.zeros(len(samples) + FRAME)
    for start in range(0, len(samples) - FRAME, hop):
        frame = samples[start : start + FRAME].astype(np.float64) * window
        lags = np.correlate(frame, frame, "full")[FRAME - 1 : FRAME + ORDER]
        if lags[0] < 1e-8:
            continue
        lags[0] *= 1.0001  # so that the equations can be solved
        prediction = solve_toeplitz(lags[:-1], lags[1:])
        heard = signal.lfilter([1.0], np.r_[1.0, -prediction], noise[start : start + FRAME]) * window
        found[start : start + FRAME] += heard * np.sqrt(lags[0] / (np.square(heard).sum() + 1e-12))
    soft = signal.sosfilt(signal.butter(1, 500, "highpass", fs=RATE, output="sos"), found[: len(samples)])
    return (0.1 * soft / (np.sqrt(np.square(soft).mean()) + 1e-9)).clip(-1, 1).astype(np.float32)


def shouted(samples: Samples) -> Samples:
    """Samples with F0 1.6 times as high and 1.3 times as lively, a flatter spectrum, and 1.2 times as long."""
    import pyworld

    sound = samples.astype(np.float64)
    f0, times = pyworld.harvest(sound, RATE)
    envelope = pyworld.cheaptrick(sound, f0, times, RATE)
    aperiodic = pyworld.d4c(sound, f0, times, RATE)
    voiced = f0 > 0
    middle = np.exp(np.log(f0[voiced]).mean()) if voiced.any() else 1.0
    loud = np.where(voiced, 1.6 * middle * (np.maximum(f0, 1.0) / middle) ** 1.3, 0.0)
    hertz = np.linspace(0, RATE / 2, envelope.shape[1])
    gain = FLATTER * np.log2(np.clip(hertz, 500, 4000) / 500)
    envelope = envelope * 10 ** (gain / 10)
    slow = np.minimum(np.arange(0, len(f0), 1 / 1.2).astype(int), len(f0) - 1)
    made = pyworld.synthesize(loud[slow], envelope[slow], aperiodic[slow] * 0.7, RATE)
    return (0.2 * made / (np.sqrt(np.square(made).mean()) + 1e-9)).clip(-1, 1).astype(np.float32)


def brief(samples: Samples, seconds: float) -> Samples:
    """The loudest stretch of so many seconds."""
    size = round(seconds * RATE)
    power = np.convolve(np.square(samples, dtype=np.float64), np.ones(size), "valid")
    first = int(np.argmax(power)) if len(samples) > size else 0
    return samples[first : first + size]


def with_music(samples: Samples, rng: np.random.Generator) -> Samples:
    """Samples with chords of decaying harmonics 10 dB below."""
    time = np.arange(len(samples)) / RATE
    music = np.zeros(len(samples))
    for start in np.arange(0, time[-1], 0.5):
        root = 110 * 2 ** (rng.choice([0, 3, 5, 7, 10]) / 12)
        later = np.maximum(time - start, 0)
        for note in (1.0, 1.25, 1.5):
            for harmonic in range(1, 6):
                tone = np.sin(2 * np.pi * root * note * harmonic * later) / harmonic
                music += np.where(time >= start, tone * np.exp(-3 * later), 0)
    return distort.with_noise(samples, music.astype(np.float32), 10.0)


def manners(others: list[Samples]) -> dict[str, Line]:
    """Ways of speaking; ``others`` are voices that may be heard behind."""

    def with_voice(samples: Samples, rng: np.random.Generator) -> Samples:
        behind = np.resize(others[int(rng.integers(len(others)))], len(samples))
        return distort.with_noise(samples, behind, 10.0)

    ways: dict[str, Way] = {
        "clean": lambda x, _: x,
        "whispered": lambda x, _: whispered(x),
        "shouted": lambda x, _: shouted(x),
        "1 s": lambda x, _: brief(x, 1.0),
        "2 s": lambda x, _: brief(x, 2.0),
        "music, 10 dB": with_music,
        "another voice, 10 dB": with_voice,
    }
    return {name: partial(at_16_khz, way) for name, way in ways.items()}


def at_16_khz(way: Way, samples: Samples, rng: np.random.Generator) -> tuple[Samples, int]:
    return way(samples, rng), RATE


def main() -> None:
    args = lines.options(__doc__).parse_args()
    torch.set_num_threads(1)
    recordings = lines.read(args)
    # whoever speaks behind speaks in no trial
    names = sorted({name for name, _ in recordings})
    behind = [samples for name, samples in recordings if name == names[-1]]
    tried = [(name, samples) for name, samples in recordings if name != names[-1]]
    found = lines.measured(tried, embedders.load(args.model, device="cpu"), args.seed, manners(behind))
    lines.report(found, args.output)


if __name__ == "__main__":
    errors.run_recipe(main)
