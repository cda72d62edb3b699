"""A service of the tests' own: no watermark (its package is optional), folders that vanish, bundled voices only."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import FLAGS, PATIENCE
from helpers import GRADIO_WARNS, ignore_warnings

pytest.importorskip("gradio")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ignore_warnings(items, Path(__file__).parent, (*GRADIO_WARNS, "ignore::PendingDeprecationWarning"))


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Gradio's clients leave event loops and sockets to the garbage collector: here, not amid later tests."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="session")
def models() -> Any:
    """Models that every module finds loaded, with the examples that were encoded before."""
    from speechssl.app.state import Models

    return Models()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, models: Any) -> Iterator[object]:
    """A service for a module."""
    from speechssl.app.state import Settings, State

    folder = tmp_path_factory.mktemp("app")
    before = os.environ.get("SPEECHSSL_KEY")
    os.environ["SPEECHSSL_KEY"] = str(folder / "key.pem")
    settings = Settings(
        voices=folder / "voices",
        speakers=folder / "speakers.sqlite",
        watermark=False,
        megabytes=5,
        source_seconds=60.0,
        references=3,
    )
    made = State(settings, folder=folder / "work")
    made.models = models
    yield made
    if before is None:
        del os.environ["SPEECHSSL_KEY"]
    else:
        os.environ["SPEECHSSL_KEY"] = before


@pytest.fixture
def session(state: Any) -> Any:
    """A window of its own."""
    return state.sessions.get(None)


@pytest.fixture
def job(state: Any, session: Any) -> Iterator[Any]:
    """A job for this window."""
    with state.jobs.start(session) as started:
        yield started


@pytest.fixture
def shared(state: Any) -> tuple[Any, Any, Any]:
    """Models, store and settings, as most handlers take them first."""
    return state.shared  # type: ignore[no-any-return]


@pytest.fixture
def consent() -> Any:
    from speechssl.voices.consent import attest

    return attest("Ada Smith", "a test")


@pytest.fixture
def convert(state: Any, session: Any) -> Callable[..., Any]:
    """``convert(source, target, options, consent=..., tell=...)``: one conversion, as a job of its own."""
    from speechssl.app.handlers import conversions
    from speechssl.app.jobs import silent

    def run(
        source: Any, target: Any, options: Any = None, *, consent: Any = None, tell: Any = silent, on: Any = state
    ) -> Any:
        window = session if on is state else on.sessions.get(None)

        def work(job: Any) -> Any:
            return conversions.begin(*on.shared, job, source, target, options, consent=consent).convert()

        return on.jobs.run(window, work, tell)

    return run


@pytest.fixture(scope="session")
def serving() -> Callable[..., contextlib.AbstractContextManager[str]]:
    """``with serving(state, auth=...) as address``: the service, in this process, on a free port."""
    return _serving


@pytest.fixture(scope="module")
def address(state: object) -> Iterator[str]:
    """The service of the module."""
    with _serving(state) as place:
        yield place


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Conversions wait for this event."""
    from speechssl.app.handlers import conversions

    go, real = threading.Event(), conversions.encoded_source

    def waiting(*given: Any) -> Any:
        while not go.wait(0.05):
            pass
        return real(*given)

    monkeypatch.setattr(conversions, "encoded_source", waiting)
    yield go
    go.set()


@contextlib.contextmanager
def _serving(state: object, **options: Any) -> Iterator[str]:
    import uvicorn

    from speechssl.app import service

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    application = service.make(state, **options)  # type: ignore[arg-type]
    server = uvicorn.Server(
        uvicorn.Config(application, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as tool:
        found = tool.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


SIZE = {"width": 1280, "height": 900}


def _opened(browser: Any, address: str) -> Any:
    context = browser.new_context(viewport=SIZE, permissions=["microphone"])
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(address)
    opened.wait_for_selector("#convert-go")
    return opened


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A window; what it showed at the end is kept where $SPEECHSSL_SCREENSHOTS says.

    It takes seconds to load: tests marked ``same_page`` do what they do whatever was done in it, and have one together.
    """
    is_shared = request.node.get_closest_marker("same_page") is not None
    opened = request.getfixturevalue("same_page") if is_shared else _opened(browser, address)
    yield opened
    if (folder := os.environ.get("SPEECHSSL_SCREENSHOTS")) and not opened.is_closed():
        opened.screenshot(path=str(Path(folder) / f"{request.node.name}.png"), full_page=True)
    if is_shared:
        opened.set_viewport_size(SIZE)
    else:
        opened.context.close()


@pytest.fixture(scope="module")
def same_page(browser: Any, address: str) -> Iterator[Any]:
    opened = _opened(browser, address)
    yield opened
    opened.context.close()
