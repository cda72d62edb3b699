"""Regression: where the nearest frames are far, the mean of them mixed with what the whole voice says of a key."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from speechssl.conversion.converters.means import Candidates, Trace, centre_of, pieces, uniform

RIDGE = 0.1  # of the mean variance of the keys
# share of the prediction, at coverages (mean cosines) of `tiny` up to FAR; none from NEAR:
# recipes/voice_conversion/RESULTS.md
SHARE, FAR, NEAR = 0.5, 0.72, 0.77
MOST = 20_000  # frames of the voice that are fitted, evenly spread; more add nothing


def regressed(candidates: Candidates) -> tuple[Tensor, Trace]:
    """Frames (N, V): the mean of the k nearest, mixed with the values that a linear map predicts from the keys.

    The map is that of the voice, from its keys to its values. It rests on all of its sounds, so wrong neighbours, of
    which short references and strange accents have many, weigh less. Its share rises as the coverage falls. A voice
    whose values are its keys keeps the plain mean, as the map would keep the keys of the source. The weights of the
    trace sum to the share of the neighbours.
    """
    frames, trace = uniform(candidates)
    voice = candidates.voice
    share = share_at(1.0 - float(candidates.neighbours.distances[:, 0].mean()))
    if not voice.has_own_values or not share:
        return frames, trace
    step = -(-len(voice) // MOST)
    keys, values = voice.keys[::step], voice.values[::step]
    centre, mean, matrix = fit_ridge(keys, values)
    predicted = torch.empty_like(frames)
    source = candidates.source.keys.frames
    for part in pieces(len(source), source.shape[1]):
        predicted[part] = (source[part].float() - centre) @ matrix + mean
    return torch.lerp(frames, predicted, share), dataclasses.replace(trace, weights=trace.weights * (1 - share))


def share_at(coverage: float) -> float:
    """Share of the prediction at a coverage: ``SHARE`` up to ``FAR``, falling to none at ``NEAR``."""
    return SHARE * min(1.0, max(0.0, (NEAR - coverage) / (NEAR - FAR)))


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
