from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.frontends import check_log_mel
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform

MakeModel = Callable[..., Any]
MakeEncoder = Callable[..., SSLEncoder]
MakeWaveform = Callable[..., Waveform]

# counts around every place where a frame is gained, and ordinary ones
LENGTHS = [400, 401, 479, 559, 560, 719, 720, 721, 879, 880, 1040, 5999, 16000, 16079, 16080, 50001, 99999, 100000]


def project(encoder: SSLEncoder, samples: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(list(encoder.front_end.frames(lambda: [samples])))


def network_projection(model: Any, samples: torch.Tensor) -> torch.Tensor:
    """(N, D) of the whole waveform, by transformers' own modules."""
    with torch.no_grad():
        x = model.feature_projection(model.feature_extractor(samples[None]).transpose(1, 2))
    return (x[0] if isinstance(x, tuple) else x)[0]


@pytest.mark.parametrize("name", ["wavlm-base", "w2v-bert"])
def test_number_of_frames_follows_the_formula_for_every_length(
    name: str, make_model: MakeModel, make_encoder: MakeEncoder
) -> None:
    encoder = make_encoder(make_model(name), 1)
    assert [encoder.num_frames(count) for count in (0, 1, 399)] == [0, 0, 0]
    for count in range(400, 100_001):
        assert encoder.num_frames(count) == 1 + (count - 400) // 320


@pytest.mark.parametrize("name", ["wavlm-base", "wavlm-large", "data2vec-audio", "w2v-bert"])
def test_number_of_frames_is_what_comes_out(
    name: str, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    encoder = make_encoder(make_model(name), 1)
    for count in LENGTHS:
        assert len(project(encoder, make_waveform(count).samples)) == encoder.num_frames(count)


def test_number_of_frames_of_other_strides(
    make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    model = make_model("wavlm-large", conv_dim=[24] * 3, conv_kernel=[8, 5, 3], conv_stride=[4, 3, 2])
    encoder = make_encoder(model, 1)
    assert encoder.front_end.hop_length == 24
    assert encoder.num_frames(47) == 0
    for count in (48, 49, 71, 72, 1000, 10_007):
        samples = make_waveform(count).samples
        assert encoder.num_frames(count) == len(network_projection(model, samples)) == len(project(encoder, samples))


# 9.4 s and 4 s + 1 frame: several blocks and every position of the seam
@pytest.mark.parametrize("num_samples", [150_000, 64_400, 64_080])
@pytest.mark.parametrize("name", ["wavlm-base", "wavlm-large", "hubert-no-norm", "data2vec-audio"])
def test_streamed_convolutions_equal_one_pass(
    name: str, num_samples: int, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    model = make_model(name)
    samples = make_waveform(num_samples).samples
    expected = network_projection(model, samples)
    # processors differ: without AVX-512 one number in 15,000 was 2.4e-5 off
    torch.testing.assert_close(project(make_encoder(model, 1), samples), expected, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("name", ["hubert-base", "hubert-large"])
def test_streamed_normalisation_equals_one_pass(
    name: str, scale: float, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    """At -60 dB the epsilons of both norms matter."""
    model = make_model(name)
    samples = make_waveform(150_000).samples * scale
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    normalised = extractor(samples.numpy(), sampling_rate=16000, return_tensors="pt").input_values[0]
    expected = network_projection(model, normalised)
    encoder = make_encoder(model, 1, normalise=1e-7)
    torch.testing.assert_close(project(encoder, samples), expected, rtol=1e-4, atol=5e-5)


def test_group_norm_by_blocks_alone_would_differ(
    make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    """What the pass over the statistics is for: the first 4 s alone give other frames than the first 4 s of 9."""
    encoder = make_encoder(make_model("hubert-base"), 1)
    samples = make_waveform(150_000).samples
    alone, part = project(encoder, samples[:64_080]), project(encoder, samples)[:200]
    assert (alone - part).abs().max() > 0.01


# odd and even numbers of 10 ms frames, and more than one block
@pytest.mark.parametrize("num_samples", [1_200, 1_360, 16_000, 16_160, 150_000, 150_160])
def test_log_mel_equals_transformers(
    num_samples: int, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    model = make_model("w2v-bert")
    samples = make_waveform(num_samples).samples
    extractor = transformers.SeamlessM4TFeatureExtractor()
    inputs = extractor(samples.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = model.feature_projection(inputs.input_features)[0][0]
    encoder = make_encoder(model, 1)
    # transformers takes mean and variance in single precision
    torch.testing.assert_close(project(encoder, samples), expected, rtol=1e-3, atol=3e-4)
    assert encoder.front_end.num_valid(num_samples) == int(inputs.attention_mask.sum())


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large", "w2v-bert"])
@pytest.mark.parametrize("num_samples", [400, 450, 70_000])
def test_silence_is_finite(name: str, num_samples: int, make_model: MakeModel, make_encoder: MakeEncoder) -> None:
    normalise = None if name == "w2v-bert" else 1e-7
    encoder = make_encoder(make_model(name), 2, normalise=normalise)
    features = encoder.encode(Waveform(torch.zeros(num_samples), 16000))
    assert features.frames.shape == (encoder.num_frames(num_samples), 32)


def test_other_log_mel_settings_are_refused() -> None:
    check_log_mel({"num_mel_bins": 80, "stride": 2, "padding_value": 0.0}, "a.safetensors")
    with pytest.raises(CheckpointError, match=r"a\.safetensors .*'stride': 4"):
        check_log_mel({"num_mel_bins": 80, "stride": 4}, "a.safetensors")
