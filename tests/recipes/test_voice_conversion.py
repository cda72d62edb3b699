"""The any-to-any evaluation: pairs that keep what is scored out of the matching set, and a run on the bundled clips."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.signals import Waveform
from speechssl.voices import clips

RECIPE = "voice_conversion"


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with five recordings of 4 s each, cut from the bundled references."""
    folder = tmp_path_factory.mktemp("speakers")
    for voice in ("ada", "dan"):
        samples = audio.read_mono(clips.clip(voice).path, 16000).samples
        (folder / voice).mkdir()
        for number in range(5):
            part = samples[number * 64_000 : (number + 1) * 64_000].clone()
            audio.write(folder / voice / f"{voice}{number}.wav", Waveform(part, 16000))
        (folder / voice / f"{voice}0.txt").write_text("words of the first")
    return folder


def test_pairs_keep_scored_recordings_apart(recipe: Any, speakers: Path) -> None:
    pairs = recipe("pairs")
    recordings = pairs.from_folder(speakers)
    assert {recording.text for recording in recordings} == {"", "words of the first"}
    made = pairs.make_pairs(recordings, reference_seconds=7.0, seed=3)
    assert [(pair.source.speaker, pair.target) for pair in made] == [("ada", "dan"), ("dan", "ada")]
    for pair in made:
        assert len(pair.references) == 2
        assert not set(pair.references) & set(pair.target_refs)
        assert pair.source.path not in pair.source_refs
        assert all(path.parent.name == pair.target for path in pair.references + pair.target_refs)
    assert made == pairs.make_pairs(recordings, reference_seconds=7.0, seed=3)


def test_sources_in_rooms_and_noise_are_the_same_every_time_and_lost_frames_are_counted(
    recipe: Any, speakers: Path, tmp_path: Path
) -> None:
    conditions = recipe("conditions")
    path = speakers / "ada" / "ada1.wav"
    dry = audio.read(path)
    assert conditions.degraded(path, "clean", tmp_path) == path
    assert conditions.lost_frames(dry, dry) == 0.0
    for name in ("room", "noise"):
        made = audio.read(conditions.degraded(path, name, tmp_path / name))
        again = audio.read(conditions.degraded(path, name, tmp_path / f"{name}2"))
        assert torch.equal(made.samples, again.samples)
        assert len(made.samples) == len(dry.samples)
        assert not torch.equal(made.samples, dry.samples)
    # a quarter of the sound is cut away; loudness of the rest does not count
    cut = dry.samples * 0.1
    cut[16_000:32_000] = 0.0
    levels = conditions.levels(dry)
    speech = levels > np.quantile(levels, 0.9) - conditions.QUIET
    expected = speech[50:100].sum() / speech.sum()
    assert conditions.lost_frames(dry, Waveform(cut, 16_000)) == pytest.approx(expected, abs=0.02)
    with pytest.raises(ValueError, match="no condition 'sea'"):
        conditions.degraded(path, "sea", tmp_path)


def test_too_few_recordings_are_said(recipe: Any, speakers: Path) -> None:
    pairs = recipe("pairs")
    few = [recording for recording in pairs.from_folder(speakers) if not recording.path.stem.endswith(("3", "4"))]
    with pytest.raises(SystemExit, match="at least 2 with 4 recordings"):
        pairs.make_pairs(few, reference_seconds=7.0)
    mixed = [
        recording for recording in pairs.from_folder(speakers) if recording not in few or recording.speaker == "ada"
    ]
    assert {recording.speaker for recording in mixed} == {"ada", "dan"}
    assert {recording.speaker for recording in pairs.with_enough(mixed)} == {"ada"}


def test_every_system_is_written(
    recipe: Any, speakers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    systems = "source,target,copy@world,tiny,tiny@world:uniform:k=2"
    arguments = ["--folder", speakers, "--systems", systems, "--reference-seconds", "7", "--output", tmp_path]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments), "--threads", "1", "--pictures", "1"])
    recipe("evaluate").main()
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(printed) == systems.split(",")
    assert printed["tiny"]["speed"] > 0
    for system in systems.split(","):
        files = sorted((tmp_path / system.replace(":", "-").replace("@", "-")).glob("*.wav"))
        assert len(files) == 2
        assert all(abs(audio.info(file).seconds - 4.0) < 0.05 for file in files)
    (picture,) = (tmp_path / "pictures").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


