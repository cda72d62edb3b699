"""Half a second of speech is enough for an attack; see ``helpers``. The service is that of the tests of the page."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import speech

__all__ = ["speech"]


@contextlib.contextmanager
def serving(folder: Path, **options: Any) -> Iterator[str]:
    """The service, in this process, on a free port; without watermark and consent."""
    import uvicorn

    from speechssl.app import service
    from speechssl.app.state import Settings, State

    settings = Settings(voices=folder / "voices", speakers=folder / "s.sqlite", watermark=False, consent=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    application = service.make(State(settings, folder=folder / "work"), **options)
    config = uvicorn.Config(application, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service without a login."""
    with serving(tmp_path_factory.mktemp("service")) as place:
        yield place


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with a login and a name of its own."""
    folder = tmp_path_factory.mktemp("guarded")
    with serving(folder, auth=[("ada", "secret"), ("eve", "other")], served=("127.0.0.1", "speech.example")) as place:
        yield place
