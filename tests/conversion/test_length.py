"""A conversion is exactly as long as its source, whole or in pieces, at whatever rate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechssl import audio
from speechssl.conversion import streaming
from speechssl.conversion.convert import rate_for
from speechssl.conversion.options import ConversionOptions
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.errors import InputError
from speechssl.signals import Waveform


class Hums:
    """A vocoder of any sample rate and any loss at the end."""

    origin, key_origin, needs_f0, frame_rate = "spectra/1", "", False, 50.0

    def __init__(self, sample_rate, lost):
        self.sample_rate, self.lost = sample_rate, lost

    def vocode(self, features, *, f0=None, keys=None, voice=None):
        count = len(features) * self.sample_rate // 50 - self.lost
        return Waveform(0.3 * torch.sin(0.2 * torch.arange(count)), self.sample_rate)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.integers(8000, 40_000),
    wanted=st.sampled_from([None, "source", 8000, 22_050, 48_000]),
    rates=st.tuples(*[st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000])] * 2),
    lost=st.integers(-500, 500),
    tempo=st.sampled_from(["source", 0.5, 1.7]),
)
def test_the_result_is_as_long_as_the_source(samples, wanted, rates, lost, tempo, encoder, speech):
    source, out = rates
    system = VoiceConverter(encoder, encoder, Hums(out, lost))
    spoken = Waveform(0.1 * torch.sin(0.05 * torch.arange(samples)), source)
    voice = system.matching_set([speech[1]])
    result = system.convert(spoken, voice, converter="uniform", tempo=tempo, loudness=-23, sample_rate=wanted)
    rate = {None: out, "source": source}.get(wanted, wanted)
    assert (result.waveform.sample_rate, result.made_at) == (rate, out)
    factor = 1.0 if tempo == "source" else tempo
    assert len(result.waveform.samples) == math.floor(samples * rate / source / factor + 0.5)
    # no pop at either end
    assert max(map(abs, result.waveform.samples[[0, -1]].tolist())) < 0.01


@pytest.mark.parametrize("wanted", [None, 44_100])
@pytest.mark.parametrize("samples", [16_000, 16_319, 123_457])
def test_streamed_pieces_are_as_long_as_the_source(samples, wanted, encoder, speech):
    system = VoiceConverter(encoder, encoder, Hums(16_000, 0))
    generator = torch.Generator().manual_seed(0)
    noise = Waveform(0.1 * torch.randn(samples, generator=generator), 16_000)
    lengths = streaming.Lengths(first=1.0, piece=1.5, reach=0.2, context=0.5)
    options, voice = ConversionOptions(converter="uniform", sample_rate=wanted), system.matching_set([speech[1]])
    pieces = list(streaming.stream(system, noise, voice, options, lengths=lengths))
    assert (len(pieces) > 1) == (samples > 20_000)
    joined = streaming.join(pieces).waveform.samples
    assert len(joined) == math.floor(samples * (wanted or 16_000) / 16_000 + 0.5)
    assert max(map(abs, joined[[0, -1]].tolist())) < 0.01
    # the joints are not faded to silence
    edge = len(pieces[0].waveform.samples)
    assert len(pieces) == 1 or float(joined[edge - 100 : edge + 100].abs().max()) > 0.05


def test_a_file_counts_its_own_samples(encoder, speech, tmp_path):
    system = VoiceConverter(encoder, encoder, Hums(16_000, 0))
    audio.write(tmp_path / "in.wav", Waveform(audio.resample(speech[0], 44_100).samples[:40_001], 44_100))
    result = system.convert(tmp_path / "in.wav", system.matching_set([speech[1]]), sample_rate="source")
    assert len(result.waveform.samples) == 40_001
    pieces = list(system.stream(tmp_path / "in.wav", system.matching_set([speech[1]]), sample_rate="source"))
    assert sum(len(one.waveform.samples) for one in pieces) == 40_001


@pytest.mark.parametrize(
    ("wanted", "output", "rate"),
    [
        (None, "a.wav", None),
        ("usual", "a.opus", 48_000),
        ("usual", "a.mp3", 44_100),
        ("source", "a.wav", 11_025),
        ("source", "a.opus", 12_000),
        ("22050", "a.wav", 22_050),
        ("high", "a.wav", "high"),
    ],
)
def test_the_rate_of_a_file(wanted, output, rate):
    assert rate_for(wanted, output, Waveform(torch.zeros(10), 11_025)) == rate


def test_a_rate_that_the_file_cannot_hold_is_refused_at_once():
    with pytest.raises(InputError, match=r"a\.opus.*no 44100 Hz"):
        rate_for(44_100, "a.opus")
    with pytest.raises(InputError, match="depends on the file"):
        rate_for("usual", None)
