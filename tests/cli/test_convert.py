"""``speechssl convert`` from the outside: what it writes, says and returns."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Answer, check_refusal, convert

from speechssl import audio, checkpoints
from speechssl.conversion import converters

Speech = dict[str, Path]


@pytest.fixture
def run(command: Callable[..., Answer]) -> Callable[..., Answer]:
    return command


# ---- convert


def test_convert_one_file(run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path) -> None:
    table = tmp_path / "frames.csv"
    answer = convert(
        run, speech["source"], speech, tmp_path / "out.wav", "--model", encoder_file, "--attribution", table, "--json"
    )
    assert answer.code == 0, answer.err
    (result,) = answer.json["results"]
    facts = audio.info(tmp_path / "out.wav")
    assert facts.sample_rate == result["sample_rate"] == 16_000
    assert abs(facts.seconds - 2.0) < 0.03
    assert result["converter"] in converters.NAMES
    assert result["reason"] != "as asked"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["reference"] for row in rows} == {"reference.wav"}
    assert all(0 <= float(row["reference_second"]) < 8 for row in rows)
    assert len({row["frame"] for row in rows}) == 1 + (32_000 - 400) // 320


def test_several_references_follow_one_option(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    table = tmp_path / "frames.csv"
    references = ["--reference", speech["reference"], speech["other"]]
    answer = run(
        "convert", speech["source"], *references, "-o", tmp_path / "out.flac", "-m", encoder_file,
        "--converter", "uniform", "--k", 8, "--attribution", table,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert {row["reference"] for row in csv.DictReader(table.read_text().splitlines())} == {
        "reference.wav",
        "other.wav",
    }


def test_options_change_the_result(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    settings: dict[str, list[object]] = {
        "plain": ["--converter", "uniform"],
        "again": ["--converter", "uniform"],
        "k": ["--converter", "uniform", "--k", 1],
        "half": ["--converter", "uniform", "--interpolation", 0.5],
        "higher": ["--converter", "uniform", "--pitch", "-3"],
        "quiet": ["--converter", "uniform", "--loudness", "-40"],
        "continuous": ["--converter", "continuous"],
        "slower": ["--converter", "uniform", "--tempo", "0.8"],
    }
    sounds = {}
    for name, options in settings.items():
        output = tmp_path / f"{name}.wav"
        assert convert(run, speech["source"], speech, output, "--model", encoder_file, *options).code == 0
        sounds[name] = output.read_bytes()
    assert sounds.pop("again") == sounds["plain"]
    assert len(set(sounds.values())) == len(sounds)
    assert abs(audio.loudness(audio.read(tmp_path / "quiet.wav")) + 40) < 0.1


def test_python_and_the_command_line_give_the_same(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    import speechssl

    convert(run, speech["source"], speech, tmp_path / "a.wav", "--model", encoder_file, "--k", 2)
    result = speechssl.convert(
        speech["source"], [speech["reference"]], output=tmp_path / "b.wav", model=encoder_file, k=2
    )
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert result.converter in converters.NAMES


def test_a_folder_is_converted_resumed_and_its_failures_reported(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    sources = tmp_path / "in"
    (sources / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/b.wav"):
        (sources / name).write_bytes(speech["source"].read_bytes())
    (sources / "bad.wav").write_bytes(b"RIFF no sound at all")
    command = (sources, speech, tmp_path / "out", "--model", encoder_file, "--json")
    first = convert(run, *command)
    assert first.code == 2
    assert [Path(r["output"]).name for r in first.json["results"]] == ["a.wav", "b.wav"]
    assert [Path(r["source"]).name for r in first.json["failed"]] == ["bad.wav"]
    assert "bad.wav" in first.err
    assert "1 of 3 failed" in first.err
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.wav")) == ["a.wav", "b.wav"]
    written = (tmp_path / "out/a.wav").stat().st_mtime_ns
    (sources / "bad.wav").write_bytes(speech["source"].read_bytes())
    second = convert(run, *command)
    assert second.code == 0
    assert [Path(r["output"]).name for r in second.json["results"]] == ["bad.wav"]
    assert len(second.json["skipped"]) == 2
    assert (tmp_path / "out/a.wav").stat().st_mtime_ns == written


def test_a_wrong_option_stops_a_batch_before_it_starts(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    folder = speech["source"].parent
    answer = convert(run, folder, speech, tmp_path / "out", "--model", encoder_file, "--converter", "magic")
    check_refusal(answer, "magic")
    (tmp_path / "file").write_text("a file, not a folder")
    check_refusal(convert(run, folder, speech, tmp_path / "file", "--model", encoder_file), "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_missing_source_is_told_before_the_references_are_encoded(
    run: Callable[..., Answer], speech: Speech, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.wav"
    check_refusal(convert(run, missing, speech, tmp_path / "out.wav", "--model", "no-such-model"), "missing.wav")


def test_what_is_wrong_with_the_references_is_said(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl.cli import convert
    from speechssl.voices import reference_report
    from speechssl.voices.clips import clip

    command = ("convert", speech["source"], "--overwrite", "-o", tmp_path / "out.wav", "--model", encoder_file)
    short = run(*command, "--reference", speech["reference"])
    assert short.err.startswith("reference: only ")
    assert "30 s or more would help" in short.err
    assert short.err.count("\n") == 1
    monkeypatch.setattr(reference_report, "ENOUGH_SPEECH", 8.0)
    enough = [clip("eric", "sentence").path, speech["reference"]]
    assert run(*command, "--reference", *enough).err == ""
    monkeypatch.setattr(convert, "LOOKED_AT", 1.0)
    assert "would help" in run(*command, "--reference", *enough).err


# ---- audio that must work


def _as(path: Path, speech: Speech, rate: int, channels: int, subtype: str | None) -> Path:
    import numpy as np
    import soundfile

    sound = audio.resample(audio.read(speech["source"]), rate)
    samples = np.stack([sound.samples.numpy()] * channels, axis=1)
    if path.suffix == ".m4a":
        _write_m4a(path, samples[:, 0], rate)
    else:
        soundfile.write(path, samples, rate, subtype=subtype, format="OGG" if path.suffix == ".opus" else None)
    return path


def _write_m4a(path: Path, samples: Any, rate: int) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[None, start : start + 1024]), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [
        ("low.wav", 8_000, 1, "PCM_16"),
        ("high.wav", 96_000, 1, "PCM_16"),
        ("stereo.flac", 44_100, 2, "PCM_16"),
        ("deep.wav", 48_000, 1, "PCM_24"),
        ("song.mp3", 44_100, 2, None),
        ("call.opus", 48_000, 1, "OPUS"),
        ("memo.m4a", 44_100, 1, None),
    ],
)
def test_every_kind_of_audio(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path,
    name: str, rate: int, channels: int, subtype: str | None,
) -> None:  # fmt: skip
    source = _as(tmp_path / name, speech, rate, channels, subtype)
    options = ["--model", encoder_file, "--converter", "uniform"]
    answer = convert(run, source, speech, tmp_path / "out.wav", *options)
    assert answer.code == 0, answer.err
    converted = audio.read(tmp_path / "out.wav")
    assert abs(converted.seconds - 2.0) < 0.15  # AAC and MP3 add up to 0.1 s of their own
    assert abs(audio.loudness(converted) - audio.loudness(audio.read(source))) < 1.0


def test_silence_stays_silence(run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "silence.wav", np.zeros(32_000), 16_000)
    answer = convert(run, tmp_path / "silence.wav", speech, tmp_path / "out.wav", "--model", encoder_file)
    assert answer.code == 0, answer.err
    assert float(audio.read(tmp_path / "out.wav").samples.abs().max()) == 0


def test_source_and_reference_may_be_the_same(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    answer = run(
        "convert", speech["source"], "-r", speech["source"], "-o", tmp_path / "out.wav", "-m", encoder_file,
        "--k", 1, "--converter", "uniform", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.json["results"][0]["coverage"] > 0.999


# ---- what cannot be used


class Bomb:
    """A pickle that would make a file if it were ever loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def _bad_sound(path: Path, samples: Any) -> Path:
    import soundfile

    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    return path


