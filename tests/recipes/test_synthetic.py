"""The recipe of the detector of synthetic speech, on the bundled clips: make, teach, test."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechssl import audio
from speechssl.signals import Waveform
from speechssl.verification import synthetic
from speechssl.verification.speech_classifier import Model
from speechssl.voices import clips

RECIPE = "speaker_verification"


@pytest.mark.slow
def test_what_is_made_is_taught_and_told_from_what_was_spoken(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "corpus", "speaker", "seconds", "language", "text", "split"])
        for voice in ("ada", "beth", "dan"):
            samples = audio.read_mono(clips.clip(voice).path, 16_000).samples
            for number in range(3):
                part = Waveform(samples[64_000 * number : 64_000 * (number + 1)].clone(), 16_000)
                audio.write(tmp_path / f"{voice}{number}.wav", part)
                writer.writerow([f"{voice}{number}.wav", "clips", voice, 4.0, "en", "WE WALKED HOME", "train"])
    script, made = recipe("synthetic"), tmp_path / "made"
    monkeypatch.setattr(script, "EACH", 1)

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["synthetic.py", *map(str, words), "--corpora", "clips"])
        script.main()
        return capsys.readouterr().out

    run("make", tmp_path / "manifest.csv", made, "--voices", 3, "--each", 2, "--seed", 2)
    index = [json.loads(line) for line in (made / "index.jsonl").read_text().splitlines()]
    assert len(index) == 6
    assert {row["speaker"] for row in index} == {"clips/ada", "clips/beth", "clips/dan"}
    assert all(audio.read(made / row["path"]).seconds > 0.5 for row in index)
    output = tmp_path / "synthetic.safetensors"
    told = json.loads(run("teach", tmp_path / "manifest.csv", made, "--output", output))
    assert 0 <= told["held_made_found"] <= 1
    model = Model.read(output, synthetic.KIND)
    assert model.limit == pytest.approx(told["limit"], abs=0.01)
    # what taught is told apart
    heard = [
        np.mean([model.odds(synthetic.features(audio.read_mono(path, 16_000).samples.numpy())[None]) for path in paths])
        for paths in (sorted(made.glob("*.flac")), sorted(tmp_path.glob("*.wav")))
    ]
    assert heard[0] > heard[1]
    monkeypatch.setattr(script, "TESTED", {"clean": script.TESTED["clean"]})
    table = run("test", tmp_path / "manifest.csv", made, "--real", 3).splitlines()
    assert table[0].startswith("| suspected, % (not judged, %) | recordings (3) |")
    assert table[2].startswith("| clean | ")
    assert len(table) == 3
