"""The verification recipe on the bundled clips: lists, floors, calibration, PLDA, curves, coverage, suspicions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechssl import audio, signals
from speechssl.audio.mel import kaldi
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.verification import decisions, embedders, screening
from speechssl.verification.embedders import log_mel
from speechssl.verification.embedders.ecapa import Ecapa
from speechssl.voices import clips

RECIPE = "speaker_verification"
CONFIG = {"input_dim": 160, "channels": 16, "dim": 12, "bottleneck": 8, "scale": 4, "padding": "zeros"}
VOICES = ("ada", "beth", "cleo", "dan", "eric", "finn")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six speakers, four pieces of 2.5 s each, with a manifest: half for calibrating, half for testing."""
    root = tmp_path_factory.mktemp("data")
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "corpus", "speaker", "seconds", "split"])
        for voice in VOICES:
            samples = audio.read_mono(clips.clip(voice).path, 16000).samples
            (root / "clips" / voice).mkdir(parents=True)
            for number in range(4):
                name = f"clips/{voice}/{number}.wav"
                audio.write(root / name, Waveform(samples[number * 40_000 : (number + 1) * 40_000].clone(), 16000))
                writer.writerow([name, "clips", voice, 2.5, "train" if number < 2 else "test"])
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    calibration = {
        "scale": 10.0, "offset": -5.0, "threshold": 0.5, "threshold_low": 0.4, "threshold_high": 0.6,
        "false_alarm": None, "false_alarm_low": 0.0, "false_alarm_high": 0.1, "source": "nobody", "scoring": "cosine",
    }  # fmt: skip
    return log_mel.write(
        path, Ecapa(**CONFIG).eval(), name="small", config=CONFIG, scale=3.0, provenance={}, licence="MIT",
        cohort=torch.nn.functional.normalize(torch.randn(60, 12), dim=1), calibration=calibration,
    )  # fmt: skip


def call(recipe: Any, monkeypatch: pytest.MonkeyPatch, script: str, *words: object) -> None:
    monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, words)])
    recipe(script).main()


