"""Whisper's encoder against transformers' own, layer by layer on random weights, whole and in pieces."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechssl import checkpoints, encoders
from speechssl.encoders import whisper
from speechssl.encoders.network import Weights, build
from speechssl.encoders.windows import Grid
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform

transformers = checkpoints.transformers()
WhisperEncoder = importlib.import_module("transformers.models.whisper.modeling_whisper").WhisperEncoder

MakeWaveform = Callable[..., Waveform]
CONFIG = {
    "model_type": "whisper",
    "d_model": 64,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "num_mel_bins": 80,
    "max_source_positions": 300,
}
LENGTHS = [400, 559, 560, 719, 720, 1040, 1200, 16000, 16080, 63999, 64000, 64080, 64240, 64400, 64560, 95999]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    network = WhisperEncoder(transformers.WhisperConfig(**CONFIG)).eval().requires_grad_(False)
    for parameter in network.parameters():
        spread = 0.1 if parameter.ndim > 1 else 0.2
        parameter.data.normal_(0.0 if parameter.ndim > 1 else 0.5, spread)
    return network


def weights_of(model: Any, **changes: Any) -> Weights:
    grid = {"grid": Grid(300, 50)}
    return Weights("random", "random weights", CONFIG, model.state_dict(), None, **{**grid, **changes})


def encoder_of(model: Any, layer: int, **changes: Any) -> Any:
    return build(weights_of(model, **changes), layer=layer, device=torch.device("cpu"), dtype=torch.float32)


@torch.no_grad()
def whole(model: Any, samples: torch.Tensor) -> list[torch.Tensor]:
    """Hidden states (N, D) that transformers' modules give in one pass over the bands of the whole utterance."""
    bands = whisper.log_power(samples.double())
    mel = whisper.floored(bands, bands.max()).float().T[None]
    x = torch.nn.functional.gelu(model.conv2(torch.nn.functional.gelu(model.conv1(mel)))).transpose(1, 2)
    x = x + model.embed_positions.weight[: x.shape[1]]
    states = [x]
    for layer in model.layers:
        x = layer(x, None)
        x = x[0] if isinstance(x, tuple) else x
        states.append(x)
    return [state[0] for state in states]


def test_bands_are_those_of_transformers() -> None:
    """Its frames are centred on sample 160 j, so 120 zeros in front put two of its frames before the first of ours."""
    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    padded = np.concatenate([np.zeros(120, np.float32), samples])
    theirs = extractor(padded, sampling_rate=16000, padding=False, return_tensors="np")["input_features"][0].T
    bands = whisper.log_power(torch.from_numpy(samples).double())
    # its own floor hangs on mirrored ends, none of which is the loudest
    ours = whisper.floored(bands, torch.tensor(theirs.max() * 4 - 4)).numpy()
    inner = min(len(ours), len(theirs) - 4)
    assert np.abs(theirs[2 : 2 + inner] - ours[:inner]).max() < 1e-4


@pytest.mark.parametrize("bands", [80, 128])
def test_filters_are_those_of_transformers(bands: int) -> None:
    theirs = transformers.WhisperFeatureExtractor(feature_size=bands).mel_filters
    assert np.abs(whisper.constants(bands)[1].numpy() - theirs).max() < 1e-12


