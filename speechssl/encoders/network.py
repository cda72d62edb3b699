"""Weights of any source, under transformers' key names, to an encoder of the first ``layer`` blocks.

Every importer gives ``Weights``; here the keys are checked against the architecture, one by one, and only what the
layer needs is built.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from speechssl import checkpoints, errors
from speechssl.checkpoints.names import some
from speechssl.encoders.blocks import ConformerTrunk, ProjectedTrunk, TransformerTrunk, Trunk
from speechssl.encoders.encoder import GRID, SSLEncoder
from speechssl.encoders.frontends import ConvFrontEnd, FrontEnd, LogMelFrontEnd
from speechssl.encoders.precision import lower_weights
from speechssl.encoders.whisper import WhisperConfig, WhisperFrontEnd, WhisperNetwork, WhisperTrunk
from speechssl.encoders.windows import Grid
from speechssl.errors import CheckpointError, InputError

# transformers' model_type, and what it puts before the keys of the network when a head sits on top
FAMILIES = {
    "wavlm": "wavlm.",
    "hubert": "hubert.",
    "wav2vec2": "wav2vec2.",
    "wav2vec2-bert": "wav2vec2_bert.",
    "data2vec-audio": "data2vec_audio.",
    "unispeech-sat": "unispeech_sat.",
    "whisper": "encoder.",
}

# those that hear log-mel bands and not the waveform
LOG_MEL = ("wav2vec2-bert", "whisper")

# what published checkpoints carry beside the network: heads of pre-training and fine-tuning
HEADS = (
    "lm_head.", "quantizer.", "project_hid.", "project_q.", "final_proj.", "speaker_proj.", "layer_norm_for_extract.",
    "classifier.", "projector.", "layer_weights", "tdnn.", "objective.", "label_embs_concat", "label_embeddings_concat",
    "decoder.", "proj_out.",
)  # fmt: skip

TRANSFORMERS_EPSILON = 1e-7  # Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm


@dataclass(frozen=True, eq=False)
class Weights:
    """A network as an importer found it.

    Args:
        name: what the origin of its features begins with.
        source: file, folder or address for messages.
        config: transformers' configuration values, ``model_type`` included.
        tensors: by transformers' key names.
        normalise: epsilon of its own input normalisation, None for none (and for log-mel input).
        layer: the layer its publisher recommends, if any.
        origin: of the recommended layer, where the file itself states it.
        grid: how long audio is cut for it.
        projection: weight (K, D) and bias (K,) behind the last block of a fine-tuned encoder, whose frames have K
            numbers.
    """

    name: str
    source: str
    config: dict[str, Any]
    tensors: Mapping[str, Tensor]
    normalise: float | None
    layer: int | None = None
    origin: str | None = None
    grid: Grid = GRID
    projection: tuple[Tensor, Tensor] | None = None


def build(
    weights: Weights, *, layer: int | None, device: torch.device, dtype: torch.dtype, normalise: bool | None = None
) -> SSLEncoder:
    """The encoder of one layer.

    Args:
        weights: from an importer.
        layer: 0 (input of the first block) to the number of blocks; None for the recommended one.
        device: where it runs.
        dtype: of weights and matrix products.
        normalise: whether the waveform is normalised; None for the network's own way.
    Raises:
        InputError: no such layer, no recommended layer, or ``normalise`` with log-mel input.
        CheckpointError: an architecture that is not known here, missing, unexpected or wrongly shaped tensors.
    """
    config = read_config(weights)
    layer = _choose_layer(weights, layer, config.num_hidden_layers)
    tensors = _checked(weights, config)
    network = _truncated(config, layer)
    _load(network, tensors, weights.source)
    lower_weights(network, dtype)
    network.to(device)
    epsilon, suffix = _normalisation(weights, normalise, logmel=config.model_type in LOG_MEL)
    projection = _projection(weights, config, device, dtype) if layer == config.num_hidden_layers else None
    front_end, trunk = _parts(network, config, epsilon, finish=projection is not None)
    # a file states the origin of its own layer
    stated = {weights.layer: weights.origin} if weights.origin is not None and not suffix else {}
    origins = tuple(stated.get(number, f"{weights.name}/{number}{suffix}") for number in range(layer + 1))
    return SSLEncoder(
        origin=origins[-1],
        dim=config.hidden_size if projection is None else projection.out_features,
        layer=layer,
        num_layers=config.num_hidden_layers,
        front_end=front_end,
        trunk=trunk if projection is None else ProjectedTrunk(trunk, projection),
        grid=_fitting_grid(weights, config),
        origins=origins,
    )


def untrained(weights: Weights, *, seed: int = 0) -> Weights:
    """The same network with the random weights that transformers would begin a training from.

    Returns:
        Weights of the name ``untrained:NAME``, which recommend the same layer.
    Raises:
        CheckpointError: an architecture that is not known here.
    """
    read_config(weights)  # refuses what is not known here
    library = checkpoints.transformers()
    config = library.AutoConfig.for_model(**weights.config)
    build: Any = library.AutoModel.from_config
    if config.model_type == "whisper":
        # transformers names no model that is the encoder alone
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as build
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(config)
        head = weights.projection
        projection = None if head is None else nn.Linear(head[0].shape[1], head[0].shape[0])
    return replace(
        weights,
        name=f"untrained:{weights.name}",
        tensors=network.state_dict(),
        origin=None,
        projection=None if projection is None else (projection.weight.detach(), projection.bias.detach()),
    )


def _parts(network: Any, config: Any, epsilon: float | None, *, finish: bool) -> tuple[FrontEnd, Trunk]:
    if config.model_type == "whisper":
        return WhisperFrontEnd(network), WhisperTrunk(network, finish=finish)
    if config.model_type == "wav2vec2-bert":
        return LogMelFrontEnd(network.feature_projection), ConformerTrunk(network.encoder)
    front_end = ConvFrontEnd(network.feature_extractor, network.feature_projection, normalise=epsilon)
    return front_end, TransformerTrunk(network.encoder, stable=getattr(config, "do_stable_layer_norm", False))


def _projection(weights: Weights, config: Any, device: torch.device, dtype: torch.dtype) -> nn.Linear | None:
    if weights.projection is None:
        return None
    weight, bias = (part.to(torch.float32, copy=True) for part in weights.projection)
    if weight.ndim != 2 or weight.shape[1] != config.hidden_size or bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"{weights.source} has a projection of shapes {tuple(weight.shape)} and {tuple(bias.shape)}; "
            f"(K, {config.hidden_size}) and (K,) needed"
        )
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return linear.requires_grad_(False).to(device, dtype)


def _fitting_grid(weights: Weights, config: Any) -> Grid:
    positions = getattr(config, "max_source_positions", None)
    if config.model_type == "whisper" and positions is not None and weights.grid.window > positions:
        raise CheckpointError(
            f"{weights.source} has windows of {weights.grid.window} frames; its network knows {positions} positions"
        )
    return weights.grid


def read_config(weights: Weights) -> Any:
    """transformers' configuration object; for Whisper the sizes of its encoder, without importing transformers.

    Raises:
        CheckpointError: a family or variant that is not known here.
    """
    family = weights.config.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(
            f"{weights.source} is a model of type {family!r}; one of {', '.join(FAMILIES)} needed for an encoder"
        )
    if family == "whisper":
        try:
            return WhisperConfig.read(weights.config)
        except CheckpointError as error:
            raise CheckpointError(f"the configuration of {weights.source} cannot be used: {error}") from error
    library = checkpoints.transformers()
    try:
        config = library.AutoConfig.for_model(**weights.config)
        # without memory for weights; finds values that do not go together
        _network(config)
    # a library that does not load is no fault of the file
    except (ImportError, OSError, MemoryError, InputError):
        raise
    # transformers checks values in ways of its own
    except Exception as error:
        raise CheckpointError(f"the configuration of {weights.source} cannot be used: {error}") from error
    positions = getattr(config, "position_embeddings_type", "relative_key")
    if positions not in ("relative_key", None):
        raise CheckpointError(
            f"{weights.source} has position embeddings {positions!r}; only 'relative_key' is supported"
        )
    if getattr(config, "adapter_attn_dim", None) is not None:
        raise CheckpointError(f"{weights.source} has language adapters in its blocks; merge or remove them first")
    return config


def _choose_layer(weights: Weights, layer: int | None, num_layers: int) -> int:
    chosen = weights.layer if layer is None else layer
    if chosen is None:
        raise InputError(f"{weights.name} has no recommended layer; say which, from 0 to {num_layers}")
    if not 0 <= chosen <= num_layers:
        raise InputError(f"{weights.name} has no layer {chosen}; 0 to {num_layers} needed")
    return chosen


def _normalisation(weights: Weights, normalise: bool | None, *, logmel: bool) -> tuple[float | None, str]:
    """Epsilon of the input normalisation, and what it adds to the origin where it is not the network's own."""
    if logmel and normalise is not None:
        raise InputError(f"{weights.name} takes log-mel energies; normalising the waveform is not a choice with it")
    if normalise is None or normalise == (weights.normalise is not None):
        return weights.normalise, ""
    return (TRANSFORMERS_EPSILON, "/normalised") if normalise else (None, "/raw")


