"""The networks the recipe trains, and a faster way through them for training.

``make_network`` builds transformers' Wav2Vec2BertModel. ``speed_up`` replaces the way two of its parts are computed,
not what they compute (``tests/recipes/test_ssl_pretraining.py`` checks that): the relative-key bias is a product with
the few distinct distances and a shift in place of an (L, L, head) table, and convolutions of width one are linear maps.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZES: dict[str, dict[str, int]] = {
    "toy": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "tiny": {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 640},
    "small": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 768},
}
KERNEL = 15  # frames of 20 ms the depthwise convolution looks back


def make_network(size: str, *, dropout: float = 0.0) -> nn.Module:
    """Wav2Vec2BertModel on log-mel input, (B, T, 160) at 50 Hz; ``tiny`` has 6.8 M parameters."""
    from speechssl import checkpoints

    # a torchaudio that does not load must not end the recipe
    transformers = checkpoints.transformers()
    config = transformers.Wav2Vec2BertConfig(
        **SIZES[size],
        feature_projection_input_dim=160,
        conv_depthwise_kernel_size=KERNEL,
        position_embeddings_type="relative_key",
        left_max_position_embeddings=48,
        right_max_position_embeddings=48,
        hidden_dropout=dropout,
        attention_dropout=dropout,
        activation_dropout=dropout,
        feat_proj_dropout=0.0,
        conformer_conv_dropout=dropout,
        layerdrop=0.0,
        apply_spec_augment=False,
        mask_time_prob=0.0,
        add_adapter=False,
        use_intermediate_ffn_before_adapter=False,
        attn_implementation="eager",
    )
    return transformers.Wav2Vec2BertModel(config)


def speed_up(network: nn.Module) -> nn.Module:
    """Replace the slow computations of a Wav2Vec2BertModel by equal faster ones; returns the same network."""
    for layer in network.encoder.layers:  # type: ignore[union-attr]
        layer.self_attn.forward = types.MethodType(_attention, layer.self_attn)
        layer.conv_module.forward = types.MethodType(_convolution, layer.conv_module)
    return network


def partly(network: nn.Module, frames: Tensor, places: Tensor) -> Tensor:
    """Last hidden state (B, K, D) of a network that ``speed_up`` changed, hearing K frames of a recording alone.

    Attention counts the true distances. Convolutions hear zeros where a frame is absent.

    Args:
        frames: (B, K, C).
        places: (B, K) int64, rising, where they lie in the recording.
    """
    for layer in network.encoder.layers:  # type: ignore[union-attr]
        layer.self_attn.places = layer.conv_module.places = places
    try:
        hidden: Tensor = network(frames).last_hidden_state
        return hidden
    finally:
        for layer in network.encoder.layers:  # type: ignore[union-attr]
            layer.self_attn.places = layer.conv_module.places = None


def _attention(self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: Any) -> tuple[Tensor, None]:
    batch, length, width = hidden_states.shape
    query, key, value = (
        linear(hidden_states).view(batch, length, self.num_heads, self.head_size).transpose(1, 2)
        for linear in (self.linear_q, self.linear_k, self.linear_v)
    )  # (B, H, L, d) each
    table, left = self.distance_embedding.weight, self.left_max_position_embeddings
    places = getattr(self, "places", None)
    found = _relative_bias(query, table, left) if places is None else _bias_between(query, table, left, places)
    bias = found * self.scaling
    if attention_mask is not None:
        bias = bias + attention_mask
    mixed = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias.to(query.dtype), scale=self.scaling
    )
    return self.linear_out(mixed.transpose(1, 2).reshape(batch, length, width)), None


def _bias_between(query: Tensor, table: Tensor, left: int, places: Tensor) -> Tensor:
    """The same for keys and queries at ``places`` (B, L), which need not follow one another."""
    near = query @ table.to(query.dtype).T  # (B, H, L, left + 1 + right)
    distances = (places[:, None] - places[..., None]).clamp(-left, table.shape[0] - 1 - left) + left
    return near.gather(-1, distances[:, None].expand(-1, near.shape[1], -1, -1))


def _relative_bias(query: Tensor, table: Tensor, left: int) -> Tensor:
    """Products of queries (B, H, L, d) with the embedding of the clamped distance to every key, (B, H, L, L)."""
    batch, heads, length, _ = query.shape
    near = query @ table.to(query.dtype).T  # (B, H, L, left + 1 + right)
    right = table.shape[0] - 1 - left
    reach = length - 1
    parts = [
        near[..., :1].expand(-1, -1, -1, max(0, reach - left)),
        near,
        near[..., -1:].expand(-1, -1, -1, max(0, reach - right)),
    ]
    full = torch.cat(parts, -1)
    skip = max(0, left - reach)
    full = full[..., skip : skip + 2 * reach + 1]  # distances -(L-1) .. L-1
    if length == 1:
        return full
    # column r of row l is distance r - l: read the rows as one line and cut it anew one shorter
    line = full.reshape(batch, heads, -1)[..., reach : reach + length * 2 * reach]
    return line.view(batch, heads, length, 2 * reach)[..., :length]


def _convolution(self: Any, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
    hidden_states = self.layer_norm(hidden_states)
    if attention_mask is not None:
        hidden_states = hidden_states.masked_fill(~attention_mask.bool().unsqueeze(-1), 0.0)
    hidden_states = functional.glu(functional.linear(hidden_states, self.pointwise_conv1.weight.squeeze(-1)), -1)
    places = getattr(self, "places", None)
    if places is not None:
        where = places[..., None].expand_as(hidden_states)
        apart = hidden_states.new_zeros(len(places), int(places.max()) + 1, hidden_states.shape[-1])
        hidden_states = apart.scatter(1, where, hidden_states)
    padded = functional.pad(hidden_states.transpose(1, 2), (self.depthwise_conv.kernel_size[0] - 1, 0))
    hidden_states = self.depthwise_conv(padded).transpose(1, 2)
    hidden_states = hidden_states if places is None else hidden_states.gather(1, where)
    hidden_states = self.depthwise_layer_norm(hidden_states)
    hidden_states = functional.linear(self.activation(hidden_states), self.pointwise_conv2.weight.squeeze(-1))
    return self.dropout(hidden_states)
