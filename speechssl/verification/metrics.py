"""Errors of speaker verification: numpy in, numbers out.

A trial has a score (higher = rather the same speaker) and a label ``is_target``. It is accepted if score >= threshold:
a rejected target is a miss, an accepted non-target a false alarm. Every function takes scores (N,) and labels (N,) in
any order, and is O(N log N). Rates are fractions. ``weights`` (N,) >= 0 count a trial as so many, for resampling.
Equal scores cannot be told apart by any threshold, and nothing here tells them apart.

``eer`` is on the convex hull of the ROC, as in BOSARIS and the NIST evaluations; ``eer_interpolated`` is what most
papers' scripts print. Detection costs are normalised by that of the better of accepting all and rejecting all. ``cllr``
and ``act_dcf`` read scores as natural-log likelihood ratios: on raw cosines they mean nothing; calibrate first.

Sources: Brümmer and du Preez 2006, "Application-independent evaluation of speaker detection"; Brümmer and de Villiers
2013, arXiv:1304.2865 (BOSARIS); Martin et al. 1997 (DET); Poh and Bengio 2007 (resampling speakers).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechssl.errors import InputError

Floats = NDArray[np.float64]
Metric = Callable[["Roc"], float]


@dataclass(frozen=True, eq=False)
class Roc:
    """Errors at every threshold that matters: between two neighbouring distinct scores, and outside them all.

    Args:
        thresholds: (D + 1,) the D distinct scores ascending, then infinity.
        targets, nontargets: (D + 1,) weight of the target and non-target trials below each threshold; the last is all.
    """

    thresholds: Floats
    targets: Floats
    nontargets: Floats

    @property
    def miss(self) -> Floats:
        """(D + 1,) rising from 0 to 1."""
        found: Floats = self.targets / self.targets[-1]
        return found

    @property
    def false_alarm(self) -> Floats:
        """(D + 1,) falling from 1 to 0."""
        found: Floats = 1 - self.nontargets / self.nontargets[-1]
        return found


def roc(scores: ArrayLike, is_target: ArrayLike, *, weights: ArrayLike | None = None) -> Roc:
    """Sort the trials once; every other function can be had from this.

    Raises:
        InputError: shapes differ, a score is NaN, or there is no target or no non-target trial.
    """
    return _Sorted(scores, is_target).roc(weights)


def eer(scores: ArrayLike, is_target: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Equal error rate on the ROC convex hull: where the hull of (false alarm, miss) meets miss = false alarm.

    What the best monotone recalibration of the scores could reach, randomising between two thresholds. At most 0.5.
    """
    return eer_of(roc(scores, is_target, weights=weights))


