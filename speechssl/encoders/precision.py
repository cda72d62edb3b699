"""Devices and number formats: matrix products in float32 or bfloat16, sums and norms always in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Floats: TypeAlias = NDArray[np.float64]
    Integers: TypeAlias = NDArray[np.int64]
    Keys: TypeAlias = Tensor | NDArray[Any]

PRECISIONS = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA, else Apple's GPU, else the CPU.

    Raises:
        InputError: no such device here.
    """
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if usable[kind]))
    if not usable.get(name.split(":")[0], False):
        raise InputError(
            f"device {name!r} cannot be used here; "
            f"one of {', '.join(['auto', *(kind for kind, there in usable.items() if there)])} needed"
        )
    return torch.device(name)


def choose_dtype(precision: str) -> torch.dtype:
    """The number format of weights and matrix products.

    Raises:
        InputError: neither ``float32`` nor ``bfloat16``.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is unknown; one of {', '.join(PRECISIONS)} needed")
    return torch.float32 if precision == "float32" else torch.bfloat16


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
    return module(x.float()).to(x.dtype)  # type: ignore[no-any-return]


SINGLE, HALF = 2.0**-24, 2.0**-8  # unit roundoff of float32 and bfloat16


@lru_cache(maxsize=1)
def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively and adds the products up in float32, by trying."""
    import torch

    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if supported is None or not supported():
        return False
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(64, 4096, generator=generator).bfloat16()
    b = torch.randn(96, 4096, generator=generator).bfloat16()
    exact = a.double() @ b.double().T
    room = HALF * exact.abs() + 4096 * SINGLE * (a.double().abs() @ b.double().abs().T)
    return bool(((a @ b.T).double() - exact).abs().le(room).all())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: sums are then added up the same way on every machine of this kind."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
