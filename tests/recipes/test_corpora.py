"""Manifests of corpora in the layouts their publishers give them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

RECIPE = "corpora"
Recipe = Callable[[str], ModuleType]


def sound(path: Path, sample_rate: int, seconds: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.3 * np.sin(np.arange(int(seconds * sample_rate)) * 0.05)
    soundfile.write(path, tone, sample_rate)


def librispeech(root: Path) -> None:
    for speaker in ("84", "174"):
        folder = root / "dev-clean" / speaker / "121"
        sound(folder / f"{speaker}-121-0000.flac", 16_000)
        (folder / f"{speaker}-121.trans.txt").write_text(
            f"{speaker}-121-0000 GO ON, {speaker}\n{speaker}-121-0001 LOST\n"
        )


def libritts(root: Path) -> None:
    for speaker in ("84", "174"):
        sound(root / "dev-clean" / speaker / "121" / f"{speaker}_121_000_000.wav", 24_000)
        path = root / "dev-clean" / speaker / "121" / f"{speaker}_121_000_000.normalized.txt"
        path.write_text(f"Go on, {speaker}")


def vctk(root: Path) -> None:
    for speaker in ("p225", "p226"):
        for microphone in ("mic1", "mic2"):
            sound(root / "wav48_silence_trimmed" / speaker / f"{speaker}_001_{microphone}.flac", 48_000)
        (root / "txt" / speaker).mkdir(parents=True)
        (root / "txt" / speaker / f"{speaker}_001.txt").write_text(f"Go on, {speaker}\n")


def common_voice(root: Path) -> None:
    lines = ["client_id\tpath\tsentence"]
    for number, speaker in enumerate(("a" * 64, "b" * 64)):
        sound(root / "clips" / f"common_voice_de_{number}.mp3", 48_000)
        lines.append(f'{speaker}\tcommon_voice_de_{number}.mp3\tGo "on", {speaker[:16]}')
    (root / "validated.tsv").write_text("\n".join(lines) + "\n")


def folder(root: Path) -> None:
    for speaker in ("ann", "bob"):
        sound(root / speaker / "one.wav", 8000)
        (root / speaker / "one.txt").write_text(f"Go on, {speaker}")


@pytest.mark.parametrize(
    ("corpus", "lay_out", "skipped"),
    [
        ("librispeech", librispeech, 2), ("libritts-r", libritts, 0), ("vctk", vctk, 0),
        ("common-voice", common_voice, 0), ("folder", folder, 0),
    ],
)  # fmt: skip
def test_a_corpus_becomes_a_manifest_of_16_khz(
    recipe: Recipe, tmp_path: Path, corpus: str, lay_out: Callable[[Path], None], skipped: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    lay_out(tmp_path / "corpus")
    output = tmp_path / "data" / "manifest.csv"
    given = [corpus, str(tmp_path / "corpus"), "--output", str(output), "--workers", "1"]
    recipe("manifest").main([*given, "--convert", str(tmp_path / "data")])
    found = json.loads(capsys.readouterr().out)
    assert found == {"recordings": 2, "hours": 0.0, "skipped": skipped}
    assert len((tmp_path / "data" / "skipped.jsonl").read_text().splitlines()) == skipped
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert len({row["speaker"] for row in rows}) == 2
    for row in rows:
        assert row["text"].upper().replace('"', "") == f"GO ON, {row['speaker'].upper()}"
        facts = soundfile.info(output.parent / row["path"])
        assert (facts.samplerate, facts.channels) == (16_000, 1)
        assert float(row["seconds"]) == pytest.approx(0.5, abs=0.06)
    recipe("manifest").main(given)
    assert ("note" in json.loads(capsys.readouterr().out)) == (corpus != "librispeech")


def test_one_speaker_is_split_by_recording_and_many_by_speaker(recipe: Recipe, tmp_path: Path) -> None:
    for number in range(60):
        sound(tmp_path / "LJ" / "wavs" / f"LJ{number:03}.wav", 16_000, 0.1)
    lines = [f"LJ{number:03}|No. {number}|Number {number}" for number in range(60)]
    (tmp_path / "LJ" / "metadata.csv").write_text("\n".join(lines) + "\n")
    given = ["--output", str(tmp_path / "m.csv"), "--workers", "1", "--dev", "0.2", "--test", "0.2"]
    recipe("manifest").main(["ljspeech", str(tmp_path / "LJ"), *given])
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    assert rows[7]["text"] == "Number 7"
    splits = [recipe("manifest").split_of(f"speaker {i}", dev=0.1, test=0.2) for i in range(2000)]
    assert splits.count("dev") == pytest.approx(200, abs=50)
    assert splits.count("test") == pytest.approx(400, abs=70)


def test_another_layout_is_said(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for corpus in ("librispeech", "vctk", "folder"):
        with pytest.raises(SystemExit, match="no recordings in the layout"):
            recipe("manifest").main([corpus, str(tmp_path / "empty"), "--output", str(tmp_path / "m.csv")])
    with pytest.raises(SystemExit, match="not laid out as common-voice"):
        recipe("manifest").main(["common-voice", str(tmp_path / "empty"), "--output", str(tmp_path / "m.csv")])
    with pytest.raises(SystemExit, match="ask for a form"):
        recipe("manifest").main(
            ["vctk", str(tmp_path / "empty"), "--download", "all", "--output", str(tmp_path / "m.csv")]
        )
    for words, said in (
        (["nowhere", "--output", "m.csv"], "nowhere is no folder"),
        (["empty", "--output", "empty"], "--output empty is a folder"),
        (["empty", "--output", "m.csv", "--dev", "0.6", "--test", "0.5"], "shares; together below 1 needed"),
    ):
        with pytest.raises(SystemExit, match=said):
            recipe("manifest").main(["folder", *words])
    assert not (tmp_path / "m.csv").exists()
