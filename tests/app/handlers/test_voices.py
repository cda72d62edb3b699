"""Stored voices: kept with their consent, apart for each user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from speechssl import audio
from speechssl.app.handlers import speakers, targets, voices
from speechssl.app.handlers.conversions import Made
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.state import Models, Settings, State, Store
from speechssl.receipts import signing
from speechssl.verification import by_name, decisions
from speechssl.voices.clips import clip
from speechssl.voices.consent import Consent
from speechssl.voices.notes import Notes

Speech = dict[str, Path]
Convert = Callable[..., Made]
Shared = tuple[Models, Store, Settings]


def test_a_stored_voice_keeps_its_consent_and_can_be_verified(
    state: State, shared: Shared, job: Job, convert: Convert, speech: Speech, consent: Consent
) -> None:
    with pytest.raises(Refused, match="Attest first"):
        voices.add(*shared, job, "me", [speech["other"]], None)
    made = voices.add(*shared, job, "me", [speech["other"]], consent)
    assert made["consents"] == [consent.of([made["recordings"][0]["sha256"]]).as_dict()]
    converted = convert(speech["source"], Target(voices=(("me", 0.5), ("bundled: eric", 0.5))))
    assert converted.receipt["consent"][0] == made["consents"][0]
    assert [one["share"] for one in converted.receipt["voices"]] == [0.5, 0.5]
    alone = convert(speech["source"], Target(voices=(("me", 1.0),)))
    compared = by_name.verify([speech["other"]], alone.path)
    assert isinstance(alone.decision, decisions.Decision)
    assert (alone.decision.score, alone.decision.llr) == pytest.approx((compared.score, compared.llr))
    assert converted.decision == "not judged as a copy of the voice: a blend of voices was asked for"
    exported = voices.export(state.store, state.settings, job.session, "me")
    assert voices.rename(state.store, "", "me", "her")["name"] == "her"
    # its prints go with it
    renamed = convert(speech["source"], Target(voices=(("her", 1.0),)))
    assert isinstance(renamed.decision, decisions.Decision)
    assert renamed.decision.llr == alone.decision.llr
    assert voices.take_in(state.store, "", exported)["consents"] == made["consents"]
    assert targets.names(state.store)[:2] == ["her", "me"]
    voices.remove(state.store, "", "her")
    voices.remove(state.store, "", "me")
    assert voices.listed(state.store) == []
    for work in (
        lambda: voices.rename(state.store, "", "me", "you"),
        lambda: voices.remove(state.store, "", "me"),
        lambda: voices.take_in(state.store, "", speech["source"]),
        lambda: voices.take_in(state.store, "", None),
        lambda: voices.add(*shared, job, "../../evil", [speech["other"]], consent),
    ):
        with pytest.raises(Refused):
            work()


def test_users_have_voices_and_speakers_of_their_own(
    state: State, shared: Shared, speech: Speech, consent: Consent
) -> None:
    ada, eve = state.sessions.get("same key", "ada"), state.sessions.get("same key", "eve")
    assert ada is not eve
    with state.jobs.start(ada) as job:
        voices.add(*shared, job, "mine", [speech["other"]], consent)
        speakers.enrol(*shared, job, "Ada", [speech["other"]])
    assert [one["name"] for one in voices.listed(state.store, "ada")] == ["mine"]
    assert voices.listed(state.store, "eve") == []
    assert speakers.listed(state.store, "eve") == []


def test_voices_and_speakers_survive_a_restart(
    state: State, shared: Shared, job: Job, speech: Speech, consent: Consent, tmp_path: Path
) -> None:
    voices.add(*shared, job, "kept", [speech["other"]], consent)
    speakers.enrol(*shared, job, "Kept", [speech["other"]])
    again = State(state.settings, folder=tmp_path).store
    assert [one["name"] for one in voices.listed(again)] == ["kept"]
    assert [one["speaker"] for one in speakers.listed(again)] == ["Kept"]
    voices.remove(again, "", "kept")
    speakers.remove(again, "", "Kept")


def test_a_stored_voice_is_heard_though_its_file_holds_no_sound(
    state: State, shared: Shared, job: Job, speech: Speech, consent: Consent
) -> None:
    voices.add(*shared, job, "heard", [speech["other"]], consent)
    made = voices.sample(*shared, job, "heard")
    assert signing.check(made).genuine
    assert audio.read(made).seconds == pytest.approx(6, abs=0.1)
    compared = by_name.verify([speech["other"]], made)
    stranger = by_name.verify([speech["reference"]], made)
    assert compared.score > stranger.score + 0.1
    assert voices.sample(*shared, job, "bundled: ada") == clip("ada").path
    with pytest.raises(Refused, match="no voice 'nobody'"):
        voices.sample(*shared, job, "nobody")
    voices.remove(state.store, "", "heard")


@pytest.mark.parametrize(
    ("notes", "grade", "said"),
    [
        (Notes(), "unknown", "not measured"),
        (Notes(speech_seconds=8.0), "poor", "8 s of speech; 30 s or more"),
        (Notes(speech_seconds=22.0), "fair", "22 s of speech; 30 s or more"),
        (Notes(speech_seconds=40.0, remarks=("a hum",)), "poor", "a hum"),
        (Notes(speech_seconds=40.0), "good", "40 s of speech without noise"),
    ],
)
def test_the_quality_of_a_voice_is_that_of_its_recordings(notes: Notes, grade: str, said: str) -> None:
    found = voices.quality(notes)
    assert found["grade"] == grade
    assert said in found["reason"]


def test_reports_need_recordings(state: State, speech: Speech) -> None:
    assert voices.report(state.settings, [speech["reference"]]).speech_seconds > 5
    with pytest.raises(Refused):
        voices.report(state.settings, [])
