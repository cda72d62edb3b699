"""Ways from a source's frames to a target's values: means of neighbours, best path, optimal transport, local shift.

All take float tensors and give (N, V) float32. Values may be float16 and mapped from a file: rows are gathered in
pieces. What each output frame is made of comes along as a ``Trace``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speechssl.conversion.retrieval import Neighbours
from speechssl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

NAMES = ("uniform", "distance", "variance", "continuous", "selection", "transport", "shift")
NEED_SOURCE_VALUES = ("transport", "shift")
EPSILON = 1e-8  # added to distances before they divide, as in kNN-TTS
SHORT = 30.0  # seconds; below, users of kNN-VC and its authors find too few neighbours
GATHERED = 1 << 22  # numbers gathered at a time, 16 MB
NEIGHBOURS = 4  # averaged if not said otherwise, as in kNN-VC
FEWER = {"variance": 3}  # nearer to the voice, with as many words: recipes/voice_conversion/RESULTS.md
CANDIDATES = 16  # neighbours per frame the best path may choose from
JOIN_WEIGHT = 1.0  # cosine distance at a join counts as much as that to the source
GROUP = 2  # dimensions mapped together; the paper's best
RIDGE = 1e-6  # of the mean variance; keeps constant dimensions in place
SHIFT_K = 16  # fewer bring back wrong words, more leave more of the source's voice: recipes/voice_conversion/RESULTS.md
SHIFT_DETAIL = 0.5  # share of its own detail a frame keeps where the vocoder hears the words from the keys
PITCH_WEIGHT = 0.2  # of a step in log-F0 of one spread of the voice, at a join, beside the cosine distance of the keys
PITCH_LIMIT = 3.0  # spreads; a larger step costs no more
RUNS = ("continuous", "selection")  # converters that take one frame at a time, in runs as the voice spoke them
# shares of the frames taken, beside the mean of the k nearest in the values, and beside the source's in the keys that a
# vocoder hears: recipes/voice_conversion/RESULTS.md
TAKEN, HEARD = 0.6, 0.3
# converters whose frames get back the spread that averaging took away, and their result the voice's long-term spectrum
WIDENED = ("variance", "continuous", "selection")
WIDEST = 1.6  # a spread is multiplied by no more: recipes/voice_conversion/RESULTS.md
SHIFT_LIMIT = 3.0  # spreads of the voice a frame may lie from its surroundings: a burst beside digital silence does not
SPREAD_RANGE = (0.5, 2.0)  # a spread moves by no more than a factor of two


@dataclass(frozen=True, eq=False)
class Trace:
    """What each output frame is made of.

    Args:
        indices: (N, k) int64 frames of the voice.
        weights: (N, k) float64 share of each; rows sum to 1, or are 0 where the output is no mean of frames and the
            nearest are only named.
        distances: (N, k) float64 cosine distance to the source frame.
    """

    indices: Tensor
    weights: Tensor
    distances: Tensor


def choose(seconds: float, *, has_source_values: bool, speaks_means: bool, hears_keys: bool = False) -> tuple[str, str]:
    """The converter ``auto`` stands for, and why.

    Args:
        seconds: of the reference.
        has_source_values: whether the source was encoded with its own values.
        speaks_means: whether the vocoder was trained to speak means of frames, as those of kNN-VC are; one that only
            inverts its analysis, as WORLD, blurs them.
        hears_keys: whether the vocoder takes the source's keys too, as our own does.
    """
    # half a second must not read as none
    length = f"{round(seconds, 1) if seconds < 10 else round(seconds):g} s of reference"
    if hears_keys:
        return "variance", f"{length}, and a vocoder that hears the words beside the frames"
    if has_source_values and not speaks_means:
        return "shift", f"{length}, and a vocoder that blurs plain means: detail is kept"
    if seconds >= SHORT:
        return "uniform", f"{length}: neighbours enough for plain means (from {SHORT:.0f} s)"
    if has_source_values:
        return "transport", f"only {length} (below {SHORT:.0f} s): its statistics are safer than its frames"
    return "distance", f"only {length}, and no values of the source to transport: near frames count more"


def neighbours_of(converter: str, k: int | None) -> int:
    """How many neighbours a converter averages: ``k``, or if None what it has by itself."""
    return FEWER.get(converter, NEIGHBOURS) if k is None else k


def uniform_weights(neighbours: Neighbours) -> Tensor:
    """(N, k) all 1 / k. Source: kNN-VC, Baas et al. 2023, arXiv:2305.18975, section 2."""
    import torch

    return torch.full_like(neighbours.distances, 1.0 / neighbours.k)


def distance_weights(neighbours: Neighbours) -> Tensor:
    """(N, k) w_i = 1 / (d_i + 1e-8), divided by their sum. Source: kNN-TTS, Hajal et al. 2024, arXiv:2408.10771."""
    weights = 1.0 / (neighbours.distances + EPSILON)
    return weights / weights.sum(dim=1, keepdim=True)


def with_nearest(path: Tensor, candidates: Neighbours, k: int) -> Trace:
    """What frames are made of when one of the candidates is taken for each: ``TAKEN`` of it, in the first column, and
    the rest of the mean of the k nearest.

    Args:
        path: (N,) columns of the candidates.
        candidates: (N, K), K >= k.
        k: columns of the nearest.
    """
    import torch

    taken, near = path[:, None], candidates.first(k)
    rest = uniform_weights(near) * (1 - TAKEN)
    return Trace(
        torch.cat([candidates.indices.gather(1, taken), near.indices], dim=1),
        torch.cat([torch.full_like(rest[:, :1], TAKEN), rest], dim=1),
        torch.cat([candidates.distances.gather(1, taken), near.distances], dim=1),
    )


def weighted_mean(values: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Mean over k of the value frames.

    Args:
        values: (M, V).
        indices: (N, k) rows of the values.
        weights: (N, k); rows sum to 1.
    """
    import torch

    result = torch.empty(len(indices), values.shape[1])
    for part in _parts(len(indices), indices.shape[1] * values.shape[1]):
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
    import numpy as np
    import torch

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
    for part in _parts(len(indices) - 1, 2 * k * dim):
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
    import torch

    rows = rows.double()
    unit: Tensor = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return unit


