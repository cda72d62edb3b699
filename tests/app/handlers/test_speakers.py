"""Who speaks: verify, enrol, identify, calibrate."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from speechssl import audio
from speechssl.app import pictures
from speechssl.app.handlers import scores, speakers
from speechssl.app.jobs import Job
from speechssl.app.refusals import Refused
from speechssl.app.state import Models, Settings, State, Store
from speechssl.signals import Waveform
from speechssl.training import distort
from speechssl.voices import clips

Speech = dict[str, Path]
Shared = tuple[Models, Store, Settings]


def test_verify_enrol_identify(state: State, shared: Shared, job: Job, speech: Speech) -> None:
    same = speakers.verify(*shared, job, [speech["reference"]], speech["reference"])
    other = speakers.verify(*shared, job, [speech["reference"]], speech["source"])
    assert same.accepted is True
    assert other.accepted is False
    with pytest.raises(Refused, match="nobody is enrolled"):
        speakers.identify(*shared, job, speech["other"])
    assert speakers.enrol(*shared, job, "Beth", [speech["other"]])["new"] == 1
    assert speakers.identify(*shared, job, speech["other"])["speaker"] == "Beth"
    assert speakers.identify(*shared, job, speech["source"])["speaker"] is None
    assert speakers.remove(state.store, "", "Beth") == 1
    for work in (
        lambda: speakers.verify(*shared, job, [], speech["other"]),
        lambda: speakers.verify(*shared, job, [speech["other"]], None),
        lambda: speakers.enrol(*shared, job, " ", [speech["other"]]),
        lambda: speakers.enrol(*shared, job, "Beth", []),
        lambda: speakers.identify(*shared, job, None),
        lambda: speakers.remove(state.store, "", "Beth"),
    ):
        with pytest.raises(Refused):
            work()


def test_an_unknown_line_gets_none(state: State, shared: Shared, job: Job, speech: Speech, tmp_path: Path) -> None:
    samples = distort.through_line(audio.read_mono(speech["other"], 16_000).samples.numpy(), 0, 1800)
    audio.write(tmp_path / "phone.wav", Waveform(torch.from_numpy(samples), 16_000))
    found = speakers.verify(*shared, job, [speech["reference"]], tmp_path / "phone.wav")
    assert (found.decision, found.probability) == ("none", None)
    shown = pictures.verdict(found, ("The same speaker", "Not the same speaker"))
    assert "No decision" in shown
    assert "too much alike" in shown or "carries speech from" in shown
    assert "he same speaker" not in shown
    assert speakers.enrol(*shared, job, "Beth", [speech["other"]])["new"] == 1
    ranked = speakers.identify(*shared, job, tmp_path / "phone.wav")
    assert (ranked["decision"], ranked["speaker"], ranked["ranked"][0]["accepted"]) == ("none", None, None)
    drawn = pictures.ranked(ranked)
    assert "No decision" in drawn
    assert "<td>no decision</td>" in drawn
    assert "Nobody" not in drawn
    assert "This is Beth" in pictures.ranked(speakers.identify(*shared, job, speech["other"]))
    assert "Nobody who is enrolled" in pictures.ranked(speakers.identify(*shared, job, speech["source"]))
    assert speakers.remove(state.store, "", "Beth") == 1


def test_calibration_on_a_zip_of_speakers(state: State, job: Job, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "speakers.zip", "w") as zipped:
        for voice in ("ada", "beth", "cleo", "dan", "eric", "finn"):
            whole = audio.read_mono(clips.clip(voice).path, 16_000).samples
            for number in range(3):
                place = tmp_path / f"{voice}{number}.wav"
                audio.write(place, Waveform(whole[number * 80_000 : (number + 1) * 80_000].clone(), 16_000))
                zipped.write(place, f"all/{voice}/{number}.wav")
    found = scores.calibrate(*state.shared, job, tmp_path / "speakers.zip")
    assert found["targets"] == 18
    assert found["eer"] < 0.3
    fitted = state.store.calibration(state.models.embedder())
    assert fitted is not None
    assert fitted.source == "speakers"
    with pytest.raises(Refused):
        scores.calibrate(*state.shared, job, None)
