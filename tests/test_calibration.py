"""Calibration: likelihood ratios that mean what they say, thresholds that keep their rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from speechssl import calibration, metrics
from speechssl.calibration import Calibration, fit_logistic, probability
from speechssl.errors import CheckpointError, InputError


def scores_of(count: int, seed: int, *, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < share
    return np.where(labels, 0.6, 0.2) + 0.12 * rng.normal(size=count), labels


def speaker_scores(speakers: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(speakers, 1, 12)) + 0.8 * rng.normal(size=(speakers, each, 12))
    unit = vectors.reshape(-1, 12) / np.linalg.norm(vectors.reshape(-1, 12), axis=1, keepdims=True)
    owner = np.repeat(np.arange(speakers), each)
    one, two = np.triu_indices(len(owner), 1)
    return (unit @ unit.T)[one, two], owner[one] == owner[two], owner[one], owner[two]


def test_logistic_fit_equals_scikit_learns() -> None:
    scores, labels = scores_of(3000, 0)
    scale, offset = fit_logistic(scores, labels, ridge=0)
    weight = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean())
    other = LogisticRegression(C=1e10, tol=1e-10, max_iter=10000).fit(scores[:, None], labels, sample_weight=weight)
    assert [scale, offset] == pytest.approx([other.coef_[0, 0], other.intercept_[0]], rel=1e-4)


def test_ratios_of_normal_scores_are_the_true_ones_and_cost_what_they_must() -> None:
    scores, labels = scores_of(40000, 1)
    scale, offset = fit_logistic(scores, labels)
    assert scale == pytest.approx(0.4 / 0.12**2, rel=0.05)  # of two normal distributions of equal width
    assert -offset / scale == pytest.approx(0.4, abs=0.01)
    fresh, truth = scores_of(40000, 2)
    llrs = scale * fresh + offset
    assert metrics.cllr(llrs, truth) - metrics.min_cllr(fresh, truth) < 0.02
    for prior in (0.01, 0.1):
        assert metrics.act_dcf(llrs, truth, prior=prior) < 1.1 * metrics.min_dcf(llrs, truth, prior=prior)


def test_scale_of_the_scores_does_not_matter() -> None:
    scores, labels = scores_of(500, 3)
    scale, offset = fit_logistic(scores, labels)
    assert fit_logistic(1000 * scores + 7, labels) == pytest.approx((scale / 1000, offset - 7 * scale / 1000), rel=1e-6)


def test_scores_that_separate_give_finite_ratios() -> None:
    scale, offset = fit_logistic([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert math.isfinite(scale)
    assert 0.2 < -offset / scale < 0.8


@pytest.mark.parametrize("scores", [[0.5, 0.5, 0.5], [0.9, 0.1, 0.2]])
def test_scores_that_say_nothing_are_refused(scores: list[float]) -> None:
    with pytest.raises(InputError, match="not above"):
        fit_logistic(scores, [False, True, True])


def test_probability_is_bayes_rule() -> None:
    assert probability(0.0, 0.3) == pytest.approx(0.3)
    assert probability(math.log(9), 0.5) == pytest.approx(0.9)
    assert probability(math.log(99), 0.01) == pytest.approx(0.5)
    assert probability(-1e5, 0.5) == 0
    assert probability(1e5, 0.5) == 1


def test_threshold_keeps_its_false_alarm_rate_and_says_how_surely() -> None:
    sample = speaker_scores(20, 5, seed=0)
    found = calibration.calibrate(*sample, origin="m@1", source="x", false_alarm=0.05, draws=100)
    scores, labels = sample[:2]
    assert (scores[~labels] >= found.threshold).mean() <= 0.05
    assert found.threshold_low <= found.threshold <= found.threshold_high
    assert found.false_alarm_low <= 0.05 <= found.false_alarm_high
    assert found.scale > 0


def test_realised_false_alarms_lie_inside_the_stated_interval() -> None:
    """Fitted on one set of speakers, checked on redraws of others of the same kind."""
    inside = 0
    for seed in range(20):
        found = calibration.calibrate(
            *speaker_scores(25, 4, seed), origin="m@1", source="x", false_alarm=0.05, draws=100, seed=seed
        )
        scores, labels, *_ = speaker_scores(200, 3, seed + 1000)
        rate = (scores[~labels] >= found.threshold).mean()
        inside += found.false_alarm_low <= rate <= found.false_alarm_high
    assert inside >= 18


def test_without_a_rate_the_threshold_is_where_the_ratio_is_one() -> None:
    found = calibration.calibrate(*speaker_scores(10, 4, 0), origin="m@1", source="x", draws=20)
    assert found.llr(found.threshold) == pytest.approx(0, abs=1e-9)


def test_a_rate_the_trials_cannot_show_is_refused() -> None:
    with pytest.raises(InputError, match="needs 100000 non-target trials"):
        calibration.calibrate(*speaker_scores(5, 3, 0), origin="m@1", source="x", false_alarm=1e-5)


def test_dict_and_back() -> None:
    found = calibration.calibrate(*speaker_scores(6, 3, 0), origin="m@1", source="x", draws=10)
    assert Calibration.from_dict(found.as_dict(), source="f") == found
    with pytest.raises(CheckpointError, match="damaged calibration"):
        Calibration.from_dict({"scale": 1.0}, source="f")
    with pytest.raises(CheckpointError, match="positive scale"):
        Calibration.from_dict({**found.as_dict(), "scale": -1.0}, source="f")
