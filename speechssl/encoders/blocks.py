"""The transformers behind the front ends: blocks 1 to l on one window, on weights held by transformers' own modules.

The arithmetic is that of transformers, arranged to cost less: attention is fused and its position bias is made from
one row per head, for a few queries at a time, instead of being stored for every pair of frames in every layer.
Windows are run one by one. A batch would be faster on a GPU, but the kernels chosen for another batch size round
differently, and unit ids must not depend on what else was in the batch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechssl.encoders.precision import layer_norm, linear

# query frames whose position bias is held at once: 50 MB with 16 heads and a window of 3000
QUERY_CHUNK = 256


class Trunk(Protocol):
    """Projected frames (N, D) of one window to hidden states (N, D), float32."""

    @property
    def blocks(self) -> list[Any]:
        """The modules of the blocks built."""

    def __call__(self, frames: Tensor, *, num_valid: int) -> Tensor:
        """The state after the last block built."""
        return last(self.states(frames, num_valid=num_valid))

    def states(self, frames: Tensor, *, num_valid: int) -> Iterator[Tensor]:
        """The input of the first block, and the state after each block; the last is that of a call."""


class TransformerTrunk(Trunk):
    """Blocks of wav2vec 2.0, HuBERT, data2vec-audio, UniSpeech-SAT and WavLM.

    Args:
        encoder: transformers' ``encoder`` with the blocks that are needed.
        stable: whether norms come before attention and feed-forward (``do_stable_layer_norm``).
    """

    def __init__(self, encoder: nn.Module, *, stable: bool) -> None:
        self._encoder: Any = encoder
        self._stable = stable
        layers: list[Any] = list(encoder.layers)  # type: ignore[arg-type]
        self._layers = layers
        self._gated = bool(layers) and hasattr(layers[0].attention, "gru_rel_pos_linear")

    @property
    def blocks(self) -> list[Any]:
        """The modules of the blocks."""
        return self._layers

    def states(self, frames: Tensor, *, num_valid: int) -> Iterator[Tensor]:
        """Hidden states (N, D) from the input of the first block on; all frames are valid."""
        embed: Any = self._encoder.pos_conv_embed
        dtype = next(embed.parameters()).dtype
        x: Tensor = frames + embed(frames.to(dtype)[None])[0].float()
        if not self._stable:
            x = layer_norm(self._encoder.layer_norm, x)
        bias = relative_position_table(self._layers[0].attention, len(x)) if self._gated else None
        yield x
        for block in self._layers:
            x = self._pre_norm(block, x, bias) if self._stable else self._post_norm(block, x, bias)
            yield x

    def _pre_norm(self, layer: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        x = x + self._attend(layer.attention, layer_norm(layer.layer_norm, x), bias)
        return x + _feed_forward(layer.feed_forward, layer_norm(layer.final_layer_norm, x))

    def _post_norm(self, layer: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        x = layer_norm(layer.layer_norm, x + self._attend(layer.attention, x, bias))
        return layer_norm(layer.final_layer_norm, x + _feed_forward(layer.feed_forward, x))

    def _attend(self, attention: Any, x: Tensor, table: Tensor | None) -> Tensor:
        if table is None:
            return attend(attention, x, attention.num_heads)
        q, k, v = (
            heads(linear(projection, x), attention.num_heads)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mixed = _gated_attention(q, k, v, table, _gate(attention, x))
        return linear(attention.out_proj, join(mixed)).float()


class ConformerTrunk(Trunk):
    """Blocks of w2v-BERT 2.0: half feed-forward, attention, causal convolution, half feed-forward, norm.

    Args:
        encoder: transformers' ``encoder`` with the blocks that are needed; its position embeddings are ``relative_key``
            or none.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self._layers: list[Any] = list(encoder.layers)  # type: ignore[arg-type]

    @property
    def blocks(self) -> list[Any]:
        """The modules of the blocks."""
        return self._layers

    def states(self, frames: Tensor, *, num_valid: int) -> Iterator[Tensor]:
        """Hidden states (N, D) from the input of the first block on; none attends to frames from ``num_valid`` on."""
        x = frames.clone()
        x[num_valid:] = 0.0
        yield x
        for layer in self._layers:
            x = x + 0.5 * _feed_forward(layer.ffn1, layer_norm(layer.ffn1_layer_norm, x))
            x = x + self._attend(layer.self_attn, layer_norm(layer.self_attn_layer_norm, x), num_valid)
            x = x + _convolve(layer.conv_module, x, num_valid)
            x = x + 0.5 * _feed_forward(layer.ffn2, layer_norm(layer.ffn2_layer_norm, x))
            x = layer_norm(layer.final_layer_norm, x)
            yield x

    def _attend(self, attention: Any, x: Tensor, num_valid: int) -> Tensor:
        q, k, v = (
            heads(linear(projection, x), attention.num_heads)
            for projection in (attention.linear_q, attention.linear_k, attention.linear_v)
        )
        k, v = k[:, :num_valid], v[:, :num_valid]
        if attention.position_embeddings_type is None:
            mixed = _fused_attention(q, k, v)
        else:
            mixed = _relative_key_attention(q, k, v, attention)
        return linear(attention.linear_out, join(mixed)).float()


