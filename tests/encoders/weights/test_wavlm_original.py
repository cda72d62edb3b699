"""Microsoft's layout: brought into it from transformers' by an independent map, run by an oracle, and imported back."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from speechssl import encoders
from speechssl.encoders.weights import wavlm_original
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform

MakeModel = Callable[..., Any]
MakeWaveform = Callable[..., Waveform]
HiddenStates = Callable[..., list[Tensor]]


def original_cfg(config: Any) -> dict[str, Any]:
    """What ``cfg`` of a published file holds, strings and training options included."""
    layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    return {
        "extractor_mode": "layer_norm" if config.feat_extract_norm == "layer" else "default",
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "activation_fn": "gelu",
        "layer_norm_first": config.do_stable_layer_norm,
        "conv_feature_layers": " + ".join(f"[({dim},{kernel},{stride})]" for dim, kernel, stride in layers),
        "conv_bias": config.conv_bias,
        "feature_grad_mult": 1.0,
        "normalize": config.feat_extract_norm == "layer",
        "dropout": 0.0,
        "mask_prob": 0.8,
        "conv_pos": config.num_conv_pos_embeddings,
        "conv_pos_groups": config.num_conv_pos_embedding_groups,
        "relative_position_embedding": True,
        "num_buckets": config.num_buckets,
        "max_distance": config.max_bucket_distance,
        "gru_rel_pos": True,
    }


def original_state(model: Any) -> dict[str, Tensor]:
    """transformers' names to fairseq's, by plain replacements."""
    norm = r"\1.2.1." if model.config.feat_extract_norm == "layer" else r"\1.2."
    state = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("masked_spec_embed", "mask_emb").replace("feature_projection.layer_norm", "layer_norm")
        name = name.replace("feature_projection.projection", "post_extract_proj")
        name = re.sub(r"(conv_layers\.\d)\.conv\.", r"\1.0.", name)
        name = re.sub(r"(conv_layers\.\d)\.layer_norm\.", norm, name)
        name = name.replace("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g")
        name = name.replace("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v")
        name = name.replace("pos_conv_embed.conv.bias", "pos_conv.0.bias")
        name = re.sub(r"(layers\.\d\.)layer_norm", r"\1self_attn_layer_norm", name)
        name = name.replace("feed_forward.intermediate_dense", "fc1").replace("feed_forward.output_dense", "fc2")
        name = name.replace("gru_rel_pos_linear", "grep_linear").replace("gru_rel_pos_const", "grep_a")
        name = name.replace("rel_attn_embed", "relative_attention_bias").replace(".attention.", ".self_attn.")
        state[name] = tensor
    return state


def save(model: Any, path: Path, **changes: Any) -> Path:
    torch.save({"cfg": original_cfg(model.config) | changes, "model": original_state(model)}, path)
    return path


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)


def oracle_front(state: dict[str, Tensor], cfg: dict[str, Any], x: Tensor) -> Tensor:
    for i, (_, _, stride) in enumerate(eval_layers(cfg["conv_feature_layers"])):
        key = f"feature_extractor.conv_layers.{i}"
        x = functional.conv1d(x, state[f"{key}.0.weight"], state.get(f"{key}.0.bias"), stride)
        if cfg["extractor_mode"] == "layer_norm":
            x = norm(state, f"{key}.2.1", x.T).T
        elif i == 0:
            x = (x - x.mean(1, True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            x = x * state[f"{key}.2.weight"][:, None] + state[f"{key}.2.bias"][:, None]
        x = functional.gelu(x)
    x = linear(state, "post_extract_proj", norm(state, "layer_norm", x.T))
    v, g = state["encoder.pos_conv.0.weight_v"], state["encoder.pos_conv.0.weight_g"]
    kernel = g * v / v.square().sum((0, 1), keepdim=True).sqrt()
    kernel_size, bias = v.shape[2], state["encoder.pos_conv.0.bias"]
    shifted = functional.conv1d(x.T, kernel, bias, padding=kernel_size // 2, groups=cfg["conv_pos_groups"])
    return x + functional.gelu(shifted[:, : len(x)]).T


def eval_layers(text: str) -> list[tuple[int, int, int]]:
    return [tuple(map(int, part.split(","))) for part in re.findall(r"\(([\d,]+)\)", text)]  # type: ignore[misc]


def oracle_attention(state: dict[str, Tensor], cfg: dict[str, Any], key: str, x: Tensor) -> Tensor:
    heads = cfg["encoder_attention_heads"]
    q, k, v = (linear(state, f"{key}.{p}_proj", x).reshape(len(x), heads, -1).transpose(0, 1) for p in "qkv")
    half = cfg["num_buckets"] // 2
    offset = torch.arange(len(x))[None] - torch.arange(len(x))[:, None]
    # single precision, as the published code has it
    log = (offset.abs().float() / (half // 2)).log() / math.log(cfg["max_distance"] / (half // 2)) * (half - half // 2)
    large = (half // 2 + log.clamp(min=-1e3)).long().clamp(max=half - 1)
    buckets = torch.where(offset.abs() < half // 2, offset.abs(), large) + (offset > 0) * half
    bias = state["encoder.layers.0.self_attn.relative_attention_bias.weight"][buckets].permute(2, 0, 1)
    gates = linear(state, f"{key}.grep_linear", x.reshape(len(x), heads, -1).transpose(0, 1))
    gates = gates.reshape(heads, len(x), 2, 4).sum(-1).sigmoid()
    gate = gates[..., :1] * (gates[..., 1:] * state[f"{key}.grep_a"][0] - 1.0) + 2.0
    weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + gate * bias).softmax(-1)
    return linear(state, f"{key}.out_proj", (weights @ v).transpose(0, 1).reshape(len(x), -1))


def oracle(model: Any, samples: Tensor) -> list[Tensor]:
    """Every hidden state in float64, written against Microsoft's names and description."""
    cfg = original_cfg(model.config)
    state = {name: tensor.double() for name, tensor in original_state(model).items()}
    x = samples.double()
    if cfg["normalize"]:
        x = (x - x.mean()) / (x.var(unbiased=False) + 1e-7).sqrt()
    x = oracle_front(state, cfg, x[None])
    if not cfg["layer_norm_first"]:
        x = norm(state, "encoder.layer_norm", x)
    states = [x]
    for i in range(cfg["encoder_layers"]):
        key = f"encoder.layers.{i}"
        first, last = f"{key}.self_attn_layer_norm", f"{key}.final_layer_norm"
        if cfg["layer_norm_first"]:
            x = x + oracle_attention(state, cfg, f"{key}.self_attn", norm(state, first, x))
            x = x + linear(state, f"{key}.fc2", functional.gelu(linear(state, f"{key}.fc1", norm(state, last, x))))
        else:
            x = norm(state, first, x + oracle_attention(state, cfg, f"{key}.self_attn", x))
            x = norm(state, last, x + linear(state, f"{key}.fc2", functional.gelu(linear(state, f"{key}.fc1", x))))
        states.append(x)
    return states


