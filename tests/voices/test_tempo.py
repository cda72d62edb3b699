"""Tempo: what is measured, how much of a difference is made up for, and frames over another length."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.conversion import bundles
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import building, clips, tempo
from speechssl.voices.tempo import Tempo


def keys_of(num_frames, dim=8, seed=0):
    return torch.randn(num_frames, dim, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_distance_over_borders_where_somebody_speaks():
    keys = keys_of(50)
    active = torch.zeros(100, dtype=torch.bool)
    active[20:60] = True
    found = tempo.measure(keys, active, 50.0)
    rows = keys.double().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    # the border between frames i and i + 1 lies at 20 (i + 1) ms
    borders = [i for i in range(49) if 20 <= 2 * (i + 1) < 60]
    assert found.change == pytest.approx(np.mean([1 - unit[i] @ unit[i + 1] for i in borders]), abs=1e-12)
    assert found.seconds == pytest.approx(len(borders) / 50)


def test_in_parts_equals_whole(monkeypatch):
    keys, active = keys_of(300), torch.ones(600, dtype=torch.bool)
    whole = tempo.measure(keys, active, 50.0)
    monkeypatch.setattr(tempo, "GATHERED", 100)
    assert tempo.measure(keys, active, 50.0).change == pytest.approx(whole.change, rel=1e-12)


@pytest.mark.parametrize(("num_frames", "speaks"), [(1, True), (40, False)])
def test_of_nothing_there_is_none(num_frames, speaks):
    assert tempo.measure(keys_of(num_frames), torch.full((80,), speaks), 50.0) == Tempo(0.0, 0.0)


def test_keys_that_never_change_have_no_tempo():
    found = tempo.measure(torch.ones(200, 8) * 0.1, torch.ones(400, dtype=torch.bool), 50.0)
    assert found.change == pytest.approx(0, abs=1e-9)
    assert tempo.stretch(Tempo(0.0, 5.0), [Tempo(0.2, 60.0)], [1.0]) == 1.0


def test_recordings_are_pooled_by_their_seconds():
    both = tempo.pool([Tempo(0.1, 10.0), Tempo(0.3, 30.0)])
    assert (both.change, both.seconds) == (pytest.approx(0.25), 40.0)
    assert tempo.pool([Tempo(0.0, 0.0)]) == Tempo(0.0, 0.0)


def test_half_of_the_difference_in_logarithms_is_made_up_for():
    slow, fast = Tempo(0.16, 20.0), Tempo(0.25, 20.0)
    assert tempo.stretch(fast, [slow], [1.0]) == pytest.approx(math.sqrt(0.25 / 0.16))
    assert tempo.stretch(slow, [fast], [1.0]) == pytest.approx(math.sqrt(0.16 / 0.25))
    assert tempo.stretch(fast, [slow], [1.0], amount=0.5) == pytest.approx((0.25 / 0.16) ** 0.25)
    blend = tempo.stretch(fast, [slow, fast], [0.5, 0.5])
    assert blend == pytest.approx((0.25 / 0.16) ** 0.25)


def test_it_is_held_within_a_limit_and_too_little_speech_is_not_believed():
    slow, fast = Tempo(0.05, 20.0), Tempo(0.5, 20.0)
    assert tempo.stretch(fast, [slow], [1.0]) == pytest.approx(tempo.MOST)
    assert tempo.stretch(slow, [fast], [1.0]) == pytest.approx(1 / tempo.MOST)
    assert tempo.stretch(Tempo(0.5, 0.9), [slow], [1.0]) == 1.0
    assert tempo.stretch(fast, [slow, Tempo(0.1, 0.2)], [0.5, 0.5]) == 1.0


def test_frames_are_stretched_by_straight_lines():
    frames = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 5.0]]).half()
    found = tempo.stretched(frames, 5)
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]))
    torch.testing.assert_close(found[:, 1], torch.tensor([1.0, 1.0, 1.0, 3.0, 5.0]))
    torch.testing.assert_close(tempo.stretched(frames, 3), frames.float())
    assert tempo.stretched(frames[:1], 4).tolist() == [[0.0, 1.0]] * 4
    assert tempo.stretched(frames, 1).shape == (1, 2)


def test_a_contour_keeps_its_values():
    f0 = torch.tensor([0.0, 100.0, 110.0, 0.0])
    found = tempo.stretched_f0(f0, 9)
    assert set(found.tolist()) == {0.0, 100.0, 110.0}
    assert torch.equal(tempo.stretched_f0(f0, 4), f0)
    assert tempo.stretched_f0(f0, 1).tolist() == [0.0]


@pytest.mark.parametrize(("text", "mode"), [("auto", "auto"), ("source", "source"), ("1.25", 1.25), ("0.5", 0.5)])
def test_modes(text, mode):
    assert tempo.parse_mode(text) == mode


@pytest.mark.parametrize("text", ["fast", "0.4", "2.1", "nan", "-1", ""])
def test_other_modes_are_refused(text):
    with pytest.raises(InputError, match=r"'auto', 'source', 'target' or a factor between 0\.5 and 2\.0"):
        tempo.parse_mode(text)


@pytest.mark.parametrize("numbers", [(math.nan, 1.0), (-0.1, 1.0), (0.1, math.inf), (0.1, -1.0)])
def test_impossible_values_are_refused(numbers):
    with pytest.raises(InputError, match="impossible"):
        Tempo(*numbers)


def test_with_tiny_speech_said_faster_is_told_to_be_faster():
    """The same sentence at two speeds, by a phase vocoder."""
    import librosa

    encoder = bundles.load_bundle().encoder
    spoken = building.heard(clips.clip("ada").path, encoder)
    found = {}
    for rate in (1.0, 1.3):
        samples = torch.from_numpy(librosa.effects.time_stretch(spoken.samples.numpy(), rate=rate, n_fft=512))
        waveform = Waveform(samples, spoken.sample_rate)
        found[rate] = tempo.measure(encoder.encode(waveform).frames, audio.speech_activity(waveform), 50.0)
    assert 1.15 < found[1.3].change / found[1.0].change < 1.4
