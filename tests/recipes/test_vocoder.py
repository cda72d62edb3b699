"""The vocoder recipe end to end on the bundled clips: prepare, train, resume, export, speak."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from speechssl import audio, checkpoints, encoders, vocoders
from speechssl.errors import InputError
from speechssl.signals import Waveform
from speechssl.training.loop import fast_at_bfloat16
from speechssl.training.objectives.resynthesis import Resynthesis, Spectrum
from speechssl.voices import clips

RECIPE = "vocoder"
Recipe = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def cache(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory, encoder_file: Path) -> Path:
    """A cache of three recordings of one voice and one of another, with the small encoder."""
    folder = tmp_path_factory.mktemp("vocoder")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "corpus", "speaker", "seconds", "split"])
        for voice, number in (("ada", 0), ("ada", 1), ("ada", 2), ("eric", 0)):
            samples = audio.read_mono(clips.clip(voice).path, 16_000).samples
            cut = Waveform(samples[64_000 * number : 64_000 * (number + 1)].clone(), 16_000)
            audio.write(folder / f"{voice}{number}.wav", cut)
            writer.writerow([f"{voice}{number}.wav", "clips", voice, 4.0, "train"])
        audio.write(folder / "short.wav", Waveform(torch.zeros(8000), 16_000))
        writer.writerow(["short.wav", "clips", "ada", 0.5, "train"])
        writer.writerow(["missing.wav", "clips", "ada", 3.0, "train"])
    arguments = [folder / "manifest.csv", "--output", folder / "cache", "--corpora", "clips", "--workers", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["prepare.py", *map(str, arguments), "--model", str(encoder_file)])
        recipe("prepare").main()
    return folder / "cache"


def test_frames_are_found_in_other_recordings_or_other_seconds(cache: Path) -> None:
    index = json.loads((cache / "index.json").read_text())
    assert [row["path"] for row in index] == ["ada0.wav", "ada1.wav", "ada2.wav", "eric0.wav"]
    neighbours = np.load(cache / "neighbours.npy")
    for row in index[:3]:
        own = range(row["keys_at"], row["keys_at"] + row["keys_n"])
        found = neighbours[own.start : own.stop]
        assert found.max() < index[3]["keys_at"]
        inside = (found >= own.start) & (found < own.stop)
        assert not (inside & (np.abs(found - np.array(own)[:, None]) < 75)).any()
    alone = neighbours[index[3]["keys_at"] :]
    assert alone.min() >= index[3]["keys_at"]
    assert (np.abs(alone - (index[3]["keys_at"] + np.arange(len(alone)))[:, None]) >= 75).all()
    # other speakers' frames, which lend their keys
    strangers, last = np.load(cache / "strangers.npy"), index[3]["keys_at"]
    assert strangers[:last].min() >= last
    assert strangers[last:].max() < last
    skipped = [json.loads(line) for line in (cache / "skipped.jsonl").read_text().splitlines()]
    assert [line["path"] for line in skipped] == ["missing.wav", "short.wav"]


def test_a_stopped_run_goes_on_and_ends_as_one_that_never_stopped(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    train = recipe("train").main
    train([str(cache), "--toy", "--run", str(tmp_path / "whole")])
    for _ in range(6):
        train([str(cache), "--toy", "--run", str(tmp_path / "parts"), "--max-seconds", "0"])
    texts = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "parts")]
    logs = [[json.loads(line) for line in text.splitlines()] for text in texts]
    for one, other in zip(*logs, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert {"mel", "linear", "adversarial", "discriminator"} <= logs[0][-1].keys()
    with pytest.raises(InputError, match="rate"):
        train([str(cache), "--toy", "--run", str(tmp_path / "parts"), "--rate", "0.5"])
    recipe("export").main([str(tmp_path / "whole"), str(tmp_path / "v.safetensors"), "--key-origin", "small/2"])
    assert vocoders.load(tmp_path / "v.safetensors", device="cpu").key_origin == "small/2"
    further = recipe("train").parse([str(cache), "--toy", "--run", "unused", "--init", str(tmp_path / "v.safetensors")])
    batches = recipe("train").VocoderBatches(cache, frames=40, batch_seconds=1.6, seed=0)
    begun = recipe("train").make_objective(further, batches).generator.state_dict()
    written = load_file(tmp_path / "v.safetensors")
    assert all(torch.equal(begun[name], tensor.float()) for name, tensor in written.items())


def test_the_weights_half_way_to_where_a_run_began(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.safetensors" for name in ("first", "second", "between")}
    recipe("train").main([str(cache), "--toy", "--run", str(tmp_path / "a")])
    recipe("export").main([str(tmp_path / "a"), str(files["first"])])
    recipe("train").main([str(cache), "--toy", "--init", str(files["first"]), "--run", str(tmp_path / "b")])
    recipe("export").main([str(tmp_path / "b"), str(files["second"])])
    recipe("export").main([str(tmp_path / "b"), str(files["between"]), "--half-way-from", str(files["first"])])
    first, second, between = (load_file(file) for file in files.values())
    assert any(not torch.equal(first[name], second[name]) for name in first)
    for name, weights in between.items():
        # float16, of the run's float32 and of the file's float16
        mean = (first[name].float() + second[name].float()) / 2
        torch.testing.assert_close(weights.float(), mean, atol=1e-6, rtol=2e-3)
    made_of = checkpoints.load(files["between"], kind="vocoder").header["provenance"]["half_way_from"]
    assert made_of == checkpoints.fingerprint(files["first"])
    with pytest.raises(SystemExit, match="the same needed"):
        recipe("export").main([str(tmp_path / "b"), str(files["between"]), "--half-way-from", str(vocoders.TINY)])


def test_keys_of_another_encoder_leave_the_rest_of_a_cache_as_it_is(
    recipe: Recipe, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "cache"
    shutil.copytree(cache, copy)
    arguments = ["prepare.py", str(tmp_path / "nowhere.csv"), "--output", str(copy), "--workers", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    recipe("prepare").main()
    before, after = (
        {name: np.load(folder / f"{name}.npy") for name in ("samples", "f0", "values", "keys", "queries")}
        for folder in (cache, copy)
    )
    for name in ("samples", "f0", "values"):
        np.testing.assert_array_equal(before[name], after[name])
    assert after["keys"].shape == after["queries"].shape == (len(before["values"]), 256)
    index = json.loads((copy / "index.json").read_text())
    first = torch.from_numpy(after["samples"][: index[0]["samples_n"]] / np.float32(32768))
    precision = "bfloat16" if fast_at_bfloat16("cpu") else "float32"
    expected = encoders.load("tiny", device="cpu", precision=precision).encode(Waveform(first, 16_000)).frames
    np.testing.assert_allclose(after["keys"][: index[0]["keys_n"]], expected.numpy(), rtol=2e-3, atol=2e-3)


def test_the_spectral_losses_fall(recipe: Recipe, cache: Path) -> None:
    train = recipe("train")
    args = train.parse([str(cache), "--toy", "--run", "unused"])
    batches = train.VocoderBatches(cache, frames=40, batch_seconds=3.2, seed=0)
    objective = train.make_objective(args, batches)
    optimizer = torch.optim.AdamW(objective.generator.parameters(), lr=3e-3)
    batch = batches(0)
    found = []
    for _ in range(25):
        losses = objective.losses(batch)
        found.append(float(losses["total"].detach()))
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert found[-1] < 0.85 * found[0]


def test_each_part_gets_its_own_gradients() -> None:
    """The discriminators' loss must not move the generator, nor the generator's the discriminators."""

    class Constant(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, noise: torch.Tensor) -> torch.Tensor:
            return noise * self.gain

    torch.manual_seed(0)
    objective = Resynthesis(Constant(), ["noise"], adversarial_from=0, width=8)
    batch = {"noise": torch.randn(2, 6000) * 0.1, "samples": torch.randn(2, 6000) * 0.1}
    judges = list(objective.discriminators.parameters())
    losses = objective.losses(batch)
    alone = torch.autograd.grad(
        losses["discriminator"], [objective.generator.gain, *judges], allow_unused=True, retain_graph=True
    )
    assert alone[0] is None
    assert all(part is not None for part in alone[1:])
    fooling = losses["adversarial"] + losses["matching"]
    moved = torch.autograd.grad(fooling, [objective.generator.gain, *judges], allow_unused=True)
    assert moved[0] is not None
    assert all(part is None for part in moved[1:])


def test_a_tone_lies_in_its_band() -> None:
    spectrum = Spectrum(512, 128, 40)
    tone = torch.sin(2 * torch.pi * 1000 / 16_000 * torch.arange(16_000))[None]
    linear, mel = spectrum(tone)
    assert int(linear[0, 50].argmax()) == 32
    assert float(linear[0, 50, 32]) == pytest.approx(0.5, rel=0.01)
    assert int(mel[0, 50].argmax()) == int(spectrum.bands[32].argmax())


@pytest.mark.usefixtures("torchaudio")
def test_discriminators_of_the_waveform_train_beside_the_others(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("speechbrain")
    recipe("train").main([str(cache), "--toy", "--periods", "11", "--run", str(tmp_path / "run")])
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert "discriminator" in log[-1]
    weights = load_file(tmp_path / "run" / "last" / "objective.safetensors")
    judged = [name for name in weights if name.startswith("waves.0.")]
    assert sum(weights[name].numel() for name in judged) > 8e6
    # the vocoder that is exported holds none of them
    recipe("export").main([str(tmp_path / "run"), str(tmp_path / "v.safetensors")])
    assert vocoders.load(tmp_path / "v.safetensors", device="cpu").key_origin == encoders.load("tiny").origin
    assert (tmp_path / "v.safetensors").stat().st_size < 1e6


def test_processes_make_the_batches_a_thread_makes(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    logs = []
    for workers in ("0", "2"):
        run = tmp_path / workers
        recipe("train").main([str(cache), "--toy", "--workers", workers, "--run", str(run)])
        logs.append([json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()])
    assert len(logs[0]) == len(logs[1]) == 6
    assert [row["total"] for row in logs[0]] == [row["total"] for row in logs[1]]


def test_keys_of_other_speakers_can_be_trained_on(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    batches = recipe("batches")
    options = {"frames": 40, "batch_seconds": 6.4, "seed": 3}
    batch = batches.VocoderBatches(cache, **options, strange_keys=1.0)(0)
    plain = batches.VocoderBatches(cache, **options)(0)
    keys, strangers = (np.load(cache / f"{name}.npy") for name in ("keys", "strangers"))
    # the crop, by its keys, which a share of one to eight strangers' was added to
    asked, mixed = plain["keys"][0].numpy(), batch["keys"][0].numpy()
    queries = np.load(cache / "queries.npy").astype(np.float32)
    gaps = [np.abs(some.astype(np.float32) - asked[0]).max(1) for some in (keys, queries)]
    first = int(min(gaps, key=np.min).argmin())
    means = [keys[strangers[first : first + 40, :count]].astype(np.float32).mean(1) for count in batches.STRANGERS]
    added = [(((mixed - asked) * (mean - asked)).sum() / ((mean - asked) ** 2).sum(), mean) for mean in means]
    off = [np.abs(mixed - asked - share * (mean - asked)).max() for share, mean in added]
    assert min(off) < 1e-3
    assert 0 < added[int(np.argmin(off))][0] < 1
    # what is spoken with them is as before
    first, second = (torch.nn.functional.normalize(one["samples"][0], dim=0) for one in (batch, plain))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
    recipe("train").main([str(cache), "--toy", "--strange-keys", "0.5", "--run", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["strange_keys"] == 0.5


def test_a_cache_of_one_speaker_has_no_keys_of_others(recipe: Recipe, cache: Path, tmp_path: Path) -> None:
    index = json.loads((cache / "index.json").read_text())[:3]
    for name in ("samples", "f0", "keys", "values", "queries", "neighbours"):
        (tmp_path / f"{name}.npy").symlink_to(cache / f"{name}.npy")
    (tmp_path / "index.json").write_text(json.dumps(index))
    recipe("prepare").find_strangers(index, tmp_path, 0, "cpu")
    with pytest.raises(SystemExit, match=r"no strangers\.npy; prepare\.py writes it if there are several"):
        recipe("train").main([str(tmp_path), "--toy", "--strange-keys", "0.5", "--run", str(tmp_path / "run")])
    recipe("train").main([str(tmp_path), "--toy", "--run", str(tmp_path / "run")])
    assert (tmp_path / "run" / "last" / "average.safetensors").exists()
