"""Small random networks of every family, as transformers builds them, and audio that drifts."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from speechssl import checkpoints
from speechssl.encoders.encoder import SSLEncoder
from speechssl.encoders.network import Weights, build
from speechssl.signals import Waveform

# its feature extractors would import torchaudio, which may be broken
checkpoints.transformers()

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "conv_dim": [24] * 7,
}
GROUP = {"do_stable_layer_norm": False, "feat_extract_norm": "group", "conv_bias": False}
LAYER = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}

CONFIGS: dict[str, dict[str, Any]] = {
    "wavlm-base": {"model_type": "wavlm", **SMALL, **GROUP},
    "wavlm-large": {"model_type": "wavlm", **SMALL, **LAYER},
    "hubert-base": {"model_type": "hubert", **SMALL, **GROUP},
    "hubert-large": {"model_type": "hubert", **SMALL, **LAYER},
    "hubert-no-norm": {"model_type": "hubert", **SMALL, **GROUP, "feat_proj_layer_norm": False},
    "hubert-batch-norm": {"model_type": "hubert", **SMALL, **GROUP, "conv_pos_batch_norm": True},
    "wav2vec2-base": {"model_type": "wav2vec2", **SMALL, **GROUP},
    "wav2vec2-large": {"model_type": "wav2vec2", **SMALL, **LAYER},
    "unispeech-sat-base": {"model_type": "unispeech-sat", **SMALL, **GROUP},
    "unispeech-sat-large": {"model_type": "unispeech-sat", **SMALL, **LAYER},
    "data2vec-audio": {
        "model_type": "data2vec-audio",
        **SMALL,
        "num_conv_pos_embeddings": 2,
        "conv_pos_kernel_size": 5,
    },
    "w2v-bert": {
        "model_type": "wav2vec2-bert",
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "feature_projection_input_dim": 160,
        "conv_depthwise_kernel_size": 7,
        "left_max_position_embeddings": 8,
        "right_max_position_embeddings": 5,
    },
}


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """A network of transformers by name of ``CONFIGS``, every weight random, norms and gates included."""

    def make(name: str, seed: int = 0, **changes: Any) -> Any:
        torch.manual_seed(seed)
        model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**{**CONFIGS[name], **changes}))
        for parameter in model.parameters():
            # strong enough that attention is far from uniform and every norm matters
            spread = 0.3 if parameter.ndim > 1 else 0.2
            parameter.data.normal_(0.0 if parameter.ndim > 1 else 0.5, spread)
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.data.uniform_(0.5, 1.5)
        return model.eval().requires_grad_(False)

    return make


@pytest.fixture
def make_encoder() -> Callable[..., SSLEncoder]:
    """Our encoder on the weights of such a network."""

    def make(
        model: Any, layer: int, *, normalise: float | None = None, dtype: torch.dtype = torch.float32
    ) -> SSLEncoder:
        weights = Weights("random", "random weights", model.config.to_dict(), model.state_dict(), normalise)
        return build(weights, layer=layer, device=torch.device("cpu"), dtype=dtype)

    return make


@pytest.fixture
def hidden_states() -> Callable[..., list[torch.Tensor]]:
    """What transformers gives for (T,) samples, by its own feature extractor and network: (N, D) for every layer."""

    def states(model: Any, samples: torch.Tensor, *, normalise: bool = False) -> list[torch.Tensor]:
        if model.config.model_type == "wav2vec2-bert":
            extractor = transformers.SeamlessM4TFeatureExtractor()
        else:
            extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)
        inputs = extractor(samples.numpy(), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            return [state[0] for state in model(**inputs, output_hidden_states=True).hidden_states]

    return states


@pytest.fixture
def make_waveform() -> Callable[..., Waveform]:
    """Noise whose loudness and colour drift, with an offset: anything that looks at the whole file shows."""

    def make(num_samples: int, seed: int = 0) -> Waveform:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(num_samples, generator=generator)
        time = torch.arange(num_samples) / 16000
        samples = 0.05 * noise * (1.1 + torch.sin(2.1 * time + seed)) + 0.1 * torch.sin(time * 500) + 0.02
        return Waveform(samples.float(), 16000)

    return make


@pytest.fixture
def minute_of_speech() -> Waveform:
    """60 s of one reader, from the speech beside the checkout; skips where there is none."""
    import soundfile

    root = Path(os.environ.get("SPEECHSSL_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "data"
    if not (root / "manifest.csv").is_file():
        pytest.skip("no shared speech data")
    with (root / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] == "librispeech" and row["split"] == "dev"]
    paths = [root / row["path"] for row in rows if row["speaker"] == rows[0]["speaker"]]
    samples = torch.cat([torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in paths])
    return Waveform(samples[: 60 * 16000].contiguous(), 16000)
