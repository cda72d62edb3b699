"""Search the recordings of a voice for a second speaker, before the voice is made.

Pieces of speech are compared by F0 and cepstra, and several recordings by the speaker embedder too. For one recording
of a verification trial, ``verification.screening.two_speaker_llr`` asks the embedder instead.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechssl import checkpoints
from speechssl.audio import activity, f0_tracker
from speechssl.audio.mel import cepstra
from speechssl.errors import InputError
from speechssl.signals import Embedder, Waveform
from speechssl.verification import decisions, embedders, enrolling
from speechssl.verification.calibration import Calibration

Floats: TypeAlias = NDArray[np.float64]
# samples, band powers and activity of two seconds of speech
Piece: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]

CHUNK = 200  # frames of speech, 2 s: the shortest piece whose sounds average out, found by measuring
MOST_CHUNKS = 32  # a minute of speech is compared; more would cost time and find no more
HEARD, MOST_HEARD = 20, 8  # seconds of a recording that the speaker embedder hears, and how many recordings
SURE = -2.2  # log-likelihood ratio: a probability of one in ten that it is the same speaker
MODEL = checkpoints.PACKAGED / "second_speaker.safetensors"


@dataclass(frozen=True)
class Speakers:
    """Whether one voice is heard.

    Args:
        suspected: more than one speaker, by the score or by the speaker embedder; None if there is too little speech to
            say (less than 4 s).
        score: how far apart the two most different groups of pieces are, over what one speaker reaches in 2 of 100
            cases; above 1 is suspicion. nan if unknown.
        odd: names of the recordings that stand apart from most of the speech, if suspected; empty where the second
            speaker is within a recording.
    """

    suspected: bool | None
    score: float
    odd: tuple[str, ...] = ()


def evenly(length: int, most: int) -> Tensor:
    """Numbers (n,) of at most ``most`` of ``length`` things, evenly spread."""
    return torch.arange(length) if length <= most else torch.linspace(0, length - 1, most).round().long()


def chunks(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of a recording with 2 s of speech each: (first frame, one past the last); a rest above 1 s counts."""
    spoken = np.flatnonzero(active)
    pieces = [spoken[start : start + CHUNK] for start in range(0, len(spoken), CHUNK)]
    return [(int(piece[0]), int(piece[-1]) + 1) for piece in pieces if len(piece) >= CHUNK / 2]


def traits(samples: NDArray[np.float32], bands: NDArray[np.float32], active: NDArray[np.bool_]) -> Floats | None:
    """Numbers (40,) that differ between speakers, of 2 s of speech.

    Mean and standard deviation of 19 cepstra of voiced speech, median of log-F0 and the median distance from it.

    Args:
        samples: (T,) at 16 kHz.
        bands: (F, 24) powers, ``activity.band_powers``.
        active: (F,) where speech is.
    Returns:
        None if less than 0.15 s is voiced.
    """
    contour = f0_tracker.f0(Waveform(torch.from_numpy(samples), activity.RATE), frame_period=0.01).numpy()[: len(bands)]
    voiced = active[: len(contour)] & (contour > 0)
    if voiced.sum() < 15:
        return None
    levels = np.log(bands[: len(contour)][voiced].astype(np.float64) + 1e-10)
    timbre = cepstra(levels, 20)[:, 1:]
    logs = np.log(contour[voiced].astype(np.float64))
    middle = float(np.median(logs))
    return np.concatenate([timbre.mean(axis=0), timbre.std(axis=0), [middle, np.median(np.abs(logs - middle))]])


def two_groups(points: Floats) -> tuple[float, NDArray[np.bool_]]:
    """Part points (n, d) in two by 2-means from the farthest pair.

    Returns:
        Squared distance of the means times n1 n2 / n, per dimension (what Hotelling's T-squared is for white points),
        and which points are in the smaller group, (n,).
    """
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    first, second = np.unravel_index(int(squares.argmax()), squares.shape)
    side = squares[first] < squares[second]
    for _ in range(10):
        if side.all() or not side.any():
            return 0.0, np.zeros(len(points), dtype=np.bool_)
        one, two = points[side].mean(axis=0), points[~side].mean(axis=0)
        moved = ((points - one) ** 2).sum(axis=1) < ((points - two) ** 2).sum(axis=1)
        if (moved == side).all():
            break
        side = moved
    weight = side.sum() * (~side).sum() / len(points)
    distance = float(((one - two) ** 2).sum() * weight / points.shape[1])
    return distance, side if side.sum() <= (~side).sum() else ~side


def suspected_speakers(pieces: list[tuple[Piece, int]], names: list[str]) -> Speakers:
    """Say whether pieces of speech are of two speakers, by linear discriminants of their traits put in two groups.

    The discriminants were fitted to differ between speakers, but not between microphones.

    On 21 speakers of LibriSpeech, AN4, ARCTIC and others that nothing was fitted on (benchmarks/reference_report.py):
    one speaker is suspected in 0 to 3 of 100 sets, also if half was recorded through another microphone (16 of 100 in a
    minute of speech); two speakers who share the speech evenly are found in 54 of 100 sets of 4 s, 73 of 8 s, 82 of
    12 s, 88 of 32 s and 97 of 64 s; with a quarter from the second one, 58, 57, 76, 80 and 82. Similar voices pass.
    """
    chosen = [pieces[index] for index in evenly(len(pieces), MOST_CHUNKS).tolist()]
    kept = [(trait, owner) for piece, owner in chosen if (trait := traits(*piece)) is not None]
    if len(kept) < 2:
        return Speakers(None, math.nan)
    directions, counts, limits = load_model()
    distance, smaller = two_groups(np.stack([trait for trait, _ in kept]) @ directions)
    score = distance / float(np.interp(math.log(len(kept)), np.log(counts), limits))
    whose = np.array([owner for _, owner in kept])
    odd = tuple(name for index, name in enumerate(names) if (whose == index).any() and smaller[whose == index].all())
    return Speakers(score > 1, score, odd if score > 1 else ())


def unlike(recordings: Sequence[tuple[str, Waveform]]) -> tuple[str, ...]:
    """Names of recordings that the speaker embedder of ``tiny`` is sure are of another speaker than most of them.

    The beginnings of some of them are heard. Recordings with too little speech, or over lines that the embedder does
    not know, are passed over.
    """
    embedder, calibration = _verifier()
    chosen = [recordings[index] for index in evenly(len(recordings), MOST_HEARD).tolist()]
    heard = []
    for name, waveform in sorted(chosen, key=lambda one: -one[1].seconds):
        with contextlib.suppress(InputError):
            start = Waveform(waveform.samples[: HEARD * waveform.sample_rate], waveform.sample_rate)
            heard.append((name, decisions.embed(start, embedder, calibration=calibration)))
    odd = enrolling.apart([one for _, one in heard], calibration=calibration, cohort=embedder.cohort, limit=SURE)
    return tuple(name for name, one in heard if any(one is two for two in odd))


@functools.cache
def _verifier() -> tuple[Embedder, Calibration]:
    embedder = embedders.load("tiny")
    calibration = decisions.calibration_for(embedder, None)
    assert calibration is not None, "the embedder that ships has one"
    return embedder, calibration


@functools.cache
def load_model() -> tuple[Floats, Floats, Floats]:
    """Directions (40, d), numbers of pieces (K,), and the limit of the score (K,) at each number."""
    tensors = checkpoints.load(MODEL, kind="second-speaker").tensors
    directions, counts, limits = (tensors[name].double().numpy() for name in ("directions", "counts", "limits"))
    return directions, counts, limits
