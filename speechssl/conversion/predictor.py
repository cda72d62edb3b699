"""What a key usually sounds like: a small network that heard many speakers say it.

Header of its file: ``kind`` ``"predictor"``, ``key_origin``, ``value_origin``, ``config`` (arguments of
``PredictorConfig``), ``provenance``, ``licence``. Made by ``recipes/voice_conversion/predictor.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechssl import checkpoints
from speechssl.errors import CheckpointError, InputError

KIND = "predictor"
PIECE = 4096  # frames predicted at once


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of the network: of a key, of a value and of the two layers between."""

    key_dim: int = 256
    value_dim: int = 164
    hidden: int = 512


class PredictorNetwork(nn.Module):
    """Keys (N, K) to values (N, V) without the mean of their voice, in standard deviations.

    Attributes:
        centre: (K,) mean of the keys.
        spread: standard deviation of all their numbers.
        scale: (V,) standard deviations of the values around the means of their voices.
    """

    centre: Tensor
    spread: Tensor
    scale: Tensor

    def __init__(self, config: PredictorConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.zeros(config.key_dim))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("scale", torch.ones(config.value_dim))
        self.layers = nn.Sequential(
            nn.Linear(config.key_dim, config.hidden), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(config.hidden, config.hidden), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(config.hidden, config.value_dim),
        )  # fmt: skip

    def forward(self, keys: Tensor) -> Tensor:
        """Predict."""
        predicted: Tensor = self.layers((keys - self.centre) / self.spread)
        return predicted


class ValuePredictor:
    """Predicts values of keys, as many speakers have them; ``converters.regression`` moves them to a voice.

    Args:
        network: on the CPU.
        key_origin: encoder and layer of the keys.
        value_origin: of the values.
    """

    def __init__(self, network: PredictorNetwork, *, key_origin: str, value_origin: str) -> None:
        self.network = network.eval()
        self.key_origin, self.value_origin = key_origin, value_origin

    @property
    def scale(self) -> Tensor:
        """(V,) by which the predictions are to be multiplied."""
        return self.network.scale

    @torch.inference_mode()
    def __call__(self, keys: Tensor) -> Tensor:
        """(N, V) float32 values over ``scale``, without the mean of their voice, of keys (N, K) of any floating type.

        Raises:
            InputError: keys of another size.
        """
        if keys.ndim != 2 or keys.shape[1] != self.network.config.key_dim:
            raise InputError(f"keys {tuple(keys.shape)}; (N, {self.network.config.key_dim}) needed")
        return torch.cat([self.network(part.float()) for part in torch.split(keys, PIECE)])


def save(path: str | Path, predictor: ValuePredictor, *, licence: str, provenance: Mapping[str, Any]) -> Path:
    """Write a predictor as one file, weights in float16.

    Args:
        path: the file.
        predictor: what to write.
        licence: of the weights.
        provenance: JSON-able facts: data, recipe, steps.
    """
    header = {
        "kind": KIND,
        "key_origin": predictor.key_origin,
        "value_origin": predictor.value_origin,
        "config": asdict(predictor.network.config),
        "licence": licence,
        "provenance": dict(provenance),
    }
    return checkpoints.save(path, {n: t.half() for n, t in predictor.network.state_dict().items()}, header)


def load(path: str | Path) -> ValuePredictor:
    """Read a file that ``save`` wrote.

    Raises:
        CheckpointError: missing, damaged, of another kind, or weights that do not fit the config.
    """
    checkpoint = checkpoints.load(path, kind=KIND)
    try:
        network = PredictorNetwork(PredictorConfig(**checkpoint.header["config"]))
        origins = {name: str(checkpoint.header[name]) for name in ("key_origin", "value_origin")}
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its header does not describe a predictor of values ({error})") from error
    checkpoints.load_state(network, {name: part.float() for name, part in checkpoint.tensors.items()}, source=path)
    return ValuePredictor(network, **origins)
