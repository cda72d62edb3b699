"""From scores to likelihood ratios and decisions: fitted on labelled trials, kept with the model's fingerprint."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechssl import metrics
from speechssl.errors import CheckpointError, InputError

Floats = NDArray[np.float64]
PRIOR = 0.02  # between the two at which costs are reported, 0.01 and 0.05; Cllr suffers little


@dataclass(frozen=True)
class Calibration:
    """llr = scale * score + offset, and a threshold on scores.

    Args:
        origin: of the embeddings; scores of another model mean something else.
        scale, offset: natural-log likelihood ratio per score; scale > 0.
        threshold: score from which a trial is accepted.
        threshold_low, threshold_high: interval of the threshold, over speakers.
        false_alarm: rate the threshold was set for; None: where the ratio is 1.
        false_alarm_low, false_alarm_high: interval of the rate that threshold has with other speakers.
        source: what it was fitted on, for the person who asks where a decision comes from.
        scoring: ``"cosine"``, ``"as-norm"`` or ``"plda"``.
    """

    origin: str
    scale: float
    offset: float
    threshold: float
    threshold_low: float
    threshold_high: float
    false_alarm: float | None
    false_alarm_low: float
    false_alarm_high: float
    source: str
    scoring: str = "cosine"

    def llr(self, score: float) -> float:
        """Natural-log likelihood ratio of a score."""
        return self.scale * score + self.offset

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``from_dict`` is the way back."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any], *, source: str) -> Calibration:
        """Raises CheckpointError if a value is missing, unknown or of another type."""
        try:
            found = Calibration(**values)
            good = found.scale > 0 and all(math.isfinite(x) for x in (found.scale, found.offset, found.threshold))
        except TypeError as error:
            raise CheckpointError(f"{source} holds a damaged calibration ({error}); calibrate again") from error
        if not good:
            raise CheckpointError(f"{source} holds a calibration without finite, positive scale; calibrate again")
        return found


def probability(llr: float, prior: float) -> float:
    """Probability of one speaker at a prior in (0, 1): Bayes' rule."""
    logit = llr - metrics.bayes_threshold(prior)
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


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
    metrics.roc(scores, is_target)
    values, labels = np.asarray(scores, np.float64), np.asarray(is_target).astype(bool)
    targets, others = int(labels.sum()), int((~labels).sum())
    ridge = 0.01 / min(targets, others) if ridge is None else ridge
    return _fit_weighted(values, labels / targets, ~labels / others, ridge, prior)


def _fit_weighted(values: Floats, target: Floats, nontarget: Floats, ridge: float, prior: float) -> tuple[float, float]:
    """``fit_logistic`` on scores (N,) that stand for shares (N,) of all target and of all non-target trials."""
    both = (target + nontarget) / 2
    centre = float(both @ values)
    spread = math.sqrt(float(both @ (values - centre) ** 2))
    if not spread > 1e-12 or target @ values <= nontarget @ values:
        raise InputError("scores of targets are not above the others'; this model cannot be calibrated on these trials")
    x = np.stack([(values - centre) / spread, np.ones(len(values))])
    shift = -metrics.bayes_threshold(prior)  # prior log-odds
    weights = np.zeros(2)
    penalty = np.array([ridge, 1e-9])
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
    scale = float(weights[0] / spread)
    return scale, float(weights[1] - scale * centre)


