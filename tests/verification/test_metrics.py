"""Metrics against slow oracles written from the definitions, against known closed forms, and against wrong formulas."""

from __future__ import annotations

import itertools
import math
import statistics
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl.errors import InputError
from speechssl.verification import metrics
from speechssl.verification.metrics import Roc

CLOSE = 1e-9


@st.composite
def trials(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels with at least one of each."""
    size = draw(st.integers(2, 40))
    levels = draw(st.integers(1, 25))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    labels = rng.random(size) < draw(st.floats(0.1, 0.9))
    labels[:2] = [True, False]
    scores = rng.integers(0, levels, size) / 4 + labels * draw(st.floats(-1, 3))
    return scores, labels


def points(scores: np.ndarray, labels: np.ndarray) -> list[tuple[float, float]]:
    """(miss, false alarm) at every threshold, by counting."""
    thresholds = [*sorted(set(scores.tolist())), math.inf]
    tar, non = scores[labels].tolist(), scores[~labels].tolist()
    return [
        (sum(s < t for s in tar) / len(tar), sum(s >= t for s in non) / len(non)) for t in thresholds
    ]  # accepted if score >= threshold


def slow_eer_hull(scores: np.ndarray, labels: np.ndarray) -> float:
    """Largest over the prior of the smallest error: the minimax theorem's way to the hull's EER."""
    rates = points(scores, labels)
    priors = {0.0, 1.0}
    for (m, f), (n, g) in itertools.combinations(rates, 2):
        slope = (m - f) - (n - g)
        if slope:
            priors.add((g - f) / slope)
    return max(min(p * m + (1 - p) * f for m, f in rates) for p in priors if 0 <= p <= 1)


def slow_eer_interpolated(scores: np.ndarray, labels: np.ndarray) -> float:
    rates = points(scores, labels)
    for (m, f), (n, g) in itertools.pairwise(rates):
        if m <= f and n >= g:
            # m + t (n - m) = f + t (g - f)
            t = (f - m) / ((n - m) - (g - f))
            return m + t * (n - m)
    raise AssertionError("the curve runs from accepting all to rejecting all")


def slow_pav(scores: np.ndarray, labels: np.ndarray) -> dict[float, float]:
    """Isotonic posterior of every distinct score, by pooling neighbours that are out of order."""
    blocks = []
    for score in sorted(set(scores.tolist())):
        here = labels[scores == score]
        blocks.append([[score], float(here.sum()), float(len(here))])
        while len(blocks) > 1 and blocks[-2][1] / blocks[-2][2] >= blocks[-1][1] / blocks[-1][2]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1], blocks[-1][2] + last[2]]
    return {score: hits / size for members, hits, size in blocks for score in members}


def slow_cllr(llrs: np.ndarray, labels: np.ndarray) -> float:
    tar = [math.log2(1 + math.exp(-x)) for x in llrs[labels].tolist()]
    non = [math.log2(1 + math.exp(x)) for x in llrs[~labels].tolist()]
    return (sum(tar) / len(tar) + sum(non) / len(non)) / 2


def slow_min_cllr(scores: np.ndarray, labels: np.ndarray) -> float:
    posterior = slow_pav(scores, labels)
    odds = labels.sum() / (~labels).sum()
    tar = [posterior[s] for s in scores[labels].tolist()]
    non = [posterior[s] for s in scores[~labels].tolist()]
    tar_cost = [math.log2(1 + odds * (1 - p) / p) for p in tar]
    non_cost = [math.log2(1 + p / (1 - p) / odds) for p in non]
    return (sum(tar_cost) / len(tar) + sum(non_cost) / len(non)) / 2


@settings(deadline=None, max_examples=150)
@given(trials())
def test_equal_to_the_definitions(sample: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = sample
    assert metrics.roc(scores, labels).eer() == pytest.approx(slow_eer_hull(scores, labels), abs=CLOSE)
    assert metrics.roc(scores, labels).eer_interpolated() == pytest.approx(
        slow_eer_interpolated(scores, labels), abs=CLOSE
    )
    assert metrics.roc(scores, labels).min_cllr() == pytest.approx(slow_min_cllr(scores, labels), abs=CLOSE)
    assert metrics.cllr(scores, labels) == pytest.approx(slow_cllr(scores, labels), abs=CLOSE)


@settings(deadline=None, max_examples=100)
@given(trials(), st.floats(0.001, 0.999), st.floats(0.1, 10), st.floats(0.1, 10))
def test_detection_costs_equal_to_the_definitions(
    sample: tuple[np.ndarray, np.ndarray], prior: float, miss: float, false_alarm: float
) -> None:
    scores, labels = sample
    default = min(prior * miss, (1 - prior) * false_alarm)
    slow = min(prior * miss * m + (1 - prior) * false_alarm * f for m, f in points(scores, labels)) / default
    costs = {"prior": prior, "cost_miss": miss, "cost_false_alarm": false_alarm}
    assert metrics.roc(scores, labels).min_dcf(**costs) == pytest.approx(slow, abs=CLOSE)
    threshold = math.log((1 - prior) * false_alarm / (prior * miss))
    missed, accepted = (scores[labels] < threshold).mean(), (scores[~labels] >= threshold).mean()
    actual = (prior * miss * missed + (1 - prior) * false_alarm * accepted) / default
    assert metrics.act_dcf(scores, labels, **costs) == pytest.approx(actual, abs=CLOSE)
    assert metrics.act_dcf(scores, labels, **costs) >= metrics.roc(scores, labels).min_dcf(**costs) - CLOSE


@settings(deadline=None, max_examples=100)
@given(trials())
def test_what_ranks_only_ignores_monotone_maps_and_order(sample: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = sample
    order = np.random.default_rng(0).permutation(len(scores))
    ranks = np.unique(scores, return_inverse=True)[1] ** 3
    curve, mapped = metrics.roc(scores, labels), metrics.roc(ranks[order], labels[order])
    for metric in (Roc.eer, Roc.eer_interpolated, Roc.min_cllr):
        assert metric(mapped) == metric(curve)
    assert 0 <= metrics.roc(scores, labels).eer() <= 0.5
    assert metrics.roc(scores, labels).eer() <= metrics.roc(scores, labels).eer_interpolated() + CLOSE


def test_hull_of_many_points_equals_plain_pooling() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(6000) < 0.3
    scores = rng.normal(size=6000) + 1.5 * labels
    assert metrics.roc(scores, labels).min_cllr() == pytest.approx(slow_min_cllr(scores, labels), abs=CLOSE)


def test_normal_scores_have_the_known_error_and_a_straight_det_curve() -> None:
    quantile = statistics.NormalDist().inv_cdf
    grid = np.array([quantile((i + 0.5) / 4000) for i in range(4000)])
    scores, labels = np.concatenate([grid + 2, grid]), np.repeat([True, False], 4000)
    assert metrics.roc(scores, labels).eer() == pytest.approx(statistics.NormalDist().cdf(-1), abs=3e-4)
    false_alarm, miss = metrics.det_points(scores, labels)
    inner = (np.abs(false_alarm) < 2) & (np.abs(miss) < 2)
    assert np.abs(false_alarm + miss + 2)[inner].max() < 0.02
    assert metrics.cllr(2 * scores - 2, labels) - metrics.roc(scores, labels).min_cllr() < 2e-3


def test_perfect_useless_and_inverted_scores() -> None:
    labels = np.array([True, True, False, False])
    assert metrics.roc([2, 1, 0, -1], labels).eer() == 0
    assert metrics.roc([0, 0, 0, 0], labels).eer() == 0.5
    assert metrics.roc([-1, 0, 1, 2], labels).eer() == 0.5
    assert metrics.roc([-1, 0, 1, 2], labels).eer_interpolated() == 1
    assert metrics.roc([0, 0, 0, 0], labels).min_dcf(0.01) == 1
    assert metrics.cllr([0, 0, 0, 0], labels) == 1
    assert metrics.roc([2, 1, 0, -1], labels).min_cllr() == 0


def test_threshold_at_a_false_alarm_rate_keeps_it() -> None:
    rng = np.random.default_rng(5)
    scores, labels = np.round(rng.normal(size=500), 1), rng.random(500) < 0.5
    for rate in (0.0, 0.01, 0.1, 0.5, 1.0):
        threshold = metrics.roc(scores, labels).threshold_at(rate)
        assert (scores[~labels] >= threshold).mean() <= rate
        lower = scores[scores < threshold]
        if lower.size:
            assert (scores[~labels] >= lower.max()).mean() > rate


# -- contrast with formulas in use elsewhere


def test_actual_cost_follows_the_prior_where_a_constant_threshold_does_not() -> None:
    """One toolkit computes beta = log(...) and then sets beta = 0.5."""
    rng = np.random.default_rng(0)
    labels = rng.random(20000) < 0.5
    llrs = np.where(labels, 2, -2) + 2 * rng.normal(size=20000)  # calibrated: variance = twice the mean

    def constant(prior: float) -> float:
        miss, false_alarm = (llrs[labels] < 0.5).mean(), (llrs[~labels] >= 0.5).mean()
        return float((prior * miss + (1 - prior) * false_alarm) / min(prior, 1 - prior))

    for prior in (0.01, 0.1, 0.9):
        ours, best = metrics.act_dcf(llrs, labels, prior=prior), metrics.roc(llrs, labels).min_dcf(prior)
        assert best <= ours < 1.05 * best
        assert constant(prior) > 1.2 * ours


def test_raw_cosines_are_no_likelihood_ratios() -> None:
    """One toolkit reports Cllr of cosines: 0.9 bits here, for scores that separate without error."""
    rng = np.random.default_rng(0)
    labels = rng.random(2000) < 0.5
    cosines = np.where(labels, 0.6, 0.1) + 0.02 * rng.normal(size=2000)
    assert metrics.cllr(cosines, labels) > 0.8
    assert metrics.roc(cosines, labels).min_cllr() == 0


def test_mean_of_both_errors_at_the_nearest_threshold_is_no_equal_error_rate() -> None:
    labels = np.array([True, False, False, False, False, False, False])
    scores = np.array([3, 1, 2, 4, 5, 0, 0])
    rates = points(scores, labels)
    nearest = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    assert sum(nearest) / 2 == pytest.approx(1 / 6)
    assert metrics.roc(scores, labels).eer_interpolated() == pytest.approx(1 / 3)
    assert metrics.roc(scores, labels).eer() == pytest.approx(1 / 4)


def test_cost_is_normalised() -> None:
    """Unnormalised, the cost of accepting nobody at a prior of 0.01 reads 0.01, which looks fine."""
    labels = np.array([True, False])
    assert metrics.roc([0, 1], labels).min_dcf(0.01) == 1
    assert metrics.act_dcf([0, 9], labels, prior=0.01) == pytest.approx((0.01 + 0.99) / 0.01)


def test_a_million_trials_in_seconds_and_little_memory() -> None:
    """One toolkit compares every score with every threshold: 10^12 comparisons, and as many bytes."""
    rng = np.random.default_rng(1)
    labels = rng.random(1_000_000) < 0.3
    scores = rng.normal(size=1_000_000) + 2 * labels
    began = time.process_time()
    curve = metrics.roc(scores, labels)
    curve.eer(), curve.eer_interpolated(), curve.min_dcf(0.01)
    curve.min_cllr(), metrics.cllr(scores, labels), metrics.act_dcf(scores, labels, prior=0.01)
    metrics.det_points(scores, labels)
    assert time.process_time() - began < 10  # 1 s on a quiet machine
    tracemalloc.start()
    metrics.roc(scores, labels).eer(), metrics.roc(scores, labels).min_cllr(), metrics.cllr(scores, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500e6


# -- intervals


def speaker_trials(speakers: int, each: int, seed: int) -> tuple[np.ndarray, ...]:
    """All pairs of utterances; every speaker shifts the scores of all its trials."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(speakers), each)
    first, second = np.triu_indices(len(owner), 1)
    shift = rng.normal(size=speakers)
    labels = owner[first] == owner[second]
    scores = 2 * labels + shift[owner[first]] * labels + rng.normal(size=len(first))
    return scores, labels, owner[first], owner[second]


def test_interval_over_speakers_is_wider_than_over_trials() -> None:
    scores, labels, first, second = speaker_trials(8, 10, seed=0)
    ours = metrics.bootstrap(Roc.eer, scores, labels, first, second, draws=200)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(scores), len(scores)) for _ in range(200)]
    low, high = np.quantile([metrics.roc(scores[d], labels[d]).eer() for d in drawn], [0.025, 0.975])
    assert ours.low <= ours.value <= ours.high
    assert ours.value == metrics.roc(scores, labels).eer()
    assert ours.high - ours.low > 1.5 * (high - low)


