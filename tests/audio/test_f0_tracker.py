"""The F0 tracker: known pitches, a slow search for the best path, and what must not be called voiced."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from speechssl import audio, checkpoints
from speechssl.audio import f0_tracker

RECIPE = "voice_conversion"
Recipe = Callable[[str], ModuleType]
RATE = 16_000
CLIP = checkpoints.PACKAGED / "clips" / "dan_sentence.opus"


def buzz(hertz: np.ndarray) -> np.ndarray:
    """Harmonics below 7 kHz of a pitch given sample by sample, falling by 6 dB an octave."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return sum(np.cos(k * phase) * (k * hertz < 7000) / k for k in range(1, 100))


def times(samples: np.ndarray) -> np.ndarray:
    return np.arange(len(samples) // 80 + 1) * 0.005


@pytest.mark.parametrize("hertz", [62, 80, 100, 151, 220, 333, 480])
@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_a_steady_pitch_is_found(hertz: float, level: float) -> None:
    samples = level * buzz(np.full(RATE, float(hertz)))
    found = f0_tracker.track(samples, times(samples))[10:-10]
    # the high-pass leaves less of the lowest, which shows at the ends
    np.testing.assert_allclose(found, hertz, rtol=0.005 if hertz > f0_tracker.RUMBLE else 0.006)


def test_a_gliding_pitch_is_followed_in_time() -> None:
    hertz = 150 * 2 ** (0.7 * np.sin(2 * np.pi * 1.5 * np.arange(2 * RATE) / RATE))
    found = f0_tracker.track(buzz(hertz), times(hertz))[10:-10]
    np.testing.assert_allclose(found, hertz[::80][10 : 10 + len(found)], rtol=0.02)


def test_noise_around_it_does_not_hide_a_pitch() -> None:
    samples = buzz(np.full(RATE, 130.0))
    noisy = samples + samples.std() * 10 ** (-5 / 20) * np.random.default_rng(0).standard_normal(RATE)
    found = f0_tracker.track(noisy, times(noisy))[10:-10]
    assert (np.abs(found / 130 - 1) < 0.03).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 79, 801, 16_000, 33_333])
