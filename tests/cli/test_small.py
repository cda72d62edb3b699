"""Small things that people meet: each is one line that says what to do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speechssl import audio
from speechssl.cli import terminal
from speechssl.errors import InputError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: dict[str, Path]) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.wav").write_bytes(speech["source"].read_bytes())
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("convert loop.wav --voice eric -o out.wav", "loop.wav: Too many levels of symbolic links"),
        ("convert talk.wav -r loop.wav -o out.wav", "loop.wav: Too many levels of symbolic links"),
        ("convert talk.wav -r talk.wav -o loop.wav", "loop.wav is a link that leads to itself"),
        ("convert talk.wav -r pipe.wav -o out.wav", "pipe.wav is a pipe or a device"),
        ("convert pipe.wav -r talk.wav -o out.wav", "pipe.wav is a pipe or a device"),
        ("voice add eric pipe.wav", "pipe.wav is a pipe or a device"),
        ("convert https://example.org/talk.wav -r talk.wav -o out.wav", "is an address, which is not taken"),
        ("convert talk.wav -r https://example.org/talk.wav -o out.wav", "is an address, which is not taken"),
        ("report https://example.org/talk.wav", "is an address, which is not taken"),
        ("verify talk.wav https://example.org/talk.wav", "is an address, which is not taken"),
        ("convert talk.wav -r talk.wav -o out.wav --device cuda", "built without CUDA"),
        ("convert talk.wav -r talk.wav -o out.wav --device cuda:x", "cuda:x"),
        ("convert talk.wav -r talk.wav -o out.wav --sample-rate 7999", "8000 to 48000 Hz"),
        ("convert talk.wav -r talk.wav -o out.opus --sample-rate 44100", "no 44100 Hz"),
        ("convert talk.wav -r talk.wav -o out.wav --loudness loud", "a number of LUFS"),
        ("voice export eric none/eric.safetensors", "none is no folder"),
        ("voice export eric out.wav", "out.wav is the name of a recording"),
        ("units fit talk.wav -o out.wav", "out.wav is the name of a recording"),
        ("units bpe units -o out.wav", "out.wav is the name of a recording"),
        ("units pack units --tokenizer words -o out.wav", "out.wav is the name of a recording"),
        ("units import km.npy --features tiny/6 -o out.wav", "out.wav is the name of a recording"),
        ("trials people -o out.wav", "out.wav is the name of a recording, which the result is not; out.txt would do"),
        ("evaluate people --scores out.wav", "out.wav is the name of a recording"),
        ("evaluate people --plda people --save-plda out.wav", "out.wav is the name of a recording"),
        ("embed talk.wav -o out.wav", "out.wav is the name of a recording"),
        ("speakers export -o out.wav", "out.wav is the name of a recording"),
        ("convert talk.wav -r talk.wav -o new.wav --attribution out.wav", "out.wav is the name of a recording"),
        ("report talk.wav --log out.wav", "out.wav is the name of a recording"),
        ("convert talk.wav --voice eric -o out.wav --receipt --no-receipt", "--receipt and --no-receipt are opposites"),
        ("units encode talk.wav -o out --no-collapse --collapse", "--collapse and --no-collapse are opposites"),
        ("say Привет --voice eric -o out.wav", "1 of 1 words are in Cyrillic letters"),
        ("say empty.txt --voice eric -o out.wav", "empty.txt is empty; a text with at least one word needed"),
        ("say hello world --voice eric -o out.wav", "(world). The text is one argument: put it in quotes"),
        ("say hello --voice eric --voice ada -o out.wav", "--voice is given 2 times; one needed"),
        ("app --port 70000", "65535"),
        ("app --models tiny,tinny", "no model 'tinny'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    command: Callable[..., Any], place: Path, words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    answer = command(*words.split())
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
    assert message in answer.err
    assert not (place / "out.wav").exists()


def test_python_says_of_an_address_what_it_is() -> None:
    with pytest.raises(InputError, match="is an address"):
        audio.read("https://example.org/talk.wav")


def test_a_damaged_mp3_writes_nothing_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from speechssl.signals import Waveform

    sound = audio.read_mono(audio_clip(), 16_000)
    audio.write(tmp_path / "good.mp3", Waveform(sound.samples[:32_000].clone(), 16_000))
    damaged = bytearray((tmp_path / "good.mp3").read_bytes())
    damaged[2000:2600] = b"\x55" * 600
    (tmp_path / "bad.mp3").write_bytes(damaged)
    capfd.readouterr()
    with contextlib.suppress(InputError):  # some decoders find the next frame
        audio.read(tmp_path / "bad.mp3")
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


def audio_clip() -> Path:
    from speechssl.voices import clips

    return clips.clip("ada", "sentence").path


def test_one_is_no_plural() -> None:
    assert terminal.count(1, "sentence") == "1 sentence"
    assert terminal.count(0, "sentence") == "0 sentences"
    assert terminal.count(2, "sentence") == "2 sentences"
