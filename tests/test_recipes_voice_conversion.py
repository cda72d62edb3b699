"""The any-to-any evaluation: pairs that keep what is scored out of the matching set, and a run on the bundled clips."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from speechssl import audio, bundles
from speechssl.signals import Waveform

RECIPE = "voice_conversion"


@pytest.fixture(scope="module")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with five recordings of 4 s each, cut from the bundled references."""
    folder = tmp_path_factory.mktemp("speakers")
    for voice in ("ada", "dan"):
        samples = audio.read_mono(bundles.clip(voice).path, 16000).samples
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


def test_too_few_recordings_are_said(recipe: Any, speakers: Path) -> None:
    pairs = recipe("pairs")
    few = [recording for recording in pairs.from_folder(speakers) if not recording.path.stem.endswith(("3", "4"))]
    with pytest.raises(SystemExit, match="at least 2 with 4 recordings"):
        pairs.make_pairs(few, reference_seconds=7.0)


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


def test_the_judges_lines_become_a_table(recipe: Any) -> None:
    judge = recipe("judge")
    text = '{"id": "a"}\nwhisper_wer                  0.2539  [0.2000, 0.3100]  n=30\novrl   2.5  [2.4, 2.6]  n=30\n'
    result = judge.summary(text)
    assert result == {"whisper_wer": [0.2539, 0.2, 0.31], "ovrl": [2.5, 2.4, 2.6]}
    table = judge.table({"tiny": result})
    assert "| word error rate, Whisper | 25.4% [20, 31] |" in table
    assert "DNSMOS overall | 2.5 [2.4, 2.6]" in table
