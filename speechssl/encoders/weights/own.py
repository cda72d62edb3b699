"""Encoders in our own single files: weights, configuration, layer and provenance together.

Header: ``kind`` ``"encoder"``, ``family`` (transformers' model_type), ``name``, ``layer``, ``config`` (transformers'
values), ``input`` (``{"type": "log-mel", ...}``, ``{"type": "whisper-log-mel", ...}`` or ``{"type": "waveform",
"normalise": true}``), ``origin`` and, if it is not ``OWN_GRID``, ``grid`` (``{"window": 3000, "context": 250}``, in
frames). A fine-tuned encoder has the tensors ``projection.weight`` (K, D) and ``projection.bias`` (K,) beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechssl import checkpoints
from speechssl.encoders.frontends import check_log_mel
from speechssl.encoders.network import TRANSFORMERS_EPSILON, Weights
from speechssl.encoders.whisper import check_bands
from speechssl.encoders.windows import Grid
from speechssl.errors import CheckpointError, InputError

# 22 s, with 2 s of context on both sides of what is kept
OWN_GRID = Grid(window=1100, context=100)

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
    tensors = dict(checkpoint.tensors)
    weight, bias = (tensors.pop(f"projection.{part}", None) for part in ("weight", "bias"))
    if (weight is None) != (bias is None):
        raise CheckpointError(f"{path} has half a projection; write it again with speechssl")
    return Weights(
        name=header["name"],
        source=str(path),
        config={**header["config"], "model_type": header["family"]},
        tensors=tensors,
        normalise=_normalisation(header, str(path)),
        layer=header["layer"],
        origin=header["origin"],
        grid=_grid(header, str(path)),
        projection=None if weight is None or bias is None else (weight, bias),
    )


def _grid(header: dict[str, Any], source: str) -> Grid:
    stated = header.get("grid")
    if stated is None:
        return OWN_GRID
    window, context = (stated.get(name) if isinstance(stated, dict) else None for name in ("window", "context"))
    try:
        if isinstance(window, int) and isinstance(context, int):
            return Grid(window, context)
    except InputError as error:
        raise CheckpointError(f"{source} has a grid that cannot be used: {error}") from error
    raise CheckpointError(f"{source} has grid {stated!r}; whole numbers of frames, window and context, needed")


def _normalisation(header: dict[str, Any], source: str) -> float | None:
    settings = header["input"]
    expected = {"wav2vec2-bert": "log-mel", "whisper": "whisper-log-mel"}.get(header["family"], "waveform")
    if settings.get("type") != expected:
        raise CheckpointError(f"{source} has input {settings.get('type')!r}; a {header['family']} takes {expected!r}")
    if expected == "log-mel":
        check_log_mel(settings, source)
        return None
    if expected == "whisper-log-mel":
        check_bands(settings, header["config"], source)
        return None
    return TRANSFORMERS_EPSILON if settings.get("normalise", False) else None
