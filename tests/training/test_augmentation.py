"""Augmentation of log-mel crops, against what each of them says it does."""

from __future__ import annotations

import numpy as np
import pytest

from speechssl.training import augmentation as augment


def crop(frames: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 80)).astype(np.float32)


@pytest.mark.parametrize("factor", [0.85, 0.95, 1.0, 1.1, 1.2])
def test_warp_reads_bands_at_scaled_frequencies(factor: float) -> None:
    def hertz(band: float) -> float:
        low, high = 1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700)
        return float(700 * np.expm1((low + (high - low) * (band + 1) / 81) / 1127))

    matrix = augment.warp_matrix(factor)
    assert np.allclose(matrix.sum(1), 1)
    assert (matrix >= 0).all()
    ramp = np.array([hertz(band) for band in range(80)])
    inside = (ramp > 150) & (ramp < 5000)
    assert np.allclose((ramp @ matrix.T)[inside], factor * ramp[inside], rtol=0.01)
    if factor == 1:
        assert np.allclose(matrix, np.eye(80), atol=1e-9)


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_noise_has_the_power_asked_for(snr: float) -> None:
    mel, noise = crop(), crop(seed=1) + 3
    mixed = augment.with_noise(mel, noise, snr)
    added = np.exp(mixed.astype(np.float64)) - np.exp(mel.astype(np.float64))
    assert 10 * np.log10(np.exp(mel).sum() / added.sum()) == pytest.approx(snr, abs=0.01)


def test_room_smears_power_into_what_follows_with_the_decay_asked_for() -> None:
    mel = np.full((60, 80), -20, np.float32)
    mel[10] = 5
    wet = augment.in_a_room(mel, 0.3, -6.0)
    assert (wet[:10] < -19).all()
    assert np.allclose(wet[10], 5, atol=1e-4)
    tail = 10 / np.log(10) * wet[12:30, 0]
    assert np.allclose(np.diff(tail), -60 * 0.01 / 0.3, atol=0.05)  # dB a frame


def test_channel_is_one_smooth_response_for_all_frames() -> None:
    mel = crop()
    change = augment.through_channel(mel, np.random.default_rng(0), size=1.4) - mel
    assert np.allclose(change, change[0], atol=1e-5)
    assert 0.1 < np.abs(change).max() <= 1.4
    assert np.abs(np.diff(change[0])).max() < 2.8 * 7 / 79 + 1e-5


def test_masks_keep_their_bounds_and_the_input() -> None:
    mel = crop() + 10
    before = mel.copy()
    for seed in range(30):
        masked = augment.masked(mel, np.random.default_rng(seed), bands=11, frames=12)
        gone = masked == 0
        assert gone.all(0).sum() <= 20
        assert gone.all(1).sum() <= 22
        assert np.array_equal(masked[~gone], mel[~gone])
        assert np.array_equal(gone, gone.all(0)[None] | gone.all(1)[:, None])
    assert np.array_equal(mel, before)


def test_frames_are_paired_in_order_and_an_odd_one_is_dropped() -> None:
    mel = crop(7)
    found = augment.paired(mel)
    assert found.shape == (3, 160)
    assert np.array_equal(found[1], np.concatenate([mel[2], mel[3]]))
