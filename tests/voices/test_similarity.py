"""The distance of voices against its definition, and on voices known to differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechssl import audio
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import clips
from speechssl.voices.similarity import VoiceStatistics, pitch_gap, timbre_distance, voice_statistics

numbers = st.floats(-20, 20)
positive = st.floats(0.05, 50)


def _statistics(mean: float, variance: float, f0: float | None = 100.0) -> VoiceStatistics:
    return VoiceStatistics(np.array([mean]), np.array([variance]), f0)


@given(numbers, positive, numbers, positive)
@settings(max_examples=50, deadline=None)
def test_timbre_distance_is_the_bhattacharyya_distance(m1: float, v1: float, m2: float, v2: float) -> None:
    """-log of the integral of the root of the product of both densities, here on a fine grid."""
    low = min(m1 - 8 * v1**0.5, m2 - 8 * v2**0.5)
    high = max(m1 + 8 * v1**0.5, m2 + 8 * v2**0.5)
    x = np.linspace(low, high, 400_001)
    logs = [-((x - m) ** 2) / (2 * v) - math.log(2 * math.pi * v) / 2 for m, v in ((m1, v1), (m2, v2))]
    overlap = float(np.exp((logs[0] + logs[1]) / 2).sum() * (x[1] - x[0]))
    expected = -math.log(max(overlap, 1e-300))
    got = timbre_distance(_statistics(m1, v1), _statistics(m2, v2))
    # far apart, the grid's integral runs out of digits before the formula does
    if expected < 20:
        assert got == pytest.approx(expected, rel=1e-4, abs=1e-6)
    else:
        assert got > 19
    assert got == pytest.approx(timbre_distance(_statistics(m2, v2), _statistics(m1, v1)))


def test_pitch_gap() -> None:
    assert pitch_gap(_statistics(0, 1, 100.0), _statistics(0, 1, 200.0)) == pytest.approx(12)
    assert pitch_gap(_statistics(0, 1, 200.0), _statistics(0, 1, 100.0)) == pytest.approx(12)
    assert math.isnan(pitch_gap(_statistics(0, 1, None), _statistics(0, 1)))


def test_a_voice_is_nearest_to_itself() -> None:
    """Each voice's sentence to each voice's reference: other words, and still the nearest."""
    voices = sorted({clip.voice for clip in clips.clips()})
    sentences = {v: voice_statistics(audio.read(clips.clip(v, "sentence").path)) for v in voices}
    references = {v: voice_statistics(audio.read(clips.clip(v, "reference").path)) for v in voices}
    for voice, sentence in sentences.items():
        distances = {other: timbre_distance(sentence, reference) for other, reference in references.items()}
        assert min(distances, key=lambda v: distances[v]) == voice
        assert sorted(distances.values())[1] > 2 * distances[voice]
        assert pitch_gap(sentence, references[voice]) < 2


def test_loudness_and_silence_around_do_not_matter() -> None:
    spoken = audio.read_mono(clips.clip("dan", "sentence").path, 16_000)
    silence = torch.zeros(16_000)
    changed = Waveform(torch.cat([silence, 0.1 * spoken.samples, silence]), 16_000)
    assert timbre_distance(voice_statistics(spoken), voice_statistics(changed)) < 1e-3


@pytest.mark.parametrize("samples", [torch.zeros(48_000), torch.rand(8_000) - 0.5, torch.rand(10)])
def test_too_little_speech_is_refused(samples: torch.Tensor) -> None:
    with pytest.raises(InputError, match="speech found"):
        voice_statistics(Waveform(samples, 16_000))
