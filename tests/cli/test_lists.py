"""Every command takes lists; sources without speech get one remark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.signals import Waveform


@pytest.fixture(scope="module")
def listed(speech: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source, a second of silence and a blip, and a list of the three as Excel saves it."""
    folder = tmp_path_factory.mktemp("listed")
    (folder / "source.wav").write_bytes(speech["source"].read_bytes())
    audio.write(folder / "silence.wav", Waveform(torch.zeros(16_000), 16_000))
    audio.write(folder / "blip.wav", Waveform(0.1 * torch.ones(4000), 16_000))
    (folder / "list.csv").write_text("\ufeffpath;text\r\nsource.wav;a\r\nsilence.wav;b\r\nblip.wav;c\r\n")
    return folder


def _remarks(answer: Any) -> list[str]:
    return [line for line in answer.err.splitlines() if "remark" in line]


def test_convert_takes_a_list_and_remarks_on_what_is_no_speech(
    command: Callable[..., Any], listed: Path, speech: dict[str, Path], encoder_file: Path, tmp_path: Path
) -> None:
    call = ("convert", "--list", listed / "list.csv", "-r", speech["reference"], "-m", encoder_file, "--json")
    answer = command(*call, "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert [Path(row["output"]).name for row in answer.json["results"]] == ["source.wav", "silence.wav", "blip.wav"]
    assert ["remark" in row for row in answer.json["results"]] == [False, True, True]
    silence, blip = _remarks(answer)
    assert "silence.wav: no speech in it: silence or steady noise" in silence
    assert "blip.wav: 0.25 s long, which is too short for speech" in blip
    strict = command(*call, "-o", tmp_path / "strict", "--strict")
    assert strict.code == 2
    assert [Path(row["source"]).name for row in strict.json["failed"]] == ["silence.wav", "blip.wav"]
    assert [path.name for path in (tmp_path / "strict").glob("*.wav")] == ["source.wav"]


def test_features_take_a_list_and_remark(
    command: Callable[..., Any], listed: Path, encoder_file: Path, tmp_path: Path
) -> None:
    call = ("features", "--list", listed / "list.csv", "-m", encoder_file)
    answer = command(*call, "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 3
    assert len(_remarks(answer)) == 2
    assert command(*call, "-o", tmp_path / "strict", "--strict").code == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_units_take_a_list_and_remark(
    command: Callable[..., Any], listed: Path, encoder_file: Path, codebook_file: Path, tmp_path: Path, workers: int
) -> None:
    call = (
        "units",
        "encode",
        "--list",
        listed / "list.csv",
        "-c",
        codebook_file,
        "-m",
        encoder_file,
        "-o",
        tmp_path / "u",
    )
    answer = command(*call, "--workers", workers)
    assert answer.code == 0, answer.err
    assert _remarks(answer) == [f"remark: 2 without speech; {tmp_path / 'u'}/remarks.jsonl names them"]
    rows = [json.loads(line) for line in (tmp_path / "u/remarks.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == ["silence.wav", "blip.wav"]
    records = [json.loads(line) for line in (tmp_path / "u/part-00000.jsonl").read_text().splitlines()]
    assert [record["text"] for record in records] == ["a", "b", "c"]
    assert not any("no_speech" in record for record in records)
    # all is there already, and is still said
    assert command(*call, "--strict").code == 2
    assert command("units", "check", tmp_path / "u").code == 0


def test_report_and_voices_take_lists(
    command: Callable[..., Any], speech: dict[str, Path], encoder_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(f"{speech['reference']}\n{speech['other']}\n")
    answer = command("report", "--list", tmp_path / "list.txt", "--json")
    assert [row["name"] for row in answer.json["recordings"]] == ["reference.wav", "other.wav"]
    added = command("voice", "add", "both", "--list", tmp_path / "list.txt", "-m", encoder_file, "--json")
    assert [row["name"] for row in added.json["references"]] == ["reference.wav", "other.wav"]


@pytest.mark.parametrize(
    "words", [["report"], ["features", "-o", "out"], ["units", "encode", "-o", "out"], ["identify"]]
)
def test_nothing_to_work_on_is_one_line(command: Callable[..., Any], words: list[str]) -> None:
    answer = command(*words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "no recording" in answer.err or "no source" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        "units fit take0.wav -o take0.wav --k 2",
        "units fit take0.wav -o old.json --k 2",
        "units bpe units.jsonl -o units.jsonl",
        "units pack units.jsonl --tokenizer t -o old.json",
        "units import old.json --features a/1 -o old.json --overwrite",
        "evaluate trials.txt --scores trials.txt",
    ],
)
def test_outputs_of_units_and_evaluate_are_checked(
    command: Callable[..., Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("take0.wav", "old.json", "units.jsonl", "trials.txt"):
        (tmp_path / name).write_text("given")
    answer = command(*words.split())
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
    assert any(words in answer.err for words in ("overwritten", "exists", "is the name of a recording")), answer.err
    assert all(
        (tmp_path / name).read_text() == "given" for name in ("take0.wav", "old.json", "units.jsonl", "trials.txt")
    )


@pytest.fixture
def untidy(tmp_path: Path, speech: dict[str, Path]) -> Path:
    """A folder with one recording, and with what cannot be used."""
    folder = tmp_path / "untidy"
    folder.mkdir()
    (folder / "talk.wav").write_bytes(speech["reference"].read_bytes())
    (folder / "broken.mp3").write_bytes(b"junk")
    audio.write(folder / "silence.wav", Waveform(torch.zeros(32_000), 16_000))
    (folder / "notes.docx").touch()
    (folder / "Thumbs.db").touch()
    return folder


@pytest.mark.parametrize(
    ("words", "told", "failed"),
    [
        ("report", "talk.wav", 1),
        ("voice add one", "in 1 recording,", 2),
        ("enrol one --database speakers.sqlite", "one: 1 recording enrolled", 2),
    ],
)
def test_what_a_folder_holds_besides_is_said_and_stops_nothing(
    command: Callable[..., Any], untidy: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str, failed: int
) -> None:
    monkeypatch.chdir(untidy.parent)
    answer = command(*words.split(), untidy)
    assert answer.code == 2
    assert told in answer.out
    assert f"failed: {untidy / 'broken.mp3'} is not audio" in answer.err
    assert f"{untidy / 'silence.wav'}: no speech in it" in answer.err
    assert f"no recording: {untidy / 'notes.docx'}\n" in answer.err
    assert "Thumbs.db" not in answer.err
    assert f"error: {failed} of 3 failed; the others are done" in answer.err
    # what is named itself has to be usable
    alone = command(*words.split(), untidy / "talk.wav", untidy / "broken.mp3")
    assert alone.code == 2
    assert alone.out == ""


def test_a_channel_that_is_taken_is_a_remark(
    command: Callable[..., Any], tmp_path: Path, speech: dict[str, Path]
) -> None:
    import soundfile

    samples, rate = soundfile.read(speech["source"])
    file = tmp_path / "inverted.wav"
    soundfile.write(file, np.stack([samples, -samples], axis=1), rate)
    assert f"remark: {file}: its channels cancel each other; channel 1 was taken" in command("report", file).err
    made = command("convert", file, "--voice", "eric", "-o", tmp_path / "out.wav", "--vocoder", "world", "--json")
    assert made.json["results"][0]["channels"] == "cancel each other; channel 1 was taken"
    file.touch()
    soundfile.write(file, np.stack([samples, -samples, 0 * samples], axis=1), rate)
    assert "channels" not in command("report", file, "--quiet").err
