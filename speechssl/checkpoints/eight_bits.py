"""Products with weights of 8 bits, for networks that run on a few frames at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def in_eight_bits(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """A linear layer whose weights (O, I) and input are rounded to 8 bits, for a few frames at a time on the CPU.

    What so few frames cost is the reading of the weights: a quarter of it is left. Where PyTorch cannot multiply so,
    the layer is as precise as its weights.
    """
    import torch
    from torch.nn import functional

    weight, bias = weight.detach().float(), bias.detach().float()
    try:
        with warnings.catch_warnings():
            # such tensors will once be made another way
            warnings.simplefilter("ignore")
            scales = (weight.abs().amax(1) / 127).clamp(min=1e-8)
            zeros = torch.zeros(len(weight), dtype=torch.long)
            rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            packed = torch.ops.quantized.linear_prepack(rounded, bias)
    except (RuntimeError, AttributeError):
        return lambda x: functional.linear(x, weight, bias)
    return lambda x: torch.ops.quantized.linear_dynamic(x.contiguous(), packed, True)
