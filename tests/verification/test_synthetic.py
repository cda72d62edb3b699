"""The detector of what this package makes: its statistics, its stretches, and what it says of conversions."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.conversion.bundles import load_bundle
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform
from speechssl.verification import band, decisions, embedders, synthetic
from speechssl.voices import clips

RATE = 16000


@pytest.fixture(scope="module")
def made() -> Waveform:
    """A sentence of one voice, converted to another."""
    system = load_bundle("tiny")
    voice = system.matching_set([clips.clip("ada").path], name="ada")
    return system.convert(clips.clip("dan", "sentence").path, voice).waveform


def test_statistics_do_not_depend_on_the_level() -> None:
    samples = np.random.default_rng(0).normal(size=2 * RATE).astype(np.float32).cumsum() / 100
    found = synthetic.features(samples)
    assert np.allclose(found, synthetic.features(0.01 * samples), atol=1e-3)
    assert np.isfinite(found).all()
    assert np.isfinite(synthetic.features(np.eye(1, RATE, dtype=np.float32)[0])).all()  # a click


def test_statistics_tell_a_steady_spectrum_from_one_that_changes() -> None:
    rng = np.random.default_rng(0)
    steady = np.tile(rng.normal(size=160), 200).astype(np.float32)  # repeats with the hop of the frames
    lively = rng.normal(size=len(steady)).astype(np.float32)
    changes = [synthetic.features(samples)[-synthetic.BANDS :].mean() for samples in (steady, lively)]
    assert changes[0] < changes[1] - 3


@pytest.mark.parametrize(("seconds", "count"), [(0.9, 0), (1.0, 1), (8.0, 1), (20.0, 2), (600.0, 4)])
def test_few_stretches_of_a_long_recording_are_heard(seconds: float, count: int) -> None:
    samples = np.ones(round(seconds * RATE), np.float32)
    parts = synthetic.stretches(samples)
    assert len(parts) == count
    assert all(len(part) == min(8 * RATE, len(samples)) for part in parts)
    assert synthetic.stretches(np.zeros_like(samples)) == []


def test_a_long_pause_hides_nothing(made: Waveform) -> None:
    with_pause = torch.cat([made.samples, torch.zeros(60 * made.sample_rate), made.samples])
    assert synthetic.suspected(Waveform(with_pause, made.sample_rate), band.measure(made))


def test_a_conversion_is_suspected_until_a_line_or_noise_hides_it(made: Waveform, tmp_path: Path) -> None:
    found = band.measure(made)
    assert synthetic.suspected(made, found)
    assert not synthetic.suspected(made, dataclasses.replace(found, high=3800.0))
    assert not synthetic.suspected(made, dataclasses.replace(found, snr=15.0))
    assert not synthetic.suspected(made, None)
    embedder = embedders.load("tiny", device="cpu")
    calibration = decisions.shipped_calibration(embedder)
    path, narrow = tmp_path / "made.wav", tmp_path / "telephone.wav"
    audio.write(path, made)
    audio.write(narrow, audio.resample(made, 8000))
    assert synthetic.REMARK in decisions.embed(path, embedder, calibration=calibration).remarks
    # nobody asks without a decision in view
    assert synthetic.REMARK not in decisions.embed(path, embedder).remarks
    assert synthetic.REMARK not in decisions.embed(narrow, embedder, calibration=calibration).remarks


def test_recordings_of_people_are_rarely_suspected(shared: Path) -> None:
    with (shared / "data/manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["corpus"], row["split"]) == ("librispeech", "dev")]
    waveforms = [audio.read(shared / "data" / row["path"]) for row in rows[::6]]
    suspected = [synthetic.suspected(one, band.measure(one)) for one in waveforms]
    assert len(suspected) > 25
    assert sum(suspected) <= 2


def test_a_damaged_model_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = checkpoints.save(tmp_path / "x.safetensors", {"mean": torch.zeros(3)}, {"kind": synthetic.KIND})
    monkeypatch.setattr(synthetic, "MODEL", bad)
    synthetic.load_model.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="damaged"):
            synthetic.load_model()
    finally:
        synthetic.load_model.cache_clear()
