"""A text model with random weights for the small encoder, and voices of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from speechssl.conversion.bundles import load_bundle
from speechssl.conversion.voice_converter import VoiceConverter
from speechssl.synthesis import model as models
from speechssl.synthesis.front_end import BORDERS, START, FrontEnd
from speechssl.synthesis.model import TextModel
from speechssl.synthesis.network import NetworkConfig, TextToKeys
from speechssl.synthesis.synthesizer import Synthesizer
from speechssl.voices.matching_set import MatchingSet

PHONES = "ə n t s ɪ d l ɹ ð i k m z æ ɛ w h v ʌ b p f ɡ u ŋ ʃ θ eɪ aɪ oʊ ɑ ɚ ɔ aʊ j ʊ t͡ʃ d͡ʒ ɔɪ"


def make_model(origin: str = "small/2", key_dim: int = 32) -> TextModel:
    """Random, but sounds last about 4 frames."""
    import torch

    torch.manual_seed(0)
    symbols = (START, *BORDERS, *PHONES.split())
    config = NetworkConfig(len(symbols), key_dim, width=16, hidden=24, encoder_layers=2, decoder_layers=2)
    network = TextToKeys(config)
    with torch.no_grad():
        network.lengths.bias.copy_(torch.tensor([1.4, -1.0, 0.5]))
        network.pitch.bias.copy_(torch.tensor([0.0, 1.0]))
    return TextModel(network, symbols, origin=origin, frame_rate=50.0, language="en-us")


@pytest.fixture(scope="session")
def text_model() -> TextModel:
    return make_model()


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text-model") / "random.safetensors"
    return models.save(path, make_model(), {"name": "random", "licence": "MIT"})


@pytest.fixture(scope="session")
def system(encoder_file: Path) -> VoiceConverter:
    return load_bundle(encoder_file, device="cpu")


@pytest.fixture(scope="session")
def voice(system: VoiceConverter, speech: dict[str, Path]) -> MatchingSet:
    return system.matching_set([speech["reference"]])


@pytest.fixture(scope="session")
def synthesizer(text_model: TextModel, system: VoiceConverter, speech: dict[str, Path]) -> Synthesizer:
    speaker = system.matching_set([speech["other"]], name="speaker")
    return Synthesizer(text_model, system, speaker=speaker, front_end=FrontEnd("en-us"))


@pytest.fixture(scope="session")
def other_model() -> Callable[..., TextModel]:
    return make_model
