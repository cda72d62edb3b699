"""Means of neighbours: the frames that most converters make, and what the other converters share with them.

Values may be float16 and mapped from a file, so rows are gathered in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechssl.conversion.retrieval import Neighbours, parts_of
from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.conversion.predictor import ValuePredictor
    from speechssl.conversion.source import Source
    from speechssl.voices.matching_set import MatchingSet

EPSILON = 1e-8  # added to distances before they divide, as in kNN-TTS
GATHERED = 1 << 22  # numbers gathered at a time, 16 MB


@dataclass(frozen=True, eq=False)
class Trace:
    """What each output frame is made of.

    Args:
        indices: (N, k) int64 frames of the voice.
        weights: (N, k) float64 share of each; rows sum to 1, to less where a part is no mean of frames, and to 0 where
            the nearest are only named.
        distances: (N, k) float64 cosine distance to the source frame.
    """

    indices: Tensor
    weights: Tensor
    distances: Tensor


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a converter makes frames of: a source and the frames of a voice that are near it.

    Args:
        source: N frames, with values if the converter needs them.
        voice: of the same origins as the source.
        neighbours: (N, K) nearest frames of the voice, K >= k.
        k: neighbours to average.
        hears_keys: whether the vocoder hears the words in the keys, beside the frames.
        predictor: of the values of keys, if there is one.
    """

    source: Source
    voice: MatchingSet
    neighbours: Neighbours
    k: int
    hears_keys: bool = False
    predictor: ValuePredictor | None = None

    @property
    def nearest(self) -> Neighbours:
        """The (N, k) nearest frames."""
        return self.neighbours.first(self.k)


def uniform(candidates: Candidates) -> tuple[Tensor, Trace]:
    """Plain mean (N, V) of the k nearest frames.

    Source: kNN-VC, Baas et al. 2023, arXiv:2305.18975, section 2.
    """
    return made_of(candidates.voice, plain(candidates.nearest))


def distance(candidates: Candidates) -> tuple[Tensor, Trace]:
    """Mean (N, V) of the k nearest frames, in which nearer frames count more.

    Source: kNN-TTS, Hajal et al. 2024, arXiv:2408.10771.
    """
    near = candidates.nearest
    return made_of(candidates.voice, Trace(near.indices, distance_weights(near), near.distances))


def made_of(voice: MatchingSet, trace: Trace) -> tuple[Tensor, Trace]:
    """The mean (N, V) that a trace describes, and the trace."""
    return weighted_mean(voice.values, trace.indices, trace.weights), trace


def plain(near: Neighbours) -> Trace:
    """The trace of a plain mean of neighbours."""
    return Trace(near.indices, uniform_weights(near), near.distances)


def uniform_weights(neighbours: Neighbours) -> Tensor:
    """(N, k) all 1 / k."""
    return torch.full_like(neighbours.distances, 1.0 / neighbours.k)


def distance_weights(neighbours: Neighbours) -> Tensor:
    """(N, k) w_i = 1 / (d_i + 1e-8), divided by their sum."""
    weights = 1.0 / (neighbours.distances + EPSILON)
    return weights / weights.sum(dim=1, keepdim=True)


def weighted_mean(values: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Mean over k of the value frames.

    Args:
        values: (M, V).
        indices: (N, k) rows of the values.
        weights: (N, k); rows sum to 1.
    """
    result = torch.empty(len(indices), values.shape[1])
    for part in pieces(len(indices), indices.shape[1] * values.shape[1]):
        gathered = values[indices[part]].float()  # (n, k, V)
        result[part] = torch.einsum("nkv,nk->nv", gathered, weights[part].float())
    return result


def interpolate(source: Tensor, retrieved: Tensor, amount: float) -> Tensor:
    """amount * retrieved + (1 - amount) * source, frames (N, V) of one origin.

    Raises:
        InputError: an amount outside [0, 1], or other shapes.
    Source: kNN-TTS (SSL-TTS), section 2.4: 0 is the source, 1 the target.
    """
    if not 0 <= amount <= 1:
        raise InputError(f"interpolation is {amount}; between 0 (the source) and 1 (the target) needed")
    if source.shape != retrieved.shape:
        raise InputError(f"source values {tuple(source.shape)} and retrieved {tuple(retrieved.shape)} differ in shape")
    return retrieved if amount == 1 else amount * retrieved + (1 - amount) * source.float()


def blend(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Sum of w_i / sum(w) * parts_i, frames (N, V) in the voices i.

    Raises:
        InputError: not one weight per voice, a negative one, or none above 0.
    """
    shares = blend_shares(weights)
    if len(parts) != len(shares):
        raise InputError(f"{len(parts)} voices but {len(shares)} weights; one weight a voice needed")
    if len(parts) == 1:
        return parts[0]
    result = parts[0] * shares[0]
    for part, share in zip(parts[1:], shares[1:], strict=True):
        result = result + part * share
    return result


def blend_shares(weights: Sequence[float]) -> list[float]:
    """Weights divided by their sum.

    Raises:
        InputError: a negative or infinite one, or none above 0.
    """
    total = sum(weights)
    if not weights or min(weights) < 0 or not 0 < total < float("inf"):
        raise InputError(f"weights of the voices are {list(weights)}; none below 0 and at least one above needed")
    return [weight / total for weight in weights]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Neighbours of the source's frames, and the values they stand for: what a local mean is taken of.

    Args:
        values: (M, V).
        neighbours: (N, k).
    """

    values: Tensor
    neighbours: Neighbours

    def means(self, k: int | None = None) -> Tensor:
        """(N, V) local means, of the first k neighbours or of all."""
        some = self.neighbours if k is None else self.neighbours.first(k)
        return weighted_mean(self.values, some.indices, uniform_weights(some))

    def spread(self) -> Tensor:
        """(V,) float64 standard deviation around the local means, pooled over all frames."""
        indices = self.neighbours.indices
        total = torch.zeros(self.values.shape[1], dtype=torch.float64)
        for part in pieces(len(indices), 2 * indices.shape[1] * self.values.shape[1]):
            total += self.values[indices[part]].double().var(dim=1, correction=0).sum(dim=0)
        return (total / len(indices)).sqrt()


def centre_of(values: Tensor) -> Tensor:
    """(V,) float64 mean of values (M, V)."""
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    for part in pieces(len(values), values.shape[1] * 2):
        total += values[part].double().sum(dim=0)
    return total / len(values)


def pieces(length: int, numbers: int) -> Iterator[slice]:
    """Slices of rows of so many numbers each."""
    return parts_of(length, max(1, GATHERED // max(1, numbers)))
