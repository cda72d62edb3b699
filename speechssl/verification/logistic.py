"""Logistic regression from scores, and from what is known of the recordings, to log-likelihood ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechssl.errors import InputError
from speechssl.verification import metrics
from speechssl.verification.by_cohort import MEASURES, ByCohort, shapes
from speechssl.verification.by_seconds import BySeconds

Floats = NDArray[np.float64]
PRIOR = 0.02  # between the two at which costs are reported, 0.01 and 0.05; Cllr suffers little
SHORTEST = 0.1  # seconds; less is taken for this
NOT_ABOVE = "scores of targets are not above the others'; this model cannot be calibrated on these trials"


def fit_logistic(
    scores: ArrayLike, is_target: ArrayLike, *, ridge: float | None = None, prior: float = 0.5
) -> tuple[float, float]:
    """Scale and offset that minimise the cost of the ratios in bits at one prior, by Newton's method.

    Args:
        ridge: on the scale of standardised scores; keeps it finite where the scores separate without error. None: a
            hundredth of the weight of one trial of the rarer kind, so that many trials speak for themselves.
        prior: at which the ratios shall serve best; 0.5 minimises Cllr. A small one looks closely at the high scores of
            different speakers, where false alarms come from.
    Raises:
        InputError: as ``metrics.roc``; scores without spread, or lower for targets than for others.
    Source: Brümmer and du Preez 2006, section 6; prior-weighted: Brümmer and de Villiers 2013, section 3.
    """
    return fit_weighted(*_shares(scores, is_target, ridge), prior)


def fit_by_seconds(
    scores: ArrayLike, is_target: ArrayLike, seconds: ArrayLike, *, ridge: float | None = None, prior: float = 0.5
) -> tuple[float, float, BySeconds]:
    """As ``fit_logistic``, with the seconds of speech of both sides (N, 2) and their products with the score.

    Returns:
        Scale and offset for recordings of typical length (the geometric mean), and how both change with the seconds. If
        the scale were not positive for all lengths seen, it is kept the same for all.
    Raises:
        InputError: as ``fit_logistic``.
    """
    values, target, nontarget, ridge = _shares(scores, is_target, ridge)
    if target @ values <= nontarget @ values:
        raise InputError(NOT_ABOVE)
    ordered = np.sort(np.maximum(np.asarray(seconds, np.float64), SHORTEST), axis=1)
    centre = np.log(ordered).mean(0)
    # beyond what nearly all recordings of the fit were, nothing is known about the slopes
    shorter, longer = (pair(np.quantile(side, [0.01, 0.99])) for side in ordered.T)
    q = np.stack([np.log(np.clip(side, *ends)) for side, ends in zip(ordered.T, (shorter, longer), strict=True)])
    q -= centre[:, None]
    for products in (True, False):
        x = np.stack([values, *q, *(values * q if products else ())])
        weights, offset = _fit_features(x, target, nontarget, ridge, prior)
        slopes = pair(weights[3:]) if products else (0.0, 0.0)
        found = BySeconds(shorter, longer, pair(centre), slopes, pair(weights[1:3]))
        if weights[0] > 0 and weights[0] + found.least_scale() > 0:
            return float(weights[0]), offset, found
    raise InputError(NOT_ABOVE)


def fit_by_cohort(
    scores: ArrayLike,
    is_target: ArrayLike,
    seconds: ArrayLike,
    first: Floats,
    second: Floats,
    *,
    prior: float = PRIOR,
) -> ByCohort:
    """What to add to cosines (N,) by the cohort, fitted together with the effect of the seconds of speech (N, 2).

    Args:
        first, second: (N, 2) of both sides of each trial (``by_cohort.measured``).
    Raises:
        InputError: as ``fit_logistic``.
    """
    values, target, nontarget, ridge = _shares(scores, is_target, None)
    q = np.log(np.maximum(np.sort(np.asarray(seconds, np.float64), axis=1), SHORTEST)).T
    q -= q.mean(axis=1, keepdims=True)
    x = np.concatenate([np.stack([values, *q, *(values * q)]), shapes(first, second).T])
    weights, _ = _fit_features(x, target, nontarget, ridge, prior)
    if not weights[0] > 0:
        raise InputError(NOT_ABOVE)
    added = weights[-2 * MEASURES :] / weights[0]
    return ByCohort(pair(added[:MEASURES]), pair(added[MEASURES:]))


def _shares(scores: ArrayLike, is_target: ArrayLike, ridge: float | None) -> tuple[Floats, Floats, Floats, float]:
    """Scores (N,), their shares (N,) of all target and of all non-target trials, and the ridge."""
    metrics.roc(scores, is_target)
    labels = np.asarray(is_target).astype(bool)
    targets, others = labels.sum(), (~labels).sum()
    ridge = float(0.01 / min(targets, others)) if ridge is None else ridge
    return np.asarray(scores, np.float64), labels / targets, ~labels / others, ridge


def pair(values: Any) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)


def fit_weighted(values: Floats, target: Floats, nontarget: Floats, ridge: float, prior: float) -> tuple[float, float]:
    """``fit_logistic`` on scores (N,) that stand for shares (N,) of all target and of all non-target trials."""
    if target @ values <= nontarget @ values:
        raise InputError(NOT_ABOVE)
    weights, offset = _fit_features(values[None], target, nontarget, ridge, prior)
    return float(weights[0]), offset


def _fit_features(
    features: Floats, target: Floats, nontarget: Floats, ridge: float, prior: float
) -> tuple[Floats, float]:
    """Weights (S,) and offset of the log-likelihood ratio on features (S, N), the score first; shares as above."""
    both = (target + nontarget) / 2
    centre = features @ both
    spread = np.sqrt((features - centre[:, None]) ** 2 @ both)
    if not spread[0] > 1e-12:
        raise InputError(NOT_ABOVE)
    spread = np.where(spread > 1e-12, spread, np.inf)  # what is the same in all trials weighs nothing
    x = np.concatenate([(features - centre[:, None]) / spread[:, None], np.ones((1, features.shape[1]))])
    shift = -metrics.bayes_threshold(prior)  # prior log-odds
    weights = np.zeros(len(x))
    penalty = np.append(np.full(len(features), max(ridge, 1e-9)), 1e-9)
    for _ in range(200):
        chance = 1 / (1 + np.exp(np.clip(-(weights @ x + shift), -500, 500)))
        missed, alarmed = prior * target * (1 - chance), (1 - prior) * nontarget * chance
        slope = x @ (missed - alarmed) - penalty * weights
        curve = (x * (missed * chance + alarmed * (1 - chance))) @ x.T + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        # where the scores nearly separate, full steps overshoot
        weights = weights + step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-10:
            break
    slopes = weights[:-1] / spread
    return slopes, float(weights[-1] - slopes @ centre)
