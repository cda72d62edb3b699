"""The recipe end to end on noise that passes for speech: train, resume, export, evaluate; seconds, not hours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RECIPE = "dino_speaker"


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


@pytest.fixture
def run(recipe: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a script of the recipe with the words of a command line; gives what it prints."""

    def run(script: str, *words: object) -> str:
        monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, words)])
        capsys.readouterr()
        recipe(script).main()
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_train_resume_export_evaluate(run: Callable[..., str], cache: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from speechssl.verification import embedders

    contrast, dino, whole = tmp_path / "contrast", tmp_path / "dino", tmp_path / "whole"
    run("train", cache, "--run", contrast, "--objective", "nt-xent", "--toy", "--steps", 6)
    common = ("--start", contrast, "--toy", "--steps", 8)
    run("train", cache, "--run", dino, *common, "--max-seconds", 0)  # saves and stops after the first step
    assert json.loads((dino / "last" / "state.json").read_text())["step"] == 1
    run("train", cache, "--run", dino, *common)
    run("train", cache, "--run", whole, *common)
    one, two = (load_file(folder / "last" / "average.safetensors") for folder in (dino, whole))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    labels, margin = tmp_path / "labels.npy", tmp_path / "margin"
    told = json.loads(run("cluster", cache, dino, "--output", labels, "--clusters", 8, "--smallest", 2))
    assert 2 <= told["clusters"] <= 8
    assert told["utterances"] + told["left_out"] == 40
    assert 0.2 < told["purity"] <= 1
    found = np.load(labels)
    assert (found[40:] == -1).all()  # neither held-out speech nor noise gets a label
    second = ("--start", dino, "--labels", labels, "--toy", "--steps", 8)
    run("train", cache, "--run", margin, *second, "--max-seconds", 0)
    run("train", cache, "--run", margin, *second)
    assert json.loads((margin / "last" / "state.json").read_text())["step"] == 8
    output = tmp_path / "speaker.safetensors"
    run("export", cache, dino, "--output", output, "--batches", 2)
    lines = run("evaluate", cache, "--mfcc", "--run", dino, margin, "--model", output).splitlines()
    systems = [json.loads(line) for line in lines]
    assert len(systems) == 5
    assert all(0 <= system["librispeech dev"][0] <= 50 for system in systems)
    embedder = embedders.load(output, device="cpu")
    assert embedder.calibration["scale"] > 0
    assert embedder.cohort.shape[1] == embedder.dim


# -- the cache from any layout


def test_speakers_are_found_in_any_layout(recipe: Any, tmp_path: Path) -> None:
    prepare = recipe("prepare")
    layouts = {
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a": "id00012",
        "vox1_test_wav/wav/id10270/5r0dWxy17C8/00001.wav": "id10270",
        "id10309-0b6inHMg-00003.wav": "id10309",
        "wav/id10310/x/00001.FLAC": "id10310",
        "ada/monday/1.wav": "ada",
        "id100123/1.wav": "id100123",  # six digits are no identity of VoxCeleb's, but a folder's name
    }
    for path in (*layouts, "stray.wav", "notes/readme.txt", "ada/.hidden.wav"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    rows = prepare.rows_of(tmp_path)
    assert {row["path"]: row["speaker"] for row in rows} == layouts
    assert {row["speaker"] for row in rows if row["split"] == "test"} == {"id10270", "id10309"}


def write_recordings(root: Path) -> list[str]:
    import soundfile

    rng = np.random.default_rng(0)
    plan = {"ada/1.wav": (16000, 1), "ada/2.wav": (44100, 2), "bob/1.flac": (8000, 1), "bob/short.wav": (16000, 1)}
    for name, (rate, channels) in plan.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        seconds = 0.2 if "short" in name else 1.5
        soundfile.write(root / name, 0.1 * rng.normal(size=(int(seconds * rate), channels)), rate)
    (root / "bob" / "broken.wav").write_bytes(b"no sound at all")
    return sorted(plan)


def test_cache_holds_every_readable_recording_and_goes_on_after_an_interruption(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl import audio
    from speechssl.audio.mel import kaldi

    prepare = recipe("prepare")
    people, output = tmp_path / "people", tmp_path / "cache"
    write_recordings(people)
    rows = prepare.rows_of(people)
    # interrupted in the middle of the second recording: frames are there, their line is cut short
    first = prepare.Cache(output)
    first.add(rows[0], prepare.bands_of(people / rows[0]["path"]))
    first._mel.write(b"half of the next")
    first._lines.write('{"path": "ada/2.w')
    first._mel.close()
    first._lines.close()
    monkeypatch.setattr("sys.argv", ["prepare.py", str(people), "--output", str(output), "--workers", "1"])
    prepare.main()
    mel, index = np.load(output / "mel.npy"), json.loads((output / "index.json").read_text())
    assert [row["path"] for row in index] == ["ada/1.wav", "ada/2.wav", "bob/1.flac"]
    assert mel.dtype == np.float16
    assert len(mel) == sum(row["frames"] for row in index)
    for row in index:
        expected = kaldi(audio.read_mono(people / row["path"], 16000).samples).numpy()
        assert np.allclose(mel[row["start"] : row["start"] + row["frames"]], expected, atol=0.02)
    bad = [json.loads(line) for line in (output / "skipped.jsonl").read_text().splitlines()]
    assert [row["path"] for row in bad] == ["bob/broken.wav", "bob/short.wav"]
    assert "0.20 s" in bad[1]["reason"]
    before = (output / "mel.npy").read_bytes()
    prepare.main()  # again: nothing is computed, nothing changes
    assert (output / "mel.npy").read_bytes() == before


def test_folders_without_recordings_are_refused(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = recipe("prepare")
    for folder, message in ((tmp_path, "no recordings"), (tmp_path / "none", "no such folder")):
        monkeypatch.setattr("sys.argv", ["prepare.py", str(folder), "--output", str(tmp_path / "cache")])
        with pytest.raises(SystemExit, match=message):
            prepare.main()