def calibrate(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrolment_speakers: Any,
    test_speakers: Any,
    *,
    origin: str,
    source: str,
    false_alarm: float | None = None,
    scoring: str = "cosine",
    prior: float = PRIOR,
    draws: int = 200,
    seed: int = 0,
) -> Calibration:
    """Fit the ratio and the threshold, with intervals over speakers.

    The threshold's interval is from resampling the speakers. That of its false-alarm rate is what speakers it was not
    set on would show: the threshold is set on a random half of the speakers and its rate seen on the others, ``draws``
    times. It holds for a test with half as many speakers as there are here, or more; under four speakers it is from
    resampling too, and too narrow.

    Args:
        false_alarm: rate the threshold is for; None puts it where the likelihood ratio is 1.
        prior: of ``fit_logistic``.
        draws, seed: of both intervals.
    Raises:
        InputError: as ``fit_logistic``; fewer non-target trials than the rate needs (1 / rate).
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(is_target).astype(bool)
    scale, offset = fit_logistic(values, labels, prior=prior)
    needed = 0 if false_alarm is None else math.ceil(1 / max(false_alarm, 1e-9))
    if needed > int((~labels).sum()):
        raise InputError(
            f"a false-alarm rate of {false_alarm} needs {needed} non-target trials, {int((~labels).sum())} are there; "
            "give more recordings or a higher rate"
        )

    def threshold_of(curve: metrics.Roc) -> float:
        return _even_threshold(curve, prior) if false_alarm is None else _rate_threshold(curve, false_alarm)

    sides = (values, labels, enrolment_speakers, test_speakers)
    interval = metrics.bootstrap(threshold_of, *sides, draws=draws, seed=seed)
    threshold = -offset / scale if false_alarm is None else interval.value
    low, high = _realised(threshold_of, threshold, *sides, draws=draws, seed=seed)
    return Calibration(
        origin=origin,
        scale=scale,
        offset=offset,
        threshold=threshold,
        threshold_low=min(interval.low, threshold),
        threshold_high=max(interval.high, threshold),
        false_alarm=false_alarm,
        false_alarm_low=low,
        false_alarm_high=high,
        source=source,
        scoring=scoring,
    )


def _realised(
    threshold_of: Callable[[metrics.Roc], float],
    threshold: float,
    values: Floats,
    labels: NDArray[np.bool_],
    enrolment_speakers: Any,
    test_speakers: Any,
    *,
    draws: int,
    seed: int,
) -> tuple[float, float]:
    """Bounds within which 95 % of the false-alarm rates of other speakers lie."""
    both = np.concatenate([np.asarray(enrolment_speakers), np.asarray(test_speakers)])
    names, ids = np.unique(both, return_inverse=True)
    one, two = ids[: len(values)], ids[len(values) :]
    rng = np.random.default_rng([seed, 1])
    rates = []
    for _ in range(draws if len(names) >= 4 else 0):
        first = np.zeros(len(names), bool)
        first[rng.permutation(len(names))[: len(names) // 2]] = True
        here, there = first[one] & first[two], ~first[one] & ~first[two] & ~labels
        if labels[here].any() and not labels[here].all() and there.any():
            limit = threshold_of(metrics.roc(values[here], labels[here]))
            rates.append(float((values[there] >= limit).mean()))
    if len(rates) < 2:
        sides = (values, labels, enrolment_speakers, test_speakers)
        found = metrics.bootstrap(lambda c: metrics.rates_at(c, threshold)[1], *sides, draws=draws, seed=seed)
        return found.low, found.high
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)


def _rate_threshold(curve: metrics.Roc, false_alarm: float) -> float:
    """Lowest threshold that keeps the rate; just above all scores if none among them does."""
    found = metrics.threshold_at_of(curve, false_alarm)
    return found if math.isfinite(found) else float(np.nextafter(curve.thresholds[-2], np.inf))


def _even_threshold(curve: metrics.Roc, prior: float) -> float:
    """Score at which the likelihood ratio fitted to a ``Roc`` is 1; scores are put into 2000 bins for speed."""
    counts = np.diff(np.stack([curve.targets, curve.nontargets]))  # (2, D)
    starts = np.arange(0, counts.shape[1], max(1, counts.shape[1] // 2000))
    target, nontarget = np.add.reduceat(counts, starts, axis=1)
    total = target + nontarget
    sums = np.add.reduceat(counts.sum(0) * curve.thresholds[:-1], starts)
    keep = total > 0
    shares = target[keep] / target.sum(), nontarget[keep] / nontarget.sum()
    try:
        scale, offset = _fit_weighted(
            sums[keep] / total[keep], *shares, 0.01 / min(target.sum(), nontarget.sum()), prior
        )
    except InputError:
        # speakers drawn by whom the scores say nothing: nobody is accepted
        return float(np.nextafter(curve.thresholds[-2], np.inf))
    return -offset / scale
