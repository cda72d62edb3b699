"""Whisper's encoder as a start: its weights as CTranslate2 publishes them, under transformers' names."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Whisper base, MIT, OpenAI: model.bin of CTranslate2's conversion, e.g. Systran/faster-whisper-base
SHA256 = {"whisper-base": "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"}
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Every array of a CTranslate2 ``model.bin``.

    Raises:
        SystemExit: not such a file, or cut short.
    """
    content = path.read_bytes()
    place = 0

    def number(form: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(form, content, place)
        place += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal place
        size = number("<H")
        value = content[place : place + size]
        place += size
        return value.rstrip(b"\0").decode()

    arrays: dict[str, np.ndarray] = {}
    try:
        number("<I")  # version of the layout
        text()  # kind of model
        number("<I")  # its revision
        for _ in range(number("<I")):
            name = text()
            shape = [number("<I") for _ in range(number("<B"))]
            kind = np.dtype(_TYPES[number("<B")])
            size = number("<I")
            arrays[name] = np.frombuffer(content, kind, size // kind.itemsize, place).reshape(shape)
            place += size
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: not a complete model.bin of CTranslate2 ({error}); get it again") from error
    return arrays


def check(path: Path, name: str) -> None:
    """Refuse a file that is not the published one.

    Raises:
        SystemExit: it is missing or has another sha256.
    """
    if not path.is_file():
        raise SystemExit(f"{path}: no such file; model.bin of {name} in CTranslate2's layout is needed")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256[name]:
        raise SystemExit(f"{path}: sha256 {found}, but {name} has {SHA256[name]}; get the published file again")


def encoder_of(arrays: dict[str, np.ndarray], source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors of transformers' ``WhisperEncoder``, float32, and its configuration.

    Raises:
        SystemExit: the arrays are of another kind of model.
    """

    def get(name: str) -> Tensor:
        return torch.from_numpy(arrays[f"encoder/{name}"].astype(np.float32))

    try:
        tensors = {
            f"{conv}.{part}": get(f"{conv}/{part}") for conv in ("conv1", "conv2") for part in ("weight", "bias")
        }
        width = len(tensors["conv1.bias"])
        tensors["embed_positions.weight"] = get("position_encodings/encodings").reshape(-1, width)
        tensors |= {"layer_norm.weight": get("layer_norm/gamma"), "layer_norm.bias": get("layer_norm/beta")}
        blocks = 0
        while f"encoder/layer_{blocks}/ffn/linear_0/weight" in arrays:
            tensors |= {f"layers.{blocks}.{name}": tensor for name, tensor in _block(get, f"layer_{blocks}").items()}
            blocks += 1
    except KeyError as error:
        raise SystemExit(f"{source}: no {error.args[0]}; the weights of a Whisper model are needed") from error
    return tensors, whisper_config(tensors)


def whisper_config(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Configuration of the ``WhisperEncoder`` that has these tensors, with heads of 64, as all of OpenAI's have."""
    width = len(tensors["conv1.bias"])
    return {
        "model_type": "whisper",
        "d_model": width,
        "encoder_layers": 1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("layers.")),
        "encoder_attention_heads": max(1, width // 64),
        "encoder_ffn_dim": len(tensors["layers.0.fc1.bias"]),
        "num_mel_bins": tensors["conv1.weight"].shape[1],
        "max_source_positions": len(tensors["embed_positions.weight"]),
    }


def _block(get: Any, place: str) -> dict[str, Tensor]:
    attention, feed = f"{place}/self_attention", f"{place}/ffn"
    tensors: dict[str, Tensor] = {}
    weights, biases = (get(f"{attention}/linear_0/{part}").chunk(3) for part in ("weight", "bias"))
    for name, weight, bias in zip(("q_proj", "k_proj", "v_proj"), weights, biases, strict=True):
        tensors[f"self_attn.{name}.weight"] = weight.contiguous()
        if name != "k_proj":  # Whisper's keys have none
            tensors[f"self_attn.{name}.bias"] = bias.contiguous()
    linears = {"self_attn.out_proj": f"{attention}/linear_1", "fc1": f"{feed}/linear_0", "fc2": f"{feed}/linear_1"}
    for name, where in linears.items():
        tensors |= {f"{name}.{part}": get(f"{where}/{part}") for part in ("weight", "bias")}
    for name, where in {"self_attn_layer_norm": attention, "final_layer_norm": feed}.items():
        tensors |= {f"{name}.weight": get(f"{where}/layer_norm/gamma"), f"{name}.bias": get(f"{where}/layer_norm/beta")}
    return tensors
