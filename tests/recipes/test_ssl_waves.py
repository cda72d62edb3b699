"""Fine-tuning a pretrained encoder on waveforms: cache, what is done to crops, Whisper's weights, training, export."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ssl_recipe import run as run_script

from speechssl import audio, checkpoints, encoders
from speechssl.errors import CheckpointError
from speechssl.signals import Waveform
from speechssl.training import distort
from speechssl.voices import clips

transformers = checkpoints.transformers()
WhisperEncoder = importlib.import_module("transformers.models.whisper.modeling_whisper").WhisperEncoder

RECIPE = "ssl_pretraining"
pytest.importorskip("pocketsphinx", reason="the recipes extra is not installed")
CONFIG = {"d_model": 64, "encoder_layers": 3, "encoder_attention_heads": 1, "encoder_ffn_dim": 96, "num_mel_bins": 80}


@pytest.fixture(scope="module")
def data(recipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the cache of the bundled sentences and a noise; as alignments, phones of 90 ms in turn."""
    import soundfile

    folder = tmp_path_factory.mktemp("data")
    rows, lines = [], []
    for clip in clips.clips():
        if clip.role == "sentence":
            waveform = audio.read_mono(clip.path, 16000)
            audio.write(folder / f"{clip.voice}.wav", waveform)
            rows.append([f"{clip.voice}.wav", "clips", clip.voice, clip.seconds, "en", clip.text, "train"])
            names = recipe("align").PHONES
            count = len(waveform.samples) // 160 // 9
            segments = [[names[i % len(names)], 9 * i, 3, 3, 3] for i in range(count)]
            lines.append(json.dumps({"path": f"{clip.voice}.wav", "segments": segments}))
    soundfile.write(folder / "hum.wav", 0.1 * np.random.default_rng(0).standard_normal(32000), 16000)
    rows += [["hum.wav", "noise_hum", "-", 2.0, "", "", "train"], ["gone.wav", "clips", "ada", 1.0, "en", "", "train"]]
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "corpus", "speaker", "seconds", "language", "text", "split"])
        writer.writerows(rows)
    (folder / "alignments.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "rir").mkdir()
    response = np.zeros(4000)
    response[[300, 900]] = 1.0, 0.5
    soundfile.write(folder / "rir" / "hall.flac", response, 16000)
    arguments = ["--output", str(folder / "waves"), "--rooms", str(folder / "rir"), "--workers", "1"]
    run_script(recipe("waves"), [str(folder / "manifest.csv"), *arguments])
    return folder


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    return WhisperEncoder(transformers.WhisperConfig(**CONFIG)).eval()


@pytest.fixture
def model_bin(recipe: Any, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small random Whisper in CTranslate2's layout, published under the name of the base one."""
    path = tmp_path / "model.bin"
    write_ctranslate2(path, network.state_dict())
    known = {"whisper-base": hashlib.sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setattr(recipe("whisper"), "SHA256", known)
    monkeypatch.setattr(recipe("pretrained"), "SHA256", known)
    return path


def write_ctranslate2(path: Path, state: dict[str, torch.Tensor]) -> None:
    """The arrays of a ``WhisperEncoder`` as CTranslate2 names, fuses and writes them, in half precision."""
    arrays = {f"{conv}/{part}": state[f"{conv}.{part}"] for conv in ("conv1", "conv2") for part in ("weight", "bias")}
    arrays["position_encodings/encodings"] = state["embed_positions.weight"]
    norms = {"layer_norm": "layer_norm"}
    for i in range(CONFIG["encoder_layers"]):
        one, other = f"layer_{i}/self_attention", f"layer_{i}/ffn"
        queries = [state[f"layers.{i}.self_attn.{name}_proj.weight"] for name in "qkv"]
        biases = [state.get(f"layers.{i}.self_attn.{name}_proj.bias", torch.zeros(64)) for name in "qkv"]
        arrays |= {f"{one}/linear_0/weight": torch.cat(queries), f"{one}/linear_0/bias": torch.cat(biases)}
        linears = {"self_attn.out_proj": f"{one}/linear_1", "fc1": f"{other}/linear_0", "fc2": f"{other}/linear_1"}
        for name, place in linears.items():
            arrays |= {f"{place}/{part}": state[f"layers.{i}.{name}.{part}"] for part in ("weight", "bias")}
        norms[f"layers.{i}.self_attn_layer_norm"] = f"{one}/layer_norm"
        norms[f"layers.{i}.final_layer_norm"] = f"{other}/layer_norm"
    for name, place in norms.items():
        arrays |= {f"{place}/gamma": state[f"{name}.weight"], f"{place}/beta": state[f"{name}.bias"]}

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, tensor in arrays.items():
        raw = tensor.half().numpy().tobytes()
        shape = struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        content += text(f"encoder/{name}") + shape + struct.pack("<BI", 4, len(raw)) + raw
    path.write_bytes(content)


def _train(recipe: Any, data: Path, run: Path, init: str, *more: str) -> list[dict[str, float]]:
    given = ["--objective", "phones", "--alignments", str(data / "alignments.jsonl"), "--run", str(run)]
    small = ["--toy", "--threads", "1", "--key-dim", "16", "--init", init]
    recipe("train").main([str(data / "waves"), *given, *small, *more])
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def _batches(recipe: Any, data: Path, *, seed: int = 0, **changes: float) -> Any:
    modules = recipe("wave_batches")
    none = modules.Distortion(**{field.name: 0.0 for field in dataclasses.fields(modules.Distortion)})
    count = np.load(data / "waves" / "samples.npy", mmap_mode="r").size // 160
    strength = dataclasses.replace(none, **{"clean": 1.0, **changes})
    return modules.WaveBatches(
        data / "waves", {"places": np.arange(count)}, batch_seconds=12, distortion=strength, seed=seed
    )


def test_the_cache_holds_the_recordings(recipe: Any, data: Path) -> None:
    index, samples = recipe("batches").read_index(data / "waves"), np.load(data / "waves" / "samples.npy")
    for row in index[:2]:
        own = audio.read_mono(data / row["path"], 16000).samples.numpy()
        kept = samples[row["start"] * 160 :][: len(own)] / 32767
        assert np.abs(kept - own).max() < 1e-4
        assert row["frames"] == -(-len(own) // 160)
    skipped = [json.loads(line) for line in (data / "waves" / "skipped.jsonl").read_text().splitlines()]
    assert [item["path"] for item in skipped] == ["gone.wav"]
    # a room begins with its direct sound
    assert np.argmax(np.load(data / "waves" / "rooms.npz")["hall"]) == 8


def test_crops_are_the_cache_and_targets_stay_in_time(recipe: Any, data: Path) -> None:
    samples = np.load(data / "waves" / "samples.npy") / 32767
    for step in range(4):
        batch = _batches(recipe, data)(step)
        length = batch["places"].shape[1]
        assert batch["input"].shape == (len(batch["speaker"]), 320 * length + 80)
        for crop, places in zip(batch["input"].numpy(), batch["places"].numpy(), strict=True):
            # where the utterances of a speaker were laid end to end the cache jumps
            assert (np.diff(places) == 2).mean() > 0.9
            for place, frame in zip(places, range(length), strict=True):
                assert np.abs(crop[320 * frame :][:160] - samples[160 * place :][:160]).max() < 1e-4


def test_another_pitch_takes_its_targets_along(recipe: Any, data: Path) -> None:
    steps = {
        round(float(np.median(np.diff(row)) if len(row) > 9 else 2), 2)
        for step in range(6)
        for row in _batches(recipe, data, voice=1.0, warp=0.18)(step)["places"].numpy()
    }
    assert steps <= {1.0, 2.0, 3.0}
    means = [
        float(np.mean(np.diff(row)))
        for step in range(6)
        for row in _batches(recipe, data, voice=1.0, warp=0.18)(step)["places"].numpy()
        if (np.diff(row) < 4).all()
    ]
    assert 2 / 1.2 < min(means) < 1.9
    assert 2.1 < max(means) < 2 * 1.2


def test_a_batch_depends_on_seed_and_step_alone(recipe: Any, data: Path) -> None:
    everything = {"clean": 0.2, "voice": 0.6, "warp": 0.18, "room": 0.7, "recorded": 0.5, "noise": 0.7, "channel": 0.5}
    more = {"line": 0.6, "clip": 0.2, "gain": 30.0}
    first = _batches(recipe, data, **everything, **more)
    again = [_batches(recipe, data, **everything, **more)(step) for step in (3, 1)]
    for step, batch in zip((3, 1), again, strict=True):
        assert all(torch.equal(tensor, batch[name]) for name, tensor in first(step).items())
        assert torch.isfinite(batch["input"]).all()
        assert batch["input"].abs().max() <= 1
    other = _batches(recipe, data, seed=1, **everything, **more)(3)
    assert other["input"].shape != again[0]["input"].shape or not torch.equal(other["input"], again[0]["input"])


def test_what_is_done_to_a_crop_keeps_it_in_time(recipe: Any) -> None:
    rng = np.random.default_rng(0)
    clip = next(clip for clip in clips.clips() if clip.role == "sentence")
    speech = audio.read_mono(clip.path, 16000).samples.numpy()[:48000]

    def delay(heard: np.ndarray) -> int:
        match = np.fft.irfft(np.fft.rfft(heard, 1 << 17) * np.conj(np.fft.rfft(speech, 1 << 17)))
        place = int(np.argmax(match))
        return place if place < 1 << 16 else place - (1 << 17)

    heard = {codec: distort.coded(speech, codec, 0.3) for codec in distort.CODECS}
    heard |= {f"{codec} at its worst": distort.coded(speech, codec, 1e-5) for codec in distort.CODECS}
    heard["room"] = distort.in_room(speech, distort.simulated_room(rng, 0.6, 0.0))
    heard["telephone"] = distort.mu_law(distort.through_line(speech, 300, 3400))
    heard["microphone"] = distort.through_channel(speech, rng)
    for name, found in heard.items():
        assert found.shape == speech.shape, name
        assert found.dtype == np.float32, name
        assert abs(delay(found)) <= 2, name
    above = np.abs(np.fft.rfft(heard["telephone"]))[len(speech) * 5000 // 16000 :]
    assert np.square(above).sum() < 0.01 * np.square(np.abs(np.fft.rfft(speech))).sum()


@pytest.mark.parametrize("t60", [0.2, 0.6, 2.0])
def test_a_simulated_room_decays_as_it_says(recipe: Any, t60: float) -> None:
    response = distort.simulated_room(np.random.default_rng(0), t60, -3.0)
    assert np.square(response).sum() == pytest.approx(1.0, rel=1e-4)
    left = 10 * np.log10(np.cumsum(np.square(response[::-1].astype(np.float64)))[::-1])
    # Schroeder's curve from -8 to -18 dB, where the tail is; treble dies sooner
    first, last = (int(np.argmax(left < level)) for level in (-8, -18))
    assert 0.4 * t60 < (last - first) / 16000 * 6 < 1.15 * t60


def test_noise_has_the_level_asked_for(recipe: Any) -> None:
    rng = np.random.default_rng(0)
    speech, noise = (rng.standard_normal(16000).astype(np.float32) for _ in range(2))
    added = distort.with_noise(speech, 7 * noise, 10.0) - speech
    assert 10 * np.log10(np.square(speech).sum() / np.square(added).sum()) == pytest.approx(10, abs=0.01)


def test_weights_are_read_from_the_published_layout(recipe: Any, network: Any, model_bin: Path) -> None:
    tensors, config = recipe("whisper").encoder_of(recipe("whisper").read_ctranslate2(model_bin), "here")
    assert {key: config[key] for key in CONFIG} == CONFIG
    expected = network.state_dict()
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected[name].half().float()), name


def test_wrong_weights_are_refused(recipe: Any, data: Path, model_bin: Path, tmp_path: Path) -> None:
    def train(init: str, *more: str) -> None:
        _train(recipe, data, tmp_path / "run", init, *more)

    with pytest.raises(SystemExit, match="whisper-base has 3"):
        train(f"whisper-base={model_bin}", "--blocks", "4")
    with pytest.raises(SystemExit, match="no such file"):
        train("whisper-base=missing.bin")
    with pytest.raises(SystemExit, match="are known of whisper-base"):
        train(f"whisper-huge={model_bin}")
    content = model_bin.read_bytes()
    model_bin.write_bytes(content[:-1] + b"\1")
    with pytest.raises(SystemExit, match=r"sha256 \w{64}, but whisper-base has \w{64}"):
        train(f"whisper-base={model_bin}")
    model_bin.write_bytes(content[:1000])
    with pytest.raises(SystemExit, match=r"not a complete model\.bin"):
        recipe("whisper").read_ctranslate2(model_bin)
    with pytest.raises(SystemExit, match="the weights of a Whisper model are needed"):
        recipe("whisper").encoder_of({"decoder/x": np.zeros(1)}, "here")
    assert not (tmp_path / "run").exists()


def test_speech_without_transcripts_is_refused(recipe: Any, data: Path, model_bin: Path, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(SystemExit, match="does the manifest hold transcripts"):
        _train(
            recipe, data, tmp_path / "run", f"whisper-base={model_bin}", "--alignments", str(tmp_path / "none.jsonl")
        )
    with pytest.raises(SystemExit, match="are for --objective phones with --init"):
        recipe("train").main([str(data / "waves"), "--objective", "hubert", "--run", str(tmp_path / "run")])
    arguments = [str(data / "manifest.csv"), "--output", str(tmp_path / "a.jsonl"), "--parts", "clips:test"]
    with pytest.raises(SystemExit, match="clips:test: no transcribed utterance"):
        run_script(recipe("align"), arguments)


def test_a_fine_tuned_run_resumes_bit_for_bit_and_is_exported(
    recipe: Any, data: Path, model_bin: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    init = [f"whisper-base={model_bin}", "--blocks", "2"]
    whole = _train(recipe, data, tmp_path / "whole", *init)
    for _ in range(6):  # zero seconds: every call makes one step and saves
        parts = _train(recipe, data, tmp_path / "parts", *init, "--max-seconds", "0")
    assert [row["total"] for row in parts] == [row["total"] for row in whole]
    one, other = (load_file(tmp_path / run / "last" / "objective.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)

    output = tmp_path / "heard.safetensors"
    run_script(recipe("export"), [str(tmp_path / "whole"), "--output", str(output), "--name", "heard"])
    encoder, network = encoders.load(output), recipe("export").fine_tuned_network(tmp_path / "whole")
    assert (encoder.origin, encoder.dim, encoder.num_layers) == ("heard/2", 16, 2)
    samples = audio.read_mono(data / "ada.wav", 16000).samples[: 320 * 100 + 80]
    with torch.no_grad():
        expected = network(samples[None]).last_hidden_state[0]
    found = encoder.encode(Waveform(samples, 16000)).frames
    # the file holds float16 weights
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.999


def test_any_encoder_of_the_package_is_fine_tuned(recipe: Any, data: Path, tmp_path: Path, encoder_file: Path) -> None:
    log = _train(recipe, data, tmp_path / "run", str(encoder_file), "--blocks", "2")
    assert len(log) == 6
    output = tmp_path / "heard.safetensors"
    run_script(recipe("export"), [str(tmp_path / "run"), "--output", str(output), "--name", "heard"])
    encoder, network = encoders.load(output), recipe("export").fine_tuned_network(tmp_path / "run")
    samples = audio.read_mono(data / "ada.wav", 16000).samples[: 320 * 100 + 80]
    with torch.no_grad():
        expected = network(samples[None]).last_hidden_state[0]
    found = encoder.encode(Waveform(samples, 16000)).frames
    # the last frame is half empty, and masked in the package's own network
    assert torch.nn.functional.cosine_similarity(found, expected)[:-1].min() > 0.99


def test_nan_names_the_step(
    recipe: Any, data: Path, model_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = recipe("wave_batches").WaveBatches
    drawn = batches.__call__

    def poisoned(self: Any, step: int) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = drawn(self, step)
        return batch | {"input": batch["input"] * torch.nan} if step == 2 else batch

    monkeypatch.setattr(batches, "__call__", poisoned)
    with pytest.raises(CheckpointError, match="loss at step 2 is"):
        _train(recipe, data, tmp_path / "run", f"whisper-base={model_bin}")


def test_hearing_is_measured_by_part_and_condition(
    recipe: Any, data: Path, model_bin: Path, tmp_path: Path, encoder_file: Path
) -> None:
    _train(recipe, data, tmp_path / "run", f"whisper-base={model_bin}", "--blocks", "1")
    arguments = [str(data / "waves"), str(data / "alignments.jsonl")]
    for name in (tmp_path / "run", encoder_file):
        output = tmp_path / "report.json"
        more = ["--parts", "clips:train", "--seconds", "3", "--output", str(output)]
        run_script(recipe("hear"), [*arguments, str(name), *more])
        report = json.loads(output.read_text())["clips:train"]
        assert report.pop("speakers") >= 2
        assert report.keys() == recipe("hear").CONDITIONS.keys()
        assert all(0 < share < 1 for share in report.values())
    with pytest.raises(SystemExit, match="clips:dev: 0 speakers"):
        run_script(recipe("hear"), [*arguments, str(encoder_file), "--parts", "clips:dev"])


def test_people_of_a_few_words_are_laid_end_to_end(recipe: Any) -> None:
    crowded = recipe("wave_batches")._crowded
    long = {("a", "one"): [(0, 5000), (5000, 900)], ("a", "two"): [(9000, 1000)]}
    short = {("a", f"s{number}"): [(10000 + 500 * number, 500)] for number in range(100)}
    found = crowded(long | short | {("b", "alone"): [(90000, 80)]})
    assert found[:2] == list(long.values())
    assert found[-1] == [(90000, 80)]
    # 48 people make four minutes
    assert [len(places) for places in found[2:-1]] == [48, 48, 4]
    assert sorted(place for places in found[2:-1] for place in places) == sorted(p for ps in short.values() for p in ps)


def test_encoders_of_one_training_are_averaged_and_moved_back(
    recipe: Any, data: Path, model_bin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for steps in ("1", "2"):
        arguments = [data / "waves", "--toy", "--objective", "phones", "--alignments", data / "alignments.jsonl"]
        arguments += ["--run", tmp_path / "run", "--init", f"whisper-base={model_bin}", "--blocks", "2"]
        run_script(recipe("train"), [*map(str, arguments), "--max-seconds", "0", "--threads", "1"])
        files.append(tmp_path / f"{steps}.safetensors")
        run_script(recipe("export"), [str(tmp_path / "run"), "--output", str(files[-1]), "--name", "heard"])
    begin = ["--init", f"whisper-base={model_bin}"]
    for share in ("0", "0.25"):
        more = [] if share == "0" else [*begin, "--back", share]
        out = tmp_path / f"back{share}.safetensors"
        run_script(recipe("blend"), [*map(str, files), "--output", str(out), *more])
    one, two, middle, moved = (
        checkpoints.load(path, kind="encoder").tensors
        for path in (*files, tmp_path / "back0.safetensors", tmp_path / "back0.25.safetensors")
    )
    start = recipe("blend").start_of(begin[1], {"layer": 2})
    for name in one:
        wanted = (one[name].float() + two[name].float()) / 2
        assert torch.allclose(middle[name].float(), wanted, atol=2e-3)
        if name.startswith("projection."):
            assert torch.equal(moved[name], middle[name])
        else:
            assert torch.allclose(moved[name].float(), 0.75 * wanted + 0.25 * start[name], atol=3e-3)
    assert encoders.load(tmp_path / "back0.25.safetensors").origin == "heard/2"
    with pytest.raises(SystemExit, match="a share from 0 to 1 and both or neither"):
        run_script(recipe("blend"), [str(files[0]), "--output", str(tmp_path / "x.safetensors"), "--back", "0.5"])
    assert not (tmp_path / "x.safetensors").exists()
