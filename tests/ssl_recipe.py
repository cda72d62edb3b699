"""What the tests of the encoder recipe begin with: a cache of the bundled sentences, and a run of a few steps."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechssl import audio
from speechssl.voices import clips


@pytest.fixture(scope="module")
def data(recipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a manifest of the bundled sentences, their alignments and the log-mel cache."""
    import soundfile

    folder = tmp_path_factory.mktemp("data")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "corpus", "speaker", "seconds", "language", "text", "split"])
        for clip in clips.clips():
            if clip.role == "sentence":
                audio.write(folder / f"{clip.voice}.wav", audio.read_mono(clip.path, 16000))
                writer.writerow([f"{clip.voice}.wav", "clips", clip.voice, clip.seconds, "en", clip.text, "train"])
        soundfile.write(folder / "short.wav", np.zeros(1000), 16000)
        writer.writerow(["short.wav", "clips", "ada", 0.06, "en", "", "train"])
        writer.writerow(["missing.wav", "clips", "ada", 1.0, "en", "", "train"])
    common = [str(folder / "manifest.csv"), "--workers", "1", "--output"]
    run(recipe("align"), [*common, str(folder / "alignments.jsonl")])
    run(recipe("prepare"), [*common, str(folder / "cache")])
    run(
        recipe("cluster"),
        [str(folder / "cache"), str(folder / "alignments.jsonl"), "--k", "20", "--output", str(folder / "units.npy")],
    )
    frames = np.load(folder / "cache" / "mel.npy", mmap_mode="r").shape[0]
    np.save(folder / "indexes.npy", np.random.default_rng(0).integers(0, 8, (frames, 3)).astype(np.int16))
    return folder


def run(script: Any, arguments: list[str]) -> None:
    before = sys.argv
    sys.argv = [script.__name__, *arguments]
    try:
        script.main()
    finally:
        sys.argv = before


def train(recipe: Any, data: Path, run: Path, objective: str, *more: str) -> list[dict[str, float]]:
    given = {
        "phones": ["--alignments", "alignments.jsonl"],
        "hubert": ["--units", "units.npy"],
        "distil": ["--indexes", "indexes.npy"],
    }
    option = [str(data / item) if not item.startswith("--") else item for item in given.get(objective, [])]
    recipe("train").main(
        [str(data / "cache"), "--toy", "--objective", objective, *option, "--run", str(run), "--threads", "1", *more]
    )
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
