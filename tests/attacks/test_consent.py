"""Consent belongs to recordings: one that was added with consent makes no other one usable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import Spectra, takes

from speechssl import checkpoints, cli
from speechssl.errors import CheckpointError
from speechssl.receipts import contents
from speechssl.signals import Waveform
from speechssl.voices import VoiceLibrary, consent, library, matching_set

ADA = consent.attest("Ada Smith", "her audiobook")


@pytest.fixture
def paths(tmp_path: Path, speech: list[Waveform]) -> list[Path]:
    return takes(speech[0], tmp_path, (f"{number}.wav" for number in range(3)))


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VoiceLibrary:
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "data" / "voices"))
    return VoiceLibrary()


def lacking(voices: VoiceLibrary, name: str = "ada") -> list[str]:
    assert voices.load(name).uncovered == voices.show(name).uncovered
    return [one.name for one in voices.show(name).uncovered]


def test_consent_covers_the_recordings_that_it_came_with(voices: VoiceLibrary, paths: list[Path]) -> None:
    voices.add("ada", paths[:1], Spectra())
    assert lacking(voices) == ["0.wav"]
    voices.add("ada", paths[1:2], Spectra(), consent=ADA)
    assert lacking(voices) == ["0.wav"]
    assert voices.show("ada").consents == (ADA.of([checkpoints.sha256_of(paths[1])]),)
    voices.add("ada", paths[2:], Spectra())
    assert lacking(voices) == ["0.wav", "2.wav"]
    voices.attest("ada", ADA, ["0.wav"])
    assert lacking(voices) == ["2.wav"]
    voices.remove("ada", "2.wav")
    assert lacking(voices) == []
    # a consent goes with the last of its recordings
    voices.remove("ada", "1.wav")
    assert [one.recordings for one in voices.show("ada").consents] == [(checkpoints.sha256_of(paths[0]),)]


def test_a_blend_and_an_export_are_covered_as_their_recordings_are(
    voices: VoiceLibrary, paths: list[Path], tmp_path: Path
) -> None:
    voices.add("ada", paths[:2], Spectra(), consent=ADA)
    voices.add("eve", paths[2:], Spectra())
    joined = matching_set.join([voices.load("ada"), voices.load("eve")])
    assert [one.name for one in joined.uncovered] == ["2.wav"]
    records = contents.consents([voices.load("ada"), voices.load("eve")], otherwise="nobody")
    assert [one.get("who") for one in records] == ["Ada Smith", None]
    assert records[1] == {"statement": "nobody", "recordings": [checkpoints.sha256_of(paths[2])]}
    assert library.load(voices.export("ada", tmp_path / "a.safetensors")).uncovered == ()


@pytest.mark.parametrize(("count", "covered"), [(1, True), (2, False)])
def test_voices_that_were_stored_before(voices: VoiceLibrary, paths: list[Path], count: int, covered: bool) -> None:
    """Their consents name no recordings: that of a voice of one recording is for it, other voices need another."""
    voices.add("ada", paths[:count], Spectra())
    file = checkpoints.load(voices.path("ada"), kind="voice")
    before = {name: value for name, value in ADA.as_dict().items() if name != "recordings"}
    header = json.loads(json.dumps({**file.header, "consents": [before]}))
    checkpoints.save(voices.path("ada"), {name: one.clone() for name, one in file.tensors.items()}, header)
    assert voices.show("ada").consents[0].who == "Ada Smith"
    assert (lacking(voices) == []) is covered
    voices.attest("ada", ADA)
    assert lacking(voices) == []


def test_a_consent_for_recordings_that_are_not_there(voices: VoiceLibrary, paths: list[Path]) -> None:
    voices.add("ada", paths[:1], Spectra())
    file = checkpoints.load(voices.path("ada"), kind="voice")
    for recordings, refused in (
        (["a" * 64], False),
        (["<img>"], True),
        ("a" * 64, True),
        ([["a" * 64]], True),
        (7, True),
    ):
        forged = {**file.header, "consents": [{**ADA.as_dict(), "recordings": recordings}]}
        path = checkpoints.save(
            voices.folder / "b.safetensors", {k: v.clone() for k, v in file.tensors.items()}, forged
        )
        if refused:
            with pytest.raises(CheckpointError, match="damaged"):
                library.load(path)
        else:
            assert len(library.load(path).uncovered) == 1


def test_the_command_line(voices: VoiceLibrary, paths: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    voices.add("ada", paths, Spectra())
    assert cli.run(["voice", "consent", "ada", "Ada Smith: her audiobook", "-r", "0.wav", "-r", "1.wav"]) == 0
    shown = capsys.readouterr().out
    assert "for: her audiobook (2 of 3 recordings)" in shown
    assert "without consent: 2.wav" in shown
    assert cli.run(["voice", "consent", "ada", "Ada Smith: her audiobook", "-r", "9.wav"]) == 2
    assert cli.run(["voice", "consent", "ada", "Ada Smith", "--json"]) == 2
    assert cli.run(["voice", "consent", "ada", "Ada Smith: her audiobook", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["uncovered"] == []
