"""Sources and references that were recorded in a room."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import speechssl
from speechssl import audio
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.signals import Waveform
from speechssl.training import distort

RATE = 16_000


@pytest.fixture(scope="module")
def tiny() -> VoiceConverter:
    return speechssl.load_bundle("tiny")


@pytest.fixture(scope="module")
def said() -> Waveform:
    return audio.read_mono(speechssl.clip("dan", "sentence").path, RATE)


@pytest.fixture(scope="module")
def heard(said: Waveform) -> Waveform:
    room = distort.simulated_room(np.random.default_rng(0), 0.64, 0.0)
    return Waveform(torch.from_numpy(distort.in_room(said.samples.numpy(), room)).float(), RATE)


def apart(first: Tensor, second: Tensor) -> float:
    """Mean cosine distance of frames (N, D)."""
    return 1 - float(
        (functional.normalize(first.float(), dim=1) * functional.normalize(second.float(), dim=1)).sum(1).mean()
    )


def test_a_source_is_heard_without_the_echo(tiny: VoiceConverter, said: Waveform, heard: Waveform) -> None:
    wanted = tiny.encoder.encode(said).frames
    assert apart(tiny.source(heard).keys.frames, wanted) < 0.85 * apart(tiny.encoder.encode(heard).frames, wanted)
    assert torch.equal(tiny.source(said).keys.frames, wanted)


def test_a_voice_is_made_without_the_echo(tiny: VoiceConverter, said: Waveform, heard: Waveform) -> None:
    wanted = tiny.encoder.encode(said).frames
    assert apart(tiny.matching_set([heard]).keys, wanted) < 0.85 * apart(tiny.encoder.encode(heard).frames, wanted)


def test_a_stream_hears_what_the_whole_hears(tiny: VoiceConverter, heard: Waveform) -> None:
    voice = tiny.matching_set([speechssl.clip("ada").path])
    whole = tiny.convert(heard, voice)
    pieces = list(tiny.stream(heard, voice))
    found = torch.cat([piece.similarities for piece in pieces])
    assert float(found.mean()) == pytest.approx(float(whole.similarities.mean()), abs=0.01)
