"""Calibration: likelihood ratios that mean what they say, thresholds that keep their rate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from speechssl.errors import CheckpointError, InputError
from speechssl.verification import calibration, metrics
from speechssl.verification.by_seconds import BySeconds
from speechssl.verification.calibration import (
    Calibration,
    probability,
    seconds_help,
)


def speaker_scores(speakers: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(speakers, 1, 12)) + 0.8 * rng.normal(size=(speakers, each, 12))
    unit = vectors.reshape(-1, 12) / np.linalg.norm(vectors.reshape(-1, 12), axis=1, keepdims=True)
    owner = np.repeat(np.arange(speakers), each)
    one, two = np.triu_indices(len(owner), 1)
    return (unit @ unit.T)[one, two], owner[one] == owner[two], owner[one], owner[two]


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


def test_an_earlier_calibration_without_seconds_is_read() -> None:
    found = calibration.calibrate(*speaker_scores(6, 3, 0), origin="m@1", source="x", draws=10)
    earlier = {name: value for name, value in found.as_dict().items() if name != "by_seconds"}
    assert Calibration.from_dict(earlier, source="f") == found
    assert found.llr(0.3, (2.0, 90.0)) == found.llr(0.3) == pytest.approx(0.3 * found.scale + found.offset)
    assert found.threshold_at((1.0, 2.0)) == found.threshold


# -- by the seconds of speech


def test_ratios_by_seconds_are_what_the_formula_says() -> None:
    slopes = BySeconds((1.0, 4.0), (2.0, 8.0), (0.5, 1.0), (1.0, -0.5), (0.25, 2.0))
    known = Calibration("m@1", 10.0, -4.0, 0.5, 0.4, 0.6, None, 0.0, 1.0, "x", by_seconds=slopes)
    short, long = math.log(3) - 0.5, math.log(5) - 1.0
    expected = (10 + short - 0.5 * long) * 0.7 - 4 + 0.25 * short + 2 * long
    assert known.llr(0.7, (3.0, 5.0)) == pytest.approx(expected)
    assert known.llr(0.7, (5.0, 3.0)) == known.llr(0.7, (3.0, 5.0))  # neither side is special
    assert known.llr(0.7, (0.2, 1000.0)) == known.llr(0.7, (1.0, 8.0))  # nothing is known beyond what the fit has seen
    assert known.llr(0.7) == pytest.approx(3.0)
    assert known.llr(0.7, (math.exp(0.5), math.e)) == pytest.approx(3.0)
    for sides in ((1.0, 2.0), (3.0, 5.0), (4.0, 8.0)):
        assert known.llr(known.threshold_at(sides), sides) == pytest.approx(known.llr(0.5))
        assert known.llr(known.score_at(-2.0, sides), sides) == pytest.approx(-2.0)
        assert known.typical([known.threshold_at(sides)], [sides])[0] == pytest.approx(0.5)


def timed_speakers(speakers: int, each: int, seed: int, *, help: bool) -> tuple[np.ndarray, ...]:
    """As ``speaker_scores``, with seconds of every recording, on which its noise hangs or not."""
    rng = np.random.default_rng(seed)
    seconds = np.exp(rng.uniform(0, 3, (speakers, each, 1)))
    noise = 2.0 / np.sqrt(seconds) if help else 0.8
    vectors = (rng.normal(size=(speakers, 1, 12)) + noise * rng.normal(size=(speakers, each, 12))).reshape(-1, 12)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    owner = np.repeat(np.arange(speakers), each)
    one, two = np.triu_indices(len(owner), 1)
    flat = seconds.reshape(-1)
    sample = (unit @ unit.T)[one, two], owner[one] == owner[two], owner[one], owner[two]
    return (*sample, np.stack([flat[one], flat[two]], axis=1))


def test_seconds_count_where_they_help_speakers_who_were_not_in_the_fit() -> None:
    assert seconds_help(*timed_speakers(40, 6, 0, help=True))
    assert not seconds_help(*timed_speakers(6, 3, 0, help=False))
    assert not seconds_help(*timed_speakers(3, 4, 0, help=True))  # too few to try it on
    *sample, seconds = timed_speakers(40, 6, 0, help=True)
    facts = {"origin": "m@1", "source": "x", "false_alarm": 0.05, "draws": 40}
    finer = calibration.calibrate(*sample, **facts, seconds=seconds)
    plain = calibration.calibrate(*sample, **facts)
    assert finer.by_seconds is not None
    assert plain.by_seconds is None
    assert Calibration.from_dict(json.loads(json.dumps(finer.as_dict())), source="f") == finer
    *fresh, known = timed_speakers(60, 6, 1, help=True)
    scores, labels = fresh[:2]
    cost = {found: metrics.cllr(found.llrs(scores, known), labels) for found in (finer, plain)}
    assert cost[finer] < cost[plain] - 0.02
    # the threshold keeps its rate, whatever the lengths
    rate = (finer.typical(scores, known)[~labels] >= finer.threshold).mean()
    assert finer.false_alarm_low <= rate <= finer.false_alarm_high


def test_damaged_seconds_are_refused() -> None:
    slopes = BySeconds((1.0, 4.0), (2.0, 8.0), (0.5, 1.0), (1.0, -0.5), (0.25, 2.0))
    good = Calibration("m@1", 10.0, -4.0, 0.5, 0.4, 0.6, None, 0.0, 1.0, "x", by_seconds=slopes).as_dict()
    for change in ({"shorter": (1.0,)}, {"shorter": (0.0, 4.0)}, {"scale_slopes": (-20.0, 0.0)}, {"other": (0.0, 1.0)}):
        with pytest.raises(CheckpointError, match=r"f holds a .*calibration"):
            Calibration.from_dict({**good, "by_seconds": {**good["by_seconds"], **change}}, source="f")
    with pytest.raises(CheckpointError, match="damaged"):
        Calibration.from_dict({**good, "by_seconds": 3}, source="f")
