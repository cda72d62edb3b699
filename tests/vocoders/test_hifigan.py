"""HiFi-GAN: the published layout against a plain float64 rewriting of its formula, chunks against the whole, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from speechssl import checkpoints, vocoders
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Features, Vocoder
from speechssl.vocoders import hifigan
from speechssl.vocoders.hifigan import Generator, HifiganConfig, HifiganVocoder

SMALL = HifiganConfig(input_dim=6, hidden_dim=16, initial_channels=32)
ORIGIN = "wavlm-large/6/raw"


def published_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and shapes of kNN-VC's generator, written out from its config v1."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def normed(name: str, *shape: int, bias: int) -> None:
        state[f"{name}.weight_v"] = torch.randn(shape, generator=generator)
        state[f"{name}.weight_g"] = (0.5 + torch.rand(shape[0], 1, 1, generator=generator)) * 0.8
        state[f"{name}.bias"] = 0.1 * torch.randn(bias, generator=generator)

    state["lin_pre.weight"] = torch.randn(512, 1024, generator=generator) / 32
    state["lin_pre.bias"] = torch.randn(512, generator=generator)
    normed("conv_pre", 512, 512, 7, bias=512)
    channels = 512
    for level, kernel in enumerate((20, 16, 4, 4)):
        normed(f"ups.{level}", channels, channels // 2, kernel, bias=channels // 2)
        channels //= 2
        for block, width in enumerate((3, 7, 11)):
            for part in ("convs1", "convs2"):
                for index in range(3):
                    normed(f"resblocks.{3 * level + block}.{part}.{index}", channels, channels, width, bias=channels)
    normed("conv_post", 1, channels, 7, bias=1)
    return state


def reference(state: dict[str, Tensor], features: Tensor) -> Tensor:
    """HiFi-GAN v1 of (N, 1024) features in float64, straight from the paper and the published names."""

    def weight(name: str) -> Tensor:
        v, g = state[f"{name}.weight_v"].double(), state[f"{name}.weight_g"].double()
        return g * v / v.flatten(1).norm(dim=1).view(-1, 1, 1)

    def conv(x: Tensor, name: str, width: int, dilation: int = 1) -> Tensor:
        padding = dilation * (width - 1) // 2
        return functional.conv1d(x, weight(name), state[f"{name}.bias"].double(), padding=padding, dilation=dilation)

    x = features.double() @ state["lin_pre.weight"].double().T + state["lin_pre.bias"].double()
    x = conv(x.T[None], "conv_pre", 7)
    for level, (rate, kernel) in enumerate(((10, 20), (8, 16), (2, 4), (2, 4))):
        x = functional.conv_transpose1d(
            functional.leaky_relu(x, 0.1),
            weight(f"ups.{level}"),
            state[f"ups.{level}.bias"].double(),
            stride=rate,
            padding=(kernel - rate) // 2,
        )
        total = torch.zeros_like(x)
        for block, width in enumerate((3, 7, 11)):
            y = x
            for index, dilation in enumerate((1, 3, 5)):
                name = f"resblocks.{3 * level + block}"
                z = conv(functional.leaky_relu(y, 0.1), f"{name}.convs1.{index}", width, dilation)
                y = y + conv(functional.leaky_relu(z, 0.1), f"{name}.convs2.{index}", width)
            total += y
        x = total / 3
    return torch.tanh(conv(functional.leaky_relu(x, 0.01), "conv_post", 7))[0, 0]


def vocoder(config: HifiganConfig = SMALL, seed: int = 0, origin: str = ORIGIN) -> HifiganVocoder:
    torch.manual_seed(seed)
    network = Generator(config)
    # livelier than the default, so that far inputs are heard if they can be
    for parameter in network.parameters():
        parameter.data.mul_(1.5)
    return HifiganVocoder(network, config, origin=origin, device="cpu")


def frames(count: int, dim: int, seed: int = 1) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def features(count: int, dim: int = 6, origin: str = ORIGIN) -> Features:
    return Features(frames(count, dim), 50.0, origin)


def test_a_published_checkpoint_loads_without_change_and_sounds_as_its_formula(tmp_path: Path) -> None:
    state = published_state()
    path = tmp_path / "prematch_g_02500000.pt"
    torch.save({"generator": state}, path)
    loaded = vocoders.load(path, device="cpu")
    assert isinstance(loaded, Vocoder)
    assert (loaded.origin, loaded.sample_rate, loaded.frame_rate, loaded.needs_f0) == (ORIGIN, 16000, 50.0, False)
    given = features(9, 1024)
    expected = reference(state, given.frames)
    assert expected.std() > 0.01
    assert (expected.abs() < 0.999).float().mean() > 0.9
    torch.testing.assert_close(loaded.vocode(given).samples.double(), expected, rtol=0, atol=1e-5)


def test_the_published_layout_has_the_published_size() -> None:
    # "16.5 M params", 66.2 MB of float32: what those who hold the file report
    assert sum(value.numel() for value in published_state().values()) * 4 == pytest.approx(66_214_643, rel=2e-3)


def test_newer_weight_norm_names_give_the_same_weights() -> None:
    state = published_state(seed=3)
    newer = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for name, value in state.items()
    }
    first, second = (checkpoints.without_weight_norm(one, keep=0) for one in (state, newer))
    assert first.keys() == second.keys() == Generator(HifiganConfig()).state_dict().keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "half"])
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(tmp_path: Path, change: str) -> None:
    state = published_state()
    if change == "missing":
        del state["ups.1.bias"]
    elif change == "unexpected":
        state["ups.9.bias"] = torch.zeros(2)
    elif change == "shape":
        state["ups.1.bias"] = torch.zeros(7)
    else:
        del state["ups.1.weight_g"]
    torch.save({"generator": state}, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=r"g\.pt does not fit Generator: .*ups\.") as error:
        hifigan.load_published(tmp_path / "g.pt", origin=ORIGIN)
    assert ("ups.1" in str(error.value)) != (change == "unexpected")


@pytest.mark.parametrize("content", [[1, 2], {"model": {}}, {"generator": 3}, {"generator": {"a": 1}}])
def test_another_layout_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match="entry 'generator' is needed"):
        hifigan.load_published(tmp_path / "g.pt", origin=ORIGIN)


@pytest.mark.parametrize(("count", "chunk"), [(1, 1), (5, 1), (13, 1), (26, 7), (27, 9), (80, 7), (131, 40), (40, 40)])
def test_chunks_equal_the_whole(count: int, chunk: int) -> None:
    network = vocoder()
    given = frames(count, 6)
    with torch.no_grad():
        whole = network.network(given[None])[0]
    pieces = list(network.stream(given, chunk=chunk))
    assert all(len(piece) == 320 * chunk for piece in pieces[:-1])
    joined = torch.cat(pieces)
    assert len(joined) == len(whole) == network.num_samples(count)
    assert whole.std() > 0.01
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-5)


def test_the_context_is_what_a_frame_reaches() -> None:
    """Changing one frame changes samples up to the context away, and nothing beyond."""
    network = vocoder()
    given = frames(61, 6).double()
    network.network.double()
    changed = given.clone()
    changed[30] += 1000
    with torch.no_grad():
        moved = (network.network(given[None]) != network.network(changed[None]))[0].nonzero()[:, 0]
    first, last = int(moved.min()) // 320, int(moved.max()) // 320
    assert SMALL.context == HifiganConfig().context == 12
    assert (first, last) == (30 - 11, 30 + 11)


def test_other_origins_and_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"hubert-base/9.*wavlm-large/6/raw"):
        vocoder().vocode(features(5, origin="hubert-base/9"))
    with pytest.raises(InputError, match="7 numbers a frame; this vocoder takes 6"):
        vocoder().vocode(features(5, dim=7))


def test_saved_and_loaded_it_sounds_the_same(tmp_path: Path) -> None:
    network = vocoder()
    path = hifigan.save(tmp_path / "v.safetensors", network, licence="MIT", provenance={"steps": 10})
    loaded = vocoders.load(path, device="cpu")
    assert torch.equal(loaded.vocode(features(20)).samples, network.vocode(features(20)).samples)
    assert loaded.origin == ORIGIN
    header = checkpoints.peek(path)
    assert (header["kind"], header["family"], header["licence"]) == ("vocoder", "hifigan", "MIT")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"family": "vocos"}, "family 'vocos'"),
        ({"kind": "encoder"}, "of kind 'encoder'"),
        ({"origin": None}, "with an origin needed"),
        ({"config": {}}, "config with entries"),
        ({"config": {"sample_rate": "many"}}, "cannot be read"),
        ({"config": {"upsample_kernels": [20, 16, 4, 3]}}, "do not fit"),
        ({"config": {"hidden_dim": 8}}, r"lin_pre\.weight \(16, 6\) instead of \(8, 6\)"),
    ],
)
def test_a_file_with_another_header_is_refused(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    network = vocoder()
    path = hifigan.save(tmp_path / "v.safetensors", network, licence="MIT", provenance={})
    header = checkpoints.peek(path)
    if changed.get("config"):
        changed = {"config": header["config"] | changed["config"]}
    checkpoints.save(path, network.network.state_dict(), header | changed)
    with pytest.raises(CheckpointError, match=message):
        vocoders.load(path)


def test_a_published_vocoder_without_a_known_checksum_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHSSL_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"no checksum is known for g_02500000\.pt"):
        vocoders.load("knn-vc")
    with pytest.raises(InputError, match="no published vocoder"):
        hifigan.fetch_published("knn-vc-2")


def test_a_published_vocoder_offline_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECHSSL_OFFLINE", "1")
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as error:
        vocoders.load("knn-vc-prematched")
    for word in ("66 MB", "MIT", "github.com/bshall/knn-vc", str(tmp_path / "prematch_g_02500000.pt"), "f924c7632c6e"):
        assert word in str(error.value)
    (tmp_path / "prematch_g_02500000.pt").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="is pinned for"):
        vocoders.load("knn-vc-prematched")


def test_unknown_names_and_devices_are_refused() -> None:
    with pytest.raises(InputError, match="no vocoder 'wavenet'"):
        vocoders.load("wavenet")
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        HifiganVocoder(Generator(SMALL), SMALL, origin=ORIGIN, device="abacus")


def test_however_long_the_network_sees_short_pieces_only() -> None:
    """Which is what keeps memory flat."""
    network = vocoder(HifiganConfig(input_dim=6, hidden_dim=4, initial_channels=16))
    seen: list[int] = []
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    assert len(network.vocode(features(2300)).samples) == 2300 * 320
    assert seen == [512, 524, 524, 524, 312]
