"""Recordings that are enrolled under the wrong name, on the clips and the model that ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import speechssl
from speechssl.signals import Embedder
from speechssl.verification import decisions, embedders, enrolling
from speechssl.verification.calibration import Calibration
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.verification.decisions import Utterance


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return embedders.load("tiny")


@pytest.fixture(scope="module")
def calibration(embedder: Embedder) -> Calibration | None:
    return decisions.calibration_for(embedder, None)


@pytest.fixture(scope="module")
def heard(embedder: Embedder, calibration: Calibration) -> dict[str, Utterance]:
    clips = [one for one in speechssl.clips() if one.voice in ("ada", "eric")]
    return {f"{one.voice} {one.role}": decisions.embed(one.path, embedder, calibration=calibration) for one in clips}


def test_recordings_of_two_people_or_of_somebody_who_is_enrolled_are_doubtful(
    tmp_path: Path, embedder: Embedder, calibration: Calibration, heard: dict[str, Utterance]
) -> None:
    ada, again, eric, other = (
        heard[f"{name} {role}"] for name in ("ada", "eric") for role in ("reference", "sentence")
    )

    def doubts(name: str, *some: Utterance) -> list[str]:
        return enrolling.doubts(name, some, database, calibration=calibration, cohort=embedder.cohort)

    with SpeakerDatabase(tmp_path / "speakers.sqlite") as database:
        assert doubts("ada", ada, again) == []
        assert doubts("ada", ada, eric) == [f"{eric.name}: sounds like another speaker than {ada.name}"]
        database.enrol("ada", [Enrolment(ada.embedding, "ada.wav", ada.sha256, ada.seconds, ada.band)])
        assert doubts("ada", again) == []
        assert doubts("ada", other) == [f"{other.name}: sounds like another speaker than what is enrolled of ada"]
        assert doubts("eric", eric, other) == []
        assert doubts("bob", again) == [f"{again.name}: sounds like ada, who is enrolled"]
        assert enrolling.doubts("bob", [again], database) == []
        assert doubts("ada", ada) == []
        assert doubts("bob", ada) == [f"{ada.name}: the same recording is enrolled as ada"]
        assert enrolling.doubts("bob", [ada], database) == doubts("bob", ada)