class ProjectedTrunk(Trunk):
    """A trunk with a linear projection behind it, which a fine-tuned encoder has learnt with its last block.

    Args:
        trunk: of the blocks up to the last.
        projection: from their width to the numbers of a frame.
    """

    def __init__(self, trunk: Trunk, projection: nn.Linear) -> None:
        # by these names files know the weights, see ``fingerprints``
        self._trunk, self._projection = trunk, projection

    @property
    def trunk(self) -> Trunk:
        """The blocks up to the last."""
        return self._trunk

    @property
    def projection(self) -> nn.Linear:
        """The layer behind them."""
        return self._projection

    @property
    def blocks(self) -> list[Any]:
        """The modules of the blocks."""
        return self.trunk.blocks

    def states(self, frames: Tensor, *, num_valid: int) -> Iterator[Tensor]:
        """Hidden states (N, D) up to the last block, whose state is the keys (N, K)."""
        for number, state in enumerate(self.trunk.states(frames, num_valid=num_valid)):
            yield linear(self.projection, state).float() if number == len(self.blocks) else state


def last(states: Iterator[Tensor]) -> Tensor:
    """The last state; those before it are let go of."""
    return deque(states, maxlen=1)[0]


def attend(attention: Any, x: Tensor, num_heads: int) -> Tensor:
    """Plain self-attention (N, D) of modules ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj``."""
    q, k, v = (
        heads(linear(projection, x), num_heads) for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return linear(attention.out_proj, join(_fused_attention(q, k, v))).float()


def relative_position_table(attention: Any, num_frames: int) -> Tensor:
    """WavLM's position bias (H, 2 N - 1) by key minus query position, from -(N - 1) to N - 1.

    Source: Chen et al. 2022, arXiv:2110.13900, equations 4 and 5 (T5 buckets).
    """
    embedding = attention.rel_attn_embed.weight
    distance = torch.arange(1 - num_frames, num_frames, device=embedding.device)
    # on the CPU for every device, because logarithms at the edges of buckets must fall on the same side everywhere
    buckets = attention._relative_positions_bucket(distance.cpu()[None])[0].to(embedding.device)
    return embedding[buckets].T.float().contiguous()


def _gate(attention: Any, x: Tensor) -> Tensor:
    """WavLM's gate (H, N) on the position bias, from the input of the attention."""
    x = heads(x, attention.num_heads)  # (H, N, D / H)
    parts = linear(attention.gru_rel_pos_linear, x).float()
    update, reset = parts.reshape(*parts.shape[:-1], 2, 4).sum(-1).sigmoid().unbind(-1)
    return update * (reset * attention.gru_rel_pos_const.reshape(-1, 1) - 1.0) + 2.0


def _gated_attention(q: Tensor, k: Tensor, v: Tensor, table: Tensor, gate: Tensor) -> Tensor:
    """Attention (H, N, d) with bias[h, i, j] = gate[h, i] * table[h, j - i + N - 1]."""
    # rows of the bias are excerpts of the table that move left as the query moves right; strides cannot be negative,
    # so the queries run backwards
    rows = table.unfold(1, q.shape[1], 1)
    q, gate = q.flip(1), gate.flip(1)
    return _chunked(q, k, v, lambda part: rows[:, part] * gate[:, part, None]).flip(1)


def _relative_key_attention(q: Tensor, k: Tensor, v: Tensor, attention: Any) -> Tensor:
    """Attention (H, N, d) with bias[h, i, j] = q[h, i] . E[clamp(j - i, -L, R) + L] / sqrt(d)."""
    left, right = attention.left_max_position_embeddings, attention.right_max_position_embeddings
    by_distance = (q @ attention.distance_embedding.weight.to(q.dtype).T).float() / math.sqrt(q.shape[-1])
    positions = torch.arange(q.shape[1], device=q.device)

    def bias(part: slice) -> Tensor:
        distance = (positions[None, : k.shape[1]] - positions[part, None]).clamp(-left, right) + left
        return by_distance[:, part].gather(2, distance.expand(len(q), -1, -1))

    return _chunked(q, k, v, bias)


def _chunked(q: Tensor, k: Tensor, v: Tensor, bias: Callable[[slice], Tensor]) -> Tensor:
    """Attention (H, N, d) whose bias (H, n, M), float32, is made for ``QUERY_CHUNK`` queries at a time."""
    return torch.cat([_fused_attention(q[:, part], k, v, bias(part)) for part in _parts(q.shape[1])], dim=1)


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, min(start + QUERY_CHUNK, length)) for start in range(0, length, QUERY_CHUNK))


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(d) + bias) v for (H, N, d), (H, M, d), (H, M, d)."""
    dtype = q.dtype
    if bias is not None and q.device.type == "cpu":
        # a bias in bfloat16 would be off by several percent where it is large, and costs the CPU more
        q, k, v = q.float(), k.float(), v.float()
    elif bias is not None:
        bias = bias.to(q.dtype)
    mask = None if bias is None else bias[None]
    return functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0].to(dtype)


def heads(x: Tensor, num_heads: int) -> Tensor:
    """(N, H * d) to (H, N, d)."""
    return x.reshape(len(x), num_heads, -1).transpose(0, 1)


def join(x: Tensor) -> Tensor:
    """(H, N, d) to (N, H * d)."""
    return x.transpose(0, 1).flatten(1)


def _feed_forward(module: Any, x: Tensor) -> Tensor:
    return linear(module.output_dense, module.intermediate_act_fn(linear(module.intermediate_dense, x))).float()


def _convolve(module: Any, x: Tensor, num_valid: int) -> Tensor:
    """The convolution module (N, D) of a conformer block; it looks back only."""
    x = layer_norm(module.layer_norm, x)
    x[num_valid:] = 0.0
    depthwise = module.depthwise_conv
    x = functional.glu(_pointwise(module.pointwise_conv1, x), dim=-1)
    x = depthwise(functional.pad(x.T, (depthwise.kernel_size[0] - 1, 0))[None])[0].T
    x = module.activation(layer_norm(module.depthwise_layer_norm, x))
    return _pointwise(module.pointwise_conv2, x).float()


def _pointwise(conv: Any, x: Tensor) -> Tensor:
    """A convolution with kernel 1 over (N, D), as the matrix product it is."""
    return functional.linear(x.to(conv.weight.dtype), conv.weight[:, :, 0], conv.bias)