def test_interval_equals_written_out_resampling() -> None:
    scores, labels, first, second = speaker_trials(5, 3, seed=1)
    ours = metrics.bootstrap(Roc.min_cllr, scores, labels, first, second, draws=40, seed=7)
    rng = np.random.default_rng(7)
    values: list[float] = []
    while len(values) < 40:
        drawn = rng.integers(0, 5, 5).tolist()
        kept = []
        for i in range(len(scores)):
            a, b = first[i], second[i]
            kept += [i] * (drawn.count(a) if a == b else drawn.count(a) * drawn.count(b))
        if labels[kept].any() and not labels[kept].all():
            values.append(metrics.roc(scores[kept], labels[kept]).min_cllr())
    assert [ours.low, ours.high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=CLOSE)


def test_trials_of_speakers_who_are_not_drawn_do_not_count_among_many() -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(6000) % 3 == 0
    scores, kept = rng.normal(size=6000) + 3.0 * labels, rng.random(6000) < 0.1
    found = metrics._Sorted(scores, labels)
    drawn = found.weighted(kept[found.order].astype(np.float64))
    alone = metrics.roc(scores[kept], labels[kept])
    assert drawn.eer() == pytest.approx(alone.eer(), abs=CLOSE)
    assert drawn.min_cllr() == pytest.approx(alone.min_cllr(), abs=CLOSE)


