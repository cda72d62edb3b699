"""The predictor of values: what it takes, and its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechssl import checkpoints
from speechssl.conversion import predictor
from speechssl.conversion.bundles import PREDICTOR, TINY, load_bundle
from speechssl.conversion.predictor import PredictorConfig, PredictorNetwork, ValuePredictor
from speechssl.errors import CheckpointError, InputError

ORIGINS = {"key_origin": "keys/1", "value_origin": "values/1"}


@pytest.fixture
def small() -> ValuePredictor:
    torch.manual_seed(0)
    network = PredictorNetwork(PredictorConfig(6, 4, hidden=8))
    network.centre.fill_(2.0)
    network.spread.fill_(0.5)
    return ValuePredictor(network, **ORIGINS)


def test_keys_of_any_precision_and_number_are_predicted(small: ValuePredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = torch.randn(50, 6).half()
    first = small(keys)
    assert first.dtype == torch.float32
    assert torch.equal(first, small.network.layers((keys.float() - 2.0) / 0.5))
    monkeypatch.setattr(predictor, "PIECE", 7)
    torch.testing.assert_close(small(keys), first)
    for wrong in (torch.zeros(3, 5), torch.zeros(6)):
        with pytest.raises(InputError, match=r"keys .*\(N, 6\) needed"):
            small(wrong)


def test_the_file_gives_the_predictor_back(small: ValuePredictor, tmp_path: Path) -> None:
    path = predictor.save(tmp_path / "predictor.safetensors", small, licence="MIT", provenance={"speakers": 2})
    again = predictor.load(path)
    assert (again.key_origin, again.value_origin) == ("keys/1", "values/1")
    keys = torch.randn(9, 6)
    torch.testing.assert_close(again(keys), small(keys), atol=5e-3, rtol=5e-3)  # float16 on disk
    assert checkpoints.peek(path)["provenance"] == {"speakers": 2}
    with pytest.raises(CheckpointError, match="kind 'encoder'"):
        predictor.load(TINY)
    checkpoint = checkpoints.load(path, kind="predictor")
    without = {name: value for name, value in checkpoint.header.items() if name != "value_origin"}
    for header in (without, *({**checkpoint.header, "config": one} for one in ({"key_dim": 7}, {"width": 3}, None))):
        checkpoints.save(tmp_path / "other.safetensors", checkpoint.tensors, header)
        with pytest.raises(CheckpointError, match=r"other\.safetensors"):
            predictor.load(tmp_path / "other.safetensors")


def test_tiny_has_one_and_other_vocoders_do_without() -> None:
    system = load_bundle("tiny", device="cpu")
    assert system.predictor is not None
    assert checkpoints.peek(PREDICTOR)["key_origin"] == system.encoder.origin
    assert load_bundle("tiny", vocoder="world", device="cpu").predictor is None
