"""Every layer of every family equals transformers; nothing that does not fit is loaded; nothing unneeded is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.network import Weights, build
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Encoder, Waveform

MakeModel = Callable[..., Any]
MakeEncoder = Callable[..., SSLEncoder]
MakeWaveform = Callable[..., Waveform]
HiddenStates = Callable[..., list[torch.Tensor]]

FAMILIES = [
    "wavlm-base", "wavlm-large", "hubert-base", "hubert-large", "hubert-no-norm", "hubert-batch-norm", "wav2vec2-base",
    "wav2vec2-large", "unispeech-sat-base", "unispeech-sat-large", "data2vec-audio", "w2v-bert",
]  # fmt: skip
CPU = torch.device("cpu")


def weights_of(model: Any, **changes: Any) -> Weights:
    facts = {"name": "random", "source": "weights.bin", "config": model.config.to_dict(), "normalise": None}
    return Weights(**{**facts, "tensors": model.state_dict(), **changes})


def load(weights: Weights, layer: int | None = 1, **options: Any) -> SSLEncoder:
    return build(weights, layer=layer, device=CPU, dtype=torch.float32, **options)


def assert_same(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to float32 rounding, relative to the size of the features."""
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


# an even and an odd number of 10 ms frames: in the latter, log-mel input ends in padding
@pytest.mark.parametrize("num_samples", [33_333, 33_500, 2_000])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_equals_transformers(
    name: str,
    num_samples: int,
    make_model: MakeModel,
    make_encoder: MakeEncoder,
    make_waveform: MakeWaveform,
    hidden_states: HiddenStates,
) -> None:
    model, waveform = make_model(name), make_waveform(num_samples)
    expected = hidden_states(model, waveform.samples)
    assert len(expected) == 4
    for layer, state in enumerate(expected):
        encoder = make_encoder(model, layer)
        features = encoder.encode(waveform)
        assert_same(features.frames, state)
        assert features.origin == encoder.origin == f"random/{layer}"
        assert (features.frame_rate, encoder.dim, encoder.num_layers) == (50.0, 32, 3)


@pytest.mark.parametrize("name", ["hubert-base", "wavlm-large"])
def test_normalised_input_equals_transformers(
    name: str,
    make_model: MakeModel,
    make_encoder: MakeEncoder,
    make_waveform: MakeWaveform,
    hidden_states: HiddenStates,
) -> None:
    model, waveform = make_model(name), make_waveform(30_000)
    expected = hidden_states(model, waveform.samples, normalise=True)
    assert_same(make_encoder(model, 2, normalise=1e-7).encode(waveform).frames, expected[2])


