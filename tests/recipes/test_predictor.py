"""The predictor of values is trained on voices, resumed, measured on speakers it never heard, and written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from speechssl import audio
from speechssl.conversion import predictor
from speechssl.signals import Waveform
from speechssl.voices import clips

RECIPE = "voice_conversion"
Recipe = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers with 12 s each, one with too little, and one of another split."""
    folder = tmp_path_factory.mktemp("manifest")
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "corpus", "speaker", "seconds", "text", "split"))
        for name, seconds, split in (
            ("ada", 12, "train"), ("ben", 12, "train"), ("dan", 12, "train"), ("beth", 3, "train"), ("eric", 12, "dev"),
        ):  # fmt: skip
            samples = audio.read_mono(clips.clip("ada" if name == "ben" else name).path, 16_000).samples
            audio.write(folder / f"{name}.wav", Waveform(samples[: seconds * 16_000].clone(), 16_000))
            rows.writerow((f"{name}.wav", "readers", name, seconds, "", split))
    return path


def test_it_is_trained_resumed_measured_and_written(
    recipe: Recipe, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = recipe("predictor")
    chosen = module.chosen(manifest, "readers,others", 30.0)
    assert list(chosen) == ["readers-ada", "readers-ben", "readers-dan"]
    common = [str(manifest), "--run", str(tmp_path / "run"), "--corpora", "readers", "--hidden", "32"]
    command = [*common, "--output", str(tmp_path / "predictor.safetensors")]
    module.main([*command, "--steps", "30"])
    voices = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/voices").iterdir()}
    module.main([*command, "--steps", "150"])
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert max(steps) >= 140
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/voices").iterdir()} == voices
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (printed["speakers"], printed["held_out_speakers"]) == (2, 1)
    # ada, who is held out, is also ben: her words are known
    assert printed["left"]["network, moved to the voice"] < printed["left"]["network"] + 0.02
    assert printed["left"]["network"] < 0.97
    assert predictor.load(tmp_path / "predictor.safetensors")(torch.zeros(1, 256)).shape == (1, 164)


def test_too_few_speakers_are_said(recipe: Recipe, manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"manifest\.csv: 0 speakers of the split 'train' with 10 s"):
        recipe("predictor").main(
            [str(manifest), "--run", str(tmp_path), "--corpora", "none", "--output", str(tmp_path / "x.safetensors")]
        )
