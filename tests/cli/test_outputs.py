"""Commands never overwrite what a person gave, and say before the work what cannot be written."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from speechssl import cli
from speechssl.cli import outputs, say
from speechssl.errors import InputError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a source, a reference, links to both, and an older result."""
    monkeypatch.chdir(tmp_path)
    for name in ("source.wav", "reference.wav", "old.wav", "old.safetensors"):
        (tmp_path / name).write_bytes(b"a recording")
    (tmp_path / "link.wav").symlink_to("source.wav")
    (tmp_path / "results").mkdir()
    for name in ("source.wav", "source.safetensors", "units.wav"):
        (tmp_path / "results" / name).write_bytes(b"of somebody else")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "convert source.wav -r reference.wav -o source.wav",
        "convert source.wav -r reference.wav -o link.wav",
        "convert source.wav -r reference.wav -o reference.wav",
        "convert source.wav -r reference.wav -o reference.wav --overwrite",
        "convert source.wav -r reference.wav -o out.wav --attribution source.wav",
        "convert source.wav -r reference.wav -o out.wav --attribution reference.wav --overwrite",
        "convert source.wav -r reference.wav -o out.wav --attribution out.wav",
        "convert source.wav -r reference.wav -o old.wav",
        "convert source.wav -r reference.wav -o out.wav --attribution old.wav",
        "convert source.wav -r . -o ./",
        "say hello -r reference.wav -o reference.wav",
        "say hello -r reference.wav -o old.wav",
        "say hello -r reference.wav -o missing/out.wav",
        "say hello -r reference.wav -o out.wav --subtitles missing/out.srt",
        "features source.wav -o source.wav",
        "features source.wav -o old.safetensors",
        "features source.wav -o missing/out.safetensors",
        "features source.wav -o out.npy",
        "features source.wav -o -",
        "features source.wav -o results/",
        "convert source.wav -r reference.wav -o results/",
        "units decode 1,2,3 --voice eric -o old.wav",
        "units decode 1,2,3 --voice eric -o missing/out.wav",
        "units decode 1,2,3 --voice eric -o results",
    ],
)
def test_nothing_is_loaded_or_overwritten(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("a model is loaded before outputs are checked")

    # they keep what they import, which must not be what is put in its place here
    importlib.import_module("speechssl.conversion.convert")
    importlib.import_module("speechssl.synthesis.say")
    for name in ("load_bundle", "load_bundle_encoder"):
        monkeypatch.setattr(f"speechssl.conversion.bundles.{name}", loaded)
    # a refusal of the output comes before one of the source, which is no sound
    monkeypatch.setattr("speechssl.audio.info", lambda path: None)
    before = {path: path.read_bytes() for path in place.rglob("*.*")}
    assert cli.run(command.split()) == 2
    said = capsys.readouterr().err
    # what is left out is told before
    assert [line.split(":")[0] for line in said.splitlines()] in (
        ["error"],
        ["not taken, for its name ends like that of no recording", "error"],
    ), said
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_what_holds_no_sound_is_not_named_like_a_recording(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"new\.WAV is the name of a recording.* new\.safetensors would do"):
        outputs.check_no_sound("new.WAV", ".safetensors")
    outputs.check_no_sound("new", ".safetensors")
    (tmp_path / "folder.wav").mkdir()
    outputs.check_no_sound(tmp_path / "folder.wav", ".safetensors")


@pytest.mark.parametrize("output", ["/dev/null", "/dev/sound.wav", "", "folder"])
def test_names_of_no_file_are_refused(tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="needed"):
        outputs.check([output], [], overwrite=True)


@pytest.mark.parametrize(("files", "overwrite"), [(["new.wav"], False), (["old.wav"], True), (["a", "b"], False)])
def test_what_replaces_nothing_given_may_be_written(place: Path, files: Sequence[str], overwrite: bool) -> None:
    outputs.check(files, ["source.wav", "reference.wav"], overwrite=overwrite)


def test_a_log_is_no_place_for_a_result(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["features", "source.wav", "-o", "new", "--overwrite", "--log", "new"]
    assert cli.run(words) == 2
    assert "--log and new are one file" in capsys.readouterr().err
    assert "error" in (place / "new").read_text()


def test_a_long_text_is_no_file(tmp_path: Path) -> None:
    text = "word " * 100  # longer than a name can be
    outputs.check([tmp_path / "new.wav"], [text], overwrite=False)
    assert say.read_text(text) == text
