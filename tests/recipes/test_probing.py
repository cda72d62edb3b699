"""Manifests of the probes, which the command reads."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from speechssl.training.probing import labels

RECIPE = "probing"
COLUMNS = ("path", "corpus", "speaker", "seconds", "language", "text", "split")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [(f"sc/{word}{n}.wav", "speech_commands", f"s{n}", "1", "", word, "") for word in "ab" for n in range(4)]
    for part in ("train", "test"):
        rows += [(f"noise/001_Dog__{part}{n}.wav", "noise_esc10", "-", "5", "", "", part) for n in range(2)]
        rows.append((f"noise/002_Chainsaw__{part}.wav", "noise_esc10", "-", "5", "", "", part))
        rows += [(f"an4/{part}{n}.wav", "an4", f"{part}{n}", "30", "", "A B", part) for n in range(4)]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return tmp_path


def test_every_manifest_has_what_its_probe_needs(
    recipe: Callable[[str], ModuleType], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = recipe("prepare")
    monkeypatch.setattr("sys.argv", ["prepare.py", str(data), "--output", str(data / "out"), "--minutes", "1.2"])
    prepare.main()
    words = labels.read([data / "out" / "words.csv"], "label")
    assert sorted({(one.label, one.group) for one in words}) == [(word, f"s{n}") for word in "ab" for n in range(4)]
    sounds = labels.read([data / "out" / "sounds.csv"], "label")
    expected = [(name, "", part) for name in ("Chainsaw", "Dog", "Dog") for part in ("test", "train")]
    assert sorted((one.label, one.group, one.part) for one in sounds) == sorted(expected)
    assert {one.label for one in labels.read([data / "out" / "normal.csv"], "label")} == {"Dog"}
    tested = [one.label for one in labels.read([data / "out" / "anomalies.csv"], "label")]
    assert sorted(tested) == ["anomaly", "normal", "normal"]
    with (data / "out" / "letters.csv").open() as file:
        letters = list(csv.DictReader(file))
    assert sorted(row["split"] for row in letters) == ["test"] * 4 + ["train"] * 2
    assert {row["text"] for row in letters} == {"A B"}
    assert all(Path(row["path"]).is_absolute() for row in letters)
