"""Folders as save_pretrained writes them, the hub's cache, and what is said when neither is there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import transformers

from speechssl import encoders
from speechssl.encoders.encoder import SSLEncoder
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform

MakeModel = Callable[..., Any]
MakeEncoder = Callable[..., SSLEncoder]
MakeWaveform = Callable[..., Waveform]


def save(model: Any, folder: Path, *, normalise: bool | None = True) -> Path:
    model.save_pretrained(folder)
    if model.config.model_type == "wav2vec2-bert":
        transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder)
    elif normalise is not None:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, and no connection."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_into_cache(model: Any, hub: Path, repository: str, **options: Any) -> Path:
    home = hub / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    return save(model, home / "snapshots" / "abc", **options)


@pytest.mark.parametrize("name", ["wavlm-large", "hubert-base", "data2vec-audio", "w2v-bert"])
def test_folder_equals_the_network_it_was_saved_from(
    name: str, make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform, tmp_path: Path
) -> None:
    model, waveform = make_model(name), make_waveform(8_000)
    loaded = encoders.load(save(model, tmp_path / name), layer=2, device="cpu")
    normalise = None if name == "w2v-bert" else 1e-7
    expected = make_encoder(model, 2, normalise=normalise).encode(waveform)
    assert torch.equal(loaded.encode(waveform).frames, expected.frames)
    assert re.fullmatch(rf"{name}@[0-9a-f]{{8}}/2", loaded.origin)


def test_old_weights_file(
    make_model: MakeModel, make_encoder: MakeEncoder, make_waveform: MakeWaveform, tmp_path: Path
) -> None:
    """``pytorch_model.bin``, as Microsoft's repositories on the hub still have it."""
    model, folder = make_model("wavlm-base"), tmp_path / "old"
    save(model, folder, normalise=False)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    waveform = make_waveform(8_000)
    got = encoders.load(folder, layer=1, device="cpu", name="wavlm-base").encode(waveform)
    assert torch.equal(got.frames, make_encoder(model, 1).encode(waveform).frames)
    assert got.origin == "wavlm-base/1"


def test_other_weights_have_another_origin(make_model: MakeModel, tmp_path: Path) -> None:
    origins = {
        encoders.load(save(make_model("hubert-base", seed), tmp_path / str(seed) / "a"), layer=1, device="cpu").origin
        for seed in (0, 1)
    }
    assert len(origins) == 2


def test_normalisation_must_be_known(make_model: MakeModel, tmp_path: Path) -> None:
    folder = save(make_model("hubert-base"), tmp_path / "a", normalise=None)
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json.*normalise=True or False"):
        encoders.load(folder, layer=1, device="cpu")
    for choice in (True, False):
        # it is the only way known, so nothing is added to the origin
        assert re.fullmatch(r"a@\w{8}/1", encoders.load(folder, layer=1, device="cpu", normalise=choice).origin)


@pytest.mark.parametrize(
    ("filename", "content", "message"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", b"{", r"config\.json is damaged: no JSON"),
        ("config.json", b"[]", "a JSON list where an object is needed"),
        ("config.json", b'{"model_type": "bert"}', "type 'bert'"),
        ("model.safetensors", None, "neither model.safetensors nor pytorch_model.bin"),
        ("model.safetensors", b"truncated", r"model\.safetensors is damaged"),
        ("preprocessor_config.json", b"\xff", "is not UTF-8 text"),
    ],
)
def test_damaged_folders(
    filename: str, content: bytes | None, message: str, make_model: MakeModel, tmp_path: Path
) -> None:
    folder = save(make_model("hubert-base"), tmp_path / "a")
    (folder / filename).unlink()
    if content is not None:
        (folder / filename).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        encoders.load(folder, layer=1, device="cpu")


def test_truncated_weights(make_model: MakeModel, tmp_path: Path) -> None:
    folder = save(make_model("hubert-base"), tmp_path / "a")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is damaged"):
        encoders.load(folder, layer=1, device="cpu")


def test_weights_that_are_no_dictionary(make_model: MakeModel, tmp_path: Path) -> None:
    folder = save(make_model("hubert-base"), tmp_path / "a")
    (folder / "model.safetensors").unlink()
    torch.save([torch.zeros(1)], folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="not a dictionary of tensors"):
        encoders.load(folder, layer=1, device="cpu")


def test_other_log_mel_settings_in_a_folder(make_model: MakeModel, tmp_path: Path) -> None:
    folder = save(make_model("w2v-bert"), tmp_path / "a")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "num_mel_bins": 40}))
    with pytest.raises(CheckpointError, match="num_mel_bins"):
        encoders.load(folder, layer=1, device="cpu")


@pytest.mark.parametrize("wanted", ["hubert-base", "facebook/hubert-base-ls960"])
def test_short_name_and_hub_id_from_the_cache_without_a_connection(
    wanted: str, make_model: MakeModel, hub: Path, make_waveform: MakeWaveform
) -> None:
    put_into_cache(make_model("hubert-base", num_hidden_layers=7), hub, "facebook/hubert-base-ls960")
    encoder = encoders.load(wanted, device="cpu")
    assert (encoder.origin, encoder.layer) == ("hubert-base/6", 6)
    assert encoder.encode(make_waveform(800)).origin == "hubert-base/6"


def test_hub_id_without_a_short_name(make_model: MakeModel, hub: Path) -> None:
    put_into_cache(make_model("wavlm-base"), hub, "somebody/wavlm-finetuned", normalise=False)
    assert encoders.load("somebody/wavlm-finetuned", layer=1, device="cpu").origin == "somebody/wavlm-finetuned/1"


@pytest.mark.parametrize("wanted", ["wavlm-large", "w2v-bert-2.0", "somebody/model"])
def test_offline_says_what_to_do(wanted: str, hub: Path) -> None:
    repository = encoders.HUB_NAMES.get(wanted, wanted)
    with pytest.raises(CheckpointError, match=rf"cannot get config\.json of {repository} .*`hf download {repository}"):
        encoders.load(wanted, layer=1, device="cpu")
    assert not hub.exists() or not list(hub.rglob("config.json"))


@pytest.mark.parametrize("wanted", ["wavlm", "no/such/folder/here", "./nothing", "a.wav"])
def test_unknown_names(wanted: str) -> None:
    with pytest.raises(InputError, match=f"no encoder '{re.escape(wanted)}': give tiny, mfcc, one of wavlm-base"):
        encoders.load(wanted, layer=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device 'tpu' cannot be used on this machine; one of auto, cpu"),
        ({"precision": "float16"}, "precision 'float16' is unknown; one of float32, bfloat16"),
    ],
)
def test_wrong_options_are_told_first(options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoders.load("wavlm-large", **options)  # type: ignore[arg-type]


def test_recommended_layers_have_names() -> None:
    assert set(encoders.RECOMMENDED_LAYERS) <= set(encoders.HUB_NAMES)
