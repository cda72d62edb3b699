"""Speaker embedders on the blocks of encoders: heads against slow oracles, files, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from speechssl import checkpoints, encoders
from speechssl.encoders.encoder import SSLEncoder
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform
from speechssl.verification import embedders
from speechssl.verification.embedders import heads, ssl

RECIPE = "speaker_verification"
ECAPA = {"channels": 16, "bottleneck": 8, "scale": 4, "dim": 12}
MakeEncoder = Callable[..., Path]


def sound(seconds: float, seed: int = 0) -> Waveform:
    generator = torch.Generator().manual_seed(seed)
    return Waveform(0.1 * torch.randn(int(seconds * 16000), generator=generator), 16000)


@pytest.fixture(scope="module")
def encoder_file(make_encoder: MakeEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder") / "small.safetensors")


def saved(
    path: Path, encoder_file: Path, head: torch.nn.Module, kind: str, config: dict[str, Any], **more: Any
) -> Path:
    known = ssl.described(str(encoder_file), encoders.load(encoder_file, layer=2), None)
    header = {"name": "on-ssl", "encoder": known, "blocks": [1, 2], "head": kind, "config": config, "dim": 12}
    return ssl.write(path, head, {**header, "provenance": {}, "licence": "MIT"}, **more)


@pytest.mark.parametrize("family", ["wavlm", "hubert"])
def test_layered_ecapa_equals_a_slow_oracle_on_the_states_of_transformers(family: str) -> None:
    library = checkpoints.transformers()
    from speechssl.encoders.network import Weights, build

    torch.manual_seed(0)
    config = library.AutoConfig.for_model(
        family, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, conv_dim=[24] * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    model = library.AutoModel.from_config(config).eval()
    weights = Weights("random", "random weights", model.config.to_dict(), model.state_dict(), None)
    encoder = build(weights, layer=3, device=torch.device("cpu"), dtype=torch.float32)
    head = heads.LayeredEcapa(3, 32, **ECAPA).eval()
    torch.nn.init.normal_(head.layer_weights)
    samples = sound(1.0).samples
    with torch.no_grad():
        states = model(samples[None], output_hidden_states=True).hidden_states
        shares = head.layer_weights.exp() / head.layer_weights.exp().sum()
        mixed = sum(float(share) * states[number] for number, share in enumerate(shares, 1))
        expected = torch.nn.functional.normalize(head.ecapa(mixed)[0], dim=0)
    found = ssl.SSLEmbedder(encoder, [1, 2, 3], head, origin="x", dim=12).embed(sound(1.0))
    assert torch.allclose(found.vector, expected, atol=1e-4)


def test_mhfa_equals_a_slow_oracle() -> None:
    torch.manual_seed(0)
    head = heads.Mhfa(3, 8, dim=5, heads=4, compressed=6)
    for weights in (head.key_weights, head.value_weights):
        torch.nn.init.normal_(weights)
    states = torch.randn(2, 11, 3, 8)
    for row in range(2):
        pooled = []
        for part in range(4):
            keys, values = [], []
            for frame in range(11):
                by_keys, by_values = (torch.softmax(w, 0) for w in (head.key_weights, head.value_weights))
                keys.append(head.key(sum(by_keys[i] * states[row, frame, i] for i in range(3))))
                values.append(head.value(sum(by_values[i] * states[row, frame, i] for i in range(3))))
            shares = torch.softmax(torch.stack([head.attention(key)[part] for key in keys]), 0)
            pooled.append(sum(share * value for share, value in zip(shares, values, strict=True)))
        assert torch.allclose(head(states)[row], head.last(torch.cat(pooled)), atol=1e-5)


def test_statistics_are_means_and_deviations_of_every_block() -> None:
    states = torch.randn(2, 9, 3, 4)
    found = heads.statistics(states)
    assert found.shape == (2, 24)
    assert torch.allclose(found[1, :12], states[1].mean(0).flatten(), atol=1e-6)
    assert torch.allclose(found[1, 12:], states[1].std(0, correction=0).flatten(), atol=1e-6)


@pytest.mark.parametrize("kind", list(heads.HEADS))
def test_a_file_gives_the_same_embedding_again(kind: str, encoder_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ECAPA if kind == "ecapa" else {"dim": 12}
    head = heads.make(kind, 2, 32, **config).eval()
    path = saved(tmp_path / "x.safetensors", encoder_file, head, kind, config, cohort=torch.eye(12)[:3])
    embedder = embedders.load(path, device="cpu")
    halves = {
        key: value.half().float() if value.is_floating_point() else value for key, value in head.state_dict().items()
    }
    head.load_state_dict(halves)
    with torch.no_grad():
        layers = encoders.load(encoder_file, layer=2).layers(sound(1.0))
        states = torch.stack([layers[1].frames, layers[2].frames], 1)[None]
        expected = torch.nn.functional.normalize(head(states)[0], dim=0)
    found = embedder.embed(sound(1.0))
    assert found.origin == f"on-ssl@{checkpoints.fingerprint(path)}"
    assert torch.allclose(found.vector, expected, atol=1e-5)
    assert embedder.cohort.shape == (3, embedder.dim)


def test_long_recordings_are_averaged_over_windows(
    encoder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = heads.make("statistics", 2, 32, dim=12)
    path = saved(tmp_path / "x.safetensors", encoder_file, head, "statistics", {"dim": 12})
    embedder = embedders.load(path, device="cpu")
    whole = sound(3.0)
    monkeypatch.setattr(ssl, "WINDOW", 20000)
    parts = [Waveform(part, 16000) for part in whole.samples.chunk(3)]
    monkeypatch.setattr(ssl, "WINDOW", 20000)
    expected = torch.nn.functional.normalize(sum(embedder.embed(part).vector for part in parts), dim=0)
    assert torch.allclose(embedder.embed(whole).vector, expected, atol=1e-6)
    with pytest.raises(InputError, match=r"0\.100 s of sound"):
        embedder.embed(sound(0.1))


def test_the_recipe_of_floors_refuses_what_hears_no_log_mel_bands(
    recipe: Any, encoder_file: Path, tmp_path: Path
) -> None:
    path = saved(
        tmp_path / "on-ssl.safetensors",
        encoder_file,
        heads.make("statistics", 2, 32, dim=12),
        "statistics",
        {"dim": 12},
    )
    (tmp_path / "list.csv").write_text("path,corpus,speaker,seconds,split\na.wav,clips,ada,2.5,train\n")
    written = tmp_path / "floored.safetensors"
    command = [str(path), str(tmp_path / "list.csv"), "--corpora", "clips", "--output", str(written)]
    with pytest.raises(SystemExit, match=r"on-ssl\.safetensors does not hear log-mel bands"):
        recipe("floor").main(command)
    assert not written.exists()


def test_fine_tuned_blocks_come_with_the_file(encoder_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = heads.make("statistics", 2, 32, dim=12).eval()
    plain = saved(tmp_path / "plain.safetensors", encoder_file, head, "statistics", {"dim": 12})
    other: SSLEncoder = encoders.load(encoder_file, layer=2)
    block = other.trunk.blocks[1]
    for parameter in block.parameters():
        parameter.data.mul_(1.5)
    tuned = {f"blocks.2.{name}": tensor for name, tensor in block.state_dict().items()}
    path = saved(tmp_path / "tuned.safetensors", encoder_file, head, "statistics", {"dim": 12}, tuned=tuned)
    one, two = (embedders.load(file, device="cpu").embed(sound(1.0)).vector for file in (plain, path))
    assert float(one @ two) < 0.9999
    expected = ssl.SSLEmbedder(other, [1, 2], head, origin="x", dim=12).embed(sound(1.0)).vector
    assert torch.allclose(two, expected, atol=5e-3)


def test_what_cannot_be_used_is_refused(encoder_file: Path, make_encoder: MakeEncoder, tmp_path: Path) -> None:
    head = heads.make("statistics", 2, 32, dim=12)
    path = saved(tmp_path / "x.safetensors", encoder_file, head, "statistics", {"dim": 12})
    encoder = encoders.load(encoder_file, layer=2)
    for blocks in ([], [3], [1, 1], [-1]):
        with pytest.raises(InputError, match="different ones from 0 to 2 of small/2 needed"):
            ssl.check_blocks(blocks, encoder)
    with pytest.raises(InputError, match="no head 'mean'"):
        heads.make("mean", 2, 32)
    header, tensors = checkpoints.peek(path), checkpoints.load(path, kind="embedder").tensors
    other = make_encoder(tmp_path / "other.safetensors", seed=1)
    moved = {**header["encoder"], "name": str(other)}
    for wrong, message in (
        ({"encoder": moved}, r"was made with weights [0-9a-f]{16} of small/2; those of .* here are [0-9a-f]{16}"),
        ({"encoder": {"name": "tiny"}}, "its encoder .* cannot be loaded"),
        ({"blocks": [1, 7]}, "makes no head|different ones"),
        ({"config": {"width": 3}}, "makes no head 'statistics'"),
        ({"name": 3}, "no usable name"),
    ):
        bad = checkpoints.save(tmp_path / "bad.safetensors", tensors, {**header, **wrong})
        with pytest.raises(CheckpointError, match=message):
            embedders.load(bad)
    more = {**tensors, "blocks.9.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="neither the head's nor that of a block"):
        embedders.load(checkpoints.save(tmp_path / "bad.safetensors", more, header))
