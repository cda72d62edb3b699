"""The recipe end to end on noise that passes for speech: train, resume, export, evaluate; seconds, not hours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechssl.errors import InputError
from speechssl.signals import Waveform

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
    from speechssl.verification.embedders import log_mel

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
    # a second network, for what a telephone carries
    narrow, both = tmp_path / "narrow", tmp_path / "both.safetensors"
    run("train", cache, "--run", narrow, "--start", output, "--objective", "nt-xent", "--toy", "--steps", 3, "--narrow")
    more = ("--narrow", narrow, "--half-way-from", contrast)
    run("export", cache, dino, *more, "--output", both, "--batches", 2)
    joined = embedders.load(both, device="cpu")
    assert joined.dim > embedder.dim
    assert joined.cohort.shape[1] == joined.dim
    sound = torch.from_numpy(np.random.default_rng(0).normal(size=32000).astype(np.float32)) * 0.1
    without = torch.fft.irfft(torch.fft.rfft(sound) * (torch.fft.rfftfreq(32000, 1 / 16000) < 3800))
    one, two = (
        joined.embed(Waveform(x, 16000)).vector.split([embedder.dim, joined.dim - embedder.dim])
        for x in (sound, without)
    )
    assert float(torch.cosine_similarity(one[1], two[1], dim=0)) > 0.999
    assert float(torch.cosine_similarity(one[0], two[0], dim=0)) < 0.99
    assert float(one[1].norm() / one[0].norm()) == pytest.approx(log_mel.NARROW, rel=1e-4)


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of samples: speakers are bands of noise, two recordings each; a room."""
    folder = tmp_path_factory.mktemp("waves")
    rng = np.random.default_rng(0)
    rows, found, start = [], [], 0
    for corpus, split, speakers in (("librispeech", "train", 6), ("librispeech", "dev", 3), ("noise_x", "train", 1)):
        for speaker in range(speakers):
            colour = np.hanning(9) * rng.normal(size=9)
            for take in range(2):
                frames = int(rng.integers(120, 200))
                sound = np.convolve(rng.normal(size=frames * 160), colour, mode="same")
                found.append(np.rint(8000 * sound / np.abs(sound).max()).astype(np.int16))
                row = {"corpus": corpus, "speaker": f"{split}{speaker}", "split": split, "language": "en"}
                rows.append({**row, "path": f"{corpus}/{speaker}/{take}.wav", "start": start, "frames": frames})
                start += frames
    np.save(folder / "samples.npy", np.concatenate(found))
    np.savez(folder / "rooms.npz", hall=np.r_[1.0, np.zeros(400), 0.3].astype(np.float32))
    (folder / "index.json").write_text(json.dumps(rows))
    return folder


def test_crops_over_lines_are_drawn_again_alike_and_lose_their_band(recipe: Any, waves: Path) -> None:
    crops, lines = recipe("crops"), recipe("waves")
    settings = crops.Settings(utterances=4, local_crops=1, global_frames=100, local_frames=50, mask=0.0, noise=0.0)
    certain = {"line": 1.0, "shares": {"telephone": 1.0}, "clip": 0.0}
    phone = lines.WaveCrops(waves, settings, lines.Lines(**certain), seed=1)
    batch, again = phone(3), lines.WaveCrops(waves, settings, lines.Lines(**certain), seed=1)(3)
    assert all(np.array_equal(batch[name], again[name]) for name in batch)
    assert batch["global"].shape == (2, 4, 50, 160)
    assert batch["local"].shape == (1, 4, 25, 160)
    plain = lines.WaveCrops(waves, settings, lines.Lines(line=0.0, clip=0.0), seed=1)(3)
    high = [crop["global"].reshape(2, 4, 50, 2, 80)[..., 70:].mean() for crop in (batch, plain)]
    assert high[0] < high[1] - 1  # nothing is left above 4 kHz
    samples = lines.WaveCrops(waves, settings, lines.Lines(), seed=1, samples=True)(0)["global"]
    assert samples.shape == (2, 4, 100 * 160 + 240)
    assert 0.05 < float(samples.abs().amax()) <= 1


def test_discriminants_join_a_map_that_has_some_already(recipe: Any) -> None:
    networks, whiten = recipe("networks"), recipe("whiten")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = networks.make_network({"size": "toy"}).eval()
    crops = torch.randn(6, 40, 160)
    for _ in range(2):
        directions, mean, sample = rng.normal(size=(5, 400)), rng.normal(size=400), rng.normal(size=(9, 400))
        before = network(crops)
        whiten.join_plain(network, directions, mean, sample, crops)
        after = network(crops)
        known = before - before.mean(0)
        known /= known.square().sum(1).mean().sqrt()
        torch.testing.assert_close(after[:, : before.shape[1]], known, rtol=1e-3, atol=1e-3)
        assert after.shape[1] == before.shape[1] + 5


@pytest.mark.parametrize("objective", ["moco", "vicreg", "barlow", "byol"])
def test_every_objective_trains_over_lines(
    run: Callable[..., str], waves: Path, tmp_path: Path, objective: str
) -> None:
    common = ("--objective", objective, "--also", "nt-xent:0.1", "--lines", 0.5, "--toy", "--steps", 2)
    run("train", waves, "--run", tmp_path / "run", *common)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [0, 1]
    assert all(np.isfinite(row["total"]) and row["nt-xent"] > 0 for row in log)


