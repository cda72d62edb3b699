"""Uploads and results take no more of the disk than they may, and vanish with their session and their service."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import forking
import pytest

from speechssl.app import uploads
from speechssl.app.state import State


def megabytes_in(folder: Path) -> float:
    return uploads.bytes_in(folder) / (1 << 20)


def end_sessions(state: Any) -> None:
    """As if an hour had passed."""
    for session in state.sessions._found.values():
        session.used -= 10_000
    for folder in state.sessions.folder.glob("*/upload-*"):
        os.utime(folder, (0, 0))
    state.sessions.expire()


def test_one_visitor_keeps_no_more_than_the_limit(open_service: Any) -> None:
    end_sessions(open_service.state)
    answers = [
        open_service.client.post(
            f"{open_service.address}/gradio_api/upload", files={"files": ("a.wav", bytes(5 << 20))}
        )
        for _ in range(4)
    ]
    assert [one.status_code for one in answers] == [200, 200, 413, 413]
    assert "your files here take 12 MB" in answers[2].text
    assert megabytes_in(open_service.state.sessions.folder) < 13
    end_sessions(open_service.state)
    assert megabytes_in(open_service.state.sessions.folder) < 1


def test_everything_of_a_session_goes_with_it(open_service: Any) -> None:
    state = open_service.state
    end_sessions(state)
    before = megabytes_in(state.sessions.folder)
    given = open_service.upload("a.wav", b"used")
    open_service.call("report", [given], session_hash="one")
    made = open_service.call("speak_units", "1 2 3 4 5 6", "eric", "tiny/100", session_hash="one")
    assert Path(made.json()["data"][0]["path"]).is_file()
    other = open_service.upload("b.wav", b"unused")
    state.sessions.get("one").used -= 10_000
    state.sessions.expire()
    assert not Path(made.json()["data"][0]["path"]).exists()
    assert not Path(given["path"]).exists()
    assert Path(other["path"]).exists()
    end_sessions(state)
    assert not Path(other["path"]).exists()
    assert megabytes_in(state.sessions.folder) == pytest.approx(before, abs=0.01)


def test_a_closed_window_ends_its_session(open_service: Any) -> None:
    api = f"{open_service.address}/gradio_api"
    with open_service.client.stream("GET", f"{api}/heartbeat/shut") as alive:
        lines = alive.iter_lines()  # the connection ends with this iterator
        next(lines)
        open_service.call("voices", session_hash="shut")
    session = open_service.state.sessions.find("shut")
    end = time.monotonic() + 20
    while session.closed > time.monotonic() and time.monotonic() < end:
        time.sleep(0.05)
    assert session.closed < time.monotonic()
    session.closed -= 10_000
    open_service.state.sessions.expire()
    assert open_service.state.sessions.find("shut") is None


def test_a_full_disk_is_said_in_words_and_keeps_nothing(open_service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechssl.app.handlers import voices

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(open_service.state.sessions.folder.rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "_named", full)
        answer = open_service.client.post(f"{open_service.address}/gradio_api/upload", files={"files": ("a", b"x")})
    assert (answer.status_code, "the disk of this service is full" in answer.text) == (507, True)
    assert {path for path in open_service.state.sessions.folder.rglob("*") if path.is_file()} <= before
    monkeypatch.setattr(voices, "listed", full)
    assert "the disk of this service is full" in open_service.said("voices")


KILLED = """
import time
from speechssl.app.state import State
state = State()
(state.sessions.folder / "x").mkdir(parents=True)
print(state.folder, flush=True)
time.sleep(600)
"""


def test_folders_of_killed_services_go_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = forking.Program(KILLED, environment={"TMPDIR": str(tmp_path)})
    left = Path(process.line())
    alive = State()
    assert left.is_dir()  # one that lives keeps its folder
    process.kill()
    assert process.ended().returncode == -signal.SIGKILL
    State().close()
    assert not left.exists()
    assert alive.folder.is_dir()
    alive.close()
    assert list(tmp_path.glob("speechssl-app-*")) == []
