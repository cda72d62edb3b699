"""What ``evaluate`` and ``calibrate`` say of their numbers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from helpers import by_seconds

from speechssl.cli import evaluation
from speechssl.verification import evaluation as measured
from speechssl.verification.trials import Trial


def test_a_calibration_that_costs_more_than_it_gains_is_told() -> None:
    assert evaluation.costly({"0.01": 33.0, "0.05": 0.4}).startswith("remark: at a prior of 0.01 the decisions")
    assert evaluation.costly({"0.01": 1.0, "0.05": 0.4}) == ""


def test_a_calibration_that_is_worse_than_the_one_before_is_told() -> None:
    assert "--reset" in evaluation.worse(0.0327, 0.0411)
    assert evaluation.worse(0.0411, 0.0327) == evaluation.worse(None, 0.5) == ""


def test_no_error_among_few_trials_is_not_called_certain() -> None:
    found = {"eer_interval_95": [0.0, 0.0], "targets": 45, "speakers": 3}
    assert "even with 45 independent target trials up to 6.4 % could be wrong" in evaluation.too_few(found)
    assert evaluation.too_few(found | {"eer_interval_95": [0.0, 0.01]}) == ""
    assert evaluation.too_few(found | {"eer_interval_95": None, "eer": 0.0}) == evaluation.too_few(found)


def report(speakers: int) -> dict[str, Any]:
    """Of all pairs of four recordings of each speaker; scores with errors."""
    names = [f"{speaker}/{number}" for speaker in "abcdef"[:speakers] for number in range(4)]
    trials = [Trial(one, two, one[0] == two[0]) for one, two in itertools.combinations(names, 2)]
    rng = np.random.default_rng(0)
    scores = rng.normal(0.3, 0.15, len(trials)) + 0.4 * np.array([trial.is_target for trial in trials])
    seconds = np.exp(rng.uniform(0, 3, (len(trials), 2)))
    found = measured.report(trials, scores, calibration=by_seconds(), seconds=seconds, draws=50)
    return found | {"scoring": "cosine", "model": "m@1"}


def test_the_text_holds_the_eer_of_the_ratios_and_no_interval_of_few_speakers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = report(6)
    assert found["eer_interval_95"][0] <= found["eer"] <= found["eer_interval_95"][1] < 0.5
    evaluation._print_report(found)
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("ratios at best"))
    low, high = found["of_ratios"]["eer_interval_95"]
    assert f"EER {100 * found['of_ratios']['eer']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f}), minDCF" in row
    few = report(5)
    assert few["eer_interval_95"] is few["of_ratios"]["eer_interval_95"] is None
    evaluation._print_report(few)
    assert capsys.readouterr().out.count("% (no interval: 5 speakers are too few)") == 2
