"""The loudness of a conversion follows the source: at every moment of speech, on the whole, or not at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from speechssl import audio
from speechssl.conversion import loudness, streaming
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform


class Hum:
    """A vocoder that says everything equally loud: noise at -20 dB."""

    origin, key_origin, needs_f0, frame_rate, sample_rate = "spectra/1", "", False, 50.0, 16_000

    def vocode(self, features, *, f0=None, keys=None, voice=None):
        noise = torch.randn(len(features) * 320, generator=torch.Generator().manual_seed(0))
        return Waveform(0.1 * noise.clamp(-3, 3), 16_000)


@pytest.fixture
def system(encoder):
    return VoiceConverter(encoder, encoder, Hum())


@pytest.fixture
def voice(system, speech):
    return system.matching_set([speech[1]])


def decibels(waveform: Waveform, first: float, last: float) -> float:
    """Level of a part, from and to seconds."""
    rate = waveform.sample_rate
    return 10 * math.log10(float(waveform.samples[round(first * rate) : round(last * rate)].square().mean()))


def softened(speech: Waveform) -> Waveform:
    """4.5 s, the middle third 20 dB softer."""
    parts = [speech.samples, 0.1 * speech.samples, speech.samples]
    return Waveform(0.5 * torch.cat(parts), 16_000)


def softer(result: Waveform) -> float:
    return decibels(result, 0.3, 1.2) - decibels(result, 1.8, 2.7)


@pytest.mark.parametrize(
    ("mode", "wanted"), [("contour", 20), ("source", 20), (-30, 20), ("contour=0.5", 10), ("level", 0), ("off", 0)]
)
def test_a_softer_passage_comes_out_softer(system, voice, speech, mode, wanted):
    result = system.convert(softened(speech[0]), voice, loudness=mode).waveform
    assert softer(result) == pytest.approx(wanted, abs=1.5)


def test_a_stream_follows_too(system, voice, speech):
    lengths = streaming.Lengths(first=1.0, piece=1.5, reach=0.3, context=0.5)
    given = softened(speech[0])
    pieces = list(streaming.stream(system, given, voice, ConversionOptions(), lengths=lengths))
    assert len(pieces) > 1
    assert softer(streaming.join(pieces).waveform) == pytest.approx(20, abs=2)


def test_levels_in_speech_are_those_of_the_source(system, voice, speech):
    result = system.convert(speech[0], voice).waveform
    active = audio.speech_activity(speech[0]).numpy()

    powers = [
        10 * np.log10(np.square(one.samples[:22_400].double().numpy()).reshape(-1, 3200).mean(axis=1))
        for one in (speech[0], result)
    ]
    spoken = active[:140].reshape(-1, 20).mean(axis=1) >= 0.5
    assert spoken.sum() >= 4
    assert np.corrcoef(*[one[spoken] for one in powers])[0, 1] > 0.9


def test_the_whole_is_as_loud_as_wanted(system, voice, speech):
    whole = audio.loudness(speech[0])
    for mode in ("contour", "level"):
        assert audio.loudness(system.convert(speech[0], voice, loudness=mode).waveform) == pytest.approx(whole, abs=0.1)
    assert audio.loudness(system.convert(speech[0], voice, loudness=-31).waveform) == pytest.approx(-31, abs=0.1)
    loud = system.convert(speech[0], voice, loudness=0.0).waveform
    assert 0.9 < float(loud.samples.abs().max()) <= 1
    off = system.convert(speech[0], voice, loudness="off").waveform
    assert decibels(off, 0.3, 1.2) == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("level", [-60.0, -75.0, -95.0])
def test_very_soft_speech_is_heard_and_stays_soft(encoder, voice, speech, level):
    soft = Waveform(speech[0].samples * 10 ** ((level - audio.loudness(speech[0])) / 20), 16_000)
    raised, by = audio.audible(soft)
    assert audio.loudness(raised) == pytest.approx(-26, abs=0.1)
    assert by == pytest.approx(-26 - level, abs=0.2)
    system = VoiceConverter(encoder, encoder, Hum())
    usual = system.convert(audio.set_loudness(speech[0], -26), voice)
    result = system.convert(soft, voice)
    torch.testing.assert_close(result.features.frames, usual.features.frames, atol=1e-3, rtol=0)
    assert audio.audible(result.waveform)[1] == pytest.approx(by, abs=0.5)
    streamed = streaming.join(list(system.stream(soft, voice)))
    assert audio.audible(streamed.waveform)[1] == pytest.approx(by, abs=1)


def test_what_is_no_soft_speech_is_not_raised(speech):
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    for sound in (speech[0], Waveform(1e-4 * noise, 16_000), Waveform(torch.zeros(800), 16_000)):
        assert audio.audible(sound) == (sound, 0.0)


def test_sound_without_speech_keeps_its_contour():
    noise = Waveform(0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0)), 16_000)
    followed = audio.Follower().applied(noise, Waveform(torch.full((16_000,), 1e-3), 16_000))
    assert torch.allclose(followed.samples / noise.samples, followed.samples[0] / noise.samples[0])


def test_where_the_source_is_digitally_silent_the_sound_is_too(speech):
    samples = speech[0].samples.clone()
    samples[16_000:32_000] = 0
    noise = Waveform(0.1 * torch.randn(len(samples), generator=torch.Generator().manual_seed(0)), 16_000)
    whole = audio.Follower().applied(noise, Waveform(samples, 16_000))
    assert decibels(whole, 1.3, 1.7) < decibels(whole, 0.3, 0.9) - 35
    silent = audio.Follower().applied(noise, Waveform(torch.zeros(len(samples)), 16_000))
    assert decibels(silent, 0.3, 0.9) < decibels(noise, 0.3, 0.9) - 35


def test_other_rates_and_tempos_are_followed(speech):
    source = softened(speech[0])
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    for rate, stretch in ((16_000, 1.0), (22_050, 1.0), (24_000, 2.0), (11_025, 0.7)):
        made = Waveform(0.1 * noise[: round(4.5 * stretch * rate)], rate)
        result = audio.Follower().applied(made, source, stretch=stretch)
        assert len(result.samples) == len(made.samples)
        loud, soft = (decibels(result, first * stretch, last * stretch) for first, last in ((0.3, 1.2), (1.8, 2.7)))
        assert loud - soft == pytest.approx(20, abs=1.5)


def test_a_sound_that_nearly_vanished_is_not_blown_up(speech):
    samples = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(0))
    samples[8000:12_000] *= 1e-4
    result = audio.Follower().applied(Waveform(samples, 16_000), speech[0])
    gains = (result.samples / samples)[samples.abs() > 1e-9].abs()
    assert float(gains.max() / gains.median()) < 10 ** (2 * 12 / 20)


def test_loudness_is_read_from_text():
    assert loudness.parse("-23") == loudness.parse(-23.0) == loudness.Loudness(lufs=-23.0)
    assert loudness.parse("contour=0.25").share == 0.25
    assert loudness.parse("off").is_off
    for wrong in ("23", 1000.0, "nan", "contour=2", True):
        with pytest.raises(InputError, match="such as -23 needed"):
            loudness.parse(wrong)
