"""Recordings on stdin and stdout."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from speechssl.cli import pipes, run, terminal
from speechssl.errors import InputError


class Pipe(io.StringIO):
    """A stream of text with bytes below, as stdin and stdout are."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__()
        self.buffer = io.BytesIO(content)


def test_sound_goes_through(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(b"sound"))
    monkeypatch.setattr(sys, "stdout", out := Pipe())
    with terminal.working("convert"), pipes.connected(["convert", "-", "--voice", "eric", "-o", "-"]) as arguments:
        _, source, _, voice, _, made = arguments
        assert Path(source).read_bytes() == b"sound"
        assert voice == "eric"
        Path(made).write_bytes(b"made")
        terminal.say(f"{made}  1.0 s")
    assert out.buffer.getvalue() == b"made"
    assert capsys.readouterr().err == "stdout  1.0 s\n"
    assert not Path(source).exists()


@pytest.mark.parametrize(
    "words",
    [
        ["say", "-", "--voice", "eric", "-o", "out.wav"],  # a text
        ["units", "decode", "-", "--voice", "eric", "-o", "out.wav"],  # units
        ["calibrate", "--output", "-"],  # JSON
        ["convert", "talk.wav", "-o", "out.wav"],
    ],
)
def test_other_dashes_are_left_alone(words: list[str]) -> None:
    with pipes.connected(words) as arguments:
        assert arguments == words


def test_every_way_to_write_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Pipe())
    for option in (["-o", "-"], ["--output", "-"], ["--output=-"]):
        with terminal.working("say"), pipes.connected(["say", "Hello", *option]) as arguments:
            assert arguments[-1].endswith("stdout.wav")


def test_nothing_on_stdin_and_a_terminal_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe())
    with pytest.raises(InputError, match="nothing on stdin"), pipes.connected(["report", "-"]):
        pass
    monkeypatch.setattr(sys, "stdout", terminal_like := Pipe())
    monkeypatch.setattr(terminal_like, "isatty", lambda: True)
    with pytest.raises(InputError, match="to a terminal"), pipes.connected(["say", "Hello", "-o", "-"]):
        pass


def test_a_recording_from_stdin_is_reported_on(
    monkeypatch: pytest.MonkeyPatch, speech: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe(speech["source"].read_bytes()))
    assert run(["report", "-"]) == 0
    assert "stdin  " in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", Pipe(speech["source"].read_bytes()))
    assert run(["embed", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["recording"] == "stdin"


def test_paths_of_a_list_on_stdin_are_relative_to_where_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, speech: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "calls").mkdir()
    for name in ("source", "reference"):
        shutil.copy(speech[name], tmp_path / "calls" / f"{name}.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", Pipe(b"calls/source.wav\n"))
    assert run(["embed", "--list", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["recording"] == "calls/source.wav"
    monkeypatch.setattr(sys, "stdin", Pipe(b"calls/source.wav calls/reference.wav\n"))
    assert run(["verify", "--pairs", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["test"] == "calls/reference.wav"
    monkeypatch.setattr(sys, "stdin", Pipe(b"source,voice,output\ncalls/source.wav,ada,a.wav\n"))
    assert run(["convert", "--jobs", "-", "--output", "out", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("calls/source.wav -> out/a.wav")


@pytest.mark.timeout(240)  # what is read twice waits for ever
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_lexicon_may_come_through_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe, made = tmp_path / "words", tmp_path / "out.wav"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("gif JH IH1 F\n",), daemon=True)
    writer.start()
    assert run(["say", "A gif.", "--voice", "eric", "--lexicon", str(pipe), "-o", str(made), "--json"]) == 0
    assert '"gif."' in capsys.readouterr().out
    assert made.stat().st_size > 10_000