def test_a_head_on_an_encoder_is_trained_exported_and_embeds(
    run: Callable[..., str], waves: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from speechssl.signals import Waveform
    from speechssl.verification import embedders

    common = ("--front-end", "tiny", "--blocks", "1-2", "--objective", "nt-xent", "--toy", "--steps", 3)
    run("train", waves, "--run", tmp_path / "frozen", *common, "--head", "ecapa")
    run("train", waves, "--run", tmp_path / "tuned", *common, "--unfreeze", 1, "--labels-of", 0.5)
    names = load_file(tmp_path / "frozen" / "last" / "average.safetensors")
    assert not [name for name in names if ".tuned." in name]
    tuned = load_file(tmp_path / "tuned" / "last" / "average.safetensors")
    assert {name.split(".")[2] for name in tuned if ".tuned." in name} == {"2"}
    output, closed = tmp_path / "speaker.safetensors", tmp_path / "closed.safetensors"
    run("export", waves, tmp_path / "tuned", "--output", output)
    run("export", waves, "--front-end", "tiny", "--blocks", "1,2", "--batches", 2, "--dim", 4, "--output", closed)
    told = run("evaluate", waves, "--run", tmp_path / "frozen", tmp_path / "tuned", "--model", output, closed)
    systems = [json.loads(line) for line in told.splitlines()]
    assert len(systems) == 4
    assert systems[1]["librispeech dev"] == systems[2]["librispeech dev"]  # the file is the run
    sound = Waveform(torch.randn(16000) / 10, 16000)
    for path, dim in ((output, 24), (closed, 4)):
        embedder = embedders.load(path, device="cpu")
        assert embedder.embed(sound).vector.shape == (dim,)
        assert embedder.cohort.shape == (12, dim)


def test_what_cannot_be_trained_is_said_in_one_line(
    run: Callable[..., str], cache: Path, waves: Path, tmp_path: Path
) -> None:
    new = ("--run", tmp_path / "run", "--toy")
    for words, message in (
        ((cache, *new, "--lines", 0.5), r"holds no samples\.npy; make the cache with prepare\.py --samples"),
        ((waves, *new), r"holds no mel\.npy"),
        ((cache, *new, "--start", tmp_path / "none"), "is no run with a checkpoint"),
        ((cache, *new, "--labels", tmp_path / "none.npy"), "does not exist; cluster.py makes labels"),
        ((cache, *new, "--also", "nt-xent"), "NAME:WEIGHT needed"),
        ((waves, *new, "--front-end", "tiny", "--blocks", "1-9"), "no layer 9"),
        ((waves, *new, "--front-end", "tiny", "--blocks", "low"), "numbers and ranges"),
        ((cache, *new, "--labels-of", 0.01), "two needed"),
    ):
        with pytest.raises((SystemExit, InputError), match=message):
            run("train", *words)
    assert not (tmp_path / "run").exists()


def test_objectives_are_compared_on_one_budget(
    run: Callable[..., str], recipe: Any, waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inside(command: list[str], **_: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr("sys.argv", command[1:])
            recipe("train").main()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", inside)
    names = "nt-xent,vicreg+nt-xent:0.1"
    words = ("--work", tmp_path, "--objectives", names, "--toy", "--steps", 2, "--lines", 0.5)
    table = run("compare", waves, *words).splitlines()
    rows = [line for line in table if line.startswith("|")]
    assert rows[0].startswith("|  | steps | librispeech dev, EER, % | rank |")
    assert [row.split(" | ")[0] for row in rows[2:]] == [
        "| mean MFCC",
        "| untrained",
        "| nt-xent",
        "| vicreg+nt-xent-0.1",
    ]
    assert all(0 <= float(row.split(" | ")[2]) <= 50 for row in rows[2:])


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
    first._array.write(b"half of the next")
    first._lines.write('{"path": "ada/2.w')
    first._array.close()
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
    monkeypatch.setattr("sys.argv", [*sys.argv, "--samples"])
    with pytest.raises(SystemExit, match="was begun without --samples"):
        prepare.main()


def test_samples_are_kept_for_lines_and_front_ends(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile

    from speechssl import audio

    people, output = tmp_path / "people", tmp_path / "waves"
    write_recordings(people)
    (tmp_path / "rir").mkdir()
    response = np.r_[np.zeros(100), 0.5, np.zeros(50), 0.2]
    soundfile.write(tmp_path / "rir" / "hall.wav", response, 16000)
    words = ["prepare.py", people, "--output", output, "--workers", 1, "--samples", "--rooms", tmp_path / "rir"]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    recipe("prepare").main()
    index = json.loads((output / "index.json").read_text())
    frames = recipe("crops").frames_of(output, "samples.npy")
    for row in index:
        expected = audio.read_mono(people / row["path"], 16000).samples.numpy()
        found = frames[row["start"] : row["start"] + row["frames"]].reshape(-1) / 32767
        assert 0 <= len(found) - len(expected) < 160
        assert np.abs(found[: len(expected)] - expected.clip(-1, 1)).max() < 2e-5
    (room,) = np.load(output / "rooms.npz").values()
    assert np.argmax(room) == 8
    assert np.square(room).sum() == pytest.approx(1, rel=1e-4)


def test_folders_without_recordings_are_refused(recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = recipe("prepare")
    for folder, message in ((tmp_path, "no recordings"), (tmp_path / "none", "no such folder")):
        monkeypatch.setattr("sys.argv", ["prepare.py", str(folder), "--output", str(tmp_path / "cache")])
        with pytest.raises(SystemExit, match=message):
            prepare.main()
