"""PLDA against the densities it stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from speechssl.errors import CheckpointError, InputError
from speechssl.verification import evaluation, metrics, plda
from speechssl.verification.plda import Plda
from speechssl.verification.trials import Trial


def sample(speakers: int, each: int, seed: int, size: int = 6) -> tuple[np.ndarray, list[str]]:
    """Embeddings whose within-speaker scatter is large in half of the directions, where cosines are misled."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(size) < size // 2, 0.3, 2.0)
    vectors = rng.normal(size=(speakers, 1, size)) + spread * rng.normal(size=(speakers, each, size))
    return vectors.reshape(-1, size), [f"s{number}" for number in np.repeat(np.arange(speakers), each)]


def density(rows: np.ndarray, between: np.ndarray) -> float:
    """Log density of recordings (M, D) by one speaker, from the joint covariance."""
    count, size = rows.shape
    joint = np.kron(np.ones((count, count)), np.diag(between)) + np.eye(count * size)
    return float(multivariate_normal(np.zeros(count * size), joint).logpdf(rows.reshape(-1)))


def test_score_is_the_ratio_of_the_joint_densities() -> None:
    rng = np.random.default_rng(0)
    size = 4
    model = Plda("m@1", rng.normal(size=size), rng.normal(size=(size, size)), rng.uniform(0.2, 3, size))
    enrolment, test = rng.normal(size=(5, 3, size)), rng.normal(size=(5, size))
    several, single = model.score(enrolment, test), model.score(enrolment[:, 0], test)
    for row in range(5):
        known, asked = model.project(enrolment[row]), model.project(test[row : row + 1])
        for taken, found in ((known, several[row]), (known[:1], single[row])):
            expected = (
                density(np.concatenate([taken, asked]), model.between)
                - density(taken, model.between)
                - density(asked, model.between)
            )
            assert found == pytest.approx(expected, rel=1e-9)
    assert np.allclose(model.score(test, enrolment[:, 0]), single)


def test_fit_finds_the_directions_that_tell_speakers_apart() -> None:
    vectors, speakers = sample(150, 8, 0)
    model = plda.fit(vectors, speakers, origin="m@1")
    fresh, names = sample(40, 5, 1)
    one, two = np.triu_indices(len(fresh), 1)
    labels = np.array([names[i] == names[j] for i, j in zip(one, two, strict=True)])
    unit = fresh / np.linalg.norm(fresh, axis=1, keepdims=True)
    by_cosine = metrics.roc((unit @ unit.T)[one, two], labels).eer()
    llrs = model.score(fresh[one], fresh[two])
    assert metrics.roc(llrs, labels).eer() < 0.8 * by_cosine
    assert metrics.cllr(llrs, labels) - metrics.roc(llrs, labels).min_cllr() < 0.1
    # the within covariance is the identity in these directions
    model = plda.fit(vectors, speakers, origin="m@1", shrink=0.0)
    projected = model.project(vectors).reshape(150, 8, -1)
    inner = (projected - projected.mean(1, keepdims=True)).reshape(1200, -1)
    assert np.allclose(np.diag(inner.T @ inner / (1200 - 150)), 1, atol=0.25)


def test_more_enrolment_makes_surer() -> None:
    vectors, speakers = sample(150, 8, 0)
    model = plda.fit(vectors, speakers, origin="m@1")
    fresh, _ = sample(40, 6, 2)
    grouped = fresh.reshape(40, 6, -1)
    labels = np.repeat([True, False], 40)
    tests = np.concatenate([grouped[:, 5], np.roll(grouped[:, 5], 1, axis=0)])

    def cost(count: int) -> float:
        enrolment = np.concatenate([grouped[:, :count]] * 2)
        return metrics.roc(model.score(enrolment, tests), labels).min_cllr()

    assert cost(5) < cost(1)


def test_scoring_a_trial_list() -> None:
    vectors, speakers = sample(20, 4, 0)
    model = plda.fit(vectors, speakers, origin="m@1")
    files = {f"{name}/{number}": vector for number, (name, vector) in enumerate(zip(speakers, vectors, strict=True))}
    names = list(files)
    trials = [Trial(names[0], names[1], True), Trial(names[0], names[9], False)]
    found = evaluation.score_trials(trials, files, plda=model)
    expected = [model.score(vectors[:1], vectors[k : k + 1])[0] for k in (1, 9)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("speakers", [["a", "a", "a"], ["a", "b", "c"], ["a", "b"]])
def test_too_little_to_fit_on_is_refused(speakers: list[str]) -> None:
    with pytest.raises(InputError, match="PLDA needs two speakers or more"):
        plda.fit(np.random.default_rng(0).normal(size=(3, 4)), speakers, origin="m@1")


def test_a_saved_plda_scores_as_before_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    vectors, speakers = sample(12, 5, 0)
    model = plda.fit(vectors, speakers, origin="m@1")
    again = plda.load(plda.save(tmp_path / "plda.safetensors", model, source="twelve speakers"))
    assert again.origin == "m@1"
    assert np.array_equal(again.score(vectors[:9], vectors[9:18]), model.score(vectors[:9], vectors[9:18]))
    bad = Plda("m@1", model.mean, model.directions[:, :2], model.between)
    with pytest.raises(CheckpointError, match="no usable PLDA"):
        plda.load(plda.save(tmp_path / "bad.safetensors", bad, source=""))
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        plda.load(tmp_path / "none.safetensors")