def test_rooms_are_heard_with_their_echo_on_request(
    recipe: Any, speakers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, *more: str) -> bytes:
        rooms = ["--condition", "room", "--reference-condition", "room"]
        given = ["--folder", speakers, "--systems", "tiny", "--reference-seconds", "7", "--sources", "dan", *rooms]
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, given), "--output", str(tmp_path / name), *more])
        recipe("evaluate").main()
        assert len(list((tmp_path / name / "tiny" / "references").glob("*-room.wav"))) == 2
        (file,) = (tmp_path / name / "tiny").glob("*.wav")
        return file.read_bytes()

    assert made("kept", "--keep-echo") != made("dry") == made("again")


@pytest.mark.parametrize(("sources", "found"), [("dan", ["dan-ada"]), ("dan,ada", ["ada-dan", "dan-ada"])])
def test_only_some_speakers_are_converted(
    recipe: Any, speakers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: str, found: list[str]
) -> None:
    arguments = ["--folder", speakers, "--systems", "source", "--reference-seconds", "7", "--output", tmp_path]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments), "--sources", sources])
    recipe("evaluate").main()
    files = sorted((tmp_path / "source").glob("*.wav"))
    assert [file.stem.rsplit("-", 1)[0] for file in files] == found
    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], "eve"])
    with pytest.raises(SystemExit, match="--sources eve: none of the speakers ada, dan"):
        recipe("evaluate").main()


def test_the_judges_lines_become_a_table(recipe: Any) -> None:
    judge = recipe("judge")
    text = '{"id": "a"}\nwhisper_wer                  0.2539  [0.2000, 0.3100]  n=30\novrl   2.5  [2.4, 2.6]  n=30\n'
    result = judge.summary(text)
    assert result == {"whisper_wer": [0.2539, 0.2, 0.31], "ovrl": [2.5, 2.4, 2.6]}
    table = judge.table({"tiny": result})
    assert "| word error rate, Whisper | 25.4% [20, 31] |" in table
    assert "DNSMOS overall | 2.5 [2.4, 2.6]" in table


