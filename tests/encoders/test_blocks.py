"""Attention against slow oracles in float64, at lengths on both sides of the query chunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from speechssl.encoders.blocks import QUERY_CHUNK, ConformerTrunk, TransformerTrunk, relative_position_table

Array = NDArray[np.float64]
MakeModel = Callable[..., Any]

HEADS, DIM = 4, 32


def affine(module: Any, x: Array) -> Array:
    return x @ module.weight.double().numpy().T + module.bias.double().numpy()


def heads(x: Array) -> Array:
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def attend(scores: Array, values: Array) -> Array:
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = weights / weights.sum(-1, keepdims=True) @ values
    return mixed.transpose(1, 0, 2).reshape(mixed.shape[1], -1)


def bucket(distance: int, num_buckets: int, max_distance: int) -> int:
    """T5's buckets for one key minus query position: half of them for either sign, exact, then logarithmic."""
    half = num_buckets // 2
    base, size, exact = (half if distance > 0 else 0), abs(distance), half // 2
    if size < exact:
        return base + size
    ratio = math.log(size / exact) / math.log(max_distance / exact)
    return base + min(half - 1, exact + int(ratio * (half - exact)))


def gated_attention(attention: Any, x: Array) -> Array:
    """WavLM's attention, written from the paper, one pair of frames at a time."""
    q, k, v = (heads(affine(part, x)) for part in (attention.q_proj, attention.k_proj, attention.v_proj))
    table = attention.rel_attn_embed.weight.double().numpy()
    constant = attention.gru_rel_pos_const.double().numpy().reshape(-1)
    bias = np.empty((HEADS, len(x), len(x)))
    for i in range(len(x)):
        for h in range(HEADS):
            own = affine(attention.gru_rel_pos_linear, heads(x)[h, i])
            update, reset = 1 / (1 + np.exp(-own[:4].sum())), 1 / (1 + np.exp(-own[4:].sum()))
            gate = update * (reset * constant[h] - 1) + 2
            for j in range(len(x)):
                row = bucket(j - i, attention.num_buckets, attention.max_distance)
                bias[h, i, j] = gate * table[row, h]
    return affine(attention.out_proj, attend(q @ k.transpose(0, 2, 1) / math.sqrt(DIM // HEADS) + bias, v))


@pytest.mark.parametrize("num_frames", [1, 2, 37, QUERY_CHUNK + 1])
def test_gated_attention_equals_oracle(num_frames: int, make_model: MakeModel) -> None:
    model = make_model("wavlm-large", num_buckets=20, max_bucket_distance=30)
    trunk, attention = TransformerTrunk(model.encoder, stable=True), model.encoder.layers[0].attention
    x = torch.randn(num_frames, DIM, generator=torch.Generator().manual_seed(1))
    got = trunk._attend(attention, x, relative_position_table(attention, num_frames))
    np.testing.assert_allclose(got.numpy(), gated_attention(attention, x.double().numpy()), atol=2e-5)


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(320, 800), (32, 128), (20, 30)])
def test_position_table_equals_oracle(num_buckets: int, max_distance: int, make_model: MakeModel) -> None:
    model = make_model("wavlm-base", num_buckets=num_buckets, max_bucket_distance=max_distance)
    attention = model.encoder.layers[0].attention
    table = relative_position_table(attention, 1500)
    assert table.shape == (HEADS, 2999)
    # at distances where the logarithm is a whole number, single and double precision may fall on different sides
    rows = [bucket(distance, num_buckets, max_distance) for distance in range(-1499, 1500)]
    same = (table == attention.rel_attn_embed.weight[rows].T).all(0)
    assert same.float().mean() > 0.998


@pytest.mark.parametrize(
    ("num_frames", "num_valid"), [(1, 1), (2, 1), (40, 40), (41, 40), (QUERY_CHUNK + 3, QUERY_CHUNK + 2)]
)
def test_relative_key_attention_equals_oracle(num_frames: int, num_valid: int, make_model: MakeModel) -> None:
    model = make_model("w2v-bert")
    trunk, attention = ConformerTrunk(model.encoder), model.encoder.layers[0].self_attn
    x = torch.randn(num_frames, DIM, generator=torch.Generator().manual_seed(1))
    got = trunk._attend(attention, x, num_valid)
    wide = x.double().numpy()
    q, k, v = (heads(affine(part, wide)) for part in (attention.linear_q, attention.linear_k, attention.linear_v))
    distance = np.clip(np.arange(num_valid)[None] - np.arange(num_frames)[:, None], -8, 5) + 8
    embedded = attention.distance_embedding.weight.double().numpy()[distance]
    scores = q @ k[:, :num_valid].transpose(0, 2, 1) + np.einsum("hid,ijd->hij", q, embedded)
    expected = affine(attention.linear_out, attend(scores / math.sqrt(DIM // HEADS), v[:, :num_valid]))
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-5)
