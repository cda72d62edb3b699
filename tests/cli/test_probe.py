"""``speechssl probe``: tables, reports, and one line for what cannot be probed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile


@pytest.fixture
def tones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of tones by four speakers each, and a text beside them."""
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path / "cache"))
    rng, folder = np.random.default_rng(0), tmp_path / "tones"
    for place, name in enumerate(("high", "low")):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            sound = np.sin(2 * np.pi * (300 + 900 * place) * np.arange(6400) / 16000 + number)
            sound = 0.1 * sound + 0.01 * rng.normal(size=6400)
            soundfile.write(folder / name / f"s{number // 2}-{number}.wav", sound, 16000)
    return folder


def test_classify_prints_a_table_and_writes_a_report(
    command: Callable[..., Any], tones: Path, encoder_file: Path, tmp_path: Path
) -> None:
    (tones / "high" / "torn.wav").write_bytes(b"nothing")
    words = ("probe", "classify", tones, "--model", encoder_file, "--speaker", r"(s\d|torn)")
    answer = command(*words, "--output", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert re.search(r"^small/0 +linear +\d+\.\d", answer.out, flags=re.MULTILINE)
    assert re.search(r"^mfcc/0 +linear +100\.0", answer.out, flags=re.MULTILINE)
    assert "untrained:small" in answer.out
    assert answer.err.count("torn.wav") == 1
    assert "1 recording left out" in answer.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [model["model"] for model in report["models"]] == ["small", "mfcc", "untrained:small"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "layers.png", "confusion.png"}
    again = command(*words, "--output", tmp_path / "out")
    assert (again.code, "exists" in again.err) == (2, True)
    assert command(*words, "--json").json == report


def test_rank_prints_a_number_a_layer(command: Callable[..., Any], tones: Path, encoder_file: Path) -> None:
    found = command("probe", "rank", tones, "--model", encoder_file, "--layers", "1-2", "--alone", "--json").json
    assert [row["origin"] for row in found["layers"]] == ["small/1", "small/2"]
    assert all(1 <= row["rank_me"] <= row["dim"] for row in found["layers"])
    assert found["recordings"] == 16
    printed = command("probe", "rank", tones, "--model", "mfcc").out.splitlines()
    assert [line.split()[0] for line in printed] == ["layer", "mfcc/0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("classify tones --contrast first --alone", "contrast 'first' is of the attentive head"),
        ("classify tones --heads attentive --contrast late --alone", "no contrast 'late'; one of none, added, first"),
        ("classify tones/high", "lies in no subfolder"),
        ("classify tones --label language", "no column 'language' for the label"),
        ("classify tones --layers 9 --model mfcc", "mfcc/0"),
        ("classify tones --layers 9", "--layers 9: the encoder has layers 0 to 4"),
        ("classify tones --heads deep --alone", "no head 'deep'"),
        ("classify tones --speaker (nobody)", "gives no speaker"),
        ("classify tones --output tones/high/s0-0.wav", "is no folder"),
        ("rank tones --model tinny", "no encoder 'tinny'"),
        ("rank nowhere", "nowhere"),
    ],
)
def test_what_cannot_be_probed_is_one_line(
    command: Callable[..., Any], tones: Path, words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tones.parent)
    answer = command("probe", *words.split())
    if message == "mfcc/0":
        assert (answer.code, message in answer.out) == (0, True)
        return
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_recognise_prints_error_rates(command: Callable[..., Any], tones: Path, encoder_file: Path) -> None:
    rows = ["path,text,speaker"]
    for number, path in enumerate(sorted(tones.rglob("*.wav"))):
        rows.append(f"{path},{'A B' if number else 'A Z'},s{number}")
    (tones / "list.csv").write_text("\n".join(rows))
    words = ("probe", "recognise", tones / "list.csv", "--minutes", "1", "--steps", "2", "--alone", "--seed", "1")
    answer = command(*words, "--model", encoder_file)
    assert answer.code == 0, answer.err
    assert re.search(r"^small +\d+\.\d +\d+\.\d", answer.out, flags=re.MULTILINE)
    found = command(*words, "--codebook", "tiny/100", "--json").json
    assert [one["model"].rpartition("-")[0] for one in found["models"]] == ["tiny/4/km100"]
    refused = command("probe", "recognise", tones)
    assert (refused.code, "no column 'text'" in refused.err) == (2, True)


def test_anomalies_are_ranked_above_normal_sounds(command: Callable[..., Any], tones: Path, encoder_file: Path) -> None:
    words = ("probe", "anomalies", tones / "high", tones, "--normal", "high", "--model", encoder_file)
    answer = command(*words)
    assert answer.code == 0, answer.err
    assert re.search(r"^mfcc/0 +100\.0 .*100\.0$", answer.out, flags=re.MULTILINE)
    found = command(*words, "--alone", "--layers", "2", "--json").json
    assert [row["origin"] for row in found["layers"]] == ["small/2"]
    assert len(found["test"]) == len(found["layers"][0]["scores"]) == 16
    learnt = command(*words, "--alone", "--layers", "2", "--exchange", "--json")
    assert (learnt.json["exchange"], "count as one kind" in learnt.err) == (True, True)
    assert learnt.json["layers"][0]["scores"] != found["layers"][0]["scores"]
    both = command("probe", "anomalies", tones, tones, "--normal", "high", "--model", "mfcc", "--exchange", "--json")
    assert "count as one kind" not in both.err
    refused = command("probe", "anomalies", tones / "high", tones)
    assert (refused.code, "no recordings labelled 'normal' (labels there: high, low)" in refused.err) == (2, True)