def test_same_seed_same_interval() -> None:
    sample = speaker_trials(6, 4, seed=2)
    one, two = (metrics.bootstrap(Roc.eer, *sample, draws=50, seed=3) for _ in range(2))
    assert one == two
    assert metrics.bootstrap(Roc.eer, *sample, draws=50, seed=4) != one


# -- bad input


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [1], "shape"),
        ([0.1, math.nan], [1, 0], "1 of 2 scores are NaN"),
        ([0.1, 0.2], [1, 1], "2 target and 0 non-target"),
        ([0.1, 0.2], [0, 0], "0 target and 2 non-target"),
        ([], [], "0 target and 0 non-target"),
    ],
)
def test_bad_trials_are_refused(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        metrics.roc(scores, labels).eer()


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="prior"):
        metrics.roc([0, 1], [0, 1]).min_dcf(1.0)
    with pytest.raises(InputError, match="positive costs"):
        metrics.act_dcf([0, 1], [0, 1], prior=0.5, cost_miss=0)
    with pytest.raises(InputError, match="fraction"):
        metrics.roc([0, 1], [0, 1]).threshold_at(5)
    with pytest.raises(InputError, match="one speaker"):
        metrics.bootstrap(Roc.eer, [0, 1], [0, 1], ["a", "a"], ["a", "a"])
    with pytest.raises(InputError, match="two names"):
        metrics.bootstrap(Roc.eer, [0, 1], [0, 1], ["a"], ["a"])