@pytest.mark.parametrize("name", ["wavlm-base", "wavlm-large", "hubert-large", "data2vec-audio", "w2v-bert"])
def test_bfloat16_stays_close(
    name: str, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    model, waveform = make_model(name), make_waveform(30_000)
    exact = make_encoder(model, 3).encode(waveform).frames
    rough = make_encoder(model, 3, dtype=torch.bfloat16).encode(waveform).frames
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert torch.cosine_similarity(rough, exact).min() > 0.999


def test_encoder_is_an_encoder(make_model: MakeModel) -> None:
    assert isinstance(load(weights_of(make_model("hubert-base"))), Encoder)


def test_origin_tells_another_normalisation(make_model: MakeModel) -> None:
    plain, normalised = weights_of(make_model("hubert-large")), weights_of(make_model("hubert-large"), normalise=1e-7)
    assert load(plain).origin == load(plain, normalise=False).origin == "random/1"
    assert load(normalised).origin == load(normalised, normalise=True).origin == "random/1"
    assert load(plain, normalise=True).origin == "random/1/normalised"
    assert load(normalised, normalise=False).origin == "random/1/raw"


def test_raw_features_are_those_of_the_waveform_as_it_is(
    make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    model, waveform = make_model("wavlm-large"), make_waveform(8_000)
    raw = load(weights_of(model, normalise=1e-7), 2, normalise=False).encode(waveform).frames
    assert torch.equal(raw, make_encoder(model, 2).encode(waveform).frames)
    assert not torch.equal(raw, make_encoder(model, 2, normalise=1e-7).encode(waveform).frames)


def test_normalising_is_no_choice_with_log_mel(make_model: MakeModel) -> None:
    with pytest.raises(InputError, match="log-mel"):
        load(weights_of(make_model("w2v-bert")), normalise=True)


def test_recommended_layer(make_model: MakeModel) -> None:
    model = make_model("hubert-base")
    assert load(weights_of(model, layer=2), None).layer == 2
    assert load(weights_of(model, layer=2, origin="tiny/2"), None).origin == "tiny/2"
    assert load(weights_of(model, layer=2, origin="tiny/2"), 3).origin == "random/3"
    with pytest.raises(InputError, match="no recommended layer; say which, from 0 to 3"):
        load(weights_of(model), None)


@pytest.mark.parametrize("layer", [-1, 4])
def test_layers_that_are_not_there(layer: int, make_model: MakeModel) -> None:
    with pytest.raises(InputError, match=f"no layer {layer}; 0 to 3 needed"):
        load(weights_of(make_model("hubert-base")), layer)


@pytest.mark.parametrize("name", ["wavlm-large", "w2v-bert"])
def test_only_the_blocks_needed_are_wanted_and_built(
    name: str, make_model: MakeModel, make_waveform: MakeWaveform
) -> None:
    """Layer 1 of a file whose blocks 2 and 3, final norm and mask embedding are gone, at the cost of one block."""
    model = make_model(name)
    whole = load(weights_of(model), 1)
    later = ("encoder.layers.1", "encoder.layers.2", "encoder.layer_norm", "masked_spec_embed")
    kept = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(later)}
    part = load(weights_of(model, tensors=kept), 1)
    waveform = make_waveform(10_000)
    assert torch.equal(part.encode(waveform).frames, whole.encode(waveform).frames)
    trunk: Any = part.trunk
    assert len(trunk._layers) == 1
    with pytest.raises(CheckpointError, match=r"\d+ missing"):
        load(weights_of(model, tensors=kept), 2)


@pytest.mark.parametrize("name", ["wavlm-large", "w2v-bert"])
def test_every_tensor_that_is_needed_is_missed(name: str, make_model: MakeModel) -> None:
    model = make_model(name)
    unneeded = (
        "masked_spec_embed",
        "encoder.layer_norm",
        "encoder.layers.1",
        "encoder.layers.2",
        "adapter",
        "intermediate",
    )
    state = model.state_dict()
    needed = [key for key in state if not key.startswith(unneeded) and "num_batches" not in key]
    assert len(needed) > 20
    for key in needed:
        with pytest.raises(CheckpointError, match=r"weights\.bin (does not fit .*1 missing|holds 1 tensors)"):
            load(weights_of(model, tensors={other: tensor for other, tensor in state.items() if other != key}))


def test_unexpected_tensors_are_refused(make_model: MakeModel) -> None:
    model = make_model("hubert-base")
    for extra in (
        "encoder.layers.3.layer_norm.weight",
        "encoder.layers.0.attention.rel_attn_embed.weight",
        "head.weight",
    ):
        tensors = {**model.state_dict(), extra: torch.zeros(32)}
        with pytest.raises(CheckpointError, match=f"weights.bin holds 1 tensors .*{extra}"):
            load(weights_of(model, tensors=tensors))


def test_other_shapes_are_refused(make_model: MakeModel) -> None:
    model = make_model("hubert-base")
    name = "feature_projection.projection.weight"
    with pytest.raises(CheckpointError, match=rf"1 of another shape: {name} \(32, 25\) instead of \(32, 24\)"):
        load(weights_of(model, tensors={**model.state_dict(), name: torch.zeros(32, 25)}))


@pytest.mark.parametrize("style", ["parametrizations", "weight_g"])
def test_heads_prefixes_and_both_names_of_weight_norm(
    style: str, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform
) -> None:
    """A checkpoint of pre-training as the hub has them: network under a prefix, heads beside it, old names."""
    model, waveform = make_model("wav2vec2-base"), make_waveform(8_000)
    tensors = {f"wav2vec2.{key}": tensor.half() for key, tensor in model.state_dict().items()}
    if style == "weight_g":
        for number, letter in enumerate("gv"):
            key = "wav2vec2.encoder.pos_conv_embed.conv."
            tensors[f"{key}weight_{letter}"] = tensors.pop(f"{key}parametrizations.weight.original{number}")
    tensors |= {"quantizer.codevectors": torch.zeros(1), "project_hid.weight": torch.zeros(1)}
    half = model.half().float()
    got = load(weights_of(model, tensors=tensors), 2).encode(waveform).frames
    assert_same(got, make_encoder(half, 2).encode(waveform).frames)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "type 'bert'; one of wavlm"),
        ({"adapter_attn_dim": 8}, "language adapters"),
        ({"num_attention_heads": 5}, "cannot be used: .*divisible"),
        ({"conv_dim": [1, 2]}, "cannot be used"),
    ],
)
def test_configurations_that_cannot_be_used(changes: dict[str, Any], message: str, make_model: MakeModel) -> None:
    model = make_model("wav2vec2-base")
    with pytest.raises(CheckpointError, match=message):
        load(weights_of(model, config={**model.config.to_dict(), **changes}))


def test_other_position_embeddings_are_refused(make_model: MakeModel) -> None:
    model = make_model("w2v-bert")
    with pytest.raises(CheckpointError, match="'rotary'; only 'relative_key'"):
        load(weights_of(model, config={**model.config.to_dict(), "position_embeddings_type": "rotary"}))


def test_weights_are_copied(make_model: MakeModel, make_waveform: MakeWaveform) -> None:
    """The file behind the tensors may be mapped and may change or go away."""
    model, waveform = make_model("wav2vec2-base"), make_waveform(8_000)
    encoder = load(weights_of(model), 2)
    before = encoder.encode(waveform).frames
    for parameter in model.parameters():
        parameter.zero_()
    assert torch.equal(encoder.encode(waveform).frames, before)