@pytest.mark.parametrize("name", ["wavlm-base", "wavlm-large"])
def test_every_layer_equals_transformers_and_the_oracle(
    name: str, make_model: MakeModel, make_waveform: MakeWaveform, hidden_states: HiddenStates, tmp_path: Path
) -> None:
    model, waveform = make_model(name), make_waveform(20_000)
    path = save(model, tmp_path / "checkpoint.pt")
    theirs = hidden_states(model, waveform.samples, normalise=name == "wavlm-large")
    slow = oracle(model, waveform.samples)
    assert len(theirs) == len(slow) == 4
    for layer in range(4):
        got = encoders.load(path, layer=layer, device="cpu", name="wavlm-x").encode(waveform)
        assert got.origin == f"wavlm-x/{layer}"
        scale = float(theirs[layer].abs().max())
        assert float((got.frames - theirs[layer]).abs().max()) <= 1e-5 * scale
        assert float((got.frames - slow[layer]).abs().max()) <= 1e-5 * scale


def test_names_and_recommended_layer(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model("wavlm-large", num_hidden_layers=7)
    published = encoders.load(save(model, tmp_path / "WavLM-Large.pt"), device="cpu", normalise=False)
    assert published.origin == "wavlm-large/6/raw"
    own = encoders.load(save(model, tmp_path / "mine.pt"), layer=2, device="cpu")
    assert re.fullmatch(r"mine@[0-9a-f]{8}/2", own.origin)


def test_published_layout_of_convolutions() -> None:
    """The string that Microsoft's files hold."""
    text = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"
    cfg = {**dict.fromkeys(wavlm_original._SIZES, 1), "conv_feature_layers": text, "extractor_mode": "default"}
    config = wavlm_original.convert_config(
        {**cfg, "relative_position_embedding": True, "gru_rel_pos": True}, source="a.pt"
    )
    assert config["conv_dim"] == [512] * 7
    assert config["conv_kernel"] == [10, 3, 3, 3, 3, 2, 2]
    assert config["conv_stride"] == [5, 2, 2, 2, 2, 2, 2]
    assert config["feat_extract_norm"] == "group"


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "[(512,10)]", "[(1,2,3)", "7", "[open]"])
def test_layouts_that_cannot_be_read(text: str, make_model: MakeModel, tmp_path: Path) -> None:
    path = save(make_model("wavlm-base"), tmp_path / "a.pt", conv_feature_layers=text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        wavlm_original.read(path)


def test_missing_and_unexpected_tensors(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model("wavlm-base")
    path = tmp_path / "a.pt"
    state, cfg = original_state(model), original_cfg(model.config)
    for name in ("encoder.layers.0.fc1.bias", "encoder.pos_conv.0.weight_g", "post_extract_proj.weight"):
        torch.save({"cfg": cfg, "model": {key: value for key, value in state.items() if key != name}}, path)
        with pytest.raises(CheckpointError, match=r"a\.pt (does not fit .*1 missing|holds 1)"):
            encoders.load(path, layer=1, device="cpu")
    for name in (
        "encoder.layers.0.fc3.bias",
        "label_embs",
        "encoder.layers.1.self_attn.relative_attention_bias.weight",
    ):
        torch.save({"cfg": cfg, "model": {**state, name: torch.zeros(1)}}, path)
        with pytest.raises(CheckpointError, match=r"a\.pt holds 1 tensors"):
            encoders.load(path, layer=1, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"gru_rel_pos": False}, "without gated relative positions"), ({"encoder_layers": "many"}, "cannot be used")],
)
def test_other_variants(changes: dict[str, Any], message: str, make_model: MakeModel, tmp_path: Path) -> None:
    path = save(make_model("wavlm-base"), tmp_path / "a.pt", **changes)
    with pytest.raises(CheckpointError, match=message):
        encoders.load(path, layer=1, device="cpu")


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"generator": {"conv.weight": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r"holds generator; an original WavLM checkpoint"):
        encoders.load(path, layer=1)
    torch.save({"cfg": {}, "model": {}}, path)
    with pytest.raises(CheckpointError, match="has no encoder_embed_dim"):
        encoders.load(path, layer=1)
    with pytest.raises(CheckpointError, match=r"missing\.pt does not exist"):
        encoders.load(tmp_path / "missing.pt", layer=1)


class Payload:
    """A pickle that would write a file if it were opened."""

    def __init__(self, victim: Path) -> None:
        self._victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._victim,))


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    path, victim = tmp_path / "a.pt", tmp_path / "victim"
    torch.save({"cfg": {}, "model": Payload(victim)}, path)
    with pytest.raises(CheckpointError):
        encoders.load(path, layer=1)
    assert not victim.exists()
    # it does run where pickles are trusted
    pickle.loads(pickle.dumps(Payload(victim)))  # noqa: S301
    assert victim.exists()
