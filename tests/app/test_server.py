"""The process behind the page: where it listens, what it says while it loads, and how it ends."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fastapi
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from helpers import fetched
from starlette.testclient import TestClient

from speechssl import cli
from speechssl.app import server
from speechssl.cli import progress
from speechssl.errors import InputError

PATIENCE = 240  # seconds: a busy machine takes minutes for what takes seconds


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def _answers(place: str) -> bool:
    try:
        return fetched(f"{place}/health", PATIENCE)[0] == 200
    except OSError:
        return False


def test_it_says_that_it_loads_until_the_page_is_there() -> None:
    go, events = threading.Event(), []

    def make() -> fastapi.FastAPI:
        assert go.wait(PATIENCE)
        application = fastapi.FastAPI(
            on_startup=[lambda: events.append("begun")], on_shutdown=[lambda: events.append("ended")]
        )
        application.add_api_route("/health", lambda: {"status": "ok"})
        return application

    with TestClient(server.Door(make, pytest.fail)) as client:
        page, health = client.get("/"), client.get("/health")
        assert page.status_code == health.status_code == 503
        assert "loading" in page.text
        assert "wird geladen" in client.get("/", headers={"accept-language": "de"}).text
        assert health.json()["status"] == "loading"
        assert page.headers["Retry-After"] == "1"
        assert events == []
        go.set()
        _until(lambda: client.get("/health").status_code == 200)
        assert client.get("/health").json() == {"status": "ok"}
        assert events == ["begun"]
    assert events == ["begun", "ended"]


def test_what_keeps_the_page_from_loading_ends_the_server() -> None:
    ended = threading.Event()

    def make() -> None:
        raise InputError("no such folder")

    door = server.Door(make, ended.set)
    with TestClient(door):
        assert ended.wait(PATIENCE)
    assert str(door.error) == "no such folder"


def test_gradio_writes_no_files_for_editors_and_others_find_sources() -> None:
    component = type("Component", (), {"__module__": "gradio.components.button"})
    found = inspect.getfile
    with server._without_interface_files():
        with pytest.raises(OSError, match="no source"):
            inspect.getfile(component)
        assert inspect.getfile(Path) == found(Path)
    assert inspect.getfile is found


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_a_public_address_needs_a_password(host: str) -> None:
    with pytest.raises(InputError, match="--auth"):
        server.check_address(host, [])
    server.check_address(host, [("ada", "secret")])
    assert "public" in server.greeting(host, 7860, [("ada", "secret")])
    assert "secret" not in server.greeting(host, 7860, [("ada", "secret")])


def test_the_command_line_refuses_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["app", "--host", "0.0.0.0"]) == 2
    assert "--auth" in capsys.readouterr().err
    assert cli.run(["app", "--auth", "nobody"]) == 2
    assert "USER:PASSWORD" in capsys.readouterr().err


def test_the_command_line_does_not_say_for_days_that_it_is_loading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(*settings: object, **options: object) -> None:
        capsys.readouterr()
        time.sleep(0.1)

    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    monkeypatch.setattr(server, "serve", serve)
    assert cli.run(["app", "--port", "0"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_none(host: str) -> None:
    server.check_address(host, [])
    assert "public" not in server.greeting(host, 7860, [])


def test_told_to_end_it_finishes_what_runs_and_takes_nothing_more(tmp_path: Path) -> None:
    """A job that waits for a file: it runs when the signal comes, and its result still reaches the client."""
    (tmp_path / "run.py").write_text(SLOW, encoding="utf-8")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "FOLDER": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py")], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        place = process.stdout.readline().split()[-1]
        _until(lambda: _answers(place))
        running = Client(place, verbose=False).submit(None, api_name="/identify")
        _until((tmp_path / "begun").exists)
        late = Client(place, verbose=False)
        process.send_signal(signal.SIGTERM)
        _until(lambda: json.loads(fetched(f"{place}/health", PATIENCE)[1])["status"] == "closing")
        with pytest.raises(AppError, match="closing"):
            late.predict(None, api_name="/identify")
        (tmp_path / "go").touch()
        assert running.result(PATIENCE) == [{"speaker": "Ada"}]
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "closing: 1 running jobs finished" in out


SLOW = """
import os, time
from pathlib import Path
from speechssl.app import server
from speechssl.app.handlers import speakers
from speechssl.app.state import Settings

folder = Path(os.environ["FOLDER"])
server._warm = lambda state: None

def identify(*arguments):
    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.05)
    return [{"speaker": "Ada"}]

speakers.identify = identify
server.serve(Settings(voices=folder / "voices", speakers=folder / "s.sqlite"), port=0)
"""


@pytest.mark.parametrize("is_read", [True, False])
def test_told_to_end_it_ends_and_leaves_nothing(tmp_path: Path, is_read: bool) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "SPEECHSSL_APP_AUTH": "ada:secret"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from speechssl.cli import main; main()", "app", "--port", "0"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    place = process.stdout.readline().split()[-1]
    _until(lambda: _answers(place))
    assert fetched(f"{place}/config", PATIENCE)[0] == 401
    if not is_read:
        # the terminal it was started from is gone
        process.stdout.close()
    process.send_signal(signal.SIGTERM)
    if is_read:
        out, _ = process.communicate(timeout=PATIENCE)
        assert "closing: 0 running jobs finished" in out
    else:
        process.wait(PATIENCE)
    assert process.returncode == 0
    assert not list(tmp_path.glob("speechssl-app-*"))
