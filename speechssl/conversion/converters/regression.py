"""Regression: where the nearest frames are far, the mean of them mixed with what the whole voice says of a key."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from speechssl.conversion.converters.means import Candidates, Trace, centre_of, pieces, uniform

if TYPE_CHECKING:
    from speechssl.conversion.predictor import ValuePredictor
    from speechssl.voices.matching_set import MatchingSet

RIDGE = 0.1  # of the mean variance of the keys
MOVED = 10.0  # of that of the predictions: half a minute of a voice says little of how it differs from others
# share of the prediction, at coverages (mean cosines) of `tiny` up to FAR; none from NEAR:
# recipes/voice_conversion/RESULTS.md
SHARE, FAR, NEAR = 0.7, 0.72, 0.77
MOST = 6_000  # frames of the voice that are fitted, evenly spread; more add nothing


def regressed(candidates: Candidates) -> tuple[Tensor, Trace]:
    """Frames (N, V): the mean of the k nearest, mixed with the values that a map of the voice predicts from the keys.

    The map rests on all sounds of the voice, and on those of many others where there is a predictor of values, so wrong
    neighbours, of which short references and strange accents have many, weigh less. Its share rises as the coverage
    falls. A voice whose values are its keys keeps the plain mean, as the map would keep the keys of the source. The
    weights of the trace sum to the share of the neighbours.
    """
    frames, trace = uniform(candidates)
    share = share_at(coverage_of(candidates))
    found = predicted(candidates) if share else None
    return (frames, trace) if found is None else mixed(frames, trace, found, share)


def mixed(frames: Tensor, trace: Trace, found: Tensor, share: float) -> tuple[Tensor, Trace]:
    """Frames (N, V) with a share of what was predicted, and their trace, whose weights sum to the rest."""
    return torch.lerp(frames, found, share), dataclasses.replace(trace, weights=trace.weights * (1 - share))


def coverage_of(candidates: Candidates) -> float:
    """Mean cosine of the frames of the source and their nearest."""
    return 1.0 - float(candidates.neighbours.distances[:, 0].mean())


def predicted(candidates: Candidates) -> Tensor | None:
    """Values (N, V) that the voice would give to the keys of the source; None if its values are its keys."""
    voice, keys = candidates.voice, candidates.source.keys.frames
    if not voice.has_own_values:
        return None
    predict = _map_of(voice, candidates.predictor)
    return torch.cat([predict(keys[part]) for part in pieces(len(keys), keys.shape[1])])


def share_at(coverage: float) -> float:
    """Share of the prediction at a coverage: ``SHARE`` up to ``FAR``, falling to none at ``NEAR``."""
    return SHARE * min(1.0, max(0.0, (NEAR - coverage) / (NEAR - FAR)))


@dataclass(frozen=True, eq=False)
class Map:
    """The values (N, V) that a voice gives to keys (N, K). Made by ``of``.

    Without a predictor the map is linear: (key - c) A + m. With one, what it predicts is moved to the voice: p + (p -
    c) A + m, in its scale. Both have the least squared error over the frames of the voice, with a ridge.
    """

    centre: Tensor
    mean: Tensor
    matrix: Tensor
    predictor: ValuePredictor | None = None

    @classmethod
    def of(cls, keys: Tensor, values: Tensor, predictor: ValuePredictor | None = None) -> Map:
        """Fit the map to keys (M, K) and values (M, V) of a voice, of any floating type, perhaps mapped from a file."""
        if predictor is None:
            return cls(*fit_ridge(keys, values))
        usual = predictor(keys)
        return cls(*fit_ridge(usual, values.float() / predictor.scale - usual, MOVED), predictor)

    def __call__(self, keys: Tensor) -> Tensor:
        """Values (N, V) float32 of keys (N, K)."""
        if self.predictor is None:
            return (keys.float() - self.centre) @ self.matrix + self.mean
        usual = self.predictor(keys)
        return (usual + (usual - self.centre) @ self.matrix + self.mean) * self.predictor.scale


_maps: WeakKeyDictionary[MatchingSet, Map] = WeakKeyDictionary()  # each piece of a stream asks


def _map_of(voice: MatchingSet, predictor: ValuePredictor | None) -> Map:
    found = _maps.get(voice)
    if found is None or found.predictor is not predictor:
        step = -(-len(voice) // MOST)
        found = _maps[voice] = Map.of(voice.keys[::step], voice.values[::step], predictor)
    return found


def fit_ridge(keys: Tensor, values: Tensor, ridge: float = RIDGE) -> tuple[Tensor, Tensor, Tensor]:
    """The linear map (key - c) A + m from keys (M, K) to values (M, V) with the least squared error.

    Args:
        keys, values: of any floating type; may be mapped from a file.
        ridge: weight of A's own size, in mean variances of the keys; > 0, so that few frames are enough.
    Returns:
        c (K,), m (V,) and A (K, V), float32.
    """
    count, size = keys.shape
    centre, mean = centre_of(keys), centre_of(values)
    square, product = torch.zeros(size, size).double(), torch.zeros(size, values.shape[1]).double()
    for part in pieces(count, size):
        centred = keys[part].double() - centre
        square += centred.T @ centred
        product += centred.T @ (values[part].double() - mean)
    weight = ridge * float(square.diagonal().mean()) or 1.0  # one frame, or equal keys: nothing but the mean
    matrix = torch.linalg.solve(square + weight * torch.eye(size).double(), product)
    return centre.float(), mean.float(), matrix.float()
