"""How much float32 and bfloat16 round. Importing this module does not import PyTorch, which takes seconds."""

from __future__ import annotations

from functools import lru_cache

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