def _network(config: Any) -> Any:
    """The network without memory behind its weights, its weight norms resolved."""
    if isinstance(config, WhisperConfig):
        with torch.device("meta"):
            return WhisperNetwork(config).eval()
    library = checkpoints.transformers()
    with errors.importing("transformers"):
        # the network's module is imported here: below, constants of what it imports would be without data for everybody
        _ = library.MODEL_MAPPING[type(config)]
    with torch.device("meta"):
        network: Any = library.AutoModel.from_config(config)
    for module in network.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return network.eval()


def _truncated(config: Any, layer: int) -> Any:
    """The network up to one block, without what a hidden state does not pass through."""
    config = copy.deepcopy(config)
    config.num_hidden_layers, config.add_adapter = layer, False
    network = _network(config)
    if getattr(config, "do_stable_layer_norm", False):
        # the final norm
        network.encoder.layer_norm = nn.Identity()
    for unused in ("masked_spec_embed", "intermediate_ffn", "adapter"):
        if getattr(network, unused, None) is not None:
            setattr(network, unused, None)
    return network


def _checked(weights: Weights, config: Any) -> dict[str, Tensor]:
    """The tensors under the bare network's names, after refusing what the whole architecture does not have."""
    prefix = FAMILIES[config.model_type]
    # Whisper's encoder lies two levels deep in the whole model
    outer = "model." if config.model_type == "whisper" else ""
    bare = {name.removeprefix(outer).removeprefix(prefix): tensor for name, tensor in weights.tensors.items()}
    headless = {name: tensor for name, tensor in bare.items() if not name.startswith(HEADS)}
    tensors = checkpoints.without_weight_norm(headless, keep=2)
    expected = {*_network(config).state_dict(), "masked_spec_embed"}
    if unexpected := sorted(set(tensors) - expected):
        raise CheckpointError(
            f"{weights.source} holds {len(unexpected)} tensors that a {config.model_type} of its configuration does "
            f"not have: {some(unexpected)}; give the weights that belong to the configuration"
        )
    return tensors


def _load(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    # copies: the file may be mapped, in half precision, or go away
    needed = {name: tensors[name].to(torch.float32, copy=True) for name in network.state_dict() if name in tensors}
    checkpoints.load_state(network, needed, source=source, assign=True)
    network.requires_grad_(False)
