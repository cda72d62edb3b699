"""From scores to likelihood ratios and decisions: fitted on labelled trials, kept with the model's fingerprint."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from speechssl import metrics
from speechssl.errors import CheckpointError, InputError


@dataclass(frozen=True)
class Calibration:
    """llr = scale * score + offset, and a threshold on scores.

    Args:
        origin: of the embeddings; scores of another model mean something else.
        scale, offset: natural-log likelihood ratio per score; scale > 0.
        threshold: score from which a trial is accepted.
        threshold_low, threshold_high: interval of the threshold, over speakers.
        false_alarm: rate the threshold was set for; None: where the ratio is 1.
        false_alarm_low, false_alarm_high: interval of the rate that threshold really has.
        source: what it was fitted on, for the person who asks where a decision comes from.
        scoring: ``"cosine"`` or ``"as-norm"``.
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


def fit_logistic(scores: ArrayLike, is_target: ArrayLike, *, ridge: float = 1e-4) -> tuple[float, float]:
    """Scale and offset that minimise Cllr (both classes weigh the same), by Newton's method.

    Args:
        ridge: on the scale of standardised scores; keeps it finite where the scores separate without error.
    Raises:
        InputError: as ``metrics.roc``; scores without spread, or lower for targets than for others.
    Source: Brümmer and du Preez 2006, section 6.
    """
    metrics.roc(scores, is_target)
    values, labels = np.asarray(scores, np.float64), np.asarray(is_target).astype(bool)
    spread = values.std()
    if not spread > 1e-12 or values[labels].mean() <= values[~labels].mean():
        raise InputError("scores of targets are not above the others'; this model cannot be calibrated on these trials")
    x = np.stack([(values - values.mean()) / spread, np.ones(len(values))])
    sign = np.where(labels, 1.0, -1.0)
    share = np.where(labels, 0.5 / labels.sum(), 0.5 / (~labels).sum())
    weights = np.zeros(2)
    penalty = np.array([ridge, 1e-9])
    for _ in range(200):
        wrong = 1 / (1 + np.exp(np.clip(sign * (weights @ x), -500, 500)))
        slope = x @ (share * sign * wrong) - penalty * weights
        curve = (x * (share * wrong * (1 - wrong))) @ x.T + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        # where the scores nearly separate, full steps overshoot
        weights = weights + step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-10:
            break
    scale = float(weights[0] / spread)
    return scale, float(weights[1] - scale * values.mean())


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
    draws: int = 500,
    seed: int = 0,
) -> Calibration:
    """Fit the ratio and the threshold, with intervals from resampling speakers.

    Args:
        false_alarm: rate the threshold is for; None puts it where the likelihood ratio is 1.
        draws, seed: of ``metrics.bootstrap``.
    Raises:
        InputError: as ``fit_logistic``; fewer non-target trials than the rate needs (1 / rate).
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(is_target).astype(bool)
    scale, offset = fit_logistic(values, labels)
    needed = 0 if false_alarm is None else math.ceil(1 / max(false_alarm, 1e-9))
    if needed > int((~labels).sum()):
        raise InputError(
            f"a false-alarm rate of {false_alarm} needs {needed} non-target trials, {int((~labels).sum())} are there; "
            "give more recordings or a higher rate"
        )

    def threshold_of(curve: metrics.Roc) -> float:
        if false_alarm is None:
            return -offset / scale
        found = metrics.threshold_at_of(curve, false_alarm)
        return found if math.isfinite(found) else float(np.nextafter(curve.thresholds[-2], np.inf))

    sides = (values, labels, enrolment_speakers, test_speakers)
    threshold = metrics.bootstrap(threshold_of, *sides, draws=draws, seed=seed)

    def realised(curve: metrics.Roc) -> float:
        return metrics.rates_at(curve, threshold.value)[1]

    rate = metrics.bootstrap(realised, *sides, draws=draws, seed=seed)
    return Calibration(
        origin=origin,
        scale=scale,
        offset=offset,
        threshold=threshold.value,
        threshold_low=threshold.low,
        threshold_high=threshold.high,
        false_alarm=false_alarm,
        false_alarm_low=rate.low,
        false_alarm_high=rate.high,
        source=source,
        scoring=scoring,
    )
