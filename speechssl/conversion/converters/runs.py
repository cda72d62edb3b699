"""Runs of frames as the voice spoke them: one candidate is taken for each frame of the source, by the best path."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechssl.conversion.converters.means import Candidates, Trace, made_of, pieces, uniform_weights
from speechssl.conversion.converters.regression import coverage_of, mixed, predicted, share_at
from speechssl.conversion.retrieval import Neighbours
from speechssl.errors import InputError

# of the distance of a candidate's values from those predicted, beside its cosine distance, and largest share of the
# prediction in the result: recipes/voice_conversion/RESULTS.md
VALUE_WEIGHT, PREDICTED = 1.0, 0.4
JOIN_WEIGHT = 1.0  # cosine distance at a join counts as much as that to the source
PITCH_WEIGHT = 0.2  # of a step in log-F0 of one spread of the voice, at a join, beside the cosine distance of the keys
PITCH_LIMIT = 3.0  # spreads; a larger step costs no more
# share of the frame taken in the values, beside the mean of the k nearest: recipes/voice_conversion/RESULTS.md
TAKEN = 0.6
# share of the frame taken in the keys that a vocoder hears, beside the source's keys; same page
HEARD = 0.3


def continuous(candidates: Candidates) -> tuple[Tensor, Trace]:
    """Frames (N, V) of the best path by keys and values, mixed with the mean of the k nearest.

    Where the nearest are far, what is predicted is mixed in, as ``regression`` does.
    """
    return _along_the_path(candidates, None)


def selection(candidates: Candidates) -> tuple[Tensor, Trace]:
    """Frames (N, V) of the best path by keys, values and F0, mixed as those of ``continuous``."""
    return _along_the_path(candidates, candidates.voice.f0)


def _along_the_path(candidates: Candidates, f0: Tensor | None) -> tuple[Tensor, Trace]:
    voice, near, predictor = candidates.voice, candidates.neighbours, candidates.predictor
    wanted = predicted(candidates) if predictor is not None else None
    if predictor is None or wanted is None:
        path = best_path(voice.keys, near, voice.follows(), f0=f0)
        return made_of(voice, with_nearest(path, near, candidates.k))
    costs = near.distances + VALUE_WEIGHT * unlikeness(voice.values, near.indices, wanted, predictor.scale)
    path = best_path(voice.keys, Neighbours(near.indices, costs), voice.follows(), f0=f0)
    frames, trace = made_of(voice, with_nearest(path, near, candidates.k))
    return mixed(frames, trace, wanted, min(PREDICTED, share_at(coverage_of(candidates))))


def unlikeness(values: Tensor, indices: Tensor, wanted: Tensor, scale: Tensor) -> Tensor:
    """(N, K) float64 root mean square of the difference between values and those wanted, in spreads.

    Args:
        values: (M, V) of the voice.
        indices: (N, K) rows of the values.
        wanted: (N, V).
        scale: (V,) the spread of each number.
    """
    away = torch.empty(indices.shape, dtype=torch.float64)
    for part in pieces(len(indices), indices.shape[1] * values.shape[1]):
        step = (values[indices[part]].float() - wanted[part, None]) / scale
        away[part] = step.square().mean(2).sqrt().double()
    return away


def with_nearest(path: Tensor, candidates: Neighbours, k: int) -> Trace:
    """What frames are made of when one of the candidates is taken for each: ``TAKEN`` of it, in the first column, and
    the rest of the mean of the k nearest.

    Args:
        path: (N,) columns of the candidates.
        candidates: (N, K), K >= k.
        k: columns of the nearest.
    """
    taken, near = path[:, None], candidates.first(k)
    rest = uniform_weights(near) * (1 - TAKEN)
    return Trace(
        torch.cat([candidates.indices.gather(1, taken), near.indices], dim=1),
        torch.cat([torch.full_like(rest[:, :1], TAKEN), rest], dim=1),
        torch.cat([candidates.distances.gather(1, taken), near.distances], dim=1),
    )


def best_path(
    keys: Tensor,
    neighbours: Neighbours,
    follows: Tensor,
    *,
    join_weight: float = JOIN_WEIGHT,
    f0: Tensor | None = None,
) -> Tensor:
    """The column (N,) of the candidate to take at each frame so that runs of the reference stay together; Viterbi.

    Minimises the sum of the candidates' distances to the source and, between neighbouring frames t and t + 1 that take
    i and j, of ``join_weight`` times c(i, j). c is 0 if j is the frame after i in the same recording; else it is the
    cosine distance of the keys of j and of the frame after i (of i itself where a recording ends): how unlike what is
    heard is what would have come. With ``f0``, ``PITCH_WEIGHT`` times the step in pitch is added to it. Ties go to the
    nearer candidate.

    Args:
        keys: (M, D) of the voice.
        neighbours: (N, K) candidates.
        follows: (M,) bool: whether frame i + 1 of the voice is the one after i in the same recording.
        join_weight: >= 0; 0 takes the nearest candidate everywhere.
        f0: (M, n) Hz of each frame of the voice, 0 where unvoiced, if the frames are to be heard with their pitch.
    Raises:
        InputError: a negative weight.
    Source: unit selection, Hunt and Black 1996.
    """
    if not 0 <= join_weight < float("inf"):
        raise InputError(f"join weight is {join_weight}; 0 or more needed")
    targets = neighbours.distances.numpy()
    back = np.zeros(targets.shape, dtype=np.int32)
    cost = targets[0]
    steps = None if f0 is None else _PitchSteps(f0)
    for t, joins in enumerate(_join_costs(keys, neighbours.indices, follows, steps), start=1):
        totals = cost[:, None] + join_weight * joins  # (K before, K now)
        back[t] = totals.argmin(axis=0)
        cost = totals[back[t], np.arange(totals.shape[1])] + targets[t]
    path = np.empty(len(targets), dtype=np.int64)
    path[-1] = cost.argmin()
    for t in range(len(targets) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return torch.from_numpy(path)


def _join_costs(
    keys: Tensor, indices: Tensor, follows: Tensor, steps: _PitchSteps | None
) -> Iterator[NDArray[np.float64]]:
    """c (K, K) float64 between the candidates of frames t and t + 1, for t from 0 to N - 2."""
    k, dim = indices.shape[1], keys.shape[1]
    for part in pieces(len(indices) - 1, 2 * k * dim):
        before, now = indices[part], indices[part.start + 1 : part.stop + 1]
        after = before + follows[before].long()
        joins = (1.0 - _unit(keys[after]) @ _unit(keys[now]).transpose(1, 2)).clamp_(min=0.0)  # (n, K, K)
        if steps is not None:
            joins += PITCH_WEIGHT * steps.between(after, now)
        joins[(after[:, :, None] == now[:, None, :]) & follows[before][:, :, None]] = 0.0
        yield from joins.numpy()


class _PitchSteps:
    """How unlike the pitch of two frames of a voice is, in spreads of its log-F0; 1 if only one of them has a pitch."""

    def __init__(self, f0: Tensor) -> None:
        hertz = f0.double()
        voiced = hertz > 0
        logs = hertz.clamp(min=1).log() * voiced
        self._has = voiced.any(1)
        self._logs = logs.sum(1) / voiced.sum(1).clamp(min=1)
        spread = self._logs[self._has].std(correction=0) if bool(self._has.any()) else self._logs.new_zeros(())
        self._spread = float(spread) or 1.0

    def between(self, before: Tensor, now: Tensor) -> Tensor:
        """(n, K, K) of frames (n, K) and (n, K)."""
        had, has = self._has[before][:, :, None], self._has[now][:, None]
        gap = (self._logs[before][:, :, None] - self._logs[now][:, None]).abs() / self._spread
        return gap.clamp(max=PITCH_LIMIT).where(had & has, (had ^ has).double())


def _unit(rows: Tensor) -> Tensor:
    rows = rows.double()
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
