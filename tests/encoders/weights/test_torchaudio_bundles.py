"""torchaudio's networks, layer by layer, and its bundles as they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechssl import encoders, errors
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform

try:
    from torchaudio import pipelines
    from torchaudio.models import Wav2Vec2Model, wav2vec2_model, wavlm_model
except (ImportError, OSError) as error:
    pytest.skip(errors.not_loaded(error, "torchaudio"), allow_module_level=True)

MakeWaveform = Callable[..., Waveform]

PARAMS: dict[str, Any] = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(24, 10, 5), *[(24, 3, 2)] * 4, *[(24, 2, 2)] * 2],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 32,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 48,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.1,
    "aux_num_out": None,
}
LARGE = {"extractor_mode": "layer_norm", "extractor_conv_bias": True, "encoder_layer_norm_first": True}
WAVLM = {"encoder_num_buckets": 320, "encoder_max_distance": 800}

# torchaudio's HuBERT bundles are wav2vec 2.0 networks: HUBERT_BASE as the first, HUBERT_LARGE as the second
CASES = {
    "wav2vec2-base": ("Wav2Vec2", PARAMS, False),
    "wav2vec2-large": ("Wav2Vec2", PARAMS | LARGE, True),
    "wavlm-base": ("WavLM", PARAMS | WAVLM, False),
    "wavlm-large": ("WavLM", PARAMS | LARGE | WAVLM, True),
    "recogniser": ("Wav2Vec2", PARAMS | {"aux_num_out": 29}, False),
}


def random_network(kind: str, params: dict[str, Any]) -> Wav2Vec2Model:
    torch.manual_seed(0)
    network = (wavlm_model if kind == "WavLM" else wav2vec2_model)(**params)
    for parameter in network.parameters():
        parameter.data.normal_(0.0 if parameter.ndim > 1 else 0.5, 0.3 if parameter.ndim > 1 else 0.2)
    return network.eval().requires_grad_(False)


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Makes a bundle of a small network, its weights in torch's cache, and gives the model torchaudio makes of it."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def make(name: str) -> Any:
        kind, params, normalise = CASES[name]
        made = pipelines.Wav2Vec2Bundle("small.pth", params, 16000, normalise, kind)
        monkeypatch.setattr(pipelines, "SMALL", made, raising=False)
        (tmp_path / "checkpoints").mkdir()
        torch.save(random_network(kind, params).state_dict(), tmp_path / "checkpoints" / "small.pth")
        return made.get_model()

    return make


@pytest.mark.parametrize("name", CASES)
def test_every_layer_equals_torchaudio(name: str, bundle: Callable[[str], Any], make_waveform: MakeWaveform) -> None:
    network, waveform = bundle(name), make_waveform(20_000)
    with torch.no_grad():
        expected, _ = network.extract_features(waveform.samples[None])
    assert len(expected) == 3
    for layer, state in enumerate(expected, start=1):
        features = encoders.load("torchaudio:SMALL", layer=layer, device="cpu").encode(waveform)
        assert features.origin == f"torchaudio:SMALL/{layer}"
        assert float((features.frames - state[0]).abs().max()) <= 1e-5 * float(state.abs().max())


def test_what_was_wrong_with_inner_wavlm_layers(bundle: Callable[[str], Any], make_waveform: MakeWaveform) -> None:
    """For months (pytorch/audio issue 3347) inner layers ran without the position bias: only layer 1 was right.

    The comparison above finds that: layer 2 without the bias is off by a hundred times more than rounding.
    """
    network, waveform = bundle("wavlm-base"), make_waveform(20_000)
    transformer = network.encoder.transformer
    with torch.no_grad():
        x = network.encoder.feature_projection(network.feature_extractor(waveform.samples[None], None)[0])
        first, _ = transformer.layers[0](transformer._preprocess(x))
        wrong, _ = transformer.layers[1](first, position_bias=None)
    ours = [encoders.load("torchaudio:SMALL", layer=layer, device="cpu").encode(waveform).frames for layer in (1, 2)]
    assert float((ours[0] - first[0]).abs().max()) <= 1e-5 * float(first.abs().max())
    assert float((ours[1] - wrong[0]).abs().max()) > 1e-3 * float(wrong.abs().max())


def test_unknown_bundles() -> None:
    with pytest.raises(
        InputError, match=r"torchaudio:WAVLM_HUGE: torchaudio has no such encoder; it has .*WAVLM_LARGE"
    ):
        encoders.load("torchaudio:WAVLM_HUGE", layer=1)
    # a pipeline, but no encoder
    with pytest.raises(InputError, match="no such encoder"):
        encoders.load("torchaudio:SQUIM_OBJECTIVE", layer=1)


def test_weights_that_cannot_be_had(bundle: Callable[[str], Any], tmp_path: Path) -> None:
    bundle("wavlm-base")
    path = tmp_path / "checkpoints" / "small.pth"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cannot get https://download.pytorch.org/.*/small.pth .* by hand"):
        encoders.load("torchaudio:SMALL", layer=1)
