"""Whether a recording sounds like speech at all, or like music, machines or animals: a classifier on log-mel bands.

Energy alone lets music pass for speech. This looks at how fast the bands change, how their loudness is modulated and
how much of the spectrum is fine structure, and was taught speech of several corpora against environmental sounds and
made-up music (``recipes/speaker_verification/teach.py``); what it refuses is in ``RESULTS.md`` there.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechssl import checkpoints
from speechssl.audio import activity, audible, files
from speechssl.audio.mel import cepstra, kaldi
from speechssl.checkpoints import PACKAGED
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform

Floats = NDArray[np.float64]

MODEL = PACKAGED / "speechlike.safetensors"
WINDOW = 1000  # frames of 10 ms judged at once
SHORTEST = 60  # frames of 10 ms; less is not judged
BRIEF = 0.5  # seconds below which nothing can be speech to anybody
LEAST = 0.2  # seconds of speech by energy below which there is none
HEARD = 600.0  # seconds of a recording that are heard for a remark
MOST = 30  # windows judged, spread evenly: five minutes
LAGS = (1, 2, 4, 8, 16, 32)  # frames over which change is measured
ARRAYS = ("mean", "spread", "inner", "inner_bias", "outer", "outer_bias")
MODULATIONS = (0.5, 1.5, 3, 6, 10, 16, 30, 50)  # Hz, edges of bands of loudness modulation


@dataclass(frozen=True)
class Hearing:
    """What a recording sounds like.

    Args:
        active: seconds of speech by energy, as ``audio.speech_seconds``.
        likely: the part of ``active`` that also sounds like speech.
    """

    active: float
    likely: float


@dataclass(frozen=True, eq=False)
class Model:
    """Two layers on standardised features; ``read`` takes them from a file.

    Args:
        mean, spread: (S,) of the features.
        inner, inner_bias: (S, H), (H,).
        outer, outer_bias: (H,), (): natural-log odds.
        limit: log odds below which the answer is no.
    """

    mean: Floats
    spread: Floats
    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats
    limit: float

    def odds(self, found: Floats) -> Floats:
        """Natural-log odds (N,), of features (N, S)."""
        standard = np.clip((found - self.mean) / self.spread, -4, 4)
        return np.tanh(standard @ self.inner + self.inner_bias) @ self.outer + self.outer_bias

    @classmethod
    def read(cls, path: Path, kind: str) -> Model:
        """The model of a packaged file.

        Raises:
            CheckpointError: the file is damaged, or of another kind.
        """
        checkpoint = checkpoints.load(path, kind=kind)
        tensors = {name: tensor.double().numpy() for name, tensor in checkpoint.tensors.items()}
        try:
            return cls(**{name: tensors[name] for name in ARRAYS}, limit=float(checkpoint.header["limit"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); install speechssl again") from error


@functools.cache
def load_model() -> Model:
    """The classifier that ships.

    Raises:
        CheckpointError: the file is damaged.
    """
    return Model.read(MODEL, "speechlike")


def hear(waveform: Waveform) -> Hearing:
    """Judge a recording in windows of 10 s or less, five minutes of them at most.

    If 90 % of the windows are not speech, the remaining ones are ignored.
    """
    samples = activity.at_16_khz(waveform)
    active = activity.active_frames(activity.band_powers(samples))
    total = float(active.sum()) / 100
    bounds = [(first, last) for first, last in _bounds(len(active)) if active[first:last].any()]
    chosen = [bounds[i] for i in np.linspace(0, len(bounds) - 1, min(MOST, len(bounds))).round().astype(int)]
    judged = [(int(active[first:last].sum()), _odds(samples, first, last)) for first, last in chosen]
    good = [frames for frames, odds in judged if odds >= load_model().limit]
    if len(good) * 10 < len(judged) or not judged:
        return Hearing(total, 0.0)
    return Hearing(total, total * sum(good) / sum(frames for frames, _ in judged))


def remark_on(recording: Waveform | str | Path) -> str:
    """What to say of a recording that holds no speech, in a few words; nothing if it holds some.

    Ten minutes are heard.

    Raises:
        InputError: a file that cannot be read.
    """
    if isinstance(recording, Waveform):
        waveform = recording.first(HEARD)
    else:
        waveform = Waveform(next(files.stream(recording, activity.RATE, HEARD)), activity.RATE)
    if waveform.seconds < BRIEF:
        return f"{waveform.seconds:.2f} s long, which is too short for speech"
    heard = hear(audible(waveform)[0])
    if heard.active < LEAST:
        return "no speech in it: silence or steady noise"
    return "" if heard.likely else "no speech in it: it sounds like music or noise"


def _odds(samples: NDArray[np.float32], first: int, last: int) -> float:
    """Log odds of speech of frames of 10 ms of samples (T,); infinite where there are too few."""
    if last - first < SHORTEST:
        return math.inf
    found = features(kaldi(torch.from_numpy(samples[first * 160 : last * 160 + 240])).numpy())
    return float(load_model().odds(found[None])[0])


def features(log_bands: NDArray[np.floating]) -> Floats:
    """Statistics (S,) of log-mel bands (F, 80), natural log of power, F >= 50; no part knows the level.

    Of the frames within 26 dB of the loudest: standard deviation in each of eight groups of bands; mean change over
    10 to 320 ms in four; spectral envelope and fine structure, as mean and standard deviation of groups of cepstra and
    their change. Of all frames: share of modulation frequencies of the loudness of four groups of bands, correlation of
    groups, and how the level is distributed.
    """
    bands = np.asarray(log_bands, np.float64)
    level = np.log(np.exp(bands - bands.max()).sum(1))
    top = np.quantile(level, 0.95)
    bands = np.maximum(bands, np.quantile(bands, 0.95) - 12)  # digital silence is no deeper than a quiet room
    loud = level > top - 6
    groups = bands.reshape(len(bands), 8, 10).mean(2)
    wide = bands.reshape(len(bands), 4, 20)
    curve: Floats = cepstra(bands, bands.shape[1]).astype(np.float64)
    spans = ((1, 4), (4, 8), (8, 13), (13, 20), (20, 30), (30, 50), (50, 80))
    size = np.stack([np.sqrt((curve[:, a:b] ** 2).mean(1)) for a, b in spans], 1)
    found = [
        groups[loud].std(0),
        *(_change(wide, loud, lag) for lag in LAGS),
        size[loud].mean(0),
        size[loud].std(0),
        *(_change(curve[:, a:b], loud, 2)[None] for a, b in spans),
        _modulation(np.log(np.exp(wide).mean(2))),
        _neighbours(groups),
        np.diff(np.quantile(np.maximum(level, top - 10), [0.05, 0.25, 0.5, 0.75, 0.95])),
        [loud.mean()],
    ]
    return np.concatenate([np.atleast_1d(part) for part in found])


def _change(values: Floats, loud: NDArray[np.bool_], lag: int) -> Floats:
    """Mean absolute change over a lag, of the last axis, where both ends are loud."""
    both = loud[lag:] & loud[:-lag]
    if not both.any():
        return np.zeros(values.shape[1:-1])
    return np.abs(values[lag:][both] - values[:-lag][both]).mean((0, -1))


def _modulation(loudness: Floats) -> Floats:
    """Log share (G * M,) of each band of modulation frequencies of loudness (F, G) at 100 Hz."""
    centred = loudness - loudness.mean(0)
    power = np.abs(np.fft.rfft(centred * np.hanning(len(centred))[:, None], max(512, len(centred)), axis=0)) ** 2
    hertz = np.fft.rfftfreq(max(512, len(centred)), 0.01)
    edges = [*MODULATIONS[:-1], 50.1]
    parts = np.stack([power[(hertz >= a) & (hertz < b)].sum(0) for a, b in itertools.pairwise(edges)])
    return np.log(parts / (parts.sum(0) + 1e-9) + 1e-4).T.reshape(-1)


def _neighbours(groups: Floats) -> Floats:
    """Correlation over time of each group of bands with the next, and of the lowest half with the highest."""
    centred = groups - groups.mean(0)
    unit = centred / (np.linalg.norm(centred, axis=0) + 1e-9)
    return np.append((unit[:, 1:] * unit[:, :-1]).sum(0), [(unit[:, 1] * unit[:, 6]).sum()])


def _bounds(frames: int) -> list[tuple[int, int]]:
    """Windows as equal as can be, ``WINDOW`` frames at most."""
    count = max(1, -(-frames // WINDOW))
    edges = [frames * number // count for number in range(count + 1)]
    return list(itertools.pairwise(edges))
