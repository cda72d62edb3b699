"""The watermark: there where it was put, not where it was not; and what is said where it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from speechssl import audio
from speechssl.errors import CheckpointError
from speechssl.receipts import watermark
from speechssl.signals import Waveform
from speechssl.voices import clips

needs_perth = pytest.mark.skipif(
    not watermark.available(), reason="the extra 'watermark' is absent, or torchaudio does not load"
)


@pytest.fixture(scope="module")
def clean() -> Waveform:
    return audio.read(clips.clip("ada", "sentence").path)


@pytest.fixture(scope="module")
def marked(clean: Waveform) -> Waveform:
    return watermark.mark(clean)


def _as_mp3(waveform: Waveform, folder: Path) -> Waveform:
    audio.write(folder / "x.mp3", audio.resample(waveform, 44_100))
    return audio.read(folder / "x.mp3")


CHANGES: dict[str, Callable[[Waveform, Path], Waveform]] = {
    "none": lambda waveform, folder: waveform,
    "resampled": lambda waveform, folder: audio.resample(audio.resample(waveform, 16_000), 44_100),
    "mp3": _as_mp3,
}


@needs_perth
@pytest.mark.parametrize("change", CHANGES)
def test_it_is_found_again(marked: Waveform, tmp_path: Path, change: str) -> None:
    assert watermark.confidence(CHANGES[change](marked, tmp_path)) >= watermark.PRESENT


@needs_perth
def test_it_is_not_found_where_it_is_not(clean: Waveform) -> None:
    assert watermark.confidence(clean) < watermark.PRESENT
    assert watermark.confidence(Waveform(torch.zeros(16_000), 16_000)) == 0.0


@needs_perth
def test_the_sound_keeps_its_length_and_nearly_its_samples(clean: Waveform, marked: Waveform) -> None:
    assert marked.samples.shape == clean.samples.shape
    assert marked.sample_rate == clean.sample_rate
    assert float(marked.samples.abs().max()) <= 1
    assert audio.loudness(marked) == pytest.approx(audio.loudness(clean), abs=1)
    together = torch.stack([clean.samples, marked.samples])
    assert float(torch.corrcoef(together)[0, 1]) > 0.95
    assert not torch.equal(clean.samples, marked.samples)


def test_without_perth_it_says_what_to_install(clean: Waveform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark.importlib.util, "find_spec", lambda name: None)
    watermark._loaded.cache_clear()
    assert not watermark.available()
    for work in (watermark.mark, watermark.confidence):
        with pytest.raises(CheckpointError, match=r"pip install 'speechssl\[watermark\]'"):
            work(clean)
