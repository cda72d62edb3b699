"""Evaluation on trials: embeddings of many recordings, scores, reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import by_seconds

from speechssl import audio, checkpoints
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.verification import decisions, embedders, evaluation, metrics, scoring
from speechssl.verification.trials import Trial

CLIPS = checkpoints.PACKAGED / "clips"
NAMES = ("ada", "beth", "cleo", "dan", "eric", "finn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """speaker/recording.wav, four of each of six speakers: both clips cut in halves."""
    root = tmp_path_factory.mktemp("speakers")
    for name in NAMES:
        (root / name).mkdir()
        for kind in ("reference", "sentence"):
            whole = audio.read(CLIPS / f"{name}_{kind}.opus")
            middle = whole.samples.shape[0] // 2
            for number, part in enumerate((whole.samples[:middle], whole.samples[middle:])):
                audio.write(root / name / f"{kind}{number}.wav", Waveform(part.clone(), whole.sample_rate))
    return root


def test_embeddings_do_not_depend_on_workers_or_the_cache(folder: Path, model: Path, tmp_path: Path) -> None:
    embedder = embedders.load(model, device="cpu")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("a*/*.wav"))
    plain = evaluation.hear_files(names, folder, embedder)[0]
    cached = evaluation.hear_files(names, folder, embedder, cache=tmp_path, workers=3)[0]
    calls: list[str] = []
    again = evaluation.hear_files(names * 2, folder, embedder, cache=tmp_path, advance=calls.append)[0]
    assert sorted(calls) == names
    for name in names:
        assert np.array_equal(plain[name], cached[name])
        assert np.array_equal(plain[name], again[name])
    files = sorted(tmp_path.rglob("*.npy"))
    assert len(files) == len(names)
    # a file cut short by an interruption is computed anew
    files[0].write_bytes(files[0].read_bytes()[:40])
    repaired = evaluation.hear_files(names, folder, embedder, cache=tmp_path)[0]
    assert all(np.array_equal(plain[name], repaired[name]) for name in names)


def test_enrolments_of_several_recordings_are_scored_as_in_use(folder: Path, model: Path) -> None:
    embedder = embedders.load(model, device="cpu")
    enrolments = {name: [f"{name}/reference{number}.wav" for number in (0, 1)] for name in ("ada", "eric")}
    trials = [Trial(name, f"{other}/sentence0.wav", name == other) for name in enrolments for other in enrolments]
    trials.append(Trial("ada/sentence1.wav", "ada/sentence0.wav", True))  # a recording of its own, as ever
    _, scores, seconds = evaluation.evaluate(trials, folder, embedder, enrolments=enrolments, draws=2)
    for trial, value, lengths in zip(trials, scores, seconds, strict=True):
        files = enrolments.get(trial.enrolment, [trial.enrolment])
        sides = [decisions.embed(folder / file, embedder) for file in (*files, trial.test)]
        expected = scoring.score([side.embedding for side in sides[:-1]], sides[-1].embedding)
        assert value == pytest.approx(expected, abs=1e-6)
        assert lengths == pytest.approx([sum(side.seconds for side in sides[:-1]), sides[-1].seconds])


def test_seconds_of_speech_are_kept_with_the_embeddings(folder: Path, model: Path, tmp_path: Path) -> None:
    embedder, names = embedders.load(model, device="cpu"), ["ada/reference0.wav", "ada/sentence0.wav"]
    vectors, seconds = evaluation.hear_files(names, folder, embedder, cache=tmp_path)
    again = evaluation.hear_files(names, folder, embedder, cache=tmp_path)[1]
    assert seconds == again == {name: audio.speech_seconds(audio.read(folder / name)) for name in names}
    assert vectors[names[0]].shape == (12,)
    trials = [Trial(*names, True), Trial(names[1], names[0], True)]
    found = evaluation.seconds_of(trials, seconds)
    assert found.tolist() == [[seconds[name] for name in names], [seconds[name] for name in names[::-1]]]


def test_report_of_ratios_by_seconds_is_about_the_ratios() -> None:
    trials = [Trial(f"a/{n}", f"{'a' if n % 2 else 'b'}/x{n}", bool(n % 2)) for n in range(40)]
    rng = np.random.default_rng(0)
    scores, seconds = rng.normal(0.4, 0.2, 40) + 0.2 * (np.arange(40) % 2), np.exp(rng.uniform(0, 3, (40, 2)))
    found = evaluation.report(trials, scores, calibration=by_seconds(), seconds=seconds, draws=5)
    labels, llrs = np.arange(40) % 2 == 1, by_seconds().llrs(scores, seconds)
    assert found["cllr"] == pytest.approx(metrics.cllr(llrs, labels))
    assert found["act_dcf"]["0.05"] == pytest.approx(metrics.act_dcf(llrs, labels, prior=0.05))
    assert found["of_ratios"]["min_cllr"] == pytest.approx(metrics.roc(llrs, labels).min_cllr())
    assert found["min_cllr"] == pytest.approx(metrics.roc(scores, labels).min_cllr())
    accepted = llrs >= 1.0  # the ratio of the threshold
    assert found["at_threshold"]["miss"] == pytest.approx((~accepted[labels]).mean())
    assert found["at_threshold"]["false_alarm"] == pytest.approx(accepted[~labels].mean())
    rows = {row["speaker"]: row for row in found["speakers_worst_first"]}
    assert rows["a"]["miss"] == pytest.approx((~accepted[labels]).mean())


def test_cosines_of_many_and_of_few_trials_are_the_same() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(40, 6))
    first, second = rng.integers(0, 40, (2, 500))
    many = evaluation.cosines(matrix, first, second)  # through all pairs
    few = np.concatenate([evaluation.cosines(matrix, first[i : i + 50], second[i : i + 50]) for i in range(0, 500, 50)])
    assert np.allclose(many, (matrix[first] * matrix[second]).sum(1), atol=1e-12)
    assert np.allclose(many, few, atol=1e-12)


def test_report_counts_errors_by_speaker() -> None:
    trials = [
        Trial("a/1", "a/2", True),
        Trial("b/1", "b/2", True),
        Trial("a/1", "b/1", False),
        Trial("a/2", "c/1", False),
    ]
    scores = np.array([0.9, 0.2, 0.8, 0.1])
    rows = {row["speaker"]: row for row in evaluation.speaker_errors(trials, scores, 0.5)}
    assert rows["b"] == {"speaker": "b", "miss": 1.0, "false_alarm": 1.0, "taken_for": {"a": 1}}
    assert rows["a"] == {"speaker": "a", "miss": 0.0, "false_alarm": 0.5, "taken_for": {"b": 1}}
    assert rows["c"]["miss"] is None
    found = evaluation.report(trials, scores, draws=5)
    assert found["speakers_worst_first"][0]["speaker"] == "b"
    assert "cllr" not in found  # raw scores are no ratios


def test_all_recordings_that_fail_are_named(folder: Path, model: Path) -> None:
    names, embedder = ["ada/reference0.wav", "none1.wav", "none2.wav"], embedders.load(model, device="cpu")
    with pytest.raises(InputError, match=r"2 of 3 recordings .*none1\.wav.*none2\.wav"):
        evaluation.hear_files(names, folder, embedder)
