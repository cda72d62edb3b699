"""Which frames belong to which phone: monotonic alignment search, and the Gaussians it searches with.

Each kind of phone is a Gaussian in the space of the keys. The best monotonic path through each utterance and the means
of the phones are estimated in turn (Viterbi training of a hidden Markov model with one state per phone). Glow-TTS gets
the means from an encoder. Keys of a self-supervised encoder are already phonetic, so one mean for each kind of phone is
enough: an alignment takes seconds, and the network is trained with fixed durations.

Source: Kim et al. 2020, "Glow-TTS", arXiv:2005.11129, section 3.2 and algorithm 1; here pauses may be skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from speechssl.errors import InputError

Array: TypeAlias = NDArray[Any]

_NEVER = np.float64(1e30)


def search(costs: Array, optional: Array) -> Array:
    """The cheapest monotonic path: how many frames each token lasts.

    Args:
        costs: (L, T) of token l in frame t.
        optional: (L,) bool, tokens that may last no frame; no two of them in a row.
    Returns:
        Durations (L,) int64 that sum to T; those of tokens that are not optional are >= 1.
    Raises:
        InputError: more tokens that must be heard than frames.
    """
    tokens, frames = costs.shape
    needed = tokens - int(optional.sum())
    if needed > frames or tokens == 0:
        raise InputError(f"{needed} sounds cannot be aligned with {frames} frames; is the text that of the recording?")
    skippable = np.concatenate([[False], optional[:-1]])  # whether the token before may be left out
    # where the path came from: 0 the same token, 1 the one before, 2 the one before that
    came = np.zeros((frames, tokens), np.int8)
    best = np.full(tokens, _NEVER)
    best[0] = costs[0, 0]
    if tokens > 1 and optional[0]:
        best[1] = costs[1, 0]
    for t in range(1, frames):
        one = np.concatenate([[_NEVER], best[:-1]])
        two = np.where(skippable, np.concatenate([[_NEVER, _NEVER], best[:-2]])[:tokens], _NEVER)
        choices = np.stack([best, one, two])
        came[t] = choices.argmin(axis=0)
        best = np.minimum(choices.min(axis=0) + costs[:, t], _NEVER)
    last = tokens - 1
    if optional[-1] and tokens > 1 and best[-2] < best[-1]:
        last -= 1
    durations = np.zeros(tokens, np.int64)
    for t in range(frames - 1, -1, -1):
        durations[last] += 1
        last -= int(came[t, last])
    return durations


def align(
    keys: Sequence[Array], tokens: Sequence[Array], optional: Array, *, kinds: int, iterations: int = 12, dim: int = 48
) -> list[Array]:
    """Align utterances with their tokens, without other information.

    Args:
        keys: (T, D) of each utterance.
        tokens: (L,) kind of each of its tokens, 0 ... kinds - 1.
        optional: (kinds,) bool, kinds that may be silent, and last no frame.
        kinds: number of them.
        iterations: of search and estimate; the alignment no longer changes after about ten.
        dim: directions of the keys that are kept, those in which the kinds differ most.
    Returns:
        Durations (L,) of each utterance, in frames.
    Raises:
        InputError: an utterance with more sounds than frames.
    """
    everything = np.concatenate(keys).astype(np.float64)
    mean, spread = everything.mean(axis=0), everything.std(axis=0) + 1e-6
    centred = (everything - mean) / spread
    starts = np.cumsum([0, *(len(one) for one in keys)])
    durations = [_flat(len(one), optional[kind]) for one, kind in zip(keys, tokens, strict=True)]
    frames = _principal(centred, dim)
    for iteration in range(iterations):
        labels = np.concatenate([np.repeat(kind, lasts) for kind, lasts in zip(tokens, durations, strict=True)])
        if iteration >= iterations // 3:
            frames = _discriminant(centred, labels, kinds, dim)
        means, variances = _gaussians(frames, labels, kinds)
        costs = _costs(frames, means, variances)
        durations = [
            search(costs[start : start + len(one), kind].T, optional[kind])
            for one, kind, start in zip(keys, tokens, starts, strict=False)
        ]
    return durations


def _flat(frames: int, optional: Array) -> Array:
    """Equal durations for all sounds and silence at the ends, as a start."""
    weights = np.where(optional, 0.0, 1.0)
    weights[0], weights[-1] = max(weights[0], 2.0), max(weights[-1], 2.0)
    edges = np.round(np.cumsum(weights) / weights.sum() * frames).astype(np.int64)
    return np.diff(np.concatenate([[0], edges]))


def _principal(frames: Array, dim: int) -> Array:
    _, vectors = np.linalg.eigh(np.cov(frames.T))
    return np.asarray(frames @ vectors[:, ::-1][:, :dim])


def _discriminant(frames: Array, labels: Array, kinds: int, dim: int) -> Array:
    """The directions in which the kinds differ most for their own spread, with a spread of 1 in each."""
    means, _ = _gaussians(frames, labels, kinds)
    within = np.cov((frames - means[labels]).T)
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values + 1e-3 * values.mean())
    _, between = np.linalg.eigh(np.cov((means[labels] @ whiten).T))
    return np.asarray(frames @ whiten @ between[:, ::-1][:, :dim])


def _gaussians(frames: Array, labels: Array, kinds: int) -> tuple[Array, Array]:
    """Means and variances (kinds, D); of rare kinds, drawn towards the mean of all frames."""
    counts = np.bincount(labels, minlength=kinds)[:, None]
    sums, squares = np.zeros((2, kinds, frames.shape[1]))
    np.add.at(sums, labels, frames)
    np.add.at(squares, labels, frames**2)
    weight = 10.0
    means = (sums + weight * frames.mean(axis=0)) / (counts + weight)
    overall = frames.var(axis=0)
    spread = np.maximum(squares - 2 * means * sums + counts * means**2, 0.0)
    return means, (spread + weight * overall) / (counts + weight) + 1e-4


def _costs(frames: Array, means: Array, variances: Array) -> Array:
    """Negative log likelihood (N, kinds) of each frame in each kind, up to a constant."""
    precise = 1.0 / variances
    square = frames**2 @ precise.T - 2 * frames @ (means * precise).T + (means**2 * precise).sum(axis=1)
    return np.asarray(0.5 * (square + np.log(variances).sum(axis=1)))
