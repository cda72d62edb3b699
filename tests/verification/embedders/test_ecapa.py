"""Our ECAPA-TDNN against speechbrain's on random weights, and our own embedder files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from speechssl import audio, checkpoints
from speechssl.audio.mel import kaldi
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform
from speechssl.verification import embedders
from speechssl.verification.embedders import log_mel, published_ecapa
from speechssl.verification.embedders.ecapa import Ecapa, plain_statistics, unwrapped
from speechssl.voices import clips

CONFIG = {"input_dim": 160, "channels": 16, "dim": 12, "bottleneck": 8, "scale": 4, "padding": "zeros"}


def random_network(seed: int = 0) -> Ecapa:
    torch.manual_seed(seed)
    network = Ecapa(**CONFIG)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def save(path: Path, **more: object) -> Path:
    return log_mel.write(
        path, random_network(), name="small", config=CONFIG, scale=3.0, provenance={}, licence="MIT", **more
    )


def sound(seconds: float, rate: int = 16000, seed: int = 0) -> Waveform:
    generator = torch.Generator().manual_seed(seed)
    return Waveform(0.1 * torch.randn(int(seconds * rate), generator=generator), rate)


@pytest.fixture(scope="module")
def theirs(torchaudio: object) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("speechbrain.lobes.models.ECAPA_TDNN")
    torch.manual_seed(1)
    network = module.ECAPA_TDNN(
        80, channels=[32, 32, 32, 32, 96], lin_neurons=24, attention_channels=16, se_channels=16
    )
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def test_equals_speechbrain_layer_for_layer(theirs: torch.nn.Module) -> None:
    ours = Ecapa(80, dim=24, channels=32, bottleneck=16, padding="reflect").eval()
    checkpoints.load_state(ours, unwrapped(theirs.state_dict()), source="speechbrain")
    frames = torch.randn(3, 70, 80)
    one, two = frames.transpose(1, 2), frames.transpose(1, 2)
    for mine, other in zip(ours.blocks, theirs.blocks, strict=True):
        one, two = mine(one), other(two)
        assert torch.allclose(one, two, atol=1e-5)
    assert torch.allclose(ours(frames), theirs(frames)[:, 0], atol=1e-5)


def test_published_checkpoint_folder_loads_and_equals_speechbrain(theirs: torch.nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = pytest.importorskip("speechbrain.lobes.features")
    torch.save(theirs.state_dict(), tmp_path / published_ecapa.FILE)
    embedder = embedders.load(tmp_path, device="cpu")
    waveform = sound(2.0)
    bands = features.Fbank(n_mels=80)(waveform.samples[None])
    assert torch.allclose(published_ecapa.decibel_bands(waveform.samples), bands[0], atol=2e-3)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(theirs(bands - bands.mean(1, keepdim=True))[0, 0], dim=0)
    found = embedder.embed(waveform)
    assert embedder.dim == 24
    assert torch.allclose(found.vector, expected, atol=1e-4)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / published_ecapa.FILE)
    with pytest.raises(CheckpointError, match="no ECAPA-TDNN"):
        embedders.load(tmp_path)


def test_own_file_round_trip(tmp_path: Path) -> None:
    path = save(tmp_path / "small.safetensors", cohort=torch.eye(12)[:5], calibration={"scale": 1.0})
    embedder = embedders.load(path, device="cpu")
    found = embedder.embed(sound(1.5))
    assert found.origin == f"small@{checkpoints.fingerprint(path)}"
    assert found.vector.shape == (embedder.dim,) == (12,)
    assert embedder.cohort.shape == (5, 12)
    assert embedder.calibration == {"scale": 1.0}
    assert torch.equal(found.vector, embedders.load(path, device="cpu").embed(sound(1.5)).vector)


def test_embedding_is_that_of_the_network_on_levelled_pairs(tmp_path: Path) -> None:
    embedder = embedders.load(save(tmp_path / "small.safetensors"), device="cpu")
    network = random_network()
    network.load_state_dict(
        {k: v.half().float() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    )
    mel = kaldi(sound(1.505).samples)
    assert len(mel) == 1 + (24080 - 400) // 160
    levelled = (mel - mel.mean()) / 3
    with torch.inference_mode():
        expected = network(levelled[: len(mel) // 2 * 2].reshape(1, -1, 160))[0]
    found = embedder.embed(sound(1.505)).vector
    assert torch.allclose(found, torch.nn.functional.normalize(expected, dim=0), atol=1e-5)


def test_what_lies_below_the_floor_is_not_heard(tmp_path: Path) -> None:
    whole, floored = (embedders.load(save(tmp_path / f"{floor}.safetensors", floor=floor)) for floor in (None, 40.0))
    voice = torch.cat([torch.zeros(8000), sound(1.0).samples, torch.zeros(8000)])
    hiss = 1e-3 * torch.randn(len(voice), generator=torch.Generator().manual_seed(0)) * float(voice.std())
    one, two = Waveform(voice, 16000), Waveform(voice + hiss, 16000)
    apart = [1 - float(embedder.embed(one).vector @ embedder.embed(two).vector) for embedder in (whole, floored)]
    assert apart[1] < 1e-6 < apart[0]
    bands = torch.randn(200, 80, generator=torch.Generator().manual_seed(0))
    bands[:100] -= 30
    found = log_mel.floored(bands, 40.0)
    loud = np.quantile(np.log(np.exp(bands.double().numpy()).sum(1)), 0.95) - np.log(80)
    np.testing.assert_allclose(found, np.maximum(bands.numpy(), loud - 4 * np.log(10)), atol=1e-4)
    assert torch.equal(found[100:], bands[100:])
    assert torch.equal(log_mel.floored(bands, None), bands)


def test_level_does_not_matter_and_other_rates_are_resampled(tmp_path: Path) -> None:
    embedder = embedders.load(save(tmp_path / "small.safetensors"), device="cpu")
    waveform = sound(1.0)
    quiet = Waveform(waveform.samples * 0.2, 16000)
    assert float(embedder.embed(waveform).vector @ embedder.embed(quiet).vector) > 0.9999
    assert embedder.embed(sound(1.0, rate=44100)).vector.shape == (12,)


def test_long_recordings_are_averaged_over_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = embedders.load(save(tmp_path / "small.safetensors"), device="cpu")
    waveform = sound(4.0)
    monkeypatch.setattr(log_mel, "WINDOW", 150)
    found = embedder.embed(waveform).vector
    windows = log_mel._windows(waveform.samples)
    frames = [1 + (length - 400) // 160 for _, length in windows]
    assert len(frames) == 3
    assert sum(frames) == 1 + (64000 - 400) // 160  # every frame once
    parts = [embedder.embed(Waveform(waveform.samples[a : a + n], 16000)).vector * n for a, n in windows]
    assert torch.allclose(found, torch.nn.functional.normalize(torch.stack(parts).sum(0), dim=0), atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 3e-4])
def test_a_long_pause_does_not_change_who_speaks(noise: float) -> None:
    model = embedders.load("tiny")
    talk = audio.read_mono(clips.clip("ada").path, 16000).samples[: 10 * 16000]
    other = model.embed(audio.read(clips.clip("ada", "sentence").path)).vector
    pause = noise * torch.randn(40 * 16000, generator=torch.Generator().manual_seed(0))
    paused = torch.cat([talk[: 5 * 16000], pause, talk[5 * 16000 :]])
    alone, within = (float(model.embed(Waveform(one, 16000)).vector @ other) for one in (talk, paused))
    assert within == pytest.approx(alone, abs=0.05)


def test_recordings_heard_together_are_embedded_as_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = embedders.load(save(tmp_path / "e.safetensors", narrow=(random_network(1), CONFIG)))
    monkeypatch.setattr(log_mel, "WINDOW", 250)
    waveforms = [sound(seconds, seed=seed) for seed, seconds in enumerate((1.0, 2.0, 1.0, 7.1, 1.0, 0.6))]
    calls = []
    embedder.network.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    together = embedder.embed_all(waveforms)
    # the three that are equally long, two at once; one long one by windows
    assert sorted(calls)[-1] == 2
    assert sum(calls) == 8
    for one, waveform in zip(together, waveforms, strict=True):
        assert float((one.vector - embedder.embed(waveform).vector).abs().max()) < 1e-5
        assert float(one.vector.norm()) == pytest.approx(1.0, abs=1e-5)


def test_plain_statistics_equal_their_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(30, 6, generator=generator).double().numpy()
    found = plain_statistics(torch.from_numpy(mel).reshape(1, 15, 12))[0].numpy()
    level = mel.mean(1)
    loud = mel[level > np.quantile(level, 0.35)]
    change = mel[2:] - mel[:-2]
    expected = np.concatenate([mel.mean(0), mel.std(0), change.std(0), loud.mean(0), loud.std(0)])
    assert np.abs(found - expected).max() < 1e-5


def test_last_map_may_see_plain_statistics(tmp_path: Path) -> None:
    config = {**CONFIG, "plain": True}
    torch.manual_seed(0)
    network = Ecapa(**config).eval()
    path = log_mel.write(
        tmp_path / "x.safetensors", network, name="x", config=config, scale=3.0, provenance={}, licence="MIT"
    )
    assert network.fc.in_channels == 2 * 3 * 16 + 5 * 80
    assert embedders.load(path, device="cpu").embed(sound(1.0)).vector.shape == (12,)


def test_too_short_is_refused(tmp_path: Path) -> None:
    embedder = embedders.load(save(tmp_path / "small.safetensors"), device="cpu")
    with pytest.raises(InputError, match=r"0\.100 s of sound"):
        embedder.embed(sound(0.1))


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tensors = random_network().state_dict()
    header = {
        "kind": "embedder",
        "family": "ecapa",
        "name": "x",
        "config": CONFIG,
        "input": {"type": "log-mel", "bands": 80, "scale": 3.0},
    }
    for wrong, message in (
        ({"input": {"type": "waveform"}}, "waveform"),
        ({"config": {**CONFIG, "channels": 32}}, "of another shape"),
        ({"config": {"nonsense": 1}}, "makes no network"),
        ({"name": 3}, "no usable name"),
    ):
        path = checkpoints.save(tmp_path / "x.safetensors", tensors, {**header, **wrong})
        with pytest.raises(CheckpointError, match=message):
            embedders.load(path)
    with pytest.raises(CheckpointError, match="embedder"):
        embedders.load(checkpoints.save(tmp_path / "y.safetensors", tensors, {**header, "kind": "encoder"}))
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="is a file"):
        embedders.load(tmp_path / "weights.bin")
    with pytest.raises(InputError, match="no embedder named"):
        embedders.load("")


def small_wavlm(folder: Path, *, head: bool) -> Path:
    checkpoints.transformers()
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector, WavLMModel

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, tdnn_dim=(8, 8), tdnn_dilation=(1, 2), tdnn_kernel=(3, 3),
        xvector_output_dim=6,
    )  # fmt: skip
    (WavLMForXVector if head else WavLMModel)(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_xvector_folder_gives_the_models_own_embedding(tmp_path: Path) -> None:
    checkpoints.transformers()  # without torchaudio
    from transformers import AutoFeatureExtractor, WavLMForXVector

    folder = small_wavlm(tmp_path, head=True)
    embedder = embedders.load(folder, device="cpu")
    waveform = sound(1.0)
    inputs = AutoFeatureExtractor.from_pretrained(folder)(
        waveform.samples.numpy(), sampling_rate=16000, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = WavLMForXVector.from_pretrained(folder).eval()(**inputs).embeddings[0]
    assert embedder.dim == 6
    assert torch.allclose(embedder.embed(waveform).vector, torch.nn.functional.normalize(expected, dim=0), atol=1e-5)
    assert embedder.origin == embedders.load(folder, device="cpu").origin


def test_a_model_without_a_speaker_head_is_refused(tmp_path: Path) -> None:
    """A head left at random scores 0.99 for everybody."""
    with pytest.raises(CheckpointError, match="it is no speaker model"):
        embedders.load(small_wavlm(tmp_path, head=False))


def test_nothing_is_fetched_offline_and_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no speaker embedder could be loaded"):
        embedders.load("nobody/no-such-model")
