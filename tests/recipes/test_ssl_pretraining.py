"""The encoder recipe end to end on the bundled clips: align, cache, train every objective, resume, export, load."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ssl_recipe import data, run, train

from speechssl import audio, checkpoints, encoders
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Waveform
from speechssl.voices import clips

RECIPE = "ssl_pretraining"
__all__ = ["data"]
pytest.importorskip("pocketsphinx", reason="the recipes extra is not installed")


def test_alignment_finds_the_words(data: Path, recipe: Any) -> None:
    aligned = {item["path"]: item for item in map(json.loads, (data / "alignments.jsonl").read_text().splitlines())}
    assert len(aligned) == sum(clip.role == "sentence" for clip in clips.clips())
    for item in aligned.values():
        starts = [segment[1] for segment in item["segments"]]
        ends = [segment[1] + sum(segment[2:]) for segment in item["segments"]]
        assert starts[1:] == ends[:-1]
        assert abs(ends[-1] / 100 - item["seconds"]) < 0.1
    # "The old bridge ...": the phones of the first words, whatever silence comes before
    for voice in ("ada.wav",):
        phones = [segment[0] for segment in aligned[voice]["segments"] if segment[0] != "SIL"]
        assert phones[0] == "DH"
        assert phones[2:5] == ["OW", "L", "D"]


def test_unusable_files_are_listed(data: Path) -> None:
    skipped = {
        item["path"]: item["reason"]
        for item in map(json.loads, (data / "cache" / "skipped.jsonl").read_text().splitlines())
    }
    assert skipped.keys() == {"short.wav", "missing.wav"}
    assert "0.4 s needed" in skipped["short.wav"]
    assert "unreadable" in skipped["missing.wav"]


def test_log_mel_equals_transformers(recipe: Any) -> None:
    checkpoints.transformers()
    from transformers import SeamlessM4TFeatureExtractor

    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    mel = recipe("prepare").log_mel(samples)
    ours = recipe("batches")._standardised(torch.from_numpy(mel)).numpy()
    theirs = SeamlessM4TFeatureExtractor()(samples, sampling_rate=16000, return_tensors="np")["input_features"][0]
    assert np.abs(theirs.reshape(-1, 80)[: len(ours)] - ours).max() < 1e-3


def test_crops_are_the_cache_with_what_is_done_to_them(recipe: Any, data: Path) -> None:
    modules = recipe("batches")
    none = modules.Augmentation(warp=0, stretch=0, noise=0, channel=0, mask=0)
    index, mel = modules.read_index(data / "cache"), np.load(data / "cache" / "mel.npy").astype(np.float32)
    places = {"places": np.arange(len(mel))}

    def batch(**changes: float) -> Any:
        strength = dataclasses.replace(none, **changes)
        return modules.MelBatches(data / "cache", places, batch_seconds=20, augmentation=strength, seed=0)

    plain = batch()(0)
    for crop, place, speaker in zip(plain["input"], plain["places"], plain["speaker"], strict=True):
        # the track has every other frame, from the crop's first or second on
        rows = [np.arange(start, start + 2 * len(crop)) for start in (int(place[0]), max(0, int(place[0]) - 1))]
        wanted = [modules._paired(modules._standardised(torch.from_numpy(mel[row])[None]))[0] for row in rows]
        assert min(float((crop - one).abs().max()) for one in wanted) < 1e-3
        owner = next(row for row in index if row["start"] <= int(place[0]) < row["start"] + row["frames"])
        assert int(speaker) == list(dict.fromkeys(map(modules._who, index))).index(modules._who(owner))
    assert torch.equal(batch()(0)["input"], plain["input"])
    assert not torch.equal(batch()(1)["input"][:1], plain["input"][:1])

    # masks: two stretches of each kind at most, and nothing else
    hidden = (batch(mask=1.0)(0)["input"].reshape(len(plain["input"]), -1, 80) == 0).numpy()
    assert hidden.all(1).sum(1).max() <= 22
    assert hidden.all(2).sum(1).max() <= 46
    assert (hidden == (hidden.all(1)[:, None] | hidden.all(2)[:, :, None])).mean() > 0.999

    # noise at 5 to 30 dB of power
    noisy = batch(noise=1.0)
    noisy._noise = np.array([[0, 300, 0]])
    clean = torch.from_numpy(mel[None, 300:500]).repeat(40, 1, 1)
    added = (noisy._with_noise(clean, np.random.default_rng(0)).exp() - clean.exp()).sum(2).mean(1)
    ratio = 10 * (clean.exp().sum(2).mean(1) / added).log10()
    assert 5 <= float(ratio.min()) < 10 < 25 < float(ratio.max()) <= 30.01


@pytest.mark.parametrize("length", [1, 2, 40, 97, 150])
def test_speed_up_changes_nothing(recipe: Any, length: int) -> None:
    import copy

    torch.manual_seed(0)
    network = recipe("network").make_network("toy").eval()
    frames = torch.randn(2, length, 160)
    with torch.no_grad():
        expected = network(frames, output_hidden_states=True).hidden_states
        got = recipe("network").speed_up(copy.deepcopy(network))(frames, output_hidden_states=True).hidden_states
    for one, other in zip(expected, got, strict=True):
        assert (one - other).abs().max() < 2e-5


def test_phones_are_learnt(recipe: Any, data: Path) -> None:
    """A few seconds on six sentences: the loss must fall well below that of knowing nothing."""
    objective, batches = _phones(recipe, data)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(objective.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss = objective.losses(batches(0))
        loss["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    assert losses[-1]["total"] < 0.6 * losses[0]["total"]
    assert losses[-1]["retrieval_accuracy"] > 2 * losses[0]["retrieval_accuracy"]


def _phones(recipe: Any, data: Path) -> tuple[Any, Any]:
    given = [data / "cache", "--alignments", data / "alignments.jsonl", "--objective", "phones", "--size", "toy"]
    args = recipe("train")._parser().parse_args([*map(str, given), "--run", "unused"])
    objective, tracks = recipe("train").make_objective(args)
    modules = recipe("batches")
    plain = modules.Augmentation(warp=0, stretch=0, noise=0, channel=0, mask=0)
    return objective, modules.MelBatches(data / "cache", tracks, batch_seconds=10, augmentation=plain, seed=0)


def test_a_run_refuses_another_config(recipe: Any, data: Path, tmp_path: Path) -> None:
    train(recipe, data, tmp_path / "run", "phones", "--max-seconds", "0")
    with pytest.raises(InputError, match=r"rate: 0\.002 before, 0\.001 now"):
        train(recipe, data, tmp_path / "run", "phones", "--rate", "0.001")


def test_nan_stops_and_keeps_the_last_checkpoint(recipe: Any, data: Path, tmp_path: Path) -> None:
    from speechssl.training.loop import Machine, Schedule, fit

    objective, batches = _phones(recipe, data)

    def poisoned(step: int) -> dict[str, torch.Tensor]:
        batch = batches(step)
        return batch | {"input": batch["input"] * torch.nan} if step == 2 else batch

    run = {"folder": tmp_path / "run", "config": {}, "seed": 0, "machine": Machine(checkpoint_seconds=0.0)}
    with pytest.raises(CheckpointError, match="step 2"):
        fit(objective, poisoned, Schedule(steps=4), **run)
    assert json.loads((tmp_path / "run" / "last" / "state.json").read_text()) == {"step": 2}


def test_a_process_asked_to_end_saves_first(recipe: Any, data: Path, tmp_path: Path) -> None:
    from speechssl.training.loop import Schedule, fit

    objective, batches = _phones(recipe, data)

    def ask(step: int, _: dict[str, float]) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    heard = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        fit(objective, batches, Schedule(steps=5), folder=tmp_path, config={}, seed=0, on_step=ask)
    assert json.loads((tmp_path / "last" / "state.json").read_text()) == {"step": 2}
    assert signal.getsignal(signal.SIGTERM) == heard


def test_frames_of_the_same_speaker_are_no_neighbours(recipe: Any) -> None:
    """Two crops of each of two speakers: what is near among one's own must not count, what is near in others must."""
    from speechssl.training.objectives.phones import PhoneStates

    objective = PhoneStates(torch.nn.Identity(), dim=8, num_states=6, num_phones=2, middle_layer=1)
    speaker, states = torch.tensor([0, 0, 1, 1]), torch.tensor([[0, 3]] * 4)
    # frames tell the speaker, not the phone
    frames = torch.nn.functional.one_hot(speaker, 8).float()[:, None].repeat(1, 2, 1) + 0.01 * torch.randn(4, 2, 8)
    alone, _ = objective._retrieval(frames, states, None)
    apart, _ = objective._retrieval(frames, states, speaker)
    shuffled = frames[:, [0, 0]] + torch.nn.functional.one_hot(states, 8) * 3.0
    better, hits = objective._retrieval(shuffled, states, speaker)
    assert float(better) < 0.1 < float(apart)
    assert float(hits) == 1.0
    assert float(alone) != pytest.approx(float(apart))
    # one speaker alone has nobody to be compared with, and that is no reason for NaN
    single, _ = objective._retrieval(frames, states, torch.zeros(4, dtype=torch.int64))
    assert float(single) == 0.0