def _bad_source(kind: str, folder: Path, speech: Speech) -> Path:
    import numpy as np

    path = folder / f"{kind}.wav"
    samples = audio.read(speech["source"]).samples.numpy().copy()
    if kind in ("nan", "inf"):
        samples[5000] = float(kind)
        return _bad_sound(path, samples)
    if kind == "one-sample":
        return _bad_sound(path, np.ones(1, dtype=np.float32) / 2)
    if kind == "no-samples":
        return _bad_sound(path, np.zeros(0, dtype=np.float32))
    content = {
        "empty": b"",
        "text": b"this is not sound at all, it is text\n" * 100,
        "cut": speech["source"].read_bytes()[:20_000],
        "missing": None,
    }[kind]
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "NaN or infinite"),
        ("inf", "NaN or infinite"),
        ("one-sample", "needed"),
        ("no-samples", "no samples"),
        ("empty", "empty"),
        ("text", "text.wav"),
        ("cut", "cut short"),
        ("missing", "check the path"),
    ],
)
@pytest.mark.parametrize("place", ["source", "reference"])
def test_bad_audio_is_refused_with_one_line_and_no_file(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path, kind: str, message: str, place: str
) -> None:
    bad = _bad_source(kind, tmp_path, speech)
    pair = {**speech, place: bad}
    answer = convert(run, pair["source"], pair, tmp_path / "out.wav", "--model", encoder_file)
    check_refusal(answer, message)
    assert not list(tmp_path.glob("*out*"))


