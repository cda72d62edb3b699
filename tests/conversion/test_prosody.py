"""Pitch, loudness and tempo of a conversion: which the voice has, which were asked for."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from helpers import blend_of

from speechssl import audio
from speechssl.conversion import retrieval, steps
from speechssl.conversion.converters import means
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.voices import pitch, tempo

# ---- pitch and loudness


def world_system(encoder, world):
    return VoiceConverter(encoder, *world)


def test_pitch_moves_to_the_target(encoder, world, speech):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    own = pitch.statistics(source.f0)
    heard = {
        mode: pitch.statistics(audio.f0(system.convert(source, voice, converter="uniform", pitch=mode).waveform))
        for mode in ("target", "source", 3, "-2")
    }
    assert abs(voice.pitch.mean - own.mean) > 0.3
    # a tenth is less than two semitones: the tracker reads vocoded speech a little differently
    assert heard["target"].mean == pytest.approx(voice.pitch.mean, abs=0.1)
    assert heard["source"].mean == pytest.approx(own.mean, abs=0.1)
    assert heard[3].mean == pytest.approx(own.mean + 3 * math.log(2) / 12, abs=0.1)
    assert heard["-2"].mean == pytest.approx(own.mean - 2 * math.log(2) / 12, abs=0.1)


def test_pitch_is_interpolated_and_blended(encoder, world, speech):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    own = pitch.statistics(source.f0)
    half = steps.moved_f0(source.f0, blend_of((voice, 1.0)), ConversionOptions(interpolation=0.5))
    assert pitch.statistics(half).mean == pytest.approx((own.mean + voice.pitch.mean) / 2, abs=0.02)
    itself = system.matching_set(speech[1:])
    mixed = steps.moved_f0(source.f0, blend_of((voice, 0.25), (itself, 0.75)), ConversionOptions())
    assert pitch.statistics(mixed).mean == pytest.approx(0.25 * voice.pitch.mean + 0.75 * itself.pitch.mean, abs=0.02)


def test_selection_takes_the_pitch_of_the_frames(encoder, world, speech, tmp_path):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    result = system.convert(source, voice, converter="selection", tempo="source")
    taken = voice.f0[(result.attributions[0].seconds[:, 0] * 50).round().long()].float().flatten()
    assert taken.shape == (4 * len(source.keys),)
    contour = steps.selected_f0(source, [_trace(result, voice)], blend_of((voice, 1.0)), 1.0)
    assert len(contour) == len(taken) + 1
    assert torch.equal(contour[1:] > 0, taken > 0)
    # inside runs, jumps of joins aside, it is what was found
    ratio = (contour[1:] / taken)[taken > 0].log().abs()
    assert float(ratio.median()) < 0.02
    assert pitch.statistics(contour).mean == pytest.approx(voice.pitch.mean, abs=0.15)
    # half way, half of the source's
    half = steps.selected_f0(source, [_trace(result, voice)], blend_of((voice, 1.0)), 0.5)
    own = pitch.of_frames(source.f0, len(source.keys), 50.0).flatten()
    both = (own > 0) & (taken > 0)
    means = [float(one[both].log().mean()) for one in (half[1:], own, taken)]
    assert means[0] == pytest.approx((means[1] + means[2]) / 2, abs=0.03)
    # what was asked for is done
    shifted = system.convert(source, voice, converter="selection", pitch="source", tempo="source").waveform
    assert pitch.statistics(audio.f0(shifted)).mean == pytest.approx(pitch.statistics(source.f0).mean, abs=0.1)


def test_selection_from_a_voice_that_whispers(encoder, world, speech):
    system = world_system(encoder, world)
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(0)) * (
        1.2 + torch.sin(torch.arange(32_000) / 2000)
    )
    voice = system.matching_set([Waveform(0.05 * noise, 16_000)])
    assert not (voice.f0 > 0).any()
    said = system.convert(speech[1], voice, converter="selection").waveform
    assert torch.isfinite(said.samples).all()
    assert (audio.f0(said) > 0).float().mean() < 0.1


# ---- tempo


@pytest.mark.parametrize("converter", ["uniform", "selection"])
def test_a_factor_changes_the_length_and_nothing_else(system, two, converter):
    source, voice = two
    result = system.convert(source, voice, converter=converter, tempo=0.8, k=1)
    assert len(result.features) == round(len(source.keys) / 0.8)
    assert result.stretch == pytest.approx(1.25)
    assert result.attributions[0].seconds.shape[0] == len(result.features)
    # every fifth of the longer frames is one of the source's: its neighbour is the same
    if converter == "uniform":
        plain = system.convert(source, voice, converter=converter, k=1)
        longer = tempo.stretched(source.keys.frames, len(result.features))
        near = retrieval.nearest(longer, voice.keys, k=1)
        torch.testing.assert_close(result.features.frames, voice.values[near.indices[:, 0]].float())
        assert torch.equal(result.features.frames[0], plain.features.frames[0])
        assert torch.equal(result.features.frames[-1], plain.features.frames[-1])


def test_the_tempo_is_half_way_to_that_of_the_voice(system, two):
    source, voice = two
    own = tempo.measure(source.keys.frames, audio.speech_activity(source.waveform), 50.0)
    slower = dataclasses.replace(own, change=own.change / 1.44)
    voice = dataclasses.replace(voice, references=(dataclasses.replace(voice.references[0], tempo=slower),))
    expected = 1.2
    for converter, mode in (("uniform", "target"), ("selection", "auto"), ("selection", "target")):
        result = system.convert(source, voice, converter=converter, tempo=mode)
        assert result.stretch == pytest.approx(expected)
        assert len(result.features) == round(len(source.keys) * expected)
    for converter, mode in (("uniform", "auto"), ("variance", "auto"), ("continuous", "auto"), ("selection", "source")):
        result = system.convert(source, voice, converter=converter, tempo=mode)
        assert (result.stretch, len(result.features)) == (1.0, len(source.keys))
    half = system.convert(source, voice, converter="uniform", tempo="target", interpolation=0.5)
    assert half.stretch == pytest.approx(math.sqrt(expected))
    assert system.convert(source, voice, converter="uniform", tempo="target", interpolation=0.0).stretch == 1.0


def test_values_and_pitch_follow_the_tempo(encoder, world, speech):
    system = world_system(encoder, world)
    source, voice = system.source(speech[1]), system.matching_set(speech[:1])
    plain = system.convert(source, voice, converter="shift", pitch="source")
    slow = system.convert(source, voice, converter="shift", pitch="source", tempo=0.75)
    assert slow.waveform.seconds == pytest.approx(plain.waveform.seconds / 0.75, abs=0.03)
    means = [pitch.statistics(audio.f0(one.waveform)).mean for one in (plain, slow)]
    assert means[1] == pytest.approx(means[0], abs=0.05)
    assert audio.loudness(slow.waveform) == pytest.approx(audio.loudness(plain.waveform), abs=0.5)


def test_words_that_were_never_spoken_have_no_tempo(system, two):
    source, voice = two
    with pytest.raises(InputError, match="text has no source tempo"):
        system.convert(dataclasses.replace(source, waveform=None), voice, tempo="target", loudness=-23)


def _trace(result, voice):
    indices = (result.attributions[0].seconds * 50).round().long()
    return means.Trace(indices, torch.ones(indices.shape), result.attributions[0].distances)


def test_pitch_for_a_vocoder_without_f0_is_refused(system, two):
    with pytest.raises(InputError, match="takes no F0"):
        system.convert(*two, pitch=2)


def test_silence_stays_silence(encoder, world, speech):
    system = world_system(encoder, world)
    voice = system.matching_set(speech[:1])
    result = system.convert(Waveform(torch.zeros(16_000), 16_000), voice)
    assert not result.waveform.samples.any()
