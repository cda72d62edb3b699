"""What ``speechssl doctor`` says of libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from speechssl import cli, errors
from speechssl.cli import doctor


@pytest.mark.parametrize(
    ("torch", "torchaudio", "cure"),
    [("2.11.0", "2.11.1", "'torchaudio==2.11.0'"), ("2.10.0", "2.11.0", "'torchaudio==2.10.0'")],
)
def test_doctor_tells_of_a_bad_pair(monkeypatch: pytest.MonkeyPatch, torch: str, torchaudio: str, cure: str) -> None:
    versions = {"torch": torch, "torchaudio": torchaudio}
    monkeypatch.setattr(errors, "version", lambda name: versions.get(name, "1.0"))
    monkeypatch.setattr(doctor, "_import_failures", lambda modules: {})
    problems: list[dict[str, str]] = []
    warned: list[dict[str, str]] = []
    doctor._packages(problems, warned)
    assert not problems
    assert f"torchaudio {torchaudio} is not made for torch {torch}" in warned[0]["problem"]
    assert cure in warned[0]["cure"]


def test_doctor_survives_a_library_that_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_IMPORTS", "import os; os._exit(7)")
    assert doctor._import_failures(["torch", "numpy"]) == {"torch": "the process ended with code 7"}


def test_a_report_has_what_is_broken_and_no_name_of_a_folder_or_a_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    voices = tmp_path / "secret folder"
    voices.mkdir()
    (voices / "Ada Lovelace.safetensors").write_bytes(b"damaged")
    monkeypatch.setenv("SPEECHSSL_VOICES", str(voices))
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "_import_failures", lambda modules: {"torch": "no /home/ada/lib/libtorch.so: broken"})
    assert cli.run(["doctor", "--report"]) == 2
    text = capsys.readouterr().out
    found = json.loads(text)
    assert found["voices"] == 1
    problems = [one["problem"] for one in found["problems"]]
    assert any("cannot be imported: no PATH: broken" in one for one in problems)
    assert any(one.startswith("a stored voice: VOICE") for one in problems)
    assert not any(name in text for name in ("Ada", "ada/", "secret", str(tmp_path)))


def test_a_folder_of_voices_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "not yet" / "voices"))
    problems: list[dict[str, str]] = []
    warned: list[dict[str, str]] = []
    assert doctor._voices(problems, warned)["number"] == 0
    assert not problems
    assert not warned
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    doctor._voices(problems, warned)
    assert "voices cannot be written to" in warned[0]["problem"]
    assert not problems