def test_a_full_disk_keeps_the_last_checkpoint(
    recipe: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl.training import loop

    train(recipe, data, tmp_path / "run", "phones", "--max-seconds", "0")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        train(recipe, data, tmp_path / "run", "phones", "--max-seconds", "0")
    assert json.loads((tmp_path / "run" / "last" / "state.json").read_text()) == {"step": 1}


def test_export_loads_as_an_encoder_and_as_a_transformers_folder(recipe: Any, data: Path, tmp_path: Path) -> None:
    train(recipe, data, tmp_path / "run", "phones")
    common = [str(tmp_path / "run"), "--name", "toy"]
    run(
        recipe("export"),
        [*common, "--layer", "2", "--output", str(tmp_path / "toy.safetensors"), "--hub", str(tmp_path / "hub")],
    )
    waveform = Waveform(torch.sin(torch.arange(16000) * 0.1) * 0.3, 16000)
    ours = encoders.load(str(tmp_path / "toy.safetensors")).encode(waveform)
    theirs = encoders.load(str(tmp_path / "hub"), layer=2).encode(waveform)
    assert ours.origin == "toy/2"
    assert ours.frames.shape == (49, 32)
    # the file holds float16 weights, the folder float32
    assert torch.nn.functional.cosine_similarity(ours.frames, theirs.frames).min() > 0.999


def test_an_encoder_file_is_read_like_a_run(recipe: Any, data: Path, tmp_path: Path) -> None:
    train(recipe, data, tmp_path / "run", "phones")
    run(recipe("export"), [str(tmp_path / "run"), "--layer", "1", "--output", str(tmp_path / "toy.safetensors")])
    ours, whole = (recipe("export").averaged_network(tmp_path / name) for name in ("toy.safetensors", "run"))
    mel = np.load(data / "cache" / "mel.npy")[:200].astype(np.float32)
    first, expected = recipe("evaluate").layers_of(ours, mel), recipe("evaluate").layers_of(whole, mel)
    assert len(first) == 1
    # the file holds float16 weights
    assert np.abs(first[0] - expected[0]).max() < 0.02


@pytest.mark.parametrize("heard", ["cache", "audio"])
def test_a_teacher_is_quantised_and_its_indexes_are_learnt(
    recipe: Any, data: Path, tmp_path: Path, encoder_file: Path, heard: str
) -> None:
    from speechssl.units.codebooks import codebook

    output = tmp_path / "indexes.npy"
    small = ["--codebooks", "3", "--codes", "8", "--fit-frames", "600", "--output", str(output)]
    more = ["--audio", str(data)] if heard == "audio" else []
    run(recipe("quantise"), [str(data / "cache"), str(encoder_file), *small, *more])
    indexes, index = np.load(output), recipe("batches").read_index(data / "cache")
    assert indexes.shape == (sum(row["frames"] for row in index), 3)
    assert indexes.min() == 0
    assert indexes.max() == 7
    # what the codebook that was written gives for the recording itself
    book, encoder = codebook.load(output.with_suffix(".safetensors")), encoders.load(encoder_file)
    row = index[0]
    frames = encoder.encode(audio.read_mono(data / row["path"], 16000)).frames.numpy()
    codes = indexes[row["start"] : row["start"] + row["frames"] : 2]
    far = np.square(frames[: len(codes)] - book.reconstruct(codes.astype(np.int64))[: len(frames)]).sum()
    assert book.features == "small/2"
    assert far < 0.75 * np.square(frames - frames.mean(0)).sum()
    log = train(recipe, data, tmp_path / "run", "distil", "--indexes", str(output))
    assert len(log) == 6
    assert all(np.isfinite(row["total"]) for row in log)


def test_hours_limit_what_gets_units(recipe: Any, data: Path) -> None:
    everything = recipe("cluster").random_rows(data / "cache", math.inf, 0)
    index = recipe("batches").read_index(data / "cache")
    assert sorted(row["start"] for row in everything) == [row["start"] for row in index]
    some = recipe("cluster").random_rows(data / "cache", (everything[0]["frames"] + 1) / 360_000, 0)
    assert some == everything[:2]
    assert recipe("cluster").random_rows(data / "cache", math.inf, 1) != everything


def test_later_units_come_from_the_best_block_of_a_run(
    recipe: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe, data, tmp_path / "run", "hubert")
    arguments = [str(data / "cache"), str(data / "alignments.jsonl"), "--run", str(tmp_path / "run"), "--k", "12"]
    run(recipe("cluster"), [*arguments, "--output", str(tmp_path / "units.npy")])
    *blocks, chosen = map(json.loads, capsys.readouterr().out.splitlines()[-3:])
    assert [block["features"] for block in blocks] == ["1", "2"]
    assert chosen["chosen"] == max(blocks, key=lambda block: block["pnmi"])["features"]
    units = np.load(tmp_path / "units.npy")
    assert set(units) == set(range(12))
    # a chosen block is what the whole network gives there
    run(recipe("cluster"), [*arguments, "--layers", chosen["chosen"], "--output", str(tmp_path / "again.npy")])
    assert np.array_equal(np.load(tmp_path / "again.npy"), units)


def test_without_alignments_the_rank_chooses_the_block(
    recipe: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe("cluster"), [str(data / "cache"), "--k", "20", "--output", str(tmp_path / "mfcc.npy")])
    assert np.array_equal(np.load(tmp_path / "mfcc.npy"), np.load(data / "units.npy"))
    train(recipe, data, tmp_path / "run", "hubert")
    arguments = [str(data / "cache"), "--run", str(tmp_path / "run"), "--k", "12"]
    run(recipe("cluster"), [*arguments, "--output", str(tmp_path / "units.npy")])
    *blocks, chosen = map(json.loads, capsys.readouterr().out.splitlines()[-3:])
    assert [set(block) for block in blocks] == [{"features", "rank_me"}] * 2
    assert chosen["chosen"] == max(blocks, key=lambda block: block["rank_me"])["features"]


def test_networks_that_hear_no_log_mel_are_refused_in_one_line(recipe: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wavlm"}))
    with pytest.raises(SystemExit, match="the cache holds log-mel bands"):
        recipe("export").averaged_network(tmp_path)


def test_quantise_says_what_it_cannot_use(recipe: Any, data: Path, tmp_path: Path, encoder_file: Path) -> None:
    arguments = [str(data / "cache"), "--output", str(tmp_path / "indexes.npy")]
    with pytest.raises(SystemExit, match="needs --audio"):
        run(recipe("quantise"), [*arguments, "wavlm-large"])
    with pytest.raises(SystemExit, match="blocks 1 to 2"):
        run(recipe("quantise"), [*arguments, str(encoder_file), "--layer", "3"])


def test_the_comparison_makes_everything_once(
    recipe: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compare, evaluate, called = recipe("compare"), recipe("evaluate"), []
    # the time goes into triples, which are the same code for every run
    monkeypatch.setattr(evaluate.measures, "abx", functools.partial(evaluate.measures.abx, triples=40))

    def in_process(script: str, *options: Any) -> None:
        called.append(script)
        # clusters are made without transcripts
        assert script != "cluster.py" or data / "alignments.jsonl" not in options
        run(recipe(script.removesuffix(".py")), [str(option) for option in options])

    monkeypatch.setattr(compare, "call", in_process)
    small = ["--toy", "--clusters", "6,8", "--phones", "6", "--teacher", str(tmp_path / "toy.safetensors")]
    train(recipe, data, tmp_path / "teacher", "dinosr")
    run(recipe("export"), [str(tmp_path / "teacher"), "--output", str(tmp_path / "toy.safetensors")])
    arguments = [str(data / "cache"), str(data / "alignments.jsonl"), "--work", str(tmp_path / "work"), *small]
    arguments += ["--sets", json.dumps({"clips": "clips:train"})]
    run(compare, arguments)
    assert called.count("train.py") == 4 + 5
    assert called.count("cluster.py") == 2
    assert called.count("evaluate.py") == 1 + 9
    printed = capsys.readouterr().out.splitlines()
    rows = [text.split("|")[1].split(",")[0].strip() for text in printed[-11:]]
    stages = ["scratch", "hubert1", "hubert2", "dinosr", "distil"]
    assert rows == ["MFCC + deltas", "untrained", *stages[1:], *(f"phones-{name}" for name in stages)]
    initialised = json.loads((tmp_path / "work" / "phones-hubert1" / "config.json").read_text())["init"]
    assert initialised == str(tmp_path / "work" / "hubert1")
    called.clear()
    run(compare, arguments)
    assert called == []
    assert capsys.readouterr().out.splitlines() == printed[-13:]


def test_speed_is_printed_in_times_real_time(
    recipe: Any, encoder_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe("speed"), [str(encoder_file), "--seconds", "0.5", "--runs", "2"])
    report = json.loads(capsys.readouterr().out)
    assert report["origin"] == "small/2"
    assert report["0.5 s"]["times real time"] > 0


def test_what_windows_change_is_measured(recipe: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["tiny", str(data / "cache"), str(data / "alignments.jsonl"), "--root", str(data)]
    run(recipe("windows"), [*arguments, "--speakers", "clips:train", "--windows", "80:10,100000:10"])
    alone, cut, whole = map(json.loads, capsys.readouterr().out.splitlines())
    assert (alone["window"], cut["window"], whole["window"]) == (0, 80, 100000)
    # one sentence a speaker: all of it at once is what it is alone
    assert whole["cosine"] == pytest.approx(1, abs=1e-3)
    assert whole["find themselves"] == pytest.approx(1, abs=1e-3)
    assert whole["accuracy"] == pytest.approx(alone["accuracy"], abs=2e-3)
    assert whole["accuracy one by one"] == alone["accuracy"]
    assert 0.8 < cut["cosine"] < 0.999
    assert cut["cosine_5%"] < cut["cosine"]
    assert 0.5 < cut["accuracy"] != alone["accuracy"]


def test_evaluation_prints_every_measure(recipe: Any, data: Path, tmp_path: Path) -> None:
    train(recipe, data, tmp_path / "run", "phones")
    output = tmp_path / "report.json"
    arguments = [str(data / "cache"), str(data / "alignments.jsonl"), str(tmp_path / "run")]
    run(recipe("evaluate"), [*arguments, "--speakers", "clips:train", "--output", str(output)])
    report = json.loads(output.read_text())
    assert report["trained"].keys() == {"1", "2"}
    for layer in report["trained"].values():
        assert 0 <= layer["across"] <= 1
        assert 0 <= layer["abx"] <= 1
        assert 1 <= layer["rank_me"] <= 32
        assert 1 <= layer["centred_rank"] <= 32


def test_neighbour_accuracy_of_perfect_and_random_frames(recipe: Any) -> None:
    rng = np.random.default_rng(0)
    phones = rng.integers(1, 5, 400)
    perfect = {name: [(np.eye(5)[phones], phones), (np.eye(5)[phones], phones)] for name in "ab"}
    noise = {name: [(rng.standard_normal((400, 16)), phones) for _ in range(2)] for name in "ab"}
    evaluate = recipe("evaluate")
    assert evaluate.neighbour_accuracy(perfect) == {"across": 1.0, "within": 1.0}
    assert abs(evaluate.neighbour_accuracy(noise)["across"] - 0.25) < 0.05
