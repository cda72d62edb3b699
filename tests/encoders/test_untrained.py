"""The untrained network of an encoder: its architecture with random weights that are always the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tones

from speechssl import encoders
from speechssl.signals import Waveform


def test_it_is_the_same_network_with_other_weights(make_weights: Callable[..., Path], tmp_path: Path) -> None:
    file = make_weights(tmp_path / "small.safetensors", seed=5)
    sound = Waveform(torch.from_numpy(tones(1, 0)), 16_000)
    trained, first, second = (encoders.load(name).encode(sound) for name in (file, *[f"untrained:{file}"] * 2))
    assert first.frames.shape == trained.frames.shape
    assert not torch.allclose(first.frames, trained.frames, atol=0.1)
    assert torch.equal(first.frames, second.frames)
    assert first.origin == "untrained:small/2"


@pytest.mark.parametrize("name", ["wavlm-base", "hubert-large", "data2vec-audio"])
def test_folders_of_transformers_have_one(make_model: Any, name: str, tmp_path: Path) -> None:
    make_model(name).save_pretrained(tmp_path / name)
    sound = Waveform(torch.from_numpy(tones(1, 0)), 16_000)
    found = encoders.load(f"untrained:{tmp_path / name}", layer=2, name="random", normalise=False).encode(sound)
    assert found.origin == "untrained:random/2"
    trained = encoders.load(tmp_path / name, layer=2, normalise=False).encode(sound)
    assert not torch.allclose(found.frames, trained.frames, atol=0.1)


def test_the_projection_of_a_fine_tuned_encoder_is_random_too() -> None:
    sound = Waveform(torch.from_numpy(tones(1, 0)), 16_000)
    trained, random = encoders.load("tiny").encode(sound), encoders.load("untrained:tiny").encode(sound)
    assert trained.frames.shape == random.frames.shape
    assert not torch.allclose(trained.frames, random.frames, atol=0.1)
