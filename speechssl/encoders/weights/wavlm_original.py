"""Microsoft's own WavLM checkpoints: ``{"cfg": ..., "model": ...}`` under fairseq's names, as kNN-VC publishes them.

Source: github.com/microsoft/unilm, wavlm/WavLM.py (names and configuration; no code taken over).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from speechssl import checkpoints
from speechssl.encoders.network import TRANSFORMERS_EPSILON, Weights
from speechssl.errors import CheckpointError

# published files that are the same weights as a short name of ours
PUBLISHED = {"WavLM-Base.pt": "wavlm-base", "WavLM-Base+.pt": "wavlm-base-plus", "WavLM-Large.pt": "wavlm-large"}

# WavLM's configuration name: transformers'
_SIZES = {
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_layers": "num_hidden_layers",
    "encoder_attention_heads": "num_attention_heads",
    "activation_fn": "hidden_act",
    "layer_norm_first": "do_stable_layer_norm",
    "conv_bias": "conv_bias",
    "conv_pos": "num_conv_pos_embeddings",
    "conv_pos_groups": "num_conv_pos_embedding_groups",
    "num_buckets": "num_buckets",
    "max_distance": "max_bucket_distance",
}

_LAYER = r"encoder\.layers\.(\d+)\."
_CONV = r"feature_extractor\.conv_layers\.(\d+)\."

# a name of WavLM's: transformers'; what is not listed is refused
_NAMES = [
    (r"mask_emb", "masked_spec_embed"),
    (r"layer_norm\.(weight|bias)", r"feature_projection.layer_norm.\1"),
    (r"post_extract_proj\.(weight|bias)", r"feature_projection.projection.\1"),
    (_CONV + r"0\.(weight|bias)", r"feature_extractor.conv_layers.\1.conv.\2"),
    # a group norm stands alone, a layer norm between two transpositions
    (_CONV + r"2\.(?:1\.)?(weight|bias)", r"feature_extractor.conv_layers.\1.layer_norm.\2"),
    (r"encoder\.pos_conv\.0\.(weight_g|weight_v|bias)", r"encoder.pos_conv_embed.conv.\1"),
    (r"encoder\.layer_norm\.(weight|bias)", r"encoder.layer_norm.\1"),
    (_LAYER + r"self_attn\.([qkv]|out)_proj\.(weight|bias)", r"encoder.layers.\1.attention.\2_proj.\3"),
    (_LAYER + r"self_attn\.grep_linear\.(weight|bias)", r"encoder.layers.\1.attention.gru_rel_pos_linear.\2"),
    (_LAYER + r"self_attn\.grep_a", r"encoder.layers.\1.attention.gru_rel_pos_const"),
    (_LAYER + r"self_attn\.relative_attention_bias\.weight", r"encoder.layers.\1.attention.rel_attn_embed.weight"),
    (_LAYER + r"self_attn_layer_norm\.(weight|bias)", r"encoder.layers.\1.layer_norm.\2"),
    (_LAYER + r"fc1\.(weight|bias)", r"encoder.layers.\1.feed_forward.intermediate_dense.\2"),
    (_LAYER + r"fc2\.(weight|bias)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
    (_LAYER + r"final_layer_norm\.(weight|bias)", r"encoder.layers.\1.final_layer_norm.\2"),
]  # fmt: skip


def read(path: Path, *, name: str | None = None) -> Weights:
    """A WavLM checkpoint in Microsoft's layout.

    Args:
        path: the ``.pt`` file; read as plain tensors, code in it is never run.
        name: begins the origin; None gives ``wavlm-large`` and the like for the published file names, else the file's
            name with the fingerprint of its content.
    Raises:
        CheckpointError: no such file, another layout, unknown names, or a variant without gated relative positions.
    """
    content = checkpoints.load_pickle_tensors(path)
    parts = [content.get(key) for key in ("cfg", "model")] if isinstance(content, dict) else []
    if not parts or not all(isinstance(part, dict) for part in parts):
        found = ", ".join(map(str, list(content)[:5])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} holds {found}; an original WavLM checkpoint with 'cfg' and 'model' is needed. "
            "For a model of transformers give its folder, for one of ours its .safetensors file"
        )
    name = name or PUBLISHED.get(path.name)
    return Weights(
        name=name or f"{path.stem}@{checkpoints.fingerprint(path)[:8]}",
        source=str(path),
        config=convert_config(content["cfg"], source=str(path)),
        tensors=convert_names(content["model"], source=str(path)),
        # the original adds 1e-5; that matters below -50 dB only, and the origin is that of the hub's copy
        normalise=TRANSFORMERS_EPSILON if content["cfg"].get("normalize", False) else None,
        layer=6 if name == "wavlm-large" else None,
    )


def convert_config(cfg: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """transformers' configuration values.

    Raises:
        CheckpointError: an entry is missing, or the variant is not one transformers has.
    """
    if missing := [key for key in (*_SIZES, "conv_feature_layers", "extractor_mode") if key not in cfg]:
        raise CheckpointError(f"{source} has no {', '.join(missing)} in its 'cfg'; it is not a WavLM checkpoint")
    if not (cfg.get("relative_position_embedding") and cfg.get("gru_rel_pos")):
        raise CheckpointError(
            f"{source} is a WavLM without gated relative positions; no published one is, and none is supported"
        )
    dims, kernels, strides = zip(*_conv_layers(str(cfg["conv_feature_layers"]), source), strict=True)
    return {
        "model_type": "wavlm",
        **{ours: cfg[theirs] for theirs, ours in _SIZES.items()},
        "conv_dim": list(dims),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "num_feat_extract_layers": len(dims),
        "feat_extract_norm": "layer" if cfg["extractor_mode"] == "layer_norm" else "group",
    }


def convert_names(state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """The tensors under transformers' names.

    Raises:
        CheckpointError: a name that WavLM does not have.
    """
    converted = {name: _convert_name(name) for name in state}
    if unknown := [name for name, new in converted.items() if new is None]:
        raise CheckpointError(
            f"{source} holds {len(unknown)} tensors that WavLM does not have: {', '.join(unknown[:5])}"
        )
    return {str(new): state[name] for name, new in converted.items()}


def _convert_name(name: str) -> str | None:
    for pattern, replacement in _NAMES:
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return None


def _conv_layers(text: str, source: str) -> list[tuple[int, int, int]]:
    """``"[(512,10,5)] + [(512,3,2)] * 4"`` to (channels, kernel, stride) of each layer, without running it as code."""
    try:
        layers = _evaluate(ast.parse(text, mode="eval").body)
        return [(int(dim), int(kernel), int(stride)) for dim, kernel, stride in layers]
    except (SyntaxError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source} has conv_feature_layers {text!r}, which cannot be read") from error


def _evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _evaluate(node.left) + _evaluate(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _evaluate(node.left) * _evaluate(node.right)
    return ast.literal_eval(node)
