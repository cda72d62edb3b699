"""Logistic regression from scores, seconds of speech and nearness to a cohort to likelihood ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from speechssl.errors import InputError
from speechssl.verification import metrics
from speechssl.verification.by_cohort import ByCohort
from speechssl.verification.calibration import Calibration
from speechssl.verification.logistic import fit_by_cohort, fit_by_seconds, fit_logistic
from tests.helpers import scores_of, timed_scores


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
    assert metrics.cllr(llrs, truth) - metrics.roc(fresh, truth).min_cllr() < 0.02
    for prior in (0.01, 0.1):
        assert metrics.act_dcf(llrs, truth, prior=prior) < 1.1 * metrics.roc(llrs, truth).min_dcf(prior)


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


def test_fit_by_seconds_equals_scikit_learns() -> None:
    scores, labels, seconds, _ = timed_scores(4000, 0)
    scale, offset, found = fit_by_seconds(scores, labels, seconds, ridge=0)
    logs = np.log(np.sort(seconds, axis=1))
    q = np.stack([np.clip(side, *np.quantile(side, [0.01, 0.99])) for side in logs.T], axis=1) - logs.mean(0)
    features = np.column_stack([scores, q, scores[:, None] * q])
    weight = np.where(labels, 0.5 / labels.mean(), 0.5 / (~labels).mean())
    other = LogisticRegression(C=1e10, tol=1e-10, max_iter=10000).fit(features, labels, sample_weight=weight)
    assert [offset, scale] == pytest.approx([other.intercept_[0], other.coef_[0, 0]], rel=1e-3)
    assert found.offset_slopes == pytest.approx(other.coef_[0, 1:3], rel=1e-2, abs=0.02)
    assert found.scale_slopes == pytest.approx(other.coef_[0, 3:], rel=1e-2, abs=0.02)
    assert found.centre == pytest.approx(logs.mean(0))


def test_ratios_by_seconds_come_near_the_true_ones() -> None:
    scale, offset, found = fit_by_seconds(*timed_scores(60000, 0)[:3])
    known = Calibration("m@1", scale, offset, 0.2, 0.1, 0.3, None, 0.0, 1.0, "x", by_seconds=found)
    scores, labels, seconds, truth = timed_scores(60000, 1)
    llrs = known.llrs(scores, seconds)
    assert np.corrcoef(llrs, truth)[0, 1] > 0.995
    assert metrics.cllr(llrs, labels) < metrics.cllr(truth, labels) + 0.003
    plain_scale, plain_offset = fit_logistic(scores, labels)
    assert metrics.cllr(llrs, labels) < metrics.cllr(plain_scale * scores + plain_offset, labels) - 0.01


def test_a_scale_that_would_turn_negative_somewhere_stays_the_same_everywhere() -> None:
    rng = np.random.default_rng(0)
    labels, seconds = rng.random(4000) < 0.5, np.exp(rng.uniform(0, 3, (4000, 2)))
    way = np.log(seconds.min(1)) - 0.4  # short ones are scored the wrong way round
    scale, _, found = fit_by_seconds(way * (labels - 0.5) + 0.3 * rng.normal(size=4000), labels, seconds)
    assert scale > 0
    assert found.scale_slopes == (0.0, 0.0)


def test_what_the_cohort_adds_is_found() -> None:
    scores, labels, seconds, _ = timed_scores(20000, 0)
    rng = np.random.default_rng(1)
    first, second = (0.1 * rng.normal(size=(len(scores), 2)) + 0.2 for _ in range(2))
    true = ByCohort((0.3, -0.2), (-0.8, 0.1))
    found = fit_by_cohort(scores - true.added(first, second), labels, seconds, first, second)
    assert found.sums == pytest.approx(true.sums, abs=0.1)
    assert found.differences == pytest.approx(true.differences, abs=0.1)
    with pytest.raises(InputError, match="not above"):
        fit_by_cohort(-scores, labels, seconds, first, second)
