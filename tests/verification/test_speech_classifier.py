"""The classifier that refuses what is no speech: its statistics and windows, and what it says of clips and chords."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform
from speechssl.verification import speech_classifier
from speechssl.voices import clips

RATE = 16000
VOICES = ("ada", "beth", "cleo", "dan", "eric", "finn")


def chords(seconds: float = 8.0) -> torch.Tensor:
    """Four chords of an organ, over and over, half a second each."""
    time = torch.arange(round(seconds * RATE)) / RATE
    out = torch.zeros(len(time))
    for number, notes in enumerate(((60, 64, 67), (57, 60, 64), (65, 69, 72), (67, 71, 74))):
        now = ((time * 2).long() % 4) == number
        for note in notes:
            hertz = 440 * 2 ** ((note - 69) / 12)
            out += now * sum(torch.sin(2 * torch.pi * hertz * part * time) / part for part in (1, 2, 3, 4))
    return 0.05 * out * (1 - 0.8 * ((time * 2) % 1))


def drums(seconds: float = 8.0) -> torch.Tensor:
    """A stroke of noise every quarter of a second, a deep one every half."""
    time = torch.arange(round(seconds * RATE)) / RATE
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    beat = time % 0.5
    return 0.1 * noise * torch.exp(-40 * (time % 0.25)) + 0.3 * torch.sin(2 * torch.pi * 70 * beat) * torch.exp(
        -15 * beat
    )


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("kind", ["reference", "sentence"])
def test_the_clips_are_speech(voice: str, kind: str) -> None:
    heard = speech_classifier.hear(audio.read(clips.clip(voice, kind).path))
    assert heard.active > 1
    assert heard.likely == pytest.approx(heard.active)


@pytest.mark.parametrize("make", [chords, drums])
def test_music_is_none(make: object) -> None:
    heard = speech_classifier.hear(Waveform(make(), RATE))  # type: ignore[operator]
    assert heard.active > 1  # by energy alone it would pass
    assert heard.likely == 0


def test_music_beside_speech_is_not_counted() -> None:
    talk = audio.read_mono(clips.clip("ada").path, RATE).samples[: 10 * RATE]
    music = chords(10.0)
    both = speech_classifier.hear(Waveform(torch.cat([talk, music]), RATE))
    alone = speech_classifier.hear(Waveform(talk.clone(), RATE))
    assert both.likely < both.active
    assert both.likely == pytest.approx(alone.active, abs=1.0)


def test_statistics_do_not_depend_on_the_level() -> None:
    rng = np.random.default_rng(0)
    mel = rng.normal(size=(300, 80)).cumsum(0) / 5
    assert np.allclose(speech_classifier.features(mel), speech_classifier.features(mel + 7), atol=1e-6)
    assert np.isfinite(speech_classifier.features(np.zeros((60, 80)))).all()


def test_modulation_is_found_at_its_frequency() -> None:
    frames = np.arange(800)[:, None] / 100
    shares = speech_classifier._modulation(np.sin(2 * np.pi * np.array([1.0, 4.0, 13.0, 20.0]) * frames))
    found = np.argmax(shares.reshape(4, -1), axis=1)
    edges = speech_classifier.MODULATIONS
    assert [(edges[i], edges[i + 1]) for i in found] == [(0.5, 1.5), (3, 6), (10, 16), (16, 30)]


def test_a_damaged_model_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = checkpoints.save(tmp_path / "x.safetensors", {"mean": torch.zeros(3)}, {"kind": "speechlike"})
    monkeypatch.setattr(speech_classifier, "MODEL", bad)
    speech_classifier.load_model.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="damaged"):
            speech_classifier.load_model()
    finally:
        speech_classifier.load_model.cache_clear()
