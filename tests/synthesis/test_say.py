"""``speechssl say`` as a program, and ``speechssl.say``."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

import speechssl
from speechssl.cli import run
from speechssl.synthesis.model import TextModel

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(
    capsys: pytest.CaptureFixture[str], model_file: Path, encoder_file: Path, speech: dict[str, Path], tmp_path: Path
) -> Say:
    """Runs the command with a random text model; returns exit code, stdout and stderr."""

    def call(text: str, *words: object, output: str = "out.wav", reference: bool = True) -> tuple[int, str, str]:
        arguments = ["say", "--output", str(tmp_path / output), *map(str, words)]
        if "--synthesizer" not in arguments:
            arguments += ["--synthesizer", str(model_file)]
        if "--model" not in arguments:
            arguments += ["--model", str(encoder_file)]
        if reference:
            arguments += ["--reference", str(speech["reference"])]
        code = run([*arguments, "--", text])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_text_with_subtitles_and_json(say: Say, tmp_path: Path) -> None:
    code, out, _ = say("Hello there. Good morning!", "--json", "--subtitles", tmp_path / "out.srt")
    found = json.loads(out)
    assert code == 0
    assert [word["text"] for word in found["words"]] == ["Hello", "there.", "Good", "morning!"]
    assert found["sentences"] == 2
    info = soundfile.info(tmp_path / "out.wav")
    assert info.duration == pytest.approx(found["seconds"], abs=0.001)
    assert (tmp_path / "out.srt").read_text().count("-->") == 2


def test_the_text_model_is_loaded_once(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechssl.synthesis import model as models

    paths, load = [], models.load
    monkeypatch.setattr(models, "load", lambda path: paths.append(path) or load(path))
    assert say("Hello.")[0] == 0
    assert len(paths) == 1


@pytest.mark.parametrize("output", ["out.flac", "out.opus", "out.mp3"])
def test_formats(say: Say, tmp_path: Path, output: str) -> None:
    assert say("Hello.", output=output)[0] == 0
    assert soundfile.info(tmp_path / output).duration > 0.1


def test_a_file_and_stdin_are_read(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.txt").write_text("\ufeffFrom a file. ", encoding="utf-8")
    assert "1 sentence\n" in say(str(tmp_path / "text.txt"))[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"From stdin. Twice.")))
    assert "2 sentences" in say("-", "--overwrite")[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00bad")))
    code, _, error = say("-", "--overwrite")
    assert (code, "no text in UTF-8" in error) == (2, True)


def test_options_change_what_is_heard(say: Say, tmp_path: Path) -> None:
    def heard(*words: object) -> bytes:
        assert say("Hello there, you.", "--overwrite", *words)[0] == 0
        return (tmp_path / "out.wav").read_bytes()

    plain = heard()
    assert heard() == plain
    assert len(heard("--speed", 0.5)) > 1.5 * len(plain)
    assert heard("--seed", 3) != plain


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("", (), "nothing to say"),
        ("?! ...", (), "nothing to say in '?! ...'"),
        ("\x00\x01\x02", (), "nothing to say"),
        ("hi", ("--language", "tlh"), "no front end for the language 'tlh'; it has en-us, de-de"),
        ("hi", ("--language", "de"), "speaks en-us, not de-de"),
        ("hi", ("--speed", "9"), "speed is 9.0; between 0.25 and 4"),
        ("hi", ("--interpolation", "2"), "interpolation is 2.0"),
        ("hi", ("--interpolation", "0.5"), "without the voice of its speaker"),
        ("hi", ("--subtitles", "x.doc"), ".srt or .vtt"),
        ("hi", ("--voice", "nobody"), "both --reference and --voice"),
        ("missing.txt", (), "no such file"),
        ("hi", ("--model", "tiny"), "small/2"),
    ],
)
def test_what_cannot_be_said_is_refused_with_one_line_and_no_file(
    say: Say, tmp_path: Path, text: str, words: tuple[str, ...], message: str
) -> None:
    code, out, error = say(text, *words)
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("text", ["😀 👍", "a\x00b\x07c", "Ｆｕｌｌ", "-" * 50 + " a " + "=" * 20])
def test_what_is_strange_is_said(say: Say, tmp_path: Path, text: str) -> None:
    code, _, error = say(text)
    assert (code, error) == (0, "")
    assert soundfile.info(tmp_path / "out.wav").duration > 0.2


def test_neither_voice_nor_reference(say: Say) -> None:
    code, _, error = say("hi", reference=False)
    assert (code, "neither --reference nor --voice" in error or "neither" in error) == (2, True)


def test_python(model_file: Path, encoder_file: Path, speech: dict[str, Path], tmp_path: Path) -> None:
    made = speechssl.load_synthesizer(model_file, system=speechssl.load_bundle(encoder_file))
    spoken = speechssl.say("Hello.", [speech["reference"]], synthesizer=made, output=tmp_path / "out.wav")
    assert soundfile.info(tmp_path / "out.wav").frames == len(spoken.waveform.samples)
    with pytest.raises(speechssl.InputError, match="references or a voice"):
        speechssl.say("Hello.", synthesizer=made)


def test_the_shipped_model_speaks_in_a_shipped_voice(tmp_path: Path) -> None:
    spoken = speechssl.say("Good morning.", [speechssl.clip("dan").path], interpolation=0.5)
    assert 0.5 < spoken.waveform.seconds < 2.5
    assert spoken.conversion.coverage > 0.6
    assert [attribution.voice for attribution in spoken.conversion.attributions][1] == "tiny-kathleen"


def test_the_shipped_model_fits_the_shipped_encoder(other_model: Callable[..., TextModel]) -> None:
    from speechssl.synthesis import model as models
    from speechssl.synthesis.say import SYNTHESIZER

    shipped = models.load(SYNTHESIZER)
    assert shipped.origin == speechssl.load_encoder("tiny").origin
    assert sum(p.numel() for p in shipped.network.parameters()) <= 10_000_000
