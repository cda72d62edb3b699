"""The features are a function of the audio alone, however it comes and whatever it comes with."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import forking
import pytest
import soundfile
import torch

from speechssl import audio
from speechssl.encoders.encoder import GRID, SSLEncoder
from speechssl.encoders.windows import Grid
from speechssl.errors import InputError
from speechssl.signals import Waveform

MakeModel = Callable[..., Any]
MakeEncoder = Callable[..., SSLEncoder]
MakeWaveform = Callable[..., Waveform]
HiddenStates = Callable[..., list[torch.Tensor]]

# 2 s windows, so that 7 s have several
SHORT = Grid(window=100, context=20)
NAMES = ["wavlm-base", "hubert-large", "w2v-bert"]


@pytest.fixture
def windowed(make_model: MakeModel, make_encoder: MakeEncoder) -> Callable[[str], SSLEncoder]:
    def make(name: str) -> SSLEncoder:
        normalise = 1e-7 if name == "hubert-large" else None
        return dataclasses.replace(make_encoder(make_model(name), 2, normalise=normalise), grid=SHORT)

    return make


@pytest.mark.parametrize("sizes", [[320], [64_000], [1, 399, 0, 70_000], [99_999, 12_345]])
@pytest.mark.parametrize("name", NAMES)
def test_streamed_equals_whole_bit_for_bit(
    name: str, sizes: list[int], windowed: Callable[[str], SSLEncoder], make_waveform: MakeWaveform
) -> None:
    encoder, waveform = windowed(name), make_waveform(150_000)

    def blocks() -> Iterator[torch.Tensor]:
        start = 0
        for size in itertools.cycle(sizes):
            if start >= 150_000:
                return
            yield waveform.samples[start : start + size]
            start += size

    streamed = encoder.encode_stream(blocks)
    assert torch.equal(streamed.frames, encoder.encode(waveform).frames)
    assert streamed.origin == encoder.origin


def test_file_equals_waveform_bit_for_bit(
    windowed: Callable[[str], SSLEncoder], make_waveform: MakeWaveform, tmp_path: Path
) -> None:
    encoder, path = windowed("wavlm-base"), tmp_path / "a.wav"
    soundfile.write(path, make_waveform(300_001).samples.numpy(), 16000, subtype="FLOAT")
    features = encoder.encode_file(path)
    assert torch.equal(features.frames, encoder.encode(audio.read(path)).frames)
    pieces = list(encoder.stream(lambda: audio.stream(path, 16000, 3.0)))
    assert len(pieces) > 3
    assert torch.equal(torch.cat(pieces), features.frames)


def test_other_sample_rates_are_resampled(windowed: Callable[[str], SSLEncoder], make_waveform: MakeWaveform) -> None:
    encoder = windowed("hubert-large")
    waveform = Waveform(make_waveform(44_100).samples, 22_050)
    features = encoder.encode(waveform)
    resampled = audio.resample(waveform, 16000)
    assert torch.equal(features.frames, encoder.encode(resampled).frames)
    assert len(features) == encoder.num_frames(32_000)


@pytest.mark.parametrize("name", NAMES)
def test_windows_are_those_of_the_network(
    name: str, windowed: Callable[[str], SSLEncoder], make_waveform: MakeWaveform
) -> None:
    """Long audio equals the network run by hand on excerpts of the frames of the whole, cut as the grid says."""
    encoder, waveform = windowed(name), make_waveform(100_100)
    with torch.no_grad():
        frames = torch.cat(list(encoder.front_end.frames(lambda: [waveform.samples])))
        count, valid = len(frames), encoder.front_end.num_valid(100_100)
        assert count == 312
        starts = [0, 60, 120, 180, count - 100]
        outputs = [encoder.trunk(frames[start : start + 100], num_valid=min(100, valid - start)) for start in starts]
    ends = [80, 140, 200, 260, count]
    firsts = [0, *ends[:-1]]
    expected = [out[a - s : b - s] for out, a, b, s in zip(outputs, firsts, ends, starts, strict=True)]
    assert torch.equal(encoder.encode(waveform).frames, torch.cat(expected))


@pytest.mark.parametrize("name", NAMES)
def test_one_window_equals_transformers(
    name: str,
    make_model: MakeModel,
    make_encoder: MakeEncoder,
    make_waveform: MakeWaveform,
    hidden_states: HiddenStates,
) -> None:
    """19 s: several blocks of samples and chunks of queries, one window."""
    model, waveform = make_model(name), make_waveform(300_000)
    expected = hidden_states(model, waveform.samples)[2]
    got = make_encoder(model, 2).encode(waveform).frames
    assert len(got) < GRID.window
    assert float((got - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_samples", [1, 399])
def test_less_than_a_frame_is_refused(name: str, num_samples: int, windowed: Callable[[str], SSLEncoder]) -> None:
    with pytest.raises(InputError, match=rf"has {num_samples} samples at 16000 Hz .* at least 400"):
        windowed(name).encode(Waveform(torch.ones(num_samples), 16000))


def test_a_file_that_is_too_short_is_named(windowed: Callable[[str], SSLEncoder], tmp_path: Path) -> None:
    audio.write(tmp_path / "short.wav", Waveform(torch.ones(300) / 2, 16000))
    with pytest.raises(InputError, match=r"short\.wav has 300 samples"):
        windowed("hubert-large").encode_file(tmp_path / "short.wav")


def test_an_empty_stream_is_refused(windowed: Callable[[str], SSLEncoder]) -> None:
    with pytest.raises(InputError, match="has 0 samples"):
        windowed("hubert-large").encode_stream(list)


def test_samples_that_are_not_finite_are_refused(windowed: Callable[[str], SSLEncoder]) -> None:
    bad = torch.zeros(2_000)
    bad[1_000] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        windowed("w2v-bert").encode_stream(lambda: [bad])


def test_features_can_be_used_in_training(windowed: Callable[[str], SSLEncoder], make_waveform: MakeWaveform) -> None:
    """No inference mode leaks out: a layer on top of the features gets gradients, also between two pieces."""
    encoder, waveform = windowed("wavlm-base"), make_waveform(100_000)
    layer = torch.nn.Linear(32, 1)
    for piece in encoder.stream(lambda: [waveform.samples]):
        layer(piece).sum().backward()
    assert layer.weight.grad is not None
    assert float(layer.weight.grad.abs().sum()) > 0


# ru_maxrss begins with the peak of the process that starts this one, VmHWM with nothing
MEMORY = """
import torch
from speechssl import checkpoints
transformers = checkpoints.transformers()
from speechssl.encoders.network import Weights, build
torch.set_num_threads(1)
torch.manual_seed(0)
config = transformers.Wav2Vec2BertConfig(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_depthwise_kernel_size=5,
    left_max_position_embeddings=4, right_max_position_embeddings=4)
