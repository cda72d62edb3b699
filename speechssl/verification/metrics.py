"""Errors of speaker verification: numpy in, numbers out.

A trial has a score (higher = rather the same speaker) and a label ``is_target``. It is accepted if score >= threshold:
a rejected target is a miss, an accepted non-target a false alarm. Every function takes scores (N,) and labels (N,) in
any order, and is O(N log N); ``roc(scores, is_target).eer()`` and the like sort once for several numbers. Rates are
fractions. Equal scores are on the same side of every threshold.

``Roc.eer`` is on the convex hull of the ROC, as in BOSARIS and the NIST evaluations; ``Roc.eer_interpolated`` is what
most papers' scripts print. Detection costs are divided by the lesser of the costs of accepting all and of rejecting
all. ``cllr`` and ``act_dcf`` read scores as natural-log likelihood ratios: they mean nothing on raw cosines; calibrate
first.

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
        return self.targets / self.targets[-1]

    @property
    def false_alarm(self) -> Floats:
        """(D + 1,) falling from 1 to 0."""
        return 1 - self.nontargets / self.nontargets[-1]

    def eer(self) -> float:
        """Equal error rate on the convex hull, where the hull of (false alarm, miss) meets miss = false alarm.

        What the best monotone recalibration of the scores could reach, randomising between two thresholds. At most 0.5.
        """
        corners = _hull(self.nontargets, self.targets)
        return _crossing(self.miss[corners], self.false_alarm[corners])

    def eer_interpolated(self) -> float:
        """Equal error rate where the straight lines between neighbouring points meet miss = false alarm.

        At least ``eer``; above 0.5 if the scores are worse than chance.
        """
        return _crossing(self.miss, self.false_alarm)

    def min_dcf(self, prior: float, *, cost_miss: float = 1.0, cost_false_alarm: float = 1.0) -> float:
        """Smallest normalised detection cost over all thresholds, in [0, 1].

        prior * cost_miss * miss + (1 - prior) * cost_false_alarm * false_alarm, divided by the smaller of
        prior * cost_miss (reject all) and (1 - prior) * cost_false_alarm (accept all).

        Args:
            prior: probability that a trial is a target, in (0, 1); 0.01 for VoxCeleb1-O.
        """
        bayes_threshold(prior, cost_miss=cost_miss, cost_false_alarm=cost_false_alarm)
        return float(np.min(_cost(self.miss, self.false_alarm, prior, cost_miss, cost_false_alarm)))

    def min_cllr(self) -> float:
        """``cllr`` after the best monotone calibration in hindsight (PAV): what the ranking alone would allow."""
        corners = _hull(self.nontargets, self.targets)
        target = np.diff(self.targets[corners]) / self.targets[-1]
        nontarget = np.diff(self.nontargets[corners]) / self.nontargets[-1]
        # llr = log(target / nontarget), so log2(1 + e^-llr) = log2((target + nontarget) / target); 0 log 0 = 0
        both = target + nontarget
        parts = [share[share > 0] * np.log2(both[share > 0] / share[share > 0]) for share in (target, nontarget)]
        return float(sum(part.sum() for part in parts) / 2)

    def threshold_at(self, false_alarm: float) -> float:
        """Lowest threshold whose false-alarm rate is at most ``false_alarm``; infinity if only rejecting all is."""
        if not 0 <= false_alarm <= 1:
            raise InputError(f"false-alarm rate is {false_alarm}; a fraction between 0 and 1 needed")
        # 1 - x rounds: a rate that is meant to be met exactly must not fail by the last digit
        return float(self.thresholds[np.argmax(self.false_alarm <= false_alarm + 1e-12)])

    def rates_at(self, threshold: float) -> tuple[float, float]:
        """Miss and false alarm if score >= threshold is accepted."""
        place = int(np.searchsorted(self.thresholds, threshold, side="left"))
        return float(self.miss[place]), float(self.false_alarm[place])


def roc(scores: ArrayLike, is_target: ArrayLike) -> Roc:
    """Sort the trials once; every other number comes from the result.

    Raises:
        InputError: shapes differ, a score is NaN, or there is no target or no non-target trial.
    """
    return _Sorted(scores, is_target).roc()


def act_dcf(
    llrs: ArrayLike, is_target: ArrayLike, *, prior: float, cost_miss: float = 1.0, cost_false_alarm: float = 1.0
) -> float:
    """Normalised detection cost at the Bayes threshold ``bayes_threshold(prior, ...)``: what a user really pays.

    Can exceed 1 if the calibration is off. ``Roc.min_dcf`` is the same with the best threshold in hindsight.
    """
    curve = roc(llrs, is_target)
    threshold = bayes_threshold(prior, cost_miss=cost_miss, cost_false_alarm=cost_false_alarm)
    return float(_cost(*curve.rates_at(threshold), prior, cost_miss, cost_false_alarm))


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


def cllr(llrs: ArrayLike, is_target: ArrayLike) -> float:
    """Cost of log-likelihood ratios in bits: log2(1 + e^-llr) for targets, log2(1 + e^llr) for others, mean of means.

    0 is perfect, 1 is what saying nothing (llr 0) costs; more means the ratios mislead.
    """
    found = _Sorted(llrs, is_target)
    bits = np.logaddexp(0, np.where(found.is_target, -found.scores, found.scores)) / math.log(2)
    return float(bits[found.is_target].mean() + bits[~found.is_target].mean()) / 2


def det_points(scores: ArrayLike, is_target: ArrayLike) -> tuple[Floats, Floats]:
    """Corners of the detection error trade-off curve: false alarm and miss as normal deviates.

    Points where a rate is 0 or 1, which have no place on these axes, are left out.

    Returns:
        probit of false alarm, falling, and probit of miss, rising: straight lines for normally distributed scores.
    """
    from scipy.special import ndtri

    curve = roc(scores, is_target)
    miss, false_alarm = curve.miss, curve.false_alarm
    # a point in the middle of a vertical or horizontal stretch draws nothing
    turn = np.ones(len(miss), bool)
    turn[1:-1] = ((miss[1:-1] > miss[:-2]) | (miss[2:] > miss[1:-1])) & (
        (false_alarm[1:-1] < false_alarm[:-2]) | (false_alarm[2:] < false_alarm[1:-1])
    )
    keep = turn & (miss > 0) & (miss < 1) & (false_alarm > 0) & (false_alarm < 1)
    return ndtri(false_alarm[keep]), ndtri(miss[keep])


@dataclass(frozen=True)
class Interval:
    """A value, and the bounds within which it lies with ``confidence``."""

    value: float
    low: float
    high: float
    confidence: float


def bootstrap(
    metric: Callable[[Roc], float],
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
        metric: of a ``Roc``, e.g. ``Roc.eer`` or ``lambda curve: curve.min_dcf(0.01)``.
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

    def roc(self) -> Roc:
        """Errors with every trial counted once."""
        return self.weighted(np.ones(len(self.scores)))

    def weighted(self, weight: Floats) -> Roc:
        """Errors with the trials counted as often as ``weight`` (N,), in the order of the scores, says."""
        targets = np.cumsum(np.where(self.is_target, weight, 0.0))[self._last]
        nontargets = np.cumsum(np.where(self.is_target, 0.0, weight))[self._last]
        thresholds = np.append(self.scores[self._last], np.inf)
        return Roc(thresholds, np.concatenate([[0.0], targets]), np.concatenate([[0.0], nontargets]))


def _hull(x: Floats, y: Floats) -> NDArray[np.intp]:
    """Indices of the lower convex hull of points that rise from left to right; the ends included.

    Its slopes are the PAV solution. Points above the line between their neighbours go, all at once, until few are
    left; a monotone chain finishes. Trials of no weight make equal points, of which one counts: beside another, each
    would go.
    """
    keep = np.flatnonzero(np.diff(x, prepend=-1.0) + np.diff(y, prepend=-1.0))
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
