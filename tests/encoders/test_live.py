"""The packaged encoder on sound that is still being spoken."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import cosine_similarity

import speechssl
from speechssl import audio
from speechssl.encoders import live as module
from speechssl.encoders.live import LiveEncoder
from speechssl.errors import InputError

HOP, AHEAD = 4, 6


@pytest.fixture(scope="module")
def samples() -> torch.Tensor:
    return audio.read_mono(speechssl.clip("ada", "sentence").path, 16_000).samples[:48_000]


def stepped(encoder: LiveEncoder, samples: torch.Tensor, ahead: int = AHEAD) -> torch.Tensor:
    found, heard = [], 0
    for number in range(1, (len(samples) - 560) // (320 * HOP) + 1):
        until = 320 * (number * HOP + ahead - 1) + 560
        if until > len(samples):
            break
        found.append(encoder.step(samples[heard:until], HOP)[:HOP])
        heard = until
    return torch.cat(found)


def test_frames_that_hear_everything_ahead_are_those_of_the_whole(samples: torch.Tensor) -> None:
    encoder = speechssl.load_encoder("tiny", device="cpu")
    part = samples[: 320 * 49 + 560]
    whole = encoder.encode(speechssl.Waveform(part, 16_000)).frames
    found = LiveEncoder(encoder).step(part, 1)
    assert len(found) == 50
    # the floor under the bands is another one
    assert float(cosine_similarity(found[:49], whole[:49]).mean()) > 0.97


def test_a_few_frames_ahead_give_nearly_the_frames_of_the_whole(samples: torch.Tensor) -> None:
    encoder = speechssl.load_encoder("tiny", device="cpu")
    whole = encoder.encode(speechssl.Waveform(samples, 16_000)).frames
    found = stepped(LiveEncoder(encoder), samples)
    assert float(cosine_similarity(found, whole[: len(found)]).mean()) > 0.85


def test_positions_begin_anew_without_a_break(samples: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = speechssl.load_encoder("tiny", device="cpu")
    usual = stepped(LiveEncoder(encoder), samples)
    monkeypatch.setattr(module, "POSITIONS", 80)
    often = stepped(LiveEncoder(encoder), samples)
    torch.testing.assert_close(often[:64], usual[:64], rtol=0, atol=0)
    assert not torch.equal(often[80:], usual[80:])
    assert float(cosine_similarity(often, usual).mean()) > 0.9


def test_the_past_is_bounded(samples: torch.Tensor) -> None:
    encoder = LiveEncoder(speechssl.load_encoder("tiny", device="cpu"), past=30)
    stepped(encoder, samples)
    assert {keys.shape[1] for keys, _ in encoder._memory} == {30}


def test_an_encoder_of_another_family_is_refused() -> None:
    with pytest.raises(InputError, match="it is no Whisper encoder"):
        LiveEncoder(SimpleNamespace(origin="wavlm-large/6", trunk=object(), front_end=object()))