@dataclass(frozen=True, eq=False)
class TransportMap:
    """A linear map per group of dimensions: y = m' + T (x - m). Made by ``fit_transport``.

    Args:
        mean: (V,) float64 m, of the source.
        target_mean: (V,) float64 m'.
        groups: dimensions (G, g) of each group and their matrices T (G, g, g) float64, by size of group.
    """

    mean: Tensor
    target_mean: Tensor
    groups: tuple[tuple[Tensor, Tensor], ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Map frames (N, V)."""
        import torch

        result = torch.empty(values.shape, dtype=torch.float32)
        for part in _parts(len(values), values.shape[1] * 4):
            centred = values[part].double() - self.mean
            for dims, matrices in self.groups:
                moved = torch.einsum("ngi,gij->ngj", centred[:, dims], matrices) + self.target_mean[dims]
                result[part, dims.flatten()] = moved.flatten(1).float()
        return result


def fit_transport(source: Tensor, target: Tensor, *, group: int = GROUP) -> TransportMap:
    """The factorised Monge-Kantorovich map between the Gaussians of two sets of frames.

    Dimensions are sorted by the source's standard deviation, largest first, and taken ``group`` at a time. In each
    group, with covariances A of the source and B of the target (each + r I, where r is 1e-6 of the source's mean
    variance): T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2, the only symmetric positive matrix with T A T = B.

    Args:
        source: (N, V) values of the source speaker, N >= group + 4.
        target: (M, V) values of the voice, M >= group + 4.
        group: dimensions mapped together, >= 1; the last group takes what is left.
    Raises:
        InputError: too few frames, other dimensions, or a group below 1.
    Source: MKL-VC, Lobashev et al. 2025, arXiv:2506.09709, sections 2.2 and 2.3; r keeps constant dimensions in place.
    """
    import torch

    least = group + 4
    if group < 1 or min(len(source), len(target)) < least or source.shape[1] != target.shape[1]:
        raise InputError(
            f"transport from {len(source)} frames of {source.shape[1]} numbers to {len(target)} of {target.shape[1]} "
            f"in groups of {group}: at least {max(least, 5)} frames on both sides and equal numbers needed"
        )
    mean, target_mean = _mean(source), _mean(target)
    every = torch.arange(source.shape[1])[:, None]
    variance = _covariances(source, mean, every).flatten()
    order = variance.argsort(descending=True, stable=True)
    ridge = RIDGE * float(variance.mean())
    whole = len(order) // group * group
    parts = [order[:whole].view(-1, group), order[whole:].view(1, -1)]
    groups = [
        (dims, _monge_kantorovich(_covariances(source, mean, dims), _covariances(target, target_mean, dims), ridge))
        for dims in parts
        if dims.numel()
    ]
    return TransportMap(mean, target_mean, tuple(groups))


def _monge_kantorovich(a: Tensor, b: Tensor, ridge: float) -> Tensor:
    import torch

    # both constant: any ridge gives the identity
    ridged = (ridge or 1.0) * torch.eye(a.shape[-1], dtype=a.dtype)
    root, inverse = _power(a + ridged, 0.5), _power(a + ridged, -0.5)
    matrices: Tensor = inverse @ _power(root @ (b + ridged) @ root, 0.5) @ inverse
    return matrices


def _power(matrices: Tensor, exponent: float) -> Tensor:
    """Powers of symmetric positive matrices (G, g, g)."""
    import torch

    values, vectors = torch.linalg.eigh(matrices)
    powers: Tensor = (vectors * values.clamp(min=1e-300)[:, None, :] ** exponent) @ vectors.transpose(1, 2)
    return powers


def _mean(values: Tensor) -> Tensor:
    import torch

    total = torch.zeros(values.shape[1], dtype=torch.float64)
    for part in _parts(len(values), values.shape[1] * 2):
        total += values[part].double().sum(dim=0)
    return total / len(values)


def _spread(values: Tensor, rows: Tensor, near: Tensor) -> Tensor:
    """(V,) float64 standard deviation of rows of values, in pieces; ``near`` is a point near their mean."""
    import torch

    total, squares = torch.zeros(2, values.shape[1], dtype=torch.float64)
    for part in _parts(len(rows), values.shape[1] * 4):
        away = values[rows[part]].double() - near
        total += away.sum(dim=0)
        squares += away.square().sum(dim=0)
    variances: Tensor = squares / len(rows) - (total / len(rows)) ** 2
    return variances.clamp(min=0.0).sqrt()


def _covariances(values: Tensor, mean: Tensor, dims: Tensor) -> Tensor:
    """(G, g, g) unbiased covariances of the dimensions (G, g), in float64, block by block."""
    import torch

    total = torch.zeros(*dims.shape, dims.shape[1], dtype=torch.float64)
    for part in _parts(len(values), values.shape[1] * 4):
        centred = (values[part].double() - mean)[:, dims]
        total += torch.einsum("ngi,ngj->gij", centred, centred)
    return total / (len(values) - 1)


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
        import torch

        indices = self.neighbours.indices
        total = torch.zeros(self.values.shape[1], dtype=torch.float64)
        for part in _parts(len(indices), 2 * indices.shape[1] * self.values.shape[1]):
            total += self.values[indices[part]].double().var(dim=1, correction=0).sum(dim=0)
        return (total / len(indices)).sqrt()


def widened(frames: Tensor, voice: Surroundings, limit: float = WIDEST) -> Tensor:
    """Frames (N, V) with the spread that averaging took away: c + r (frame - c), per dimension.

    c is the mean of all values of the voice. r is the spread of all the neighbours of all frames, as single frames
    have it, over the spread of the frames; it is held within 1 and the limit.

    Args:
        frames: (N, V) means of some of the neighbours.
        voice: the neighbours of each frame.
        limit: >= 1.
    Source: what Toda and Tokuda 2007 call global variance, here by a linear map.
    """
    import torch

    centre, indices = _mean(voice.values), voice.neighbours.indices
    single = _spread(voice.values, indices.flatten(), centre)
    ratio = (single / _spread(frames, torch.arange(len(frames)), centre).clamp(min=1e-6)).clamp(1.0, limit).float()
    result: Tensor = (frames - centre.float()).mul_(ratio).add_(centre.float())
    return result


def shift(
    source_values: Tensor,
    own: Surroundings,
    voice: Surroundings,
    *,
    match_spread: bool = False,
    detail: float = 1.0,
    nearest: int | None = None,
) -> Tensor:
    """Move each frame by the difference of its surroundings: out[t] = T[t] + r * (source_values[t] - S[t]).

    T[t] is the mean of the voice's values, S[t] of the source speaker's own, around the key of frame t: the k nearest
    frames in each set. What a frame has beyond the mean of its surroundings is kept, which is where the words are; the
    mean of the surroundings becomes the target's, which is where the voice is. What is kept is held within
    ``SHIFT_LIMIT`` spreads of the voice around its local means, per dimension. An own method, not from a paper.

    Args:
        source_values: (N, V) float.
        own: the k nearest among the source speaker's own frames, each frame itself included.
        voice: the k nearest frames of the voice.
        match_spread: r, per dimension, is the voice's spread around local means over the source's, held within
            [0.5, 2]; else it is 1.
        detail: share of what is kept; r is multiplied by it.
        nearest: T is the mean of only so many of the voice's neighbours; None for all.
    """
    import torch

    kept, spread = source_values.float() - own.means(), voice.spread()
    if match_spread:
        kept *= _spread_ratio(own.spread(), spread).float()
    limit = (SHIFT_LIMIT * spread).float()
    return torch.clamp(kept, min=-limit, max=limit).mul_(detail).add_(voice.means(nearest))


def _spread_ratio(own: Tensor, voice: Tensor) -> Tensor:
    return (voice / own.clamp(min=1e-12)).where(own > 1e-12, 1.0).clamp(*SPREAD_RANGE)


def _parts(length: int, numbers: int) -> Iterator[slice]:
    """Slices of rows of so many numbers each."""
    size = max(1, GATHERED // max(1, numbers))
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