def test_names_and_shapes_of_the_weights_are_those_of_transformers(model: Any) -> None:
    ours = whisper.WhisperNetwork(whisper.WhisperConfig.read(CONFIG))
    assert {name: part.shape for name, part in ours.state_dict().items()} == {
        name: part.shape for name, part in model.state_dict().items()
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": None}, "random weights.*{'d_model': None}"),
        ({"encoder_layers": 0}, "positive whole numbers"),
        ({"num_mel_bins": 80.0}, "positive whole numbers"),
        ({"encoder_attention_heads": 5}, "64 numbers cannot be divided by 5 heads"),
        ({"activation_function": "relu"}, "'relu'; 'gelu' needed"),
    ],
)
def test_a_configuration_that_is_none_is_refused(changes: dict[str, Any], message: str, model: Any) -> None:
    weights = Weights("random", "random weights", {**CONFIG, **changes}, model.state_dict(), None)
    with pytest.raises(CheckpointError, match=message):
        build(weights, layer=1, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_every_layer_equals_transformers(layer: int, model: Any, make_waveform: MakeWaveform) -> None:
    samples = make_waveform(80_000).samples
    found = encoder_of(model, layer).encode(Waveform(samples, 16000)).frames
    assert torch.allclose(found, whole(model, samples)[layer], atol=1e-4)


def test_the_blocks_are_those_of_the_whole_model(model: Any, make_waveform: MakeWaveform) -> None:
    """Against ``WhisperEncoder.forward``, which takes exactly the length that its positions have."""
    samples = make_waveform(320 * 299 + 400).samples
    bands = whisper.log_power(samples.double())
    mel = torch.nn.functional.pad(whisper.floored(bands, bands.max()).float().T[None], (0, 1))
    with torch.no_grad():
        theirs = model(mel, output_hidden_states=True).hidden_states
    # its last frame sees another log-mel frame than ours, and attention spreads that a little
    ours = encoder_of(model, 0).encode(Waveform(samples, 16000)).frames
    assert torch.allclose(ours[:-2], theirs[0][0, :298], atol=1e-5)
    assert len(whole(model, samples)) == len(theirs)


@pytest.mark.parametrize("count", LENGTHS)
def test_frames_come_in_a_stream_as_in_one_pass(count: int, model: Any, make_waveform: MakeWaveform) -> None:
    encoder, samples = encoder_of(model, 0), make_waveform(count).samples

    def pieces() -> Iterator[torch.Tensor]:
        yield from samples.split(3001)

    with torch.no_grad():
        streamed = torch.cat(list(encoder.front_end.frames(pieces)))
    assert encoder.num_frames(count) == len(streamed) == 1 + (count - 400) // 320
    alone = whole(model, samples)[0] - model.embed_positions.weight[: len(streamed)]
    assert torch.allclose(streamed, alone, atol=1e-5)


def test_long_audio_is_heard_in_windows_with_one_floor(model: Any, make_waveform: MakeWaveform) -> None:
    samples = make_waveform(16000 * 14).samples
    samples[:1600] *= 30  # the loudest band is in the first window
    encoder = encoder_of(model, 3)
    frames = encoder.encode(Waveform(samples, 16000)).frames
    assert len(frames) == encoder.num_frames(len(samples))
    with torch.no_grad():
        convolved = whole_front(model, samples)
        # windows of 300 frames start every 200; the second keeps frames 250 to 450
        second = encoder.trunk(convolved[200:500], num_valid=300)
    assert torch.allclose(frames[250:450], second[50:250], atol=1e-4)


@torch.no_grad()
def whole_front(model: Any, samples: torch.Tensor) -> torch.Tensor:
    bands = whisper.log_power(samples.double())
    mel = whisper.floored(bands, bands.max()).float().T[None]
    gelu = torch.nn.functional.gelu
    return gelu(model.conv2(gelu(model.conv1(mel))))[0].T  # type: ignore[no-any-return]


def test_a_projection_stands_behind_the_final_norm_of_the_last_block(model: Any, make_waveform: MakeWaveform) -> None:
    torch.manual_seed(1)
    weight, bias = torch.randn(16, 64), torch.randn(16)
    samples = make_waveform(32_000).samples
    weights = weights_of(model, projection=(weight, bias), layer=3, origin="ours/3")
    encoder = build(weights, layer=None, device=torch.device("cpu"), dtype=torch.float32)
    with torch.no_grad():
        expected = model.layer_norm(whole(model, samples)[3]) @ weight.T + bias
    assert (encoder.dim, encoder.origin) == (16, "ours/3")
    assert torch.allclose(encoder.encode(Waveform(samples, 16000)).frames, expected, atol=1e-4)
    # an earlier block is that of the network
    assert encoder_of(model, 2, projection=(weight, bias)).dim == 64


def save_folder(model: Any, folder: Path, **settings: Any) -> Path:
    whole_model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            **CONFIG, decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=64, vocab_size=99, pad_token_id=0,
            bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, max_target_positions=20,
        )
    )  # fmt: skip
    whole_model.model.encoder.load_state_dict(model.state_dict())
    whole_model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(**{"feature_size": 80, **settings}).save_pretrained(folder)
    return folder


def test_published_folders_are_read(
    model: Any, make_waveform: MakeWaveform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper, "GRID", Grid(300, 50))
    loaded = encoders.load(save_folder(model, tmp_path / "whisper-base"), layer=2, device="cpu")
    waveform = make_waveform(20_000)
    assert torch.equal(loaded.encode(waveform).frames, encoder_of(model, 2).encode(waveform).frames)
    assert loaded.num_layers == 3


def test_other_bands_and_too_long_windows_are_refused(model: Any, tmp_path: Path) -> None:
    folder = save_folder(model, tmp_path / "a", feature_size=128)
    with pytest.raises(CheckpointError, match=r"'feature_size': 128.*80 bands"):
        encoders.load(folder, layer=1, device="cpu")
    with pytest.raises(CheckpointError, match="windows of 301 frames; its network knows 300 positions"):
        encoder_of(model, 1, grid=Grid(301, 50))


def test_projection_of_another_width_is_refused(model: Any) -> None:
    with pytest.raises(CheckpointError, match=r"projection of shapes \(16, 32\)"):
        encoder_of(model, 3, projection=(torch.zeros(16, 32), torch.zeros(16)))


def test_own_file_with_a_projection(model: Any, make_waveform: MakeWaveform, tmp_path: Path) -> None:
    header = {
        "kind": "encoder", "family": "whisper", "name": "ours", "layer": 3, "origin": "ours/3",
        "config": {key: value for key, value in CONFIG.items() if key != "model_type"},
        "input": {"type": "whisper-log-mel", "feature_size": 80}, "grid": {"window": 300, "context": 50},
    }  # fmt: skip
    weight, bias = torch.randn(16, 64), torch.randn(16)
    tensors = {**model.state_dict(), "projection.weight": weight, "projection.bias": bias}
    checkpoints.save(tmp_path / "ours.safetensors", tensors, header)
    waveform = make_waveform(20_000)
    found = encoders.load(tmp_path / "ours.safetensors", device="cpu").encode(waveform)
    expected = encoder_of(model, 3, projection=(weight, bias)).encode(waveform)
    assert found.origin == "ours/3"
    assert torch.equal(found.frames, expected.frames)
    checkpoints.save(tmp_path / "input.safetensors", tensors, header | {"input": {"type": "log-mel"}})
    with pytest.raises(CheckpointError, match="'log-mel'; a whisper takes 'whisper-log-mel'"):
        encoders.load(tmp_path / "input.safetensors", device="cpu")
    tensors.pop("projection.bias")
    checkpoints.save(tmp_path / "half.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match="half a projection"):
        encoders.load(tmp_path / "half.safetensors", device="cpu")