def test_the_errors_of_f0_are_counted(recipe: Any) -> None:
    f0 = recipe("f0")
    spoken = audio.read_mono(clips.clip("dan").path, 16_000).samples[:64_000].numpy()
    frames = len(spoken) // f0.HOP + 1
    found = f0.f0_tracker.track(spoken.astype(np.float64), np.arange(frames) * 0.01)
    voiced = found > 0
    # as told by somebody who hears the same, who hears half of it an octave higher, and who hears nothing
    half = np.where(np.cumsum(voiced) <= voiced.sum() // 2, 2.0, 1.0)
    told = {"same": found, "half": found * half}
    rows = {
        name: f0.compare({"a": spoken}, {"a": np.stack([np.where(voiced, hertz, 100.0), voiced * 1.0])}, lambda x: x)
        for name, hertz in told.items()
    }
    nothing = {"gross": 0, "missed": 0, "false": 0, "medians": "0 of 1"}
    assert rows["same"] == nothing
    assert rows["half"]["gross"] == pytest.approx(100 * (voiced.sum() // 2) / voiced.sum())
    silence = np.stack([np.full(frames, 100.0), np.zeros(frames)])
    deaf = f0.compare({"a": spoken}, {"a": silence}, lambda x: x)
    assert deaf == nothing | {"false": pytest.approx(100 * voiced.mean())}


def test_hum_lies_as_far_below_the_recording_as_asked(recipe: Any) -> None:
    samples = np.random.default_rng(0).standard_normal(32_000)
    hum = recipe("f0").with_hum(samples, 60, 12.0) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(hum**2)) == pytest.approx(12.0)
    assert np.abs(np.fft.rfft(hum)).argmax() == 120


def test_f0_is_compared_on_one_recording_a_speaker(recipe: Any, tmp_path: Path) -> None:
    rows = [
        ("librispeech", "b", "dev"),
        ("an4", "c", "train"),
        ("librispeech", "d", "test"),
        ("ljspeech", "e", "train"),
    ]
    lines = [f"{c}-{s}-{n}.wav,{c},{s},{3 if n else 1},{split}" for c, s, split in rows for n in range(6)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,corpus,speaker,seconds,split", *lines]))
    kept = recipe("f0").chosen(tmp_path / "manifest.csv")
    # three of a dev speaker of LibriSpeech; none that is too short, of another split or corpus
    assert sorted(row["speaker"] for row in kept) == ["b", "b", "b", "c"]
    assert all(float(row["seconds"]) > 2 for row in kept)


@pytest.mark.parametrize(
    ("text", "model", "options"),
    [
        ("tiny", "tiny", {}),
        ("tiny@world:uniform", "tiny@world", {"converter": "uniform"}),
        ("tiny:shift:k=32", "tiny", {"converter": "shift", "k": 32}),
        ("tiny:tempo=target:interpolation=0.5", "tiny", {"tempo": "target", "interpolation": 0.5}),
    ],
)
def test_a_system_is_read(recipe: Any, text: str, model: str, options: dict[str, Any]) -> None:
    assert recipe("evaluate").parse_system(text) == (model, options)


def test_phones_a_second_are_those_of_speech(recipe: Any) -> None:
    tempo = recipe("tempo")
    segments = [["SIL", 0, 40, 40, 20], ["AE", 100, 5, 5, 2], ["T", 112, 2, 3, 3], ["SIL", 120, 10, 10, 10]]
    assert tempo.phones_per_second(segments) == pytest.approx(10.0)
    assert tempo.phones_per_second(segments[:1]) == 0.0


def test_agreement_is_of_logarithms(recipe: Any) -> None:
    phones = np.array([8.0, 10.0, 12.5, 16.0])
    found = recipe("tempo").agreement(phones, 0.02 * phones**2)
    assert found == {
        "recordings": 4,
        "correlation": pytest.approx(1.0),
        "slope": pytest.approx(2.0),
        "deviation": pytest.approx(float(np.log(phones).std())),
    }


def test_the_tempo_of_recordings_is_compared(
    recipe: Any, speakers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for path, length in (("ada/ada0.wav", 8), ("ada/ada1.wav", 10), ("dan/dan0.wav", 9)):
        segments = [["AE", length * i, 3, 3, length - 6] for i in range(36)]
        lines.append({"path": path, "seconds": 4.0, "segments": segments})
    lines.append({"path": "missing.wav", "seconds": 2.0, "segments": []})
    (tmp_path / "alignments.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["tempo.py", "--root", str(speakers), "--alignments", str(tmp_path / "alignments.jsonl")]
    monkeypatch.setattr(sys, "argv", arguments)
    recipe("tempo").main()
    whole, *each = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert whole["all"]["recordings"] == 3
    assert [(name, row[name]) for row in each for name in row if isinstance(row[name], int)] == [("ada", 2), ("dan", 1)]
    assert [row["phones a second"] for row in each] == [pytest.approx(11.25), pytest.approx(100 / 9)]
    assert all(5 < row["told"] < 20 for row in each)


def test_what_a_conversion_keeps_is_printed(recipe: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    fidelity = recipe("fidelity")
    monkeypatch.setattr(fidelity, "VOICES", ("ada", "beth") * 3)
    monkeypatch.setattr(sys, "argv", ["fidelity.py", "--pairs", "1", "--lengths", "4"])
    fidelity.main()
    *_, level, contour, lost = capsys.readouterr().out.splitlines()
    correlations = [float(line.split()[1]) for line in (level, contour)]
    assert correlations[1] > max(0.9, correlations[0])
    assert float(level.split()[3]) < 12 < 17 < float(contour.split()[3]) < 23
    assert lost == "samples lost: 0; conversions that lost some: 0"


def test_levels_and_softer_passages_are_measured(recipe: Any) -> None:
    fidelity = recipe("fidelity")
    spoken = audio.read_mono(clips.clip("dan", "sentence").path, 16_000)
    assert fidelity.correlation(spoken, spoken) == pytest.approx(1)
    backwards = Waveform(spoken.samples.flip(0), 16_000)
    assert fidelity.correlation(spoken, backwards) < 0.8
    powers = (
        fidelity.softened(spoken).samples.square().reshape(-1)[: len(spoken.samples) // 3 * 3].reshape(3, -1).sum(1)
    )
    before = spoken.samples.square()[: len(spoken.samples) // 3 * 3].reshape(3, -1).sum(1)
    assert (10 * np.log10((powers / before).numpy())).tolist() == pytest.approx([0, -20, 0], abs=0.1)