def test_a_silent_reference_is_refused(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    import numpy as np

    silent = _bad_sound(tmp_path / "silent.wav", np.zeros(32_000, dtype=np.float32))
    answer = convert(
        run, speech["source"], {**speech, "reference": silent}, tmp_path / "out.wav", "--model", encoder_file
    )
    check_refusal(answer, "no speech")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--k", "0"], "k is 0"),
        (["--k", "100000", "--converter", "uniform"], "100000"),
        (["--converter", "magic"], "magic"),
        (["--interpolation", "1.5"], "1.5"),
        (["--pitch", "loud"], "loud"),
        (["--precision", "float8"], "float8"),
        (["--device", "abacus"], "abacus"),
        (["--layer", "9"], "9"),
        (["--loudness", "nan"], "nan"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--voice", "nobody"], "both --reference and --voice"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_options_that_cannot_be(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    model = () if "--model" in options else ("--model", encoder_file)
    answer = convert(run, speech["source"], speech, tmp_path / "out.wav", *model, *options)
    check_refusal(answer, message)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("missing/out.wav", "make the folder first"),
        ("file/out.wav", "file"),
        ("out.xyz", "extension"),
        ("out", "extension"),
        ("/dev/null", "extension"),
    ],
)
def test_outputs_that_cannot_be_written(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path, output: str, message: str
) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    answer = convert(run, speech["source"], speech, tmp_path / output, "--model", encoder_file)
    check_refusal(answer, message)


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_without_permission(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    answer = convert(run, speech["source"], speech, locked / "out.wav", "--model", encoder_file)
    check_refusal(answer, "cannot be written to")


def _spoiled(kind: str, encoder_file: Path, folder: Path) -> Path:
    path = folder / f"{kind}.safetensors"
    content = bytearray(encoder_file.read_bytes())
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "edited":
        content[-100] ^= 1
        path.write_bytes(content)
    elif kind == "pickle":
        import pickle

        path = path.with_suffix(".pt")
        path.write_bytes(pickle.dumps({"model": Bomb(folder / "exploded")}))
    elif kind == "torch-pickle":
        import torch

        path = path.with_suffix(".pt")
        torch.save({"model": Bomb(folder / "exploded")}, path)
    elif kind == "kind":
        import torch

        checkpoints.save(path, {"x": torch.zeros(1)}, {"kind": "codebook"})
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "truncated or damaged"),
        ("edited", "changed or damaged"),
        ("pickle", "never run"),
        ("torch-pickle", "never run"),
        ("kind", "'codebook'"),
        ("missing", "does not exist"),
    ],
)
def test_models_that_cannot_be_used(
    run: Callable[..., Answer], speech: Speech, encoder_file: Path, tmp_path: Path, kind: str, message: str
) -> None:
    model = _spoiled(kind, encoder_file, tmp_path)
    answer = convert(run, speech["source"], speech, tmp_path / "out.wav", "--model", model)
    check_refusal(answer, message)
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "out.wav").exists()
