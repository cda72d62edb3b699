"""Speech, an encoder of spectra and a system of it; see ``helpers``."""

import pytest
from helpers import Tones, encoder, files, make_encoder, speech

from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.vocoders.world import WorldAnalysis, WorldVocoder

__all__ = ["encoder", "files", "make_encoder", "speech"]


@pytest.fixture
def system(encoder):
    """One encoder for keys and values."""
    return VoiceConverter(encoder, encoder, Tones())


@pytest.fixture(scope="module")
def world():
    return WorldAnalysis(order=24), WorldVocoder(order=24)


@pytest.fixture
def two(system, speech):
    source, target = speech
    return system.source(source), system.matching_set([target], name="target")
