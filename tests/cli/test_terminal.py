"""What is printed where: progress, remarks, results, and the log."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speechssl.cli import progress, run, terminal
from speechssl.errors import InputError
from speechssl.voices import clips


def test_without_a_terminal_a_line_comes_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    lines: list[str] = []
    shown = progress.Progress("convert", lines.append, enabled=True)
    shown.stage("loading")
    shown.expect(60)
    shown.stage("converting a\x1b[2Jb.wav")
    shown.advance(15)
    while len(lines) < 3:
        time.sleep(0.01)
    shown.close()
    last = shown.line()
    assert re.fullmatch(r"convert: converting a.*b\.wav, 15 of 60 s of audio, \d+ s so far", last)
    assert "\x1b" not in last


def test_quiet_leaves_results_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.working("verify"):
        terminal.be_quiet()
        terminal.stage("loading")
        terminal.remark("a remark")
        terminal.say("a result")
        terminal.error("error: wrong")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("a result\n", "error: wrong\n")
    with terminal.working("verify"):
        terminal.remark("a remark")
        terminal.detail("only with --verbose")
    assert capsys.readouterr().err == "a remark\n"


def test_a_log_has_all_that_is_printed_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.txt"
    for _ in range(2):
        assert run(["report", "missing.wav", "--log", str(log)]) == 2
    error = capsys.readouterr().err.splitlines()[0]
    lines = log.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d " + re.escape(error), lines[1])
    for name, words in (("talk.wav", "talk.log would do"), ("talk.raw", "holds no log")):
        other = tmp_path / name
        other.write_bytes(b"RIFF and so on")
        assert run(["voice", "list", "--log", str(other)]) == 2
        assert words in capsys.readouterr().err
        assert other.read_bytes() == b"RIFF and so on"
    assert run(["voice", "list", "--log", str(tmp_path)]) == 2


def test_verbose_tells_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "missing.wav", "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err
    assert run(["report", "missing.wav"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_options_of_all_commands_may_come_first_or_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-V"]) == 0
    assert capsys.readouterr().out.startswith("speechssl ")
    assert run(["-h"]) == 0
    assert "convert" in capsys.readouterr().out
    for words in (["--quiet", "voice", "list"], ["voice", "list", "-q"]):
        assert run(words) == 0
        assert capsys.readouterr().err == ""


def test_on_a_terminal_a_line_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    shown = progress.Progress("say", print, enabled=True)
    shown.stage("speaking")
    shown.expect(10)
    shown.advance(20)
    with shown.paused():
        pass
    shown.close()
    assert "say: speaking" in sys.stderr.getvalue()
    assert "10 of 10 s" in sys.stderr.getvalue()


@pytest.mark.parametrize(
    "words", ["convert a.wav --voice eric -o b.wav", "say Hi --voice eric -o b.wav", "units encode a.wav -o b", "app"]
)
def test_the_first_sign_comes_before_anything_slow(words: str, tmp_path: Path) -> None:
    """On a terminal, from where PyTorch cannot be imported: a line that moves, and only then the error."""
    pty = pytest.importorskip("pty", reason="no terminals of this kind here")
    shutil.copy(clips.clip("ada", "sentence").path, tmp_path / "a.wav")
    ours, theirs = pty.openpty()
    code = "import sys; sys.modules['torch'] = None; from speechssl.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words.split()], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=theirs,
        stderr=theirs, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the process has closed its end
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait() == 2
    assert 0 <= shown.find(words.split()[0].encode()) < shown.find(b"torch")


def test_a_download_tells_its_megabytes() -> None:
    with terminal.working("features"):
        with terminal.downloading("model.safetensors", 3_000_000) as advance:
            advance(2_000_000)
        assert "fetching model.safetensors, 2 of 3 MB" in terminal.settings.progress.line()


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with terminal.working("x"), pytest.raises(InputError, match="name a file that can be written"):
        terminal.log_to(tmp_path / "missing" / "log.txt")
