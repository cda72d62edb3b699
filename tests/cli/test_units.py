"""The commands, from audio to units to speech."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from helpers import tones
from typer.testing import CliRunner

from speechssl import cli
from speechssl.cli import progress, terminal
from speechssl.cli.unit_input import runs_are_lost, to_decode
from speechssl.cli.units import app
from speechssl.errors import InputError
from speechssl.units import decode as decoding
from speechssl.units.codebooks.codebook import load
from speechssl.voices.clips import clip

COMMANDS = ("fit", "encode", "check", "report", "tokenizer", "bpe", "pack", "decode", "import")


def run(*arguments: Any, code: int = 0) -> str:
    """Output on stdout of a command that ends with this exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    assert command in run("--help")
    assert "Usage" in run(command, "--help")


def test_from_audio_to_units_and_what_is_said_of_them(
    recordings: Path, encoder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, out = tmp_path / "book.safetensors", tmp_path / "out"
    fitted = run(
        "fit", recordings, "-o", book, "-m", encoder_file, "--k", 10, "--passes", 3, "--device", "cpu", "--json"
    )
    facts = json.loads(fitted)
    assert (facts["levels"], facts["k"], facts["dim"]) == (1, 10, 32)
    assert facts["data"]["files"] == 6
    assert facts["data"]["left_out"][0].startswith("take4.wav")
    common = ("-c", book, "-m", encoder_file, "--device", "cpu", "--json")
    summary = json.loads(run("encode", recordings, "-o", out, *common, code=2))
    assert (summary["encoded"], summary["failed"]) == (6, 1)
    again = json.loads(run("encode", recordings, "-o", out, *common, code=2))
    assert (again["encoded"], again["already"], again["failed"]) == (0, 6, 1)
    assert json.loads(run("check", out, "--json"))["sound"]
    report = json.loads(
        run(
            "report",
            recordings / "take0.wav",
            recordings / "take5.wav",
            "-o",
            tmp_path / "card",
            "--stability",
            1,
            *common,
        )
    )
    assert report["codebook"] == facts["origin"]
    assert set(report["edits_under"]) == {"noise 20 dB", "noise 10 dB", "higher voice", "lower voice"}
    assert json.loads((tmp_path / "card" / "report.json").read_text()) == report
    with pytest.raises(InputError, match=r"report\.json exists"):
        run("report", recordings / "take0.wav", "-o", tmp_path / "card")
    learned = json.loads(run("bpe", out, "-o", tmp_path / "bpe.json", "--size", 20, "--json"))
    assert learned["units_per_token"] >= 1
    of_part = json.loads(run("bpe", out / "part-00000.jsonl", "-o", tmp_path / "part.json", "--size", 20, "--json"))
    assert of_part["units_per_token"] == learned["units_per_token"]
    with pytest.raises(InputError, match=r"no folder of units"):
        run("check", out / "part-00000.jsonl")
    part = out / "part-00000.jsonl"
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:4]))
    shown = CliRunner().invoke(app, ["bpe", str(out), "-o", str(tmp_path / "less.json"), "--size", "20"])
    assert "2 of 7 recordings are missing" in shown.stderr
    part.unlink()
    assert run("check", out, code=2)


def test_a_share_that_is_empty_is_told(
    recordings: Path, encoder_file: Path, codebook_file: Path, tmp_path: Path
) -> None:
    words = ["encode", str(recordings / "take0.wav"), str(recordings / "take5.wav"), "-c", str(codebook_file)]
    words += ["-m", str(encoder_file), "--device", "cpu", "-o", str(tmp_path / "out"), "--shard", "2/2"]
    shown = CliRunner().invoke(app, words)
    assert "the list has 1 part of 256 recordings at most; --part 1 fills all 2" in shown.stderr


def test_the_reason_is_told_if_everything_failed(
    recordings: Path, encoder_file: Path, codebook_file: Path, tmp_path: Path
) -> None:
    words = ["encode", str(recordings / "take4.wav"), "-c", str(codebook_file), "-m", str(encoder_file)]
    shown = CliRunner().invoke(app, [*words, "--device", "cpu", "-o", str(tmp_path / "out")])
    assert re.search(r"error: 1 of 1 failed \(.*take4\.wav.+\); the reasons are in .*out/failed\.jsonl", shown.stderr)


class Shown(progress.Progress):
    """Keeps the line of each change."""

    lines: ClassVar[list[str]] = []

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.lines.append(self.line().rpartition(",")[0])


