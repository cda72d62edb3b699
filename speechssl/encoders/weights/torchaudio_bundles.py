"""torchaudio's pipelines (``torchaudio:WAVLM_LARGE``): their weights under transformers' names.

Only the weights are torchaudio's. Its WavLM gave wrong inner layers for months (pytorch/audio issue 3347), so every
family runs through one network here, proven layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from speechssl import errors
from speechssl.encoders.network import Weights
from speechssl.errors import CheckpointError, InputError

PREFIX = "torchaudio:"
ADDRESS = "https://download.pytorch.org/torchaudio/models/"

# torchaudio normalises with layer_norm's default
EPSILON = 1e-5

_SIZES = {
    "encoder_embed_dim": "hidden_size",
    "encoder_ff_interm_features": "intermediate_size",
    "encoder_num_layers": "num_hidden_layers",
    "encoder_num_heads": "num_attention_heads",
    "encoder_layer_norm_first": "do_stable_layer_norm",
    "extractor_conv_bias": "conv_bias",
    "encoder_pos_conv_kernel": "num_conv_pos_embeddings",
    "encoder_pos_conv_groups": "num_conv_pos_embedding_groups",
    "encoder_num_buckets": "num_buckets",
    "encoder_max_distance": "max_bucket_distance",
}


def read(name: str) -> Weights:
    """A bundle by name, downloaded into torch's cache the first time.

    Args:
        name: ``torchaudio:`` and a bundle of ``torchaudio.pipelines``.
    Raises:
        InputError: no such bundle, or torchaudio is absent or broken.
        CheckpointError: the weights can be neither found in the cache nor downloaded.
    """
    with errors.importing("torchaudio", purpose=name):
        from torchaudio import pipelines

    bundle = getattr(pipelines, name.removeprefix(PREFIX), None)
    if not isinstance(bundle, pipelines.Wav2Vec2Bundle):
        known = sorted(key for key, value in vars(pipelines).items() if isinstance(value, pipelines.Wav2Vec2Bundle))
        raise InputError(f"{name}: torchaudio has no such encoder; it has {', '.join(known)}")
    return Weights(
        name=name,
        source=name,
        config=convert_config(bundle._params, wavlm=bundle._model_type == "WavLM"),
        tensors=convert_names(_download(ADDRESS + bundle._path)),
        normalise=EPSILON if bundle._normalize_waveform else None,
    )


def convert_config(params: Mapping[str, Any], *, wavlm: bool) -> dict[str, Any]:
    """transformers' configuration values; HuBERT is wav2vec 2.0 to torchaudio, and the networks are the same."""
    dims, kernels, strides = zip(*params["extractor_conv_layer_config"], strict=True)
    return {
        "model_type": "wavlm" if wavlm else "wav2vec2",
        **{ours: params[theirs] for theirs, ours in _SIZES.items() if theirs in params},
        "conv_dim": list(dims),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "num_feat_extract_layers": len(dims),
        "feat_extract_norm": "layer" if params["extractor_mode"] == "layer_norm" else "group",
    }


def convert_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under transformers' names: prefixes, and WavLM's joint projections taken apart."""
    converted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("aux."):
            # the letters of a recogniser
            continue
        name = name.replace("encoder.feature_projection.", "feature_projection.")
        name = name.replace("encoder.transformer.", "encoder.").replace(".attention.attention.", ".attention.")
        joint, _, kind = name.rpartition(".in_proj_")
        if joint:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                converted[f"{joint}.{letter}_proj.{kind}"] = part
        else:
            converted[name] = tensor
    return converted


def _download(address: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(address, map_location="cpu", weights_only=True)
    # urllib's errors are OSErrors; a damaged file raises almost anything
    except Exception as error:
        raise CheckpointError(
            f"cannot get {address} ({error}); connect to the internet once, or put the file into "
            f"{torch.hub.get_dir()}/checkpoints by hand"
        ) from error
    return state
