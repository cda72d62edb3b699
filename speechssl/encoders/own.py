"""Encoders in our own single files: weights, configuration, layer and provenance together.

Header: ``kind`` ``"encoder"``, ``family`` (transformers' model_type), ``name``, ``layer``, ``config`` (transformers'
values), ``input`` (``{"type": "log-mel", ...}`` or ``{"type": "waveform", "normalise": true}``), ``origin``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechssl import checkpoints
from speechssl.encoders.frontends import check_log_mel
from speechssl.encoders.network import TRANSFORMERS_EPSILON, Weights
from speechssl.errors import CheckpointError

_NEEDED = {"family": str, "name": str, "layer": int, "config": dict, "input": dict, "origin": str}


def read(path: Path) -> Weights:
    """An encoder file of ours.

    Raises:
        CheckpointError: no such file, damaged, of another kind, or with an incomplete header.
    """
    checkpoint = checkpoints.load(path, kind="encoder")
    header = checkpoint.header
    if wrong := [key for key, kind in _NEEDED.items() if not isinstance(header.get(key), kind)]:
        raise CheckpointError(f"{path} has no usable {', '.join(wrong)} in its header; write it again with speechssl")
    return Weights(
        name=header["name"],
        source=str(path),
        config={**header["config"], "model_type": header["family"]},
        tensors=checkpoint.tensors,
        normalise=_normalisation(header, str(path)),
        layer=header["layer"],
        origin=header["origin"],
    )


def _normalisation(header: dict[str, Any], source: str) -> float | None:
    settings = header["input"]
    expected = "log-mel" if header["family"] == "wav2vec2-bert" else "waveform"
    if settings.get("type") != expected:
        raise CheckpointError(f"{source} has input {settings.get('type')!r}; a {header['family']} takes {expected!r}")
    if expected == "log-mel":
        check_log_mel(settings, source)
        return None
    return TRANSFORMERS_EPSILON if settings.get("normalise", False) else None
