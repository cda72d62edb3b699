"""What nearness to other voices adds to a cosine, wherever it is scored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Embedding
from speechssl.verification import decisions, evaluation, scoring
from speechssl.verification.by_cohort import ByCohort, measured
from speechssl.verification.calibration import Calibration
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.verification.trials import Trial

ORIGIN = "m@1"
ADDED = ByCohort((0.5, -0.25), (1.0, 0.5))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(40, 8))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def utterance(vector: np.ndarray) -> decisions.Utterance:
    return decisions.Utterance("x", Embedding(torch.from_numpy(vector.astype(np.float32)), ORIGIN), 3.0, "0" * 64)


def test_the_measures_are_mean_and_spread_of_the_cosines(vectors: np.ndarray) -> None:
    found = measured(vectors[:3], vectors[10:])
    cosines = np.array([[float(one @ other) for other in vectors[10:]] for one in vectors[:3]])
    np.testing.assert_allclose(found, np.stack([cosines.mean(1), cosines.std(1)], axis=1), atol=1e-12)


def test_sums_and_differences_are_weighted() -> None:
    first, second = np.array([[0.1, 0.2]]), np.array([[0.4, 0.1]])
    expected = 0.5 * 0.5 - 0.25 * 0.3 + 1.0 * 0.3 + 0.5 * 0.1
    assert ADDED.added(first, second) == pytest.approx([expected])
    assert ADDED.added(second, first) == pytest.approx([expected])


def test_a_trial_is_scored_alike_in_decisions_and_in_evaluations(vectors: np.ndarray) -> None:
    cohort = vectors[10:]
    trials = [Trial("a", "b", True, ("x", "x")), Trial("a", "c", False, ("x", "y"))]
    both = dict(zip("abc", vectors, strict=False))
    listed = evaluation.score_trials(trials, both, cohort=cohort, by_cohort=ADDED)
    plain = evaluation.score_trials(trials, both)
    one, *others = (utterance(vector) for vector in vectors[:3])
    known = Calibration(ORIGIN, 10.0, -5.0, 0.5, 0.4, 0.6, None, 0.0, 0.1, "x", by_cohort=ADDED)
    kept = torch.from_numpy(cohort.astype(np.float32))
    for number, other in enumerate(others):
        wide = [dataclasses.replace(side, band=decisions.Band(0.0, 8000.0)) for side in (one, other)]
        found = decisions.verify(wide[:1], wide[1], calibration=known, cohort=kept)
        assert found.score == pytest.approx(listed[number], abs=1e-6)
        assert found.llr == pytest.approx(10 * listed[number] - 5, abs=1e-5)
        assert found.score != pytest.approx(plain[number], abs=1e-3)
        part = scoring.score([one.embedding], other.embedding, cohort=kept, part=(0, 4), by_cohort=ADDED)
        cut = [scoring.counting(side, (0, 4)) for side in (vectors[:1], vectors[number + 1 : number + 2], cohort)]
        near = [measured(side, cut[2]) for side in cut[:2]]
        assert part == pytest.approx((cut[0] @ cut[1].T).item() + ADDED.added(*near)[0], abs=1e-6)
    with pytest.raises(InputError, match="need the model's cohort"):
        decisions.verify(wide[:1], wide[1], calibration=known)


def test_a_test_is_measured_against_the_cohort_once(
    vectors: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, wide = torch.from_numpy(vectors[10:].astype(np.float32)), decisions.Band(0.0, 8000.0)
    test, *others = (dataclasses.replace(utterance(vector), band=wide) for vector in vectors[:5])
    calibration = Calibration(ORIGIN, 10.0, -5.0, 0.5, 0.4, 0.6, None, 0.0, 0.1, "x", by_cohort=ADDED)
    measures: list[np.ndarray] = []
    monkeypatch.setattr(scoring, "measured", lambda side, others: measures.append(side) or measured(side, others))
    with SpeakerDatabase(tmp_path / "speakers.sqlite") as database:
        for number, one in enumerate(others):
            database.enrol(f"s{number}", [Enrolment(one.embedding, "x", f"{number:064x}", 3.0, wide)])
        ranked = decisions.identify(test, database, calibration=calibration, cohort=cohort)
    assert len(measures) == 1 + 4
    scorer = scoring.Scorer(test.embedding, cohort)
    for row in ranked:
        known = [others[int(row.speaker[1:])].embedding]
        alone = scoring.score(known, test.embedding, cohort=cohort, by_cohort=ADDED)
        assert row.score == pytest.approx(alone, abs=1e-6)
        # each part of the embeddings has measures of its own
        part = scoring.score(known, test.embedding, cohort=cohort, by_cohort=ADDED, part=(0, 4))
        assert scorer.score(known, by_cohort=ADDED, part=(0, 4)) == pytest.approx(part, abs=1e-12)
        assert scorer.score(known, by_cohort=ADDED) == pytest.approx(alone, abs=1e-12)


def test_it_is_kept_with_the_calibration_and_damage_is_named() -> None:
    known = Calibration(ORIGIN, 10.0, -5.0, 0.5, 0.4, 0.6, None, 0.0, 0.1, "x", by_cohort=ADDED)
    values = json.loads(json.dumps(known.as_dict()))
    assert Calibration.from_dict(values, source="x") == known
    for damage in ({"sums": [1.0, float("nan")], "differences": [0.0, 0.0]}, {"sums": [1.0]}, [1.0], "x", {"sums": 1}):
        with pytest.raises(CheckpointError, match="damaged calibration"):
            Calibration.from_dict({**values, "by_cohort": damage}, source="x")
