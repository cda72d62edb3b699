"""Model names to objects: what belongs together is put together, and what cannot be had is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.conversion import bundles, convert
from speechssl.errors import CheckpointError, InputError
from speechssl.vocoders import hifigan


def _put_wavlm_into_the_hub_cache(cache: Path) -> None:
    """A random WavLM with seven thin layers under the name of the published one."""
    checkpoints.transformers()
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=16, num_hidden_layers=7, num_attention_heads=2, intermediate_size=24, conv_dim=(8,) * 7,
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=False, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    repository = cache / "models--microsoft--wavlm-large"
    snapshot = repository / "snapshots" / "0123"
    WavLMModel(config).save_pretrained(snapshot)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(snapshot)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(snapshot.name)


def _put_vocoder_into_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random HiFi-GAN in kNN-VC's layout, pinned by its own checksum."""
    torch.manual_seed(0)
    network = hifigan.Generator(hifigan.HifiganConfig(input_dim=16))
    path = cache / "prematch_g_02500000.pt"
    torch.save({"generator": network.state_dict()}, path)
    pinned = hifigan.Published(path.name, checkpoints.sha256_of(path), path.stat().st_size)
    monkeypatch.setitem(hifigan.PUBLISHED, "knn-vc-prematched", pinned)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caches as they are after a download of ``wavlm-large``, with small random weights."""
    hub, own = tmp_path / "hub", tmp_path / "own"
    hub.mkdir(), own.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("SPEECHSSL_CACHE", str(own))
    _put_wavlm_into_the_hub_cache(hub)
    _put_vocoder_into_the_cache(own, monkeypatch)
    return own


def test_wavlm_large_is_knn_vc(published: Path, speech_files: dict[str, Path]) -> None:
    system = bundles.load_bundle("wavlm-large", device="cpu")
    assert system.encoder.origin == system.vocoder.origin == "wavlm-large/6/raw"
    assert system.value_encoder is system.encoder
    assert not system.vocoder.needs_f0
    result = system.convert(
        speech_files["source"], system.matching_set([speech_files["reference"]]), converter="uniform"
    )
    assert abs(result.waveform.seconds - audio.info(speech_files["source"]).seconds) < 0.03


def test_another_layer_of_wavlm_large_is_spoken_by_world(published: Path) -> None:
    system = bundles.load_bundle("wavlm-large", layer=3, device="cpu")
    assert system.encoder.origin == "wavlm-large/3/raw"
    assert system.vocoder.needs_f0


@pytest.mark.usefixtures("imported_once")
def test_doctor_sees_what_was_downloaded(published: Path) -> None:
    from speechssl.cli.doctor import examine

    states = {bundle["name"]: bundle["state"] for bundle in examine()["bundles"]}
    assert states["wavlm-large"] == "present"
    assert states["hubert-base"] == "would be fetched"


def test_without_a_connection_the_message_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="facebook/hubert-base-ls960"):
        bundles.load_bundle("hubert-base")


def test_any_encoder_is_a_bundle_with_world(encoder_file: Path) -> None:
    system = bundles.load_bundle(encoder_file, layer=1, device="cpu")
    assert system.encoder.origin == "small/1"
    assert system.value_encoder.origin == system.vocoder.origin == "world/16k-40"


@pytest.mark.parametrize(("layer", "vocoder"), [("none", "tiny"), ("its own", "tiny"), ("another", "world")])
def test_naming_the_layer_that_is_the_models_own_changes_nothing(layer: str, vocoder: str) -> None:
    from speechssl import checkpoints, vocoders

    own = checkpoints.peek(bundles.TINY)["layer"]
    chosen = {"none": None, "its own": own, "another": own - 1}[layer]
    system = bundles.load_bundle("tiny", layer=chosen, device="cpu")
    assert type(system.vocoder) is type(vocoders.load(vocoder))


def test_the_vocoder_can_be_chosen_in_python(speech_files: dict[str, Path]) -> None:
    by_world = convert.convert(speech_files["source"], [speech_files["reference"]], vocoder="world", pitch=3)
    assert by_world.converter == "shift"  # what auto is with WORLD


def test_bundles_say_what_they_are() -> None:
    from speechssl.encoders import HUB_NAMES

    for name, bundle in bundles.BUNDLES.items():
        assert name == bundle.name
        assert bundle.licence
        assert bundle.encoder == "tiny" or bundle.encoder in HUB_NAMES
        if bundle.encoder in HUB_NAMES:
            assert bundle.source.split(";")[0] == HUB_NAMES[bundle.encoder]


@pytest.mark.parametrize("both", [True, False])
def test_convert_wants_references_or_a_voice(both: bool, speech_files: dict[str, Path]) -> None:
    given = {"references": [speech_files["reference"]], "voice": "eric"} if both else {}
    with pytest.raises(InputError, match="either references or a voice"):
        convert.convert(speech_files["source"], **given)


def test_features_are_those_of_the_encoder_and_of_the_file(
    encoder_file: Path, speech_files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "out.safetensors"
    found = bundles.features(speech_files["source"], model=encoder_file, layer=1, output=path)
    assert found.origin == "small/1"
    stored = checkpoints.load(path, kind="features")
    assert stored.tensors["frames"].equal(found.frames)
    assert (stored.header["origin"], stored.header["source"]) == ("small/1", speech_files["source"].name)
    with pytest.raises(InputError, match=r"a name that ends in \.safetensors needed"):
        bundles.features(speech_files["source"], model=encoder_file, layer=1, output=tmp_path / "out.npy")
    heard = bundles.features(audio.read(speech_files["source"]), model=encoder_file, layer=1)
    assert torch.allclose(heard.frames, found.frames, atol=1e-4)


def test_features_of_wavlm_large_are_those_of_its_bundle(published: Path, speech_files: dict[str, Path]) -> None:
    assert bundles.features(speech_files["source"], model="wavlm-large", device="cpu").origin == "wavlm-large/6/raw"