def test_progress_goes_on_within_a_recording_and_over_a_folder(
    encoder_file: Path, codebook_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "Progress", Shown)
    monkeypatch.setattr(Shown, "lines", [])
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "voices"))
    soundfile.write(tmp_path / "long.wav", tones(50.0, 1), 16_000)
    soundfile.write(tmp_path / "short.wav", tones(2.0, 2), 16_000)
    recordings = [str(tmp_path / name) for name in ("long.wav", "short.wav")]
    assert cli.run(["voice", "add", "ada", str(clip("ada", "sentence").path), "-m", str(encoder_file)]) == 0
    model = ["-c", str(codebook_file), "-m", str(encoder_file), "--device", "cpu"]
    assert cli.run(["units", "encode", *recordings, "-o", str(tmp_path / "units"), *model]) == 0
    # windows of 22 s, of which 2 s at each inner edge are context
    heard = [("long", 20), ("long", 38), ("long", 50), ("long", 50), ("short", 52), ("short", 52)]
    assert Shown.lines == [f"units: encoding {name}, {seconds} of 52 s of audio" for name, seconds in heard]
    Shown.lines.clear()
    said = str(tmp_path / "said")
    assert cli.run(["units", "decode", str(tmp_path / "units"), "-o", said, "--voice", "ada", *model]) == 0
    assert Shown.lines == [f"units: speaking {name}, {n} of 52 s of audio" for name, n in (("long", 50), ("short", 52))]


@pytest.mark.parametrize(
    ("options", "units"),
    [(("--kind", "mvq", "--levels", 2), "mvq2x6-"), (("--kind", "syllable", "--rate", 8), "syl6-")],
)
def test_other_kinds_of_codebook_are_fitted_encoded_and_reported(
    recordings: Path, encoder_file: Path, tmp_path: Path, options: tuple[Any, ...], units: str
) -> None:
    book, audio = tmp_path / "book.safetensors", [recordings / "take5.wav", recordings / "take6.wav"]
    common = ("-m", encoder_file, "--device", "cpu", "--json")
    facts = json.loads(run("fit", *audio, "-o", book, "--k", 6, "--passes", 2, *options, *common))
    assert units in facts["origin"]
    run("encode", *audio, "-o", tmp_path / "out", "-c", book, *common)
    found = json.loads(run("check", tmp_path / "out", "--json"))
    assert (found["sound"], found["records"]) == (True, 2)
    card = json.loads(run("report", *audio, "-o", tmp_path / "card", "-c", book, "--stability", 0, *common))
    assert card["codebook"] == facts["origin"]
    if "syllable" in options:
        # segments, not frames; neighbours of one unit are one
        assert 1 < card["collapsed_per_second"] <= 9


def test_import_and_bad_options(
    tmp_path: Path, recordings: Path, encoder_file: Path, codebook_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "c.npy", np.random.default_rng(0).normal(size=(4, 32)))
    told = json.loads(
        run("import", tmp_path / "c.npy", "-o", tmp_path / "b.safetensors", "--features", "x/1", "--json")
    )
    assert told["origin"].startswith("x/1/km4-")
    with pytest.raises(InputError, match=r"'small/1'.*'x/1'"):
        run("encode", recordings, "-o", tmp_path / "o", "-c", tmp_path / "b.safetensors", "-m", encoder_file)
    with pytest.raises(InputError, match="I/N with 1 <= I <= N needed"):
        run("encode", recordings, "-o", tmp_path / "o", "-c", codebook_file, "--shard", "two")
    over = CliRunner().invoke(app, ["encode", str(recordings), "-o", str(tmp_path / "o"), "--shard", "300/2"])
    assert "--shard is '300/2'" in str(over.exception)
    assert "remark" not in over.stderr
    # told before an hour is encoded: the encoder, which is not there, is never asked for
    fit = ("fit", recordings, "-m", "no-such-model", "-o")
    (tmp_path / "file").write_text("")
    for output, options, message in (
        ("b.safetensors", ("--k", 0), "k is 0"),
        ("b.safetensors", ("--kind", "magic"), "kind is 'magic'"),
        ("b.safetensors", ("--levels", 2), "levels is 2; kmeans needs 1"),
        ("b.safetensors", ("--passes", 0), "passes is 0"),
        ("b.safetensors", ("--seed", -1), "seed is -1"),
        ("file/b.safetensors", (), "is no folder"),
    ):
        with pytest.raises(InputError, match=message):
            run(*fit, tmp_path / output, *options)
    book = load(codebook_file)
    with pytest.raises(InputError, match="neither a file nor a row of units"):
        to_decode("one two", book)
    # as a language model writes them
    assert to_decode("<speech><unit_7><unit_12></speech>\n", book) == [("units", [7, 12], None)]
    many = list(range(3000))
    assert to_decode(" ".join(map(str, many)), book) == [("units", many, None)]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": "a", "units": [3, 5], "durations": [1, 4]}\n'))
    assert to_decode("-", book) == [("a", [3, 5], [1, 4])]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": "a", "units": [3]}\n{"id": 3}\n'))
    with pytest.raises(InputError, match="standard input, line 2 is no record of units"):
        to_decode("-", book)
    monkeypatch.setattr("sys.stdin", io.StringIO("1 2 3 4\n\n<speech><unit_5><unit_6></speech>\n"))
    assert to_decode("-", book) == [("units-1", [1, 2, 3, 4], None), ("units-2", [5, 6], None)]
    monkeypatch.setattr("sys.stdin", io.StringIO("a/1\t1 2 3\nb\t4\n"))
    assert to_decode("-", book) == [("a/1", [1, 2, 3], None), ("b", [4], None)]
    monkeypatch.setattr("sys.stdin", io.StringIO("a\t1 2\nb\tx\n"))
    with pytest.raises(InputError, match="standard input, line 2 is no row of units"):
        to_decode("-", book)
    # a row without a unit that lasts was collapsed; speech has some
    assert runs_are_lost([("a", many, None)])
    assert not runs_are_lost([("a", many, [1] * len(many))])
    assert not runs_are_lost([("a", [*many, many[-1]], None)])


