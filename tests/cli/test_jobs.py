"""Conversions from a list: each row with its own voice, output and options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speechssl import audio
from speechssl.cli import jobs
from speechssl.cli.jobs import Wanted
from speechssl.cli.ledger import Job
from speechssl.conversion.options import ConversionOptions
from speechssl.errors import InputError


def _read(folder: Path, text: str, usual: Wanted | None = None, name: str = "jobs.csv") -> dict[Job, Wanted]:
    (folder / name).write_bytes(text.encode())
    return jobs.read(str(folder / name), folder / "out", usual or Wanted(ConversionOptions()))


def test_every_column_is_read(tmp_path: Path) -> None:
    (tmp_path / "Stored.safetensors").touch()
    found = _read(
        tmp_path,
        "\ufeffSource;voice;reference;output;K;sample-rate;loudness\r\n"
        "in\\a.wav;ada=0.7;;first.flac;3;usual;-30\r\n"
        "in/b.wav;;one.wav;deep\\second.opus;;usual;\r\n"
        "/else/c.wav;Stored.safetensors;;;;;off\r\n",
    )
    assert [(str(job.source), str(job.output)) for job in found] == [
        (str(tmp_path / "in\\a.wav").replace("\\", "/"), str(tmp_path / "out/first.flac")),
        (str(tmp_path / "in/b.wav"), str(tmp_path / "out/deep/second.opus")),
        ("/else/c.wav", str(tmp_path / "out/c-as-Stored.wav")),
    ]
    first, second, third = found.values()
    assert first.voices == (("ada", 0.7),)
    assert first.options == ConversionOptions(k=3, sample_rate=44_100, loudness="-30")
    assert second.references == (tmp_path / "one.wav",)
    assert second.options == ConversionOptions(sample_rate=48_000)
    assert third.voices == ((str(tmp_path / "Stored.safetensors"), 1.0),)
    assert third.options.loudness == "off"


def test_empty_cells_mean_what_was_given_for_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = Wanted(ConversionOptions(pitch="source", sample_rate="usual"), voices=(("eric", 1.0),))
    found = _read(
        tmp_path, '{"source": "a.wav", "note": "x"}\n{"source": "b.wav", "voice": "ada; eric=0.5"}\n', usual, "j.jsonl"
    )
    first, second = found.values()
    assert first == Wanted(ConversionOptions(pitch="source", sample_rate=44_100), voices=(("eric", 1.0),))
    assert second.voices == (("ada", 1.0), ("eric", 0.5))
    assert [job.output.name for job in found] == ["a-as-eric.wav", "b-as-ada-eric.wav"]
    assert "not used: note" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",eric,,out.wav,", "no source"),
        ("a.wav,,,out.wav,", "whose voice is wanted"),
        ("a.wav,eric,b.wav,out.wav,", "both a reference and a voice"),
        ("a.wav,eric,,out.txt,", "no extension that can be written"),
        ("a.wav,eric,,out.wav,many", "k is 'many'; a number needed"),
        ("a.wav,eric,,out.wav,0", "k is 0"),
        ("a.wav,eric=x,,out.wav,", "the weight of the voice"),
        ("b.wav,eric,,first.wav,", "output of an earlier row"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=f"jobs.csv:3: .*{message}"):
        _read(tmp_path, f"source,voice,reference,output,k\na.wav,eric,,first.wav,\n{row}\n")


def test_a_list_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no row"):
        _read(tmp_path, "source,voice\n")


def test_jobs_are_done_one_bad_one_stops_none_and_nothing_is_done_twice(
    command: Callable[..., Any], speech: dict[str, Path], encoder_file: Path, tmp_path: Path
) -> None:
    source, one, two = (speech[name] for name in ("source", "reference", "other"))
    (tmp_path / "jobs.csv").write_text(
        "source,voice,reference,output,sample_rate,loudness\n"
        f"{source},,{one},a.wav,,-40\n{source},,{two},deep/b.opus,usual,\nmissing.wav,,{one},c.wav,,\n"
        f"{source},,missing.wav,d.wav,,\n{source},nobody,,e.wav,,\n"
    )
    call = ("convert", "--jobs", tmp_path / "jobs.csv", "-o", tmp_path / "out", "-m", encoder_file, "--json")
    answer = command(*call)
    assert answer.code == 2
    assert [Path(row["output"]).name for row in answer.json["results"]] == ["a.wav", "b.opus"]
    assert [Path(row["output"]).name for row in answer.json["failed"]] == ["c.wav", "d.wav", "e.wav"]
    assert audio.loudness(audio.read(tmp_path / "out/a.wav")) == pytest.approx(-40, abs=0.2)
    assert audio.info(tmp_path / "out/deep/b.opus").sample_rate == 48_000
    assert (answer.json["results"][1]["made_at"], answer.json["results"][1]["sample_rate"]) == (16_000, 48_000)
    again = command(*call).json
    assert (len(again["results"]), len(again["skipped"]), len(again["failed"])) == (0, 2, 3)


@pytest.mark.parametrize("words", [["--jobs", "jobs.csv"], ["in"]])
def test_an_attribution_asked_for_later_is_written_and_replaced_with_its_recording(
    command: Callable[..., Any],
    speech: dict[str, Path],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.wav").write_bytes(speech["source"].read_bytes())
    (tmp_path / "jobs.csv").write_text("source,output\nin/a.wav,a.wav\n")
    call = ["convert", *words, "--reference", speech["other"], "-o", "out", "--json"]
    assert len(command(*call).json["results"]) == 1
    table = tmp_path / "tables/a.csv"
    assert len(command(*call, "--attribution", "tables").json["results"]) == 1
    assert table.exists()
    assert len(command(*call, "--attribution", "tables").json["skipped"]) == 1
    written = table.read_bytes()
    # another result, another table
    assert len(command(*call, "--k", 1, "--attribution", "tables").json["results"]) == 1
    assert table.read_bytes() != written
    table.unlink()
    assert len(command(*call, "--k", 1, "--attribution", "tables").json["results"]) == 1
    assert table.exists()


def test_jobs_replace_no_file_of_somebody_else(
    command: Callable[..., Any], speech: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.wav").write_bytes(b"mine")
    (tmp_path / "jobs.csv").write_text(f"source,reference,output\n{speech['source']},{speech['other']},mine.wav\n")
    answer = command("convert", "--jobs", tmp_path / "jobs.csv")
    assert (answer.code, "mine.wav exists" in answer.err) == (2, True)
    assert (tmp_path / "mine.wav").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.wav", "--jobs", "jobs.csv"], "--jobs names the sources"),
        (["--jobs", "none.csv"], "cannot read none.csv"),
        (["a.wav", "--voice", "eric"], "no --output"),
        (["--voice", "eric", "-o", "out.wav"], "no source"),
    ],
)
def test_calls_that_name_too_much_or_too_little(
    command: Callable[..., Any], words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.csv").write_text("source,voice\na.wav,eric\n")
    answer = command("convert", *words)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert message in answer.err