def eer_interpolated(scores: ArrayLike, is_target: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Equal error rate where the straight lines between neighbouring ROC points meet miss = false alarm.

    At least ``eer``; above 0.5 if the scores are worse than chance.
    """
    return eer_interpolated_of(roc(scores, is_target, weights=weights))


def min_dcf(
    scores: ArrayLike,
    is_target: ArrayLike,
    *,
    prior: float,
    cost_miss: float = 1.0,
    cost_false_alarm: float = 1.0,
    weights: ArrayLike | None = None,
) -> float:
    """Smallest normalised detection cost over all thresholds, in [0, 1].

    prior * cost_miss * miss + (1 - prior) * cost_false_alarm * false_alarm, divided by the smaller of
    prior * cost_miss (reject all) and (1 - prior) * cost_false_alarm (accept all).

    Args:
        prior: probability that a trial is a target, in (0, 1); 0.01 for VoxCeleb1-O.
    """
    return min_dcf_of(roc(scores, is_target, weights=weights), prior, cost_miss, cost_false_alarm)


def act_dcf(
    llrs: ArrayLike,
    is_target: ArrayLike,
    *,
    prior: float,
    cost_miss: float = 1.0,
    cost_false_alarm: float = 1.0,
    weights: ArrayLike | None = None,
) -> float:
    """Normalised detection cost at the Bayes threshold ``bayes_threshold(prior, ...)``: what a user really pays.

    Can exceed 1 where the calibration is off. ``min_dcf`` is the same with the best threshold in hindsight.
    """
    found = _Sorted(llrs, is_target)
    threshold = bayes_threshold(prior, cost_miss=cost_miss, cost_false_alarm=cost_false_alarm)
    miss, false_alarm = rates_at(found.roc(weights), threshold)
    return float(_cost(miss, false_alarm, prior, cost_miss, cost_false_alarm))


def bayes_threshold(prior: float, *, cost_miss: float = 1.0, cost_false_alarm: float = 1.0) -> float:
    """Log-likelihood ratio from which accepting costs less than rejecting: log of (1 - prior) Cfa / (prior Cmiss).

    Raises:
        InputError: prior not in (0, 1), or a cost that is not positive.
    """
    if not 0 < prior < 1 or not cost_miss > 0 or not cost_false_alarm > 0:
        raise InputError(
            f"prior {prior}, costs {cost_miss} and {cost_false_alarm}: a prior in (0, 1) and positive costs needed"
        )
    return math.log((1 - prior) * cost_false_alarm) - math.log(prior * cost_miss)


def cllr(llrs: ArrayLike, is_target: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Cost of log-likelihood ratios in bits: log2(1 + e^-llr) for targets, log2(1 + e^llr) for others, mean of means.

    0 is perfect, 1 is what saying nothing (llr 0) costs; more means the ratios mislead.
    """
    found = _Sorted(llrs, is_target)
    weight = np.ones(len(found.scores)) if weights is None else np.asarray(weights, np.float64)[found.order]
    bits = np.logaddexp(0, np.where(found.is_target, -found.scores, found.scores)) / math.log(2)
    parts = [np.average(bits[side], weights=weight[side]) for side in (found.is_target, ~found.is_target)]
    return float(sum(parts) / 2)


def min_cllr(scores: ArrayLike, is_target: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """``cllr`` after the best monotone calibration in hindsight (PAV): what the ranking alone would allow."""
    return min_cllr_of(roc(scores, is_target, weights=weights))


def pav_llrs(scores: ArrayLike, is_target: ArrayLike) -> Floats:
    """Log-likelihood ratios (N,) by pool-adjacent-violators, in the order given; may be infinite at the ends."""
    found = _Sorted(scores, is_target)
    curve = found.roc()
    corners = _hull(curve.nontargets, curve.targets)
    target, nontarget = np.diff(curve.targets[corners]), np.diff(curve.nontargets[corners])
    with np.errstate(divide="ignore"):
        ratio = np.log(target / curve.targets[-1]) - np.log(nontarget / curve.nontargets[-1])
    level = np.searchsorted(curve.thresholds, np.asarray(scores, np.float64))
    found_llrs: Floats = ratio[np.searchsorted(corners, level, side="right") - 1]
    return found_llrs


def det_points(scores: ArrayLike, is_target: ArrayLike) -> tuple[Floats, Floats]:
    """Corners of the detection error trade-off curve: false alarm and miss as normal deviates.

    Points where a rate is 0 or 1, which have no place on these axes, are left out.

    Returns:
        probit of false alarm, falling, and probit of miss, rising: straight lines for normally distributed scores.
    """
    curve = roc(scores, is_target)
    miss, false_alarm = curve.miss, curve.false_alarm
    # a point in the middle of a vertical or horizontal stretch draws nothing
    turn = np.ones(len(miss), bool)
    turn[1:-1] = ((miss[1:-1] > miss[:-2]) | (miss[2:] > miss[1:-1])) & (
        (false_alarm[1:-1] < false_alarm[:-2]) | (false_alarm[2:] < false_alarm[1:-1])
    )
    keep = turn & (miss > 0) & (miss < 1) & (false_alarm > 0) & (false_alarm < 1)
    return probit(false_alarm[keep]), probit(miss[keep])


def threshold_at(
    scores: ArrayLike, is_target: ArrayLike, *, false_alarm: float, weights: ArrayLike | None = None
) -> float:
    """Lowest threshold whose false-alarm rate is at most ``false_alarm``; infinity if only rejecting all is."""
    return threshold_at_of(roc(scores, is_target, weights=weights), false_alarm)


def eer_of(curve: Roc) -> float:
    """``eer`` of a ``Roc``."""
    corners = _hull(curve.nontargets, curve.targets)
    return _crossing(curve.miss[corners], curve.false_alarm[corners])


def eer_interpolated_of(curve: Roc) -> float:
    """``eer_interpolated`` of a ``Roc``."""
    return _crossing(curve.miss, curve.false_alarm)


def min_dcf_of(curve: Roc, prior: float, cost_miss: float = 1.0, cost_false_alarm: float = 1.0) -> float:
    """``min_dcf`` of a ``Roc``."""
    bayes_threshold(prior, cost_miss=cost_miss, cost_false_alarm=cost_false_alarm)
    return float(np.min(_cost(curve.miss, curve.false_alarm, prior, cost_miss, cost_false_alarm)))


def min_cllr_of(curve: Roc) -> float:
    """``min_cllr`` of a ``Roc``."""
    corners = _hull(curve.nontargets, curve.targets)
    target = np.diff(curve.targets[corners]) / curve.targets[-1]
    nontarget = np.diff(curve.nontargets[corners]) / curve.nontargets[-1]
    # llr = log(target / nontarget), so log2(1 + e^-llr) = log2((target + nontarget) / target); 0 log 0 = 0
    both = target + nontarget
    parts = [share[share > 0] * np.log2(both[share > 0] / share[share > 0]) for share in (target, nontarget)]
    return float(sum(part.sum() for part in parts) / 2)


def threshold_at_of(curve: Roc, false_alarm: float) -> float:
    """``threshold_at`` of a ``Roc``."""
    if not 0 <= false_alarm <= 1:
        raise InputError(f"false-alarm rate is {false_alarm}; a fraction between 0 and 1 needed")
    # 1 - x rounds: a rate that is meant to be met exactly must not fail by the last digit
    return float(curve.thresholds[np.argmax(curve.false_alarm <= false_alarm + 1e-12)])


def rates_at(curve: Roc, threshold: float) -> tuple[float, float]:
    """Miss and false alarm if score >= threshold is accepted."""
    place = int(np.searchsorted(curve.thresholds, threshold, side="left"))
    return float(curve.miss[place]), float(curve.false_alarm[place])


@dataclass(frozen=True)
class Interval:
    """A value, and the bounds within which it lies with ``confidence``."""

    value: float
    low: float
    high: float
    confidence: float


def bootstrap(
    metric: Metric,
    scores: ArrayLike,
    is_target: ArrayLike,
    enrolment_speakers: Any,
    test_speakers: Any,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a metric by drawing *speakers* with replacement, not trials.

    Trials that share a speaker rise and fall together: drawing trials instead gives intervals several times too narrow.
    A speaker drawn twice counts twice in each of its target trials, and with the product of both counts in a trial of
    two speakers. Draws without a target or without a non-target trial are drawn again.

    Args:
        metric: of a ``Roc``, e.g. ``eer_of`` or ``lambda curve: min_dcf_of(curve, 0.01)``.
        enrolment_speakers, test_speakers: (N,) names of both sides of every trial.
        draws: 1000 settle the bounds to about a twentieth of the interval.
    Raises:
        InputError: as ``roc``; fewer than two speakers.
    """
    trials = _Sorted(scores, is_target)
    names = np.concatenate([np.asarray(enrolment_speakers), np.asarray(test_speakers)])
    if names.shape != (2 * len(trials.scores),):
        raise InputError(f"{len(trials.scores)} trials but {len(names)} speaker names; two names a trial needed")
    unique, ids = np.unique(names, return_inverse=True)
    if len(unique) < 2:
        raise InputError("one speaker only; an interval over speakers needs at least two")
    first, second = ids[: len(trials.scores)][trials.order], ids[len(trials.scores) :][trials.order]
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < draws:
        count = np.bincount(rng.integers(0, len(unique), len(unique)), minlength=len(unique)).astype(np.float64)
        weight = np.where(first == second, count[first], count[first] * count[second])
        if weight[trials.is_target].any() and weight[~trials.is_target].any():
            values.append(metric(trials.weighted(weight)))
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(metric(trials.roc()), float(low), float(high), confidence)


def probit(probability: ArrayLike) -> Floats:
    """Inverse of the standard normal distribution, to about 1e-15 (Wichura 1988, algorithm AS 241, PPND16)."""
    p = np.asarray(probability, np.float64)
    q = p - 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.sqrt(-np.log(np.minimum(p, 1 - p)))
        middle = q * _ratio(_CENTRE, 0.180625 - q * q)
        tail = np.where(r <= 5, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5))
        tail = np.where(np.isinf(r), np.inf, tail)
    found: Floats = np.where(np.abs(q) <= 0.425, middle, np.copysign(tail, q))
    return found


class _Sorted:
    """Trials checked and in ascending order of score, with the ends of runs of equal scores."""

    def __init__(self, scores: ArrayLike, is_target: ArrayLike) -> None:
        values, labels = np.asarray(scores, np.float64), np.asarray(is_target)
        if values.ndim != 1 or values.shape != labels.shape:
            raise InputError(f"scores have shape {values.shape} and labels {labels.shape}; both must be (N,)")
        if np.isnan(values).any():
            raise InputError(f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN")
        labels = labels.astype(bool)
        if labels.all() or not labels.any():
            there = f"{int(labels.sum())} target and {int((~labels).sum())} non-target trials"
            raise InputError(f"{there}; at least one of each is needed to measure errors")
        self.order = np.argsort(values, kind="stable")
        self.scores, self.is_target = values[self.order], labels[self.order]
        self._last = np.append(np.flatnonzero(self.scores[1:] != self.scores[:-1]), len(values) - 1)

    def roc(self, weights: ArrayLike | None = None) -> Roc:
        """Roc with the weights given in the trials' own order."""
        if weights is None:
            return self.weighted(np.ones(len(self.scores)))
        weight = np.asarray(weights, np.float64)
        if weight.shape != self.scores.shape or not (weight >= 0).all():
            raise InputError(f"weights have shape {weight.shape}; {self.scores.shape} numbers of 0 or more needed")
        return self.weighted(weight[self.order])

    def weighted(self, weight: Floats) -> Roc:
        """Roc with the weights in the order of the scores."""
        targets = np.cumsum(np.where(self.is_target, weight, 0.0))[self._last]
        nontargets = np.cumsum(np.where(self.is_target, 0.0, weight))[self._last]
        thresholds = np.append(self.scores[self._last], np.inf)
        return Roc(thresholds, np.concatenate([[0.0], targets]), np.concatenate([[0.0], nontargets]))


def _hull(x: Floats, y: Floats) -> NDArray[np.intp]:
    """Indices of the lower convex hull of points that rise from left to right; the ends included.

    Its slopes are the PAV solution. Points above the line between their neighbours go, all at once, until few are
    left; a monotone chain finishes.
    """
    keep = np.arange(len(x))
    while len(keep) > 1000:
        a, b = x[keep], y[keep]
        left = (a[1:-1] - a[:-2]) * (b[2:] - b[:-2]) - (b[1:-1] - b[:-2]) * (a[2:] - a[:-2])
        good = np.concatenate([[True], left > 0, [True]])
        if good.sum() > 0.9 * len(keep):
            break
        keep = keep[good]
    chain: list[int] = []
    columns, rows = x[keep].tolist(), y[keep].tolist()
    for point, (column, row) in enumerate(zip(columns, rows, strict=True)):
        while len(chain) > 1:
            p, q = chain[-2], chain[-1]
            cross = (columns[q] - columns[p]) * (row - rows[p]) - (rows[q] - rows[p]) * (column - columns[p])
            if cross > 0:
                break
            chain.pop()
        chain.append(point)
    return keep[chain]


def _crossing(miss: Floats, false_alarm: Floats) -> float:
    """Where the line through rising misses and falling false alarms has both equal."""
    gap = miss - false_alarm
    after = int(np.argmax(gap >= 0))
    # the first threshold accepts all: a gap of -1, so there is a point before
    share = gap[after] / (gap[after] - gap[after - 1])
    return float(miss[after] + share * (miss[after - 1] - miss[after]))


def _cost(miss: Any, false_alarm: Any, prior: float, cost_miss: float, cost_false_alarm: float) -> Any:
    of_miss, of_false_alarm = prior * cost_miss, (1 - prior) * cost_false_alarm
    return (of_miss * miss + of_false_alarm * false_alarm) / min(of_miss, of_false_alarm)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Floats) -> Any:
    above, below = coefficients
    return np.polyval(above, x) / np.polyval(below, x)


# Wichura's coefficients, highest power first, for the centre, for r <= 5 and beyond.
_CENTRE = (
    (
        2509.0809287301227,
        33430.57558358813,
        67265.7709270087,
        45921.95393154987,
        13731.69376550946,
        1971.5909503065513,
        133.14166789178438,
        3.3871328727963665,
    ),
    (
        5226.495278852854,
        28729.085735721943,
        39307.89580009271,
        21213.794301586597,
        5394.196021424751,
        687.1870074920579,
        42.31333070160091,
        1.0,
    ),
)
_MIDDLE = (
    (
        0.0007745450142783414,
        0.022723844989269184,
        0.2417807251774506,
        1.2704582524523684,
        3.6478483247632045,
        5.769497221460691,
        4.630337846156546,
        1.4234371107496835,
    ),
    (
        1.0507500716444169e-09,
        0.0005475938084995345,
        0.015198666563616457,
        0.14810397642748008,
        0.6897673349851,
        1.6763848301838038,
        2.053191626637759,
        1.0,
    ),
)
_TAIL = (
    (
        2.0103343992922881e-07,
        2.7115555687434876e-05,
        0.0012426609473880784,
        0.026532189526576124,
        0.29656057182850487,
        1.7848265399172913,
        5.463784911164114,
        6.657904643501103,
    ),
    (
        2.0442631033899397e-15,
        1.421511758316446e-07,
        1.8463183175100548e-05,
        0.0007868691311456133,
        0.014875361290850615,
        0.1369298809227358,
        0.599832206555888,
        1.0,
    ),
)
