"""Fingerprints of encoder weights: features of encoders with one name but different weights never mix."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from speechssl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from speechssl.signals import Encoder

_KNOWN: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def of_encoder(encoder: Encoder) -> str:
    """16 hexadecimal digits that name an encoder's weights; empty if it shows none.

    Weights are rounded to bfloat16 first, so the digits do not depend on the precision they were loaded in.
    """
    digest, found = hashlib.sha256(), False
    for part in ("front_end", "trunk"):
        for name, tensor in _weights(getattr(encoder, part, None), part):
            found = True
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode() + _bytes(tensor))
    return digest.hexdigest()[:16] if found else ""


def remembered(encoder: Encoder) -> str:
    """``of_encoder``, computed once for each encoder; for encoders that are not being trained."""
    if encoder not in _KNOWN:
        _KNOWN[encoder] = of_encoder(encoder)
    return _KNOWN[encoder]


def check_same_weights(first: str, second: str, origin: str, *, what: str) -> None:
    """Refuse to mix features of one origin whose encoders held other weights; unknown (empty) fingerprints pass.

    Raises:
        InputError: both are known and differ; the message holds both and ``what`` was tried.
    """
    if first and second and first != second:
        raise InputError(
            f"cannot {what}: both sides are of {origin!r}, but one encoder has weights {first}, the other {second}; "
            "make it again from its recordings with the encoder that is here"
        )


def _weights(holder: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in modules, lists and our own objects, in a fixed order, under a name."""
    import torch

    if isinstance(holder, torch.nn.Module):
        holder = holder.state_dict()
    if isinstance(holder, torch.Tensor):
        yield name, holder
    elif isinstance(holder, list | tuple):
        for number, one in enumerate(holder):
            yield from _weights(one, f"{name}.{number}")
    elif isinstance(holder, dict):
        for key in sorted(holder):
            yield from _weights(holder[key], f"{name}.{key}")
    elif type(holder).__module__.startswith("speechssl."):
        yield from _weights(_attributes(holder), name)


def _attributes(holder: Any) -> dict[str, Any]:
    slots = (slot for kind in type(holder).__mro__ for slot in getattr(kind, "__slots__", ()))
    return {**getattr(holder, "__dict__", {}), **{slot: getattr(holder, slot) for slot in slots}}


def _bytes(tensor: Tensor) -> bytes:
    import torch

    rounded = tensor.detach().cpu().bfloat16() if tensor.is_floating_point() else tensor.detach().cpu()
    return rounded.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
