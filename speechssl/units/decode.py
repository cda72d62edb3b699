"""Units back to speech in any stored voice, without training: retrieve what is nearest to each unit's centroid.

Every frame asks for the voice's frames nearest to its unit's centroid. Among those candidates, the path that keeps runs
of the recordings together is taken, so that a unit held for ten frames does not become one frame ten times over. The
vocoder needs a pitch that units do not carry: it starts above the voice's mean in every phrase and falls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechssl.conversion.converters import runs
from speechssl.conversion.retrieval import Neighbours, nearest
from speechssl.encoders.fingerprints import check_same_weights
from speechssl.errors import InputError
from speechssl.signals import Features, Units, Vocoder, Waveform, check_same_origin
from speechssl.units.codebooks.codebook import Codebook
from speechssl.voices import pitch
from speechssl.voices.matching_set import MatchingSet

CANDIDATES = 32  # frames of the voice a unit may be spoken with
VOICED = -0.3  # dB of aperiodicity; WORLD writes 0 where there is no pitch
DECLINATION = 0.12  # natural log of F0 that a phrase falls by, two semitones
PHRASE_GAP = 10  # unvoiced 20 ms frames that end a phrase


def decode(
    units: Units,
    codebook: Codebook,
    voice: MatchingSet,
    vocoder: Vocoder,
    *,
    k: int = CANDIDATES,
    pitch_shift: float = 0.0,
) -> Waveform:
    """Speak units in a voice.

    Args:
        units: with their durations.
        codebook: the units' own, of one level.
        voice: its keys from the encoder the codebook was fitted on.
        vocoder: of the voice's values.
        k: candidates a unit.
        pitch_shift: semitones, where the vocoder takes F0.
    Returns:
        About sum(durations) / frame rate seconds.
    Raises:
        InputError: origins that do not belong together, or a unit the codebook does not have.
    """
    check_same_origin(units.origin, codebook.origin, what="speak these units with this codebook")
    check_same_origin(voice.key_origin, codebook.features, what="speak these units in this voice")
    check_same_weights(voice.key_encoder, codebook.encoder, voice.key_origin, what="speak these units in this voice")
    check_same_origin(voice.value_origin, vocoder.origin, what="vocode this voice")
    frames = retrieve(units, codebook, voice, k=k)
    f0 = contour(frames, voice, pitch_shift) if vocoder.needs_f0 else None
    keys = None
    if vocoder.key_origin:
        heard = torch.from_numpy(codebook.reconstruct(units.ids.numpy()[:, None])).repeat_interleave(
            units.durations, dim=0
        )
        keys = Features(heard, voice.frame_rate, codebook.features)
    return vocoder.vocode(Features(frames, voice.frame_rate, voice.value_origin), f0=f0, keys=keys)


def retrieve(units: Units, codebook: Codebook, voice: MatchingSet, *, k: int = CANDIDATES) -> Tensor:
    """Values (N, V) of the voice for every frame of the units, N = sum of the durations.

    Raises:
        InputError: a unit the codebook does not have, or one of several levels.
    """
    used, inverse = torch.unique(units.ids, return_inverse=True)
    centroids = torch.from_numpy(codebook.reconstruct(used.numpy()[:, None]))
    found = nearest(centroids, voice.keys, k=min(k, len(voice)))
    rows = inverse.repeat_interleave(units.durations)
    candidates = Neighbours(found.indices[rows], found.distances[rows])
    path = runs.best_path(voice.keys, candidates, voice.follows())
    chosen = candidates.indices.gather(1, path[:, None])[:, 0]
    return voice.values[chosen].float()


def contour(values: Tensor, voice: MatchingSet, pitch_shift: float = 0.0) -> Tensor:
    """F0 (F,) Hz every 5 ms for values (N, V) of WORLD: voiced where the values are, falling through each phrase."""
    aperiodicity = values.reshape(len(values) * 4, -1)[:, -1].numpy()
    voiced = aperiodicity < VOICED
    statistics = voice.pitch
    if statistics.voiced_seconds <= 0:
        return torch.zeros(len(voiced))
    height = statistics.mean + pitch_shift / 12 * np.log(2.0)
    f0 = np.zeros(len(voiced), np.float32)
    for first, last in _phrases(voiced, PHRASE_GAP * 4):
        place = np.linspace(0.5, -0.5, last - first)
        f0[first:last] = np.exp(height + DECLINATION * place)
    f0[~voiced] = 0.0
    return torch.from_numpy(f0.clip(0, pitch.HIGHEST))


def typical_durations(sequences: Sequence[tuple[Sequence[int], Sequence[int]]], num_units: int) -> NDArray[np.int64]:
    """Frames (K,) that each unit lasts: the median of its run lengths, that of all units for one never seen.

    Args:
        sequences: units and durations of utterances.
        num_units: K.
    Raises:
        InputError: no utterances.
    """
    if not sequences:
        raise InputError("no utterances to learn durations from; give a folder of units")
    ids = np.concatenate([np.asarray(units, np.int64) for units, _ in sequences])
    runs = np.concatenate([np.asarray(durations, np.int64) for _, durations in sequences])
    lengths = np.full(num_units, max(1, round(float(np.median(runs)))), np.int64)
    for unit in np.unique(ids):
        lengths[unit] = max(1, round(float(np.median(runs[ids == unit]))))
    return lengths


def units_of(
    ids: Sequence[int],
    codebook: Codebook,
    *,
    durations: Sequence[int] | None = None,
    lengths: NDArray[np.int64] | None = None,
) -> Units:
    """Units from bare ids, e.g. what a language model wrote.

    Args:
        ids: (M,).
        codebook: theirs.
        durations: frames of each; None to take them from ``lengths``.
        lengths: of ``typical_durations``; without either, each id is one frame.
    Raises:
        InputError: no ids, one the codebook does not have, another number of durations, or a codebook of several
            levels.
    """
    if codebook.num_levels > 1:
        raise InputError(
            f"{codebook.origin} has {codebook.num_levels} codes a frame; units of a codebook of one level are spoken"
        )
    wanted = torch.tensor(list(ids), dtype=torch.int64)
    if len(wanted) and int(wanted.max()) >= codebook.num_units:
        raise InputError(f"unit {int(wanted.max())}; {codebook.origin} has 0 to {codebook.num_units - 1}")
    if durations is None:
        durations = [1] * len(wanted) if lengths is None else lengths[wanted.numpy()].tolist()
    return Units(wanted, torch.tensor(list(durations), dtype=torch.int64), codebook.frame_rate, codebook.origin)


def _phrases(voiced: NDArray[np.bool_], gap: int) -> list[tuple[int, int]]:
    """Stretches from first to last voiced frame, apart by more than ``gap`` frames."""
    places = np.flatnonzero(voiced)
    if not len(places):
        return []
    breaks = np.flatnonzero(np.diff(places) > gap)
    starts, ends = np.r_[places[0], places[breaks + 1]], np.r_[places[breaks], places[-1]] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
