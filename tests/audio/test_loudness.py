"""Loudness against pyloudnorm, and limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyloudnorm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import RATE, noise, tone, waveform

from speechssl import audio
from speechssl.errors import InputError

# ---- loudness


def speechlike(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Bursts of noise of changing level with pauses: enough for both gates to act."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * rate))
    syllables = np.repeat(10 ** generator.uniform(-5, -0.8, int(seconds * 4) + 1), rate // 4)
    return (samples * syllables[: len(samples)]).clip(-1, 1)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.4, 0.75, 3.0, 21.3])
def test_loudness_equals_pyloudnorm(rate: int, seconds: float) -> None:
    samples = speechlike(seconds, rate).astype(np.float32)
    expected = pyloudnorm.Meter(rate).integrated_loudness(samples.astype(np.float64))
    assert audio.loudness(waveform(samples, rate)) == pytest.approx(expected, abs=1e-6)


def test_loudness_of_a_full_scale_tone_is_known() -> None:
    # BS.1770: a 997 Hz sine of full scale in one channel is -3.01 LKFS
    time = np.arange(10 * 48_000) / 48_000
    assert audio.loudness(waveform(np.sin(2 * np.pi * 997 * time), 48_000)) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("samples", [1, 2, 100, 4000, 6399])
def test_loudness_below_one_block(samples: int) -> None:
    found = audio.loudness(waveform(noise(samples)))
    assert math.isfinite(found)
    assert found == pytest.approx(audio.loudness(waveform(2 * noise(samples))) - 20 * math.log10(2), abs=1e-4)


def test_loudness_of_silence() -> None:
    assert audio.loudness(waveform(np.zeros(RATE))) == -math.inf
    assert audio.loudness(waveform(np.zeros(5))) == -math.inf


@settings(max_examples=30, deadline=None)
@given(lufs=st.floats(-50, -5), seconds=st.sampled_from([0.2, 1.0, 3.0]), peak=st.sampled_from([0.5, 0.97, 1.0]))
def test_set_loudness_reaches_the_target_or_the_peak_and_never_clips(lufs: float, seconds: float, peak: float) -> None:
    sound = audio.set_loudness(waveform(speechlike(seconds, RATE)), lufs, peak=peak)
    top = float(sound.samples.abs().max())
    assert top <= float(np.float32(peak))
    reached = audio.loudness(sound)
    assert reached == pytest.approx(lufs, abs=0.01) or (top == pytest.approx(peak) and reached < lufs)


def test_a_burst_is_turned_down_and_the_rest_left_alone() -> None:
    samples = speechlike(4.0, RATE).astype(np.float32) * 0.1
    usual = float(np.sort(np.abs(samples))[int(0.995 * len(samples))])
    samples = samples.clip(-1.5 * usual, 1.5 * usual)
    burst = samples.copy()
    burst[30_000:30_040] = 0.9
    held = audio.limit_bursts(waveform(burst))
    assert float(held.samples.abs().max()) <= 2.2 * usual
    reach = int(0.011 * RATE)
    for part in (slice(0, 30_000 - reach), slice(30_040 + reach, None)):
        assert torch.equal(held.samples[part], torch.from_numpy(burst[part]))
    assert audio.loudness(audio.set_loudness(held, -20.0)) == pytest.approx(-20.0, abs=0.01)


def test_bursts_are_limited_alike_in_blocks() -> None:
    noise = torch.randn(5000, generator=torch.Generator().manual_seed(0)) ** 3 * 0.01
    whole = audio.limit_bursts(waveform(noise.numpy()))
    pieces = audio.limit_bursts(waveform(noise.numpy()), block=1000)
    torch.testing.assert_close(whole.samples, pieces.samples)
    assert not torch.equal(whole.samples, noise)
    silence = waveform(np.zeros(RATE))
    assert audio.limit_bursts(silence) is silence


def test_set_loudness_leaves_silence() -> None:
    silence = waveform(np.zeros(RATE))
    assert audio.set_loudness(silence, -23.0) is silence


@pytest.mark.parametrize(
    "call",
    [{"lufs": math.nan}, {"lufs": -math.inf}, {"lufs": -70}, {"lufs": -20, "peak": 0.0}, {"lufs": -20, "peak": 1.1}],
)
def test_impossible_loudness(call: dict[str, float]) -> None:
    with pytest.raises(InputError, match="needed"):
        audio.set_loudness(waveform(tone()), **call)


def test_measurements_can_be_reached_from_audio() -> None:
    names: list[Callable[..., object]] = [audio.f0, audio.speech_activity, audio.speech_seconds, audio.snr_db]
    assert {function.__module__ for function in names} == {"speechssl.audio.f0_tracker", "speechssl.audio.activity"}
    assert set(audio.__all__) <= set(dir(audio))
