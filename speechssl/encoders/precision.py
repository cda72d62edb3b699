"""Number formats: matrix products in float32 or bfloat16, sums and norms always in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.checkpoints import choose_device
from speechssl.encoders.rounding import has_fast_bfloat16
from speechssl.errors import InputError

PRECISIONS = ("float32", "bfloat16", "auto")


def settled(precision: str, device: str = "cpu") -> str:
    """``float32`` or ``bfloat16``; for ``auto`` the faster of the two on a device, float32 on Apple's GPU.

    Raises:
        InputError: another precision, or no such device.
    Example:
        >>> settled("float32")
        'float32'
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is unknown; one of {', '.join(PRECISIONS)} needed")
    if precision != "auto":
        return precision
    kind = choose_device(device).type
    fast = has_fast_bfloat16() if kind == "cpu" else kind == "cuda" and torch.cuda.is_bf16_supported()
    return "bfloat16" if fast else "float32"


def choose_dtype(precision: str, device: str) -> torch.dtype:
    """The number format of weights and matrix products on a device.

    Raises:
        InputError: as ``settled``.
    """
    return torch.float32 if settled(precision, device) == "float32" else torch.bfloat16


def lower_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of matrix products and convolutions in place; norms, gates and embeddings stay float32.

    The residual stream stays float32 too (``linear`` casts what it is given), because trained encoders carry a few
    channels hundreds of times larger than the rest, which bfloat16 sums would round away.
    """
    for name, module in network.named_modules():
        # WavLM's gate has 8 outputs a head and moves every attention weight: nothing to gain, something to lose
        if isinstance(module, (nn.Linear, nn.Conv1d)) and not name.endswith("gru_rel_pos_linear"):
            module.to(dtype)


def linear(module: Any, x: Tensor) -> Tensor:
    """``module(x)`` in the format of the module's weights."""
    return functional.linear(x.to(module.weight.dtype), module.weight, module.bias)


def layer_norm(module: Any, x: Tensor) -> Tensor:
    """``module(x)`` with float32 statistics, in the format of ``x``."""
    # the CPU kernel takes bfloat16 input beside float32 weights and sums in float32
    if x.device.type == "cpu" or x.dtype == torch.float32:
        return functional.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)
    return module(x.float()).to(x.dtype)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: sums are then added up the same way on every machine of this kind."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