@pytest.fixture
def lists(recipe: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    found = {}
    for split in ("train", "test"):
        found[split] = tmp_path / f"{split}.csv"
        call(
            recipe, monkeypatch, "prepare", data / "manifest.csv", "--corpus", "clips", "--split", split,
            "--output", found[split],
        )  # fmt: skip
    return found


def test_list_holds_all_pairs_with_their_speakers(lists: dict[str, Path]) -> None:
    rows = list(csv.DictReader(lists["test"].read_text().splitlines()))
    assert len(rows) == 12 * 11 // 2
    assert sum(row["label"] == "1" for row in rows) == 6
    assert {row["enrolment_speaker"] for row in rows} <= set(VOICES)
    assert all((row["enrolment_speaker"] == row["test_speaker"]) == (row["label"] == "1") for row in rows)


@pytest.mark.parametrize("more", [(), ("--as-norm",), ("--plda",)])
def test_evaluation_calibrates_on_one_list_and_measures_another(
    recipe: Any,
    lists: dict[str, Path],
    data: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: Any,
) -> None:
    output = tmp_path / "results"
    more = (*more, lists["train"]) if more == ("--plda",) else more
    call(
        recipe, monkeypatch, "evaluate", lists["test"], "--root", data, "--model", model, "--output", output,
        "--calibrate", lists["train"], "--draws", 10, *more,
    )  # fmt: skip
    report = json.loads((output / "report.json").read_text())
    assert report["speakers"] == 6  # of the list's columns: all paths begin with the same folder
    assert report["scoring"] == {"--as-norm": "as-norm", "--plda": "plda"}.get(str(more[0]) if more else "", "cosine")
    assert report["cllr"] >= report["min_cllr"]
    assert set(report["act_dcf"]) == {"0.01", "0.05"}
    assert report["speakers_worst_first"][0]["speaker"] in VOICES
    rows = list(csv.DictReader((output / "scores.csv").read_text().splitlines()))
    assert len(rows) == 66
    for picture in ("det.png", "scores.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG")
    # scores made elsewhere are measured in the same way
    call(
        recipe,
        monkeypatch,
        "evaluate",
        lists["test"],
        "--scores",
        output / "scores.csv",
        "--output",
        tmp_path / "again",
    )
    assert json.loads((tmp_path / "again" / "report.json").read_text())["eer"] == pytest.approx(report["eer"])


def test_floors_embed_and_differ_from_the_model(recipe: Any, model: Path) -> None:
    floors = recipe("floors")
    waveform = audio.read_mono(clips.clip("ada").path, 16000)
    cepstra, random = floors.load("mfcc"), floors.untrained(model, seed=1)
    assert cepstra.embed(waveform).vector.shape == (20,)
    assert random.dim == 12
    assert not torch.allclose(
        random.embed(waveform).vector, embedders.load(model, device="cpu").embed(waveform).vector, atol=0.01
    )
    assert torch.equal(floors.untrained(model, seed=1).embed(waveform).vector, random.embed(waveform).vector)


def test_coverage_counts_how_often_the_interval_holds(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechssl.verification.trials import all_pairs

    evaluate = recipe("evaluate")
    trials = all_pairs({f"s{number}": [f"s{number}/{take}" for take in range(4)] for number in range(24)})
    rng = np.random.default_rng(0)
    scores = np.array([0.6 if trial.is_target else 0.2 for trial in trials]) + 0.15 * rng.normal(size=len(trials))
    evaluate.write_scores(tmp_path / "scores.csv", trials, scores)
    call(
        recipe,
        monkeypatch,
        "interval_coverage",
        tmp_path / "scores.csv",
        "--false-alarm",
        0.05,
        "--draws",
        20,
        "--inner",
        40,
    )
    found = json.loads(capsys.readouterr().out)
    assert found["speakers"] == 24
    assert found["low"] <= 0.05 <= found["high"]
    assert found["realised"] == pytest.approx(0.05, abs=0.02)
    assert found["inside"] >= 0.9
    assert 0 <= found["cllr_gap"] < 0.1


def test_suspicions_are_counted(
    recipe: Any, data: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--corpus", "clips", "--split", "train", "--model", model, "--count", 2)
    call(recipe, monkeypatch, "suspicions", data / "manifest.csv", *words)
    kinds = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [row["recordings"] for row in kinds] == ["one", "turns", "brief", "at once"]
    assert all(0 <= row["suspected"] <= row["of"] == 2 for row in kinds)


def test_lines_are_scored_and_what_is_undecided_is_counted(
    recipe: Any,
    data: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = recipe("lines")
    monkeypatch.setattr(lines, "LINES", {k: lines.LINES[k] for k in ("clean", "8 kHz, G.711 u-law")})
    words = ["lines.py", data / "manifest.csv", "--corpus", "clips", "--split", "test", "--model", model]
    sizes = ["--speakers", 3, "--each", 2, "--output", tmp_path / "lines.json"]
    monkeypatch.setattr("sys.argv", list(map(str, words + sizes)))
    lines.main()
    found = json.loads((tmp_path / "lines.json").read_text())
    row = found["8 kHz, G.711 u-law"]
    assert (row["line"]["same"], row["line"]["strangers"]) == (3, 12)
    for against in ("line", "clean"):
        assert (row[against]["strangers_undecided"], row[against]["same_undecided"]) == (1, 1)
        assert row[against]["false_acceptance"] == row[against]["highest_probability_of_strangers"] == 0
    assert found["clean"]["line"]["strangers_undecided"] < 1
    assert "| 8 kHz, G.711 u-law | clean | " in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [*map(str, words), "--bands"])
    lines.main()
    assert "full band: 0.0 %" in capsys.readouterr().out.splitlines()[1]


def test_a_whisper_has_no_pitch_and_a_shout_a_higher_one(recipe: Any) -> None:
    import pyworld

    manner = recipe("manner")
    speech = audio.read_mono(clips.clip("dan", "sentence").path, 16000).samples.numpy()[:48000]

    def pitch(samples: np.ndarray) -> tuple[float, float]:
        f0, _ = pyworld.dio(samples.astype(np.float64), 16000)
        voiced = f0[f0 > 0]
        return float((f0 > 0).mean()), float(np.median(voiced)) if len(voiced) else 0.0

    (share, height), (whisper, _), (_, shout) = map(pitch, (speech, manner.whispered(speech), manner.shouted(speech)))
    assert whisper < 0.5 * share
    assert 1.4 * height < shout < 1.9 * height
    assert manner.brief(speech, 1.0).shape == (16000,)
    quiet = np.r_[np.zeros(20000), np.ones(8000), np.zeros(20000)].astype(np.float32)
    assert manner.brief(quiet, 0.5).mean() == 1


def test_manners_are_scored_as_lines_are(
    recipe: Any, data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manner = recipe("manner")
    words = ["manner.py", data / "manifest.csv", "--corpus", "clips", "--split", "test", "--model", model]
    sizes = ["--speakers", 3, "--each", 2, "--seconds", 3, "--output", tmp_path / "manner.json"]
    monkeypatch.setattr("sys.argv", list(map(str, words + sizes)))
    manner.main()
    found = json.loads((tmp_path / "manner.json").read_text())
    assert list(found) == ["clean", "whispered", "shouted", "1 s", "2 s", "music, 10 dB", "another voice, 10 dB"]
    assert all((row["line"]["same"], row["line"]["strangers"]) == (2, 4) for row in found.values())
    assert all("clean" in row for name, row in found.items() if name != "clean")


# -- what is no speech


def test_made_up_music_follows_its_seed(recipe: Any) -> None:
    music = recipe("music")
    pieces = [music.piece(seed, 2.0) for seed in (1, 2, 3, 1)]
    assert np.array_equal(pieces[0], pieces[3])
    assert not np.array_equal(pieces[0], pieces[1])
    for piece in pieces:
        assert piece.shape == (32000,)
        assert np.abs(piece).max() == pytest.approx(0.5, abs=1e-4)
        assert np.abs(piece[16000:]).max() > 0.01


def test_refusals_are_counted(
    recipe: Any, data: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call(recipe, monkeypatch, "music", tmp_path / "music", "--count", 2, "--seconds", 6)
    audio.write(tmp_path / "music" / "silence.wav", Waveform(torch.zeros(96000), 16000))
    words = ("--speech", "clips:test", "--other", tmp_path / "music", "--model", model)
    capsys.readouterr()
    call(recipe, monkeypatch, "refusals", data / "manifest.csv", *words)
    speech, music = map(json.loads, capsys.readouterr().out.splitlines())
    assert speech["of"] == 12
    assert speech["refused"] <= 1  # a voice of the package, which are synthetic and stranger than any that taught
    assert (music["of"], music["refused"]) == (2, 2)  # the silence does not pass by its energy
    assert music["odds_0_1_50_90_100"][-1] < 0 < speech["odds_0_1_50_90_100"][2]


@pytest.mark.slow
def test_the_classifier_is_taught_on_a_cache(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechssl.verification import speech_classifier

    rows, mels, start = [], [], 0
    noise = Waveform(0.1 * torch.randn(80000, generator=torch.Generator().manual_seed(0)), 16000)
    sounds = [("noise_x", "-", noise)]
    for voice in VOICES[:4]:
        samples = audio.read_mono(clips.clip(voice).path, 16000).samples
        corpus = "one" if voice in ("ada", "dan") else "two"
        sounds += [(corpus, voice, Waveform(part.clone(), 16000)) for part in samples[:240_000].split(60_000)]
    for corpus, speaker, waveform in sounds:
        mels.append(kaldi(waveform.samples).numpy().astype(np.float16))
        row = {"corpus": corpus, "speaker": speaker, "split": "train", "start": start, "frames": len(mels[-1])}
        rows.append(row)
        start += len(mels[-1])
    np.save(tmp_path / "mel.npy", np.concatenate(mels))
    (tmp_path / "index.json").write_text(json.dumps(rows))
    output = tmp_path / "speechlike.safetensors"
    call(recipe, monkeypatch, "teach", tmp_path, "--output", output, "--music", 2, "--each", 1)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.get("left out") for row in told[:2]] == ["one", "two"]
    assert told[2]["taught_found"] > 0.5
    monkeypatch.setattr(speech_classifier, "MODEL", output)
    taught = speech_classifier.load_model.__wrapped__()
    assert taught.limit <= 0
    assert taught.odds(speech_classifier.features(np.concatenate(mels[1:3]).astype(np.float32))[None])[0] > 0


def write_timed(recipe: Any, folder: Path, name: str, seed: int) -> Path:
    """``scores.csv`` of 16 speakers, 6 recordings each, whose scores hang on the seconds of the shorter one."""
    from speechssl.verification.trials import all_pairs

    trials = all_pairs({f"{name}{number}": [f"{name}{number}/{take}" for take in range(6)] for number in range(16)})
    rng = np.random.default_rng(seed)
    lengths = {side: np.exp(rng.uniform(0, 3)) for trial in trials for side in (trial.enrolment, trial.test)}
    seconds = np.array([[lengths[trial.enrolment], lengths[trial.test]] for trial in trials])
    labels = np.array([trial.is_target for trial in trials])
    scores = 0.4 * labels + 0.15 * np.log(seconds.min(1)) + 0.12 * rng.normal(size=len(trials))
    near = 0.1 * rng.normal(size=(len(trials), 4))
    scores -= np.abs(near[:, 0] - near[:, 2])  # as if what both are unlike in made them less alike
    recipe("evaluate").write_scores(folder / f"{name}.csv", trials, scores, seconds, near)
    return folder / f"{name}.csv"


def test_seconds_help_a_calibration_whose_scores_hang_on_them(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = [write_timed(recipe, tmp_path, name, seed) for seed, name in enumerate(("one", "two", "three", "four"))]
    call(recipe, monkeypatch, "by_seconds", "--fit", *lists[:2], "--test", *lists[2:])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 8 + 2 * 16
    unseen = {
        row["by_seconds"]: row["bits_at_0.01_0.05_0.5"][str(lists[0])][1] for row in found[:8] if row["prior"] == 0.05
    }
    assert unseen[True] < unseen[False]
    tested = {
        row["by_seconds"]: row["dcf(0.05)"][0]
        for row in found[8:]
        if (row["tested"], row["fitted_on"], row["prior"]) == (str(lists[3]), "all", 0.05)
    }
    assert tested[True] < tested[False]
    call(recipe, monkeypatch, "interval_coverage", lists[0], "--false-alarm", 0.05, "--draws", 6, "--inner", 20)
    covered = json.loads(capsys.readouterr().out)
    assert covered["by_seconds"] > 0
    call(
        recipe,
        monkeypatch,
        "interval_coverage",
        lists[0],
        "--false-alarm",
        0.05,
        "--draws",
        6,
        "--inner",
        20,
        "--scores-alone",
    )
    assert json.loads(capsys.readouterr().out)["by_seconds"] == 0


def test_calibration_is_written_into_a_file_of_the_same_weights(
    recipe: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = [write_timed(recipe, tmp_path, name, seed) for seed, name in enumerate(("one", "two"))]
    output = tmp_path / "new.safetensors"
    call(recipe, monkeypatch, "calibrate", model, "--scores", *lists, "--source", "made up", "--output", output)
    told = json.loads(capsys.readouterr().out)
    before, after = (embedders.load(path, device="cpu") for path in (model, output))
    assert after.origin != before.origin
    found = decisions.shipped_calibration(after)
    assert found is not None
    assert found.by_seconds is not None
    assert (found.source, found.scale) == ("made up", told["scale"])
    assert found.by_cohort is not None
    assert found.by_cohort.differences[0] == pytest.approx(1.0, abs=0.2)  # what was taken from the scores is given back
    waveform = audio.read_mono(clips.clip("ada").path, 16000)
    assert torch.equal(before.embed(waveform).vector, after.embed(waveform).vector)
    lists[0].write_text("enrolment,test,label,score\na/1,a/2,1,0.5\n")
    with pytest.raises(SystemExit, match="no seconds of speech"):
        call(recipe, monkeypatch, "calibrate", model, "--scores", *lists, "--output", output)
    lists = [write_timed(recipe, tmp_path, "one", 0)]
    with pytest.raises(SystemExit, match="know its cohort already"):
        call(recipe, monkeypatch, "calibrate", output, "--scores", *lists, "--output", tmp_path / "again.safetensors")


def test_noise_gets_a_calibration_of_its_own(
    recipe: Any,
    data: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [model, data / "manifest.csv", "--corpora", "clips", "--each", 4, "--false-alarm", 0.1]
    output = tmp_path / "noisy.safetensors"
    with pytest.raises(SystemExit, match="no calibration that knows noise"):
        call(recipe, monkeypatch, "calibrate_noise", *command, "--output", output)
    lists = [write_timed(recipe, tmp_path, "one", 0)]
    calibrated = tmp_path / "calibrated.safetensors"
    call(recipe, monkeypatch, "calibrate", model, "--scores", *lists, "--output", calibrated)
    for _ in range(2):  # the second time in place of the first
        call(recipe, monkeypatch, "calibrate_noise", calibrated, *command[1:], "--output", output)
        calibrated = output
    found = decisions.shipped_calibration(embedders.load(output, device="cpu"))
    assert found is not None
    assert [line.noisy for line in found.lines] == [2, 1]
    for line in found.lines:
        assert (line.cautious, line.false_alarm) == (True, 0.1)
        assert 0 < line.bands.snr < found.bands.snr
    assert "under noise" in capsys.readouterr().out


def test_a_floor_is_written_with_a_cohort_heard_so(recipe: Any, data: Path, model: Path, tmp_path: Path) -> None:
    written = tmp_path / "floored.safetensors"
    command = [str(model), str(data / "manifest.csv"), "--output", str(written)]
    with pytest.raises(InputError, match=r"no recordings of sea, train; there are: clips train \(12\)"):
        recipe("floor").main([*command, "--corpora", "sea"])
    assert not written.exists()
    recipe("floor").main([*command, "--corpora", "clips", "--decibels", "30"])
    before, after = (embedders.load(path, device="cpu") for path in (model, written))
    assert after.floor == 30.0
    assert after.calibration is None
    assert after.cohort.shape == (12, 12)  # two recordings of each of six speakers are of the split
    sound = audio.read(data / "clips/ada/0.wav")
    assert float((after.cohort @ after.embed(sound).vector).max()) > 0.999
    assert float(before.embed(sound).vector @ after.embed(sound).vector) < 0.9999


def test_what_lies_far_from_all_voices_is_doubted() -> None:
    generator = torch.Generator().manual_seed(0)
    voices = torch.nn.functional.normalize(torch.ones(12) + 0.3 * torch.randn(80, 12, generator=generator), dim=1)
    near = signals.Embedding(torch.nn.functional.normalize(torch.ones(12), dim=0), "m@1")
    far = signals.Embedding(torch.nn.functional.one_hot(torch.tensor(0), 12).float(), "m@1")
    assert not screening.unlike_speech(near, voices)
    assert screening.unlike_speech(far, voices)
    assert not screening.unlike_speech(far, voices[:40])
    assert not screening.unlike_speech(far, None)


@pytest.mark.slow
def test_conversions_and_texts_are_verified_beside_real_recordings(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["path,corpus,speaker,seconds,language,text,split"]
    for voice in ("ada", "dan"):
        samples = audio.read_mono(clips.clip(voice).path, 16000).samples
        for number in range(5):
            name = f"{voice}{number}.wav"
            audio.write(tmp_path / name, Waveform(samples[number * 64_000 : (number + 1) * 64_000].clone(), 16000))
            lines.append(f"{name},clips,{voice},4.0,en,,dev")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    call(recipe, monkeypatch, "conversions", tmp_path / "manifest.csv", "--corpus", "clips", "--limit", 1)
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == list(recipe("conversions").KINDS)
    shares = [[float(cell) for cell in row[1:]] for row in rows[2:]]
    assert all(share in (0.0, 100.0) for row in shares for share in row)
    assert shares[0] == [100.0, 0.0, 0.0]
    assert shares[3][0] == 0.0
