"""Notes on a voice: kept with it, checked when they come from a file of somebody else."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import Spectra

from speechssl import audio, checkpoints, voices
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform
from speechssl.voices import VoiceLibrary, files, reference_report
from speechssl.voices.clips import clip
from speechssl.voices.notes import MOST_TAGS, Notes


@pytest.fixture
def library(tmp_path, speech_files):
    library = VoiceLibrary(tmp_path / "voices")
    library.add("ada", speech_files[:1], Spectra(), notes=Notes(speech_seconds=3.0, remarks=("a hum",)))
    return library


@pytest.fixture(scope="module")
def speech_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    for name in ("ada", "beth"):
        audio.write(folder / f"{name}.wav", audio.read_mono(clip(name, "sentence").path, 16_000))
    return [folder / "ada.wav", folder / "beth.wav"]


def test_notes_stay_with_a_voice_that_is_renamed_exported_imported_and_extended(library, speech_files, tmp_path):
    def told(notes):
        return notes.described("  warm,\n slow ", ["old", "", "low pitch", "old"]).with_settings({"pitch": "-2"})

    noted = library.note("ada", told).notes
    assert noted == Notes("warm, slow", ("old", "low pitch"), {"pitch": "-2"}, 3.0, ("a hum",))
    library.rename("ada", "eve")
    exported = library.export("eve", tmp_path / "eve.safetensors")
    library.remove("eve")
    assert library.import_(exported).notes == noted
    library.add("eve", speech_files[1:], Spectra(), notes=Notes(speech_seconds=2.0, remarks=("clipped",)))
    extended = library.show("eve").notes
    assert extended == dataclasses.replace(noted, speech_seconds=5.0, remarks=("a hum", "clipped"))
    assert library.load("eve").notes == extended


def test_a_voice_stored_before_there_were_notes_has_none(library, tmp_path):
    stored = checkpoints.load(library.path("ada"), kind="voice")
    header = {name: value for name, value in stored.header.items() if name != "notes"}
    tensors = {name: tensor.clone() for name, tensor in stored.tensors.items()}
    old = checkpoints.save(tmp_path / "old.safetensors", tensors, header)
    assert voices.info(old).notes == voices.load(old).notes == Notes()


def test_a_report_says_how_good_the_recordings_are():
    report = reference_report.report(clip("ada"))
    assert Notes().measured(report).speech_seconds == pytest.approx(22.7, abs=0.1)
    clean = audio.read_mono(clip("ada").path, 16_000)
    noisy = Notes().measured(
        reference_report.report(Waveform(clean.samples + 0.1 * torch.randn(len(clean.samples)), 16_000))
    )
    assert len(noisy.remarks) == 1
    assert "noise" in noisy.remarks[0]


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({"description": 7}, "description"),
        ({"description": "x" * 501}, "description"),
        ({"description": "two\nlines"}, "description"),
        ({"tags": "tag"}, "a list needed"),
        ({"tags": ["x" * 33]}, "a tag"),
        ({"tags": ["x"] * (MOST_TAGS + 1)}, "13 times"),
        ({"settings": {"sample_rate": "8000"}}, "sample_rate"),
        ({"settings": {"pitch": 4}}, "pitch"),
        ({"settings": ["pitch"]}, "damaged voice"),
        ({"speech_seconds": -1}, "seconds"),
        ({"speech_seconds": True}, "seconds"),
        ({"remarks": [["x"]]}, "a remark"),
        ({"owner": "me"}, "owner"),
        (["x"], "damaged voice"),
    ],
)
def test_notes_of_strangers_are_checked(library, tmp_path, notes, said):
    header = {**files._header(library.load("ada")), "notes": notes}
    bad = checkpoints.save(tmp_path / "bad.safetensors", {"keys": torch.ones(1, 2).half()}, header)
    with pytest.raises(CheckpointError, match=rf"bad\.safetensors is a damaged voice.*|{said}") as raised:
        voices.info(bad)
    assert said in str(raised.value)


def test_what_a_person_writes_has_limits():
    with pytest.raises(InputError, match="the description"):
        Notes().described("x" * 501, [])
    with pytest.raises(InputError, match="pitch, tempo, loudness needed"):
        Notes().with_settings({"volume": "11"})
