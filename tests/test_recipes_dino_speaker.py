"""The recipe end to end on noise that passes for speech: train, resume, export, evaluate; seconds, not hours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "dino_speaker"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log-mel cache of speakers who differ in their spectrum."""
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(0)
    rows, mels, start = [], [], 0
    plan = [("librispeech", "train", 6), ("an4", "train", 4), ("librispeech", "dev", 3), ("noise_x", "train", 2)]
    for corpus, split, speakers in plan:
        for speaker in range(speakers):
            voice = 2 * rng.normal(size=80)
            for take in range(4):
                frames = int(rng.integers(100, 300))
                mels.append((8 + voice + rng.normal(size=(frames, 80))).astype(np.float16))
                row = {"corpus": corpus, "speaker": f"{corpus}{split}{speaker}", "split": split, "language": "en"}
                rows.append({**row, "path": f"{corpus}/{speaker}/{take}.wav", "start": start, "frames": frames})
                start += frames
    np.save(folder / "mel.npy", np.concatenate(mels))
    (folder / "index.json").write_text(json.dumps(rows))
    return folder


def run(script: str, *words: object) -> str:
    command = [sys.executable, str(RECIPE / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_train_resume_export_evaluate(cache: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from speechssl import embedders

    contrast, dino, whole = tmp_path / "contrast", tmp_path / "dino", tmp_path / "whole"
    run("train.py", cache, "--run", contrast, "--objective", "nt-xent", "--toy", "--steps", 6)
    common = ("--start", contrast, "--toy", "--steps", 8)
    run("train.py", cache, "--run", dino, *common, "--max-seconds", 0)  # saves and stops after the first step
    assert json.loads((dino / "last" / "state.json").read_text())["step"] == 1
    run("train.py", cache, "--run", dino, *common)
    run("train.py", cache, "--run", whole, *common)
    one, two = (load_file(folder / "last" / "average.safetensors") for folder in (dino, whole))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    output = tmp_path / "speaker.safetensors"
    run("export.py", cache, dino, "--output", output, "--batches", 2)
    lines = run("evaluate.py", cache, "--mfcc", "--run", dino, "--model", output).splitlines()
    systems = [json.loads(line) for line in lines]
    assert len(systems) == 4
    assert all(0 <= system["librispeech dev"][0] <= 50 for system in systems)
    embedder = embedders.load(output, device="cpu")
    assert embedder.calibration["scale"] > 0
    assert embedder.cohort.shape[1] == embedder.dim
