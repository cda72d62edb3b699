"""Echoes of a room that are taken away, and sound that has none and stays as it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import speechssl
from speechssl import audio
from speechssl.audio import reverberation
from speechssl.audio.reverberation import dry
from speechssl.signals import Waveform
from speechssl.training import distort
from speechssl.voices.clips import Clip

RATE = 16_000


def clean(name: str = "eric", role: str = "sentence") -> Waveform:
    return audio.read_mono(speechssl.clip(name, role).path, RATE)


def in_room(waveform: Waveform, seconds: float) -> Waveform:
    """The recording in a simulated room with this T60."""
    room = distort.simulated_room(np.random.default_rng(0), seconds, 0.0)
    return Waveform(torch.from_numpy(distort.in_room(waveform.samples.numpy(), room)).float(), RATE)


@pytest.mark.parametrize("clip", speechssl.clips(), ids=lambda clip: clip.path.stem)
def test_clips_without_an_echo_stay_as_they_are(clip: Clip) -> None:
    waveform = clean(clip.voice, clip.role)
    assert dry(waveform) is waveform


@pytest.mark.parametrize("seconds", [0.4, 0.64, 1.2])
def test_speech_in_a_room_comes_nearer_to_what_was_said(seconds: float) -> None:
    said = clean()
    heard = in_room(said, seconds)
    encoder = speechssl.load_encoder("tiny")
    keys = [functional.normalize(encoder.encode(one).frames.float(), dim=1) for one in (said, heard, dry(heard))]
    before, after = (1 - float((keys[0] * one).sum(1).mean()) for one in keys[1:])
    assert after < 0.9 * before


def test_the_sound_itself_keeps_its_level_and_length() -> None:
    heard = in_room(clean(), 0.64)
    made = dry(heard)
    assert len(made.samples) == len(heard.samples)
    assert -2 < 10 * math.log10(float(made.samples.square().mean() / heard.samples.square().mean())) < 0


def test_two_minutes_are_filtered_by_the_half_minute_without_a_jump() -> None:
    heard = in_room(clean("ada", "reference"), 0.64)
    samples = heard.samples.repeat(5)[: 120 * RATE]
    made = dry(Waveform(samples, RATE)).samples
    assert len(made) == len(samples)
    for second in (30, 60, 90):
        around = slice(second * RATE - RATE // 10, second * RATE + RATE // 5)
        step = made[around].diff().abs().max()
        assert step < 1.2 * samples[around].diff().abs().max()
    # where nothing is joined, a block is what it is by itself
    alone = dry(Waveform(samples[int(29.5 * RATE) : int(60.5 * RATE)], RATE)).samples
    torch.testing.assert_close(made[31 * RATE : 59 * RATE], alone[3 * RATE // 2 : 59 * RATE // 2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("hertz", [50.0, 440.0])
def test_a_tone_is_no_echo(hertz: float) -> None:
    tone = Waveform(0.3 * torch.sin(2 * math.pi * hertz * torch.arange(6 * RATE) / RATE), RATE)
    assert dry(tone) is tone


@pytest.mark.parametrize("samples", [torch.zeros(4 * RATE), torch.zeros(1), torch.full((900,), 0.5)])
def test_silence_and_sound_too_short_for_an_echo_stay_as_they_are(samples: torch.Tensor) -> None:
    waveform = Waveform(samples, RATE)
    assert dry(waveform) is waveform


def test_what_is_left_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    heard = rng.normal(size=(3, 200)) + 1j * rng.normal(size=(3, 200))
    heard[:, 40:] += 0.5 * heard[:, :-40]
    taps, delay = 5, reverberation.DELAY
    expected = heard.copy()
    for band, values in enumerate(heard):
        earlier = np.zeros((200, taps), complex)
        for k in range(taps):
            earlier[delay + k :, k] = values[: 200 - delay - k]
        for _ in range(reverberation.PASSES):
            root = 1 / np.abs(expected[band])
            weights = np.linalg.lstsq(earlier * root[:, None], values * root, rcond=None)[0]
            expected[band] = values - earlier @ weights
    found = reverberation.direct(torch.from_numpy(heard).to(torch.complex64), taps)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)
