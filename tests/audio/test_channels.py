"""Channels that cancel each other do not become silence, for whoever reads the file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechssl import audio
from speechssl.audio import given

RATE = 16_000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


ONE, OTHER = noise(3 * RATE), noise(3 * RATE, seed=1)
SILENT = 0 * ONE


def write(path: Path, *channels: np.ndarray) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("channels", "taken"),
    [
        ((ONE, -ONE), 0),
        ((0.9 * ONE, -ONE), 1),
        ((-ONE, ONE, 0.1 * OTHER), 0),
        # half as loud: most of the sound is left
        ((0.3 * ONE, -ONE), None),
        ((ONE, ONE), None),
        ((ONE, OTHER), None),
        ((ONE, SILENT), None),
        ((SILENT, ONE), None),
        ((SILENT, SILENT), None),
        ((ONE,), None),
        # a film: speech in the middle, music around it, of which the rear is of inverted polarity
        ((SILENT, SILENT, ONE, SILENT, SILENT, SILENT), None),
        ((0.3 * OTHER, 0.3 * OTHER, ONE, SILENT, 0.2 * OTHER, -0.2 * OTHER), None),
    ],
)
def test_the_loudest_channel_stands_for_channels_that_cancel(
    tmp_path: Path, channels: tuple[np.ndarray, ...], taken: int | None
) -> None:
    path = write(tmp_path / "a.wav", *channels)
    assert audio.channel_taken(path) == taken
    expected = np.mean(channels, axis=0) if taken is None else channels[taken]
    np.testing.assert_allclose(audio.read(path).samples, expected, atol=1e-7)
    for samples in (np.stack(channels), np.stack(channels, axis=1)):
        np.testing.assert_allclose(given.recording((samples, RATE)).samples, expected, atol=1e-7)


@pytest.mark.parametrize("rate", [RATE, 24_000])
def test_every_way_of_reading_takes_the_same_channel(tmp_path: Path, rate: int) -> None:
    # the mean of the first seconds alone is no silence: the whole decides, not the block
    path = write(tmp_path / "a.wav", np.concatenate([0.2 * OTHER, ONE]), np.concatenate([0.2 * OTHER, -ONE]))
    assert audio.channel_taken(path) == 0
    whole = audio.resample(audio.read(path), rate)
    assert torch.equal(audio.read_mono(path, rate).samples, whole.samples)
    assert torch.equal(torch.cat(list(audio.stream(path, rate, 0.7))), whole.samples)
    assert torch.equal(audio.read_channel(path, 0).samples, audio.read(path).samples)


def test_a_remark_names_the_channel_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.wav", 0.95 * ONE, -ONE)
    write(tmp_path / "b.wav", ONE, ONE)
    with caplog.at_level(logging.WARNING, "speechssl"):
        for _ in range(2):
            audio.read(path)
            audio.read_mono(path, 8000)
            audio.read(tmp_path / "b.wav")
    assert caplog.messages == [f"{path}: its channels cancel each other; channel 2 was taken"]


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", ONE, -ONE)
    assert audio.channel_taken(path) == 0
    write(path, ONE, ONE, ONE)
    assert audio.channel_taken(path) is None