model = transformers.AutoModel.from_config(config)
weights = Weights("random", "random", config.to_dict(), model.state_dict(), None)
encoder = build(weights, layer=1, device=torch.device("cpu"), dtype=torch.float32)
def blocks(minutes):
    for number in range(minutes * 6):
        yield torch.randn(160_000, generator=torch.Generator().manual_seed(number))
def peak(minutes):
    total = sum(len(piece) for piece in encoder.stream(lambda: blocks(minutes)))
    assert total == encoder.num_frames(minutes * 960_000), total
    return open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print(peak(2), peak(6))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read in kilobytes")
def test_memory_is_flat() -> None:
    """Four more minutes, 15 MB of samples, leave the peak where it was."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, env=forking.giving_back()
    )
    short, long = map(int, done.stdout.split())
    assert long - short < 6_000


@pytest.mark.parametrize("size", [400, 30_001, 100_100])
@pytest.mark.parametrize("name", NAMES)
def test_all_layers_in_one_pass_equal_encoders_of_one_layer_bit_for_bit(
    name: str, size: int, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    """Whole, and in several windows."""
    model, waveform = make_model(name), make_waveform(size)
    found = dataclasses.replace(make_encoder(model, 3), grid=SHORT).layers(waveform)
    assert len(found) == 4
    for layer, features in enumerate(found):
        one = dataclasses.replace(make_encoder(model, layer), grid=SHORT)
        assert torch.equal(features.frames, one.encode(waveform).frames)
        assert features.origin == one.origin
