"""Our single-file encoders: what is saved is what runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from speechssl import checkpoints, encoders
from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.weights import own
from speechssl.encoders.windows import Grid
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform

MakeModel = Callable[..., Any]
MakeEncoder = Callable[..., SSLEncoder]
MakeWaveform = Callable[..., Waveform]
LOG_MEL = {"type": "log-mel", "feature_size": 80, "num_mel_bins": 80, "stride": 2, "sampling_rate": 16000}


def save(model: Any, path: Path, **changes: Any) -> Path:
    family = model.config.model_type
    header = {
        "kind": "encoder",
        "family": family,
        "name": "small",
        "layer": 2,
        "config": model.config.to_dict(),
        "input": LOG_MEL if family == "wav2vec2-bert" else {"type": "waveform", "normalise": True},
        "origin": "small/2",
        "provenance": {"trained": "never"},
        "licence": "CC0-1.0",
    }
    tensors = {name: tensor.half() for name, tensor in model.state_dict().items()}
    return checkpoints.save(path, tensors, {**header, **changes})


@pytest.mark.parametrize("name", ["w2v-bert", "hubert-base", "wavlm-large"])
def test_saved_in_half_precision_and_run_in_single(
    name: str, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform, tmp_path: Path
) -> None:
    model, waveform = make_model(name), make_waveform(8_000)
    path = save(model, tmp_path / "small.safetensors")
    halved = model.half().float()
    normalise = None if name == "w2v-bert" else 1e-7
    for layer, origin in ((None, "small/2"), (2, "small/2"), (3, "small/3")):
        got = encoders.load(path, layer=layer, device="cpu").encode(waveform)
        expected = make_encoder(halved, layer or 2, normalise=normalise).encode(waveform).frames
        assert float((got.frames - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
        assert got.origin == origin


def test_a_file_that_holds_only_its_own_layers(make_model: MakeModel, tmp_path: Path) -> None:
    """Saved after cutting off what the layer does not need, as long as the configuration says so."""
    model = make_model("w2v-bert", num_hidden_layers=2)
    assert encoders.load(save(model, tmp_path / "a.safetensors"), device="cpu").num_layers == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "vocoder"}, "kind 'vocoder'"),
        ({"layer": "6"}, "no usable layer in its header"),
        ({"config": None, "input": 3}, "no usable config, input"),
        ({"input": {"type": "waveform"}}, "input 'waveform'; a wav2vec2-bert takes 'log-mel'"),
        ({"input": {**LOG_MEL, "stride": 1}}, "'stride': 1"),
        ({"family": "bert", "input": {"type": "waveform"}}, "type 'bert'"),
    ],
)
def test_headers_that_cannot_be_used(
    changes: dict[str, Any], message: str, make_model: MakeModel, tmp_path: Path
) -> None:
    path = save(make_model("w2v-bert"), tmp_path / "a.safetensors", **changes)
    with pytest.raises(CheckpointError, match=message):
        encoders.load(path, device="cpu")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [({}, own.OWN_GRID), ({"grid": {"window": 300, "context": 20}}, Grid(300, 20)), ({"grid": None}, own.OWN_GRID)],
)
def test_a_file_says_how_long_audio_is_cut(
    stated: dict[str, Any], expected: Grid, make_model: MakeModel, tmp_path: Path
) -> None:
    path = save(make_model("w2v-bert"), tmp_path / "a.safetensors", **stated)
    assert encoders.load(path, device="cpu").grid == expected


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"window": 300}, "window and context, needed"),
        ({"window": 300, "context": 1.5}, "window and context, needed"),
        (500, "window and context, needed"),
        ({"window": 300, "context": 150}, "keeps nothing"),
    ],
)
def test_grids_that_cannot_be_used(grid: Any, message: str, make_model: MakeModel, tmp_path: Path) -> None:
    path = save(make_model("w2v-bert"), tmp_path / "a.safetensors", grid=grid)
    with pytest.raises(CheckpointError, match=message):
        encoders.load(path, device="cpu")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        encoders.load(tmp_path / "missing.safetensors")


@pytest.mark.skipif(not encoders.TINY.is_file(), reason="this build has no weights of the tiny encoder")
def test_the_encoder_in_the_package(make_waveform: MakeWaveform) -> None:
    encoder = encoders.load("tiny", device="cpu")
    assert encoder.origin == f"tiny/{encoder.layer}"
    features = encoder.encode(make_waveform(32_000))
    assert features.frames.shape == (99, encoder.dim)


@pytest.mark.shared
@pytest.mark.skipif(not encoders.TINY.is_file(), reason="this build has no weights of the tiny encoder")
def test_windows_lose_little_on_speech(minute_of_speech: Waveform) -> None:
    """The numbers that the choice of window and context stands on; see ``own.OWN_GRID``."""
    encoder = encoders.load("tiny", device="cpu")
    assert encoder.grid == own.OWN_GRID
    features = encoder.encode(minute_of_speech).frames
    levels = 10 * minute_of_speech.samples.unfold(0, 400, 320).square().mean(1).clamp(min=1e-12).log10()
    spoken = levels > levels.quantile(0.95) - 25
    assert 0.4 < float(spoken.float().mean()) < 0.8

    def with_grid(window: int, context: int) -> tuple[Tensor, Tensor]:
        cut = dataclasses.replace(encoder, grid=Grid(window, context)).encode(minute_of_speech).frames
        nearest = (torch.nn.functional.normalize(cut) @ torch.nn.functional.normalize(features).T).argmax(1)
        return torch.cosine_similarity(cut, features), nearest

    # other seams change little where somebody speaks
    cosine, nearest = with_grid(own.OWN_GRID.window, 250)
    itself = nearest == torch.arange(len(features))
    assert float(cosine.mean()) > 0.96
    assert float(itself.float().mean()) > 0.9
    assert float(itself[spoken].float().mean()) > 0.98
    # half the window changes more than the seams do, but speech stays what it is
    cosine, nearest = with_grid(own.OWN_GRID.window // 2, own.OWN_GRID.context)
    itself = nearest == torch.arange(len(features))
    assert float(cosine.mean()) > 0.93
    assert float(itself[spoken].float().mean()) > 0.93
    # one pause is like any other to this encoder, but it is never speech
    assert float(itself.float().mean()) > 0.8
    assert float(spoken[nearest[~spoken]].float().mean()) < 0.01