def test_decode_speaks_in_a_stored_voice(
    encoder_file: Path, codebook_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl import encoders
    from speechssl.vocoders.world import WorldAnalysis
    from speechssl.voices import VoiceLibrary

    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "voices"))
    VoiceLibrary().add("ada", [clip("ada", "sentence").path], encoders.load(encoder_file), WorldAnalysis())
    wav = tmp_path / "said.wav"
    model = ("-c", codebook_file, "-m", encoder_file, "--device", "cpu")
    run("decode", "3 3 3 5 5 7 1 1 1 1 1 2 2 2 2", "-o", wav, "--voice", "ada", *model)
    assert soundfile.info(wav).duration == pytest.approx(0.3, abs=0.02)
    out = tmp_path / "units"
    run("encode", clip("dan", "sentence").path, "-o", out, *model)
    run("decode", out, "-o", tmp_path / "speech", "--voice", "ada", *model)
    run("decode", "3 5 7", "-o", wav, "--overwrite", "--voice", "ada", "--durations", out, *model)
    run("encode", clip("dan", "sentence").path, "-o", tmp_path / "text", "--format", "text", *model)
    with pytest.raises(InputError, match="holds no durations"):
        run("decode", "3 5 7", "-o", tmp_path / "b.wav", "--voice", "ada", "--durations", tmp_path / "text", *model)
    other = tmp_path / "other.safetensors"
    replace(load(codebook_file), centroids=load(codebook_file).centroids + np.float32(1)).save(other)
    for given in ((out,), ("3 5 7", "--durations", out)):
        with pytest.raises(InputError, match=load(codebook_file).fingerprint):
            run("decode", *given, "-o", tmp_path / "c.wav", "--voice", "ada", "-c", other, *model[2:])
    (said,) = (tmp_path / "speech").glob("*.wav")
    assert soundfile.info(said).duration == pytest.approx(
        soundfile.info(clip("dan", "sentence").path).duration, abs=0.05
    )


def test_decode_of_a_folder_continues(
    encoder_file: Path, codebook_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechssl import encoders
    from speechssl.vocoders.world import WorldAnalysis
    from speechssl.voices import VoiceLibrary

    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "voices"))
    VoiceLibrary().add("ada", [clip("ada", "sentence").path], encoders.load(encoder_file), WorldAnalysis())
    units, out = tmp_path / "units.txt", tmp_path / "out"
    units.write_text("a\t3 3 3 5 5 7\nb/c\t1 1 1 2 2 2\n")
    words = ("decode", units, "-o", out, "--voice", "ada", "-c", codebook_file, "-m", encoder_file, "--device", "cpu")
    decode, left = decoding.decode, [1]

    def stopped(*given: Any, **more: Any) -> Any:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return decode(*given, **more)

    monkeypatch.setattr(decoding, "decode", stopped)
    CliRunner().invoke(app, [str(word) for word in words])
    monkeypatch.setattr(decoding, "decode", decode)
    assert (out / "a.wav").exists()
    assert not (out / "b/c.wav").exists()
    again = json.loads(run(*words, "--json"))
    assert ([one["output"] for one in again["results"]], again["skipped"]) == ([str(out / "b/c.wav")], 1)
    # what no run of this command made stays
    (out / ".speechssl.jsonl").unlink()
    with pytest.raises(InputError, match=r"a\.wav exists"):
        run(*words)