def test_filters_equal_scipys(count: int) -> None:
    """The high-pass forwards and backwards, and every second sample behind the default low-pass."""
    samples = np.random.default_rng(count).standard_normal(count)
    high_pass = signal.butter(2, f0_tracker.RUMBLE, "high", fs=RATE, output="sos")
    cleared = signal.sosfiltfilt(high_pass, samples, padlen=min(count - 1, RATE // 2))
    found = f0_tracker.without_hum(samples)
    # within 50 ms of the ends it matters that scipy starts each way from a steady state
    inner = slice(800, -800) if count > 1600 else slice(0)
    np.testing.assert_allclose(found[inner], cleared[inner], atol=1e-6)
    assert found.shape == cleared.shape
    np.testing.assert_allclose(f0_tracker.at_low_rate(samples), signal.resample_poly(samples, 1, 2), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_and_silence_are_unvoiced(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(2 * RATE)
    assert (f0_tracker.track(noise, times(noise)) > 0).mean() < 0.03
    assert not f0_tracker.track(np.zeros(RATE), times(np.zeros(RATE))).any()


def test_pauses_between_words_are_unvoiced() -> None:
    samples = np.concatenate([buzz(np.full(8000, 120.0)), np.zeros(8000), buzz(np.full(8000, 120.0))])
    samples += 1e-3 * np.random.default_rng(0).standard_normal(len(samples))
    voiced = f0_tracker.track(samples, times(samples)) > 0
    assert voiced[8:92].all()
    assert not voiced[110:190].any()
    assert voiced[208:290].all()


@pytest.mark.parametrize("length", [0, 1, 5, 79, 160, 400])
def test_the_shortest_sounds_give_their_frames(length: int) -> None:
    samples = np.random.default_rng(0).standard_normal(length)
    found = f0_tracker.track(samples, times(samples))
    assert found.shape == (length // 80 + 1,)
    assert np.isfinite(found).all()
    assert len(f0_tracker.track(samples, np.zeros(0))) == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_the_path_is_the_best_of_all(seed: int, frames: int) -> None:
    random = np.random.default_rng(seed)
    hertz = 60 * 2 ** (3 * random.random((frames, f0_tracker.CANDIDATES)))
    strength, unvoiced = random.random((frames, f0_tracker.CANDIDATES)), 0.8 * random.random(frames)

    def worth(path: tuple[int, ...]) -> float:
        total = sum(unvoiced[i] if s == 0 else strength[i, s - 1] for i, s in enumerate(path))
        for i, (a, b) in enumerate(itertools.pairwise(path)):
            if a and b:
                total -= f0_tracker.JUMP_COST * abs(np.log2(hertz[i, a - 1] / hertz[i + 1, b - 1]))
            elif a or b:
                total -= f0_tracker.CHANGE_COST
        return float(total)

    # all paths of few candidates; with five frames only every third state, to stay within a second
    states = range(f0_tracker.CANDIDATES + 1) if frames < 5 else range(0, f0_tracker.CANDIDATES + 1, 3)
    if frames == 5:
        strength[:, [i for i in range(f0_tracker.CANDIDATES) if (i + 1) % 3]] = -10
    best = max(itertools.product(states, repeat=frames), key=worth)
    expected = [0.0 if s == 0 else hertz[i, s - 1] for i, s in enumerate(best)]
    np.testing.assert_allclose(f0_tracker._best_path(hertz, strength, unvoiced), expected)


def test_it_agrees_with_harvest_on_speech() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld
    samples = audio.read_mono(CLIP, RATE).samples.double().numpy()[: 3 * RATE]
    reference, when = pyworld.harvest(samples, RATE)
    found = f0_tracker.track(samples, when)
    both = (found > 0) & (reference > 0)
    assert both.mean() > 0.9 * (reference > 0).mean()
    assert (np.abs(np.log2(found[both] / reference[both])) < 0.1).mean() > 0.9


@pytest.mark.parametrize("voice", ["dan", "eric"])
def test_the_noise_of_consonants_is_not_taken_for_another_voice(voice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = audio.read_mono(CLIP.with_name(f"{voice}_sentence.opus"), RATE).samples.double().numpy()
    lowest, highest = f0_tracker.RANGE

    def far() -> int:
        found = f0_tracker.track(samples, times(samples))
        voiced = found[found > 0]
        middle = np.median(voiced)
        return int(((voiced < lowest * middle) | (voiced > highest * middle)).sum())

    kept = far()
    monkeypatch.setattr(f0_tracker, "RANGE", (0.0, np.inf))
    assert 4 * kept < far()


@pytest.mark.parametrize("voice", ["ada", "dan"])
@pytest.mark.parametrize(("hertz", "below"), [(60, 15.0), (50, 6.0), (60, 0.0)])
def test_hum_of_the_mains_is_not_taken_for_a_voice(recipe: Recipe, voice: str, hertz: float, below: float) -> None:
    samples = audio.read_mono(CLIP.with_name(f"{voice}_sentence.opus"), RATE).samples.double().numpy()
    humming = recipe("f0").with_hum(samples, hertz, below)
    clean, found = (f0_tracker.track(sound, times(sound)) for sound in (samples, humming))
    assert np.median(found[found > 0]) == pytest.approx(np.median(clean[clean > 0]), rel=0.04)
    both = (clean > 0) & (found > 0)
    assert (np.abs(np.log2(found[both] / clean[both])) < 0.1).mean() > 0.9
    assert (found[clean > 0] > 0).mean() > 0.9


def test_only_what_hums_throughout_is_taken_out(recipe: Recipe) -> None:
    with_hum = recipe("f0").with_hum
    speech = audio.read_mono(CLIP, RATE).samples.double().numpy()
    assert f0_tracker._mains_lines(speech) == []
    assert {60, 120, 180} <= set(f0_tracker._mains_lines(with_hum(speech, 60, 10)))
    assert 50 in f0_tracker._mains_lines(with_hum(speech, 50, 10))
    # somebody who speaks on one note, and stops
    spoken = np.concatenate([buzz(np.full(8000, 120.0)), np.zeros(8000), buzz(np.full(8000, 120.0))])
    assert f0_tracker._mains_lines(spoken) == []
    assert f0_tracker._mains_lines(spoken[:10_000]) == []


@pytest.mark.shared
def test_the_pitch_of_a_speaker_whose_recordings_hum(shared: Path) -> None:
    paths = sorted((shared / "data" / "librispeech" / "1737").glob("*.opus"))[:4]
    assert paths
    for path in paths:
        found = audio.f0(audio.read_mono(path, RATE)).numpy()
        assert 160 < np.median(found[found > 0]) < 230
