"""Products with weights of 8 bits."""

from __future__ import annotations

import pytest
import torch

from speechssl.checkpoints.eight_bits import in_eight_bits


def test_products_are_off_by_a_hundredth() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 32), torch.randn(7, 64)
    found, expected = in_eight_bits(layer.weight, layer.bias)(x), layer(x).detach()
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_without_such_products_the_layer_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "quantize_per_channel")
    layer, x = torch.nn.Linear(64, 32), torch.randn(7, 64)
    torch.testing.assert_close(in_eight_bits(layer.weight, layer.bias)(x), layer(x).detach())
