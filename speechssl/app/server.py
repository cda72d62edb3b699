"""The process behind the page: a port that is open from the first second, loading behind it, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ipaddress
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response

from speechssl import __version__
from speechssl.app import languages
from speechssl.app.jobs import Jobs
from speechssl.app.state import MOST_MESSAGE, Settings, State
from speechssl.errors import InputError

GRACE = 30.0  # seconds that running jobs have to finish when the service is told to end
SENDING = 10.0  # seconds that their results have to reach the clients
SWEEP = 60.0  # seconds between deletions of old files
TICK = 0.5  # seconds between two looks of the server whether it should end
LOADING = "speechssl is loading. The page opens by itself in a few seconds."
WAITING = """<!doctype html><html lang="{}"><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>speechssl</title><body style="font-family: sans-serif; margin: 3rem"><p role="status">{}</p></body></html>"""


class Door:
    """An ASGI application that says "loading" until the one behind it is made.

    Args:
        make: gives the application; called once, in a thread, when the port is open.
        failed: called if it raises; ``error`` is what it raised.
    """

    def __init__(self, make: Callable[[], Any], failed: Callable[[], None]) -> None:
        self._make, self._failed = make, failed
        self.inside: Any = None
        self.error: Exception | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or pass on."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self.inside is not None:
            await self.inside(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})  # try again later
        else:
            await _wait(scope)(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        """From the start of the server to its end, in which the application behind is begun and ended."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        over = asyncio.Event()
        loading = asyncio.create_task(self._load(over))
        await receive()
        over.set()
        await loading
        await send({"type": "lifespan.shutdown.complete"})

    async def _load(self, over: asyncio.Event) -> None:
        try:
            inside = await asyncio.to_thread(self._make)
        except Exception as error:
            self.error = error
            self._failed()
            return
        async with inside.router.lifespan_context(inside):
            self.inside = inside
            await over.wait()


def _wait(scope: Any) -> Response:
    headers = {"Retry-After": "1", "Cache-Control": "no-store"}
    if scope["path"] == "/health":
        return JSONResponse({"status": "loading", "version": __version__}, 503, headers)
    language = languages.chosen(scope["query_string"], Headers(scope=scope))
    return HTMLResponse(WAITING.format(language, languages.words(language).get(LOADING, LOADING)), 503, headers)


class Server(uvicorn.Server):  # type: ignore[misc]
    """A server that lets running jobs finish before it ends; who speaks live is told, and ends at once."""

    jobs: Jobs
    live: Jobs

    async def main_loop(self) -> None:
        """Run until told to end. uvicorn's own loop looks ten times a second, a third of what an idle service does."""
        while not await self.on_tick(0):
            await asyncio.sleep(TICK)

    def end(self) -> None:
        """End without waiting for jobs."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: Any) -> None:
        """First signal: start no more jobs, wait for the running ones, then end. Second: end now."""
        if self.jobs.draining:
            super().handle_exit(sig, frame)
            return
        self.jobs.draining = self.live.draining = True
        threading.Thread(target=self._end, args=(sig,), daemon=True).start()

    def _end(self, sig: int) -> None:
        running = self.jobs.running
        finished = self.jobs.drain(GRACE)
        self.live.drain(SENDING)
        self._send()
        _say(f"closing: {running} running jobs {'finished' if finished else f'were cut off after {GRACE:.0f} s'}")
        # open pages hold connections that never end; cutting them is no error
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.should_exit = True

    def _send(self) -> None:
        """Wait until Gradio has sent the results of finished jobs from its queue."""
        inside = self.config.app.inside
        queue = None if inside is None else getattr(inside.state.blocks, "_queue", None)
        end = time.monotonic() + SENDING
        while any(getattr(queue, "active_jobs", ())) and time.monotonic() < end:
            time.sleep(0.05)


def serve(
    settings: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: Sequence[tuple[str, str]] = (),
    browser: bool = False,
    tabs: Sequence[str] | None = None,
    public_names: Sequence[str] = (),
) -> None:
    """Run the service until it is told to end (Ctrl-C or SIGTERM).

    Args:
        settings: None for the defaults.
        host: address to listen on; one that other machines reach needs ``auth`` or ``Settings.public``.
        port: if it is in use, the next free port is taken; 0 for any.
        auth: users and passwords.
        browser: open the page in the browser of this machine.
        tabs: see ``page.build``; None for all.
        public_names: further names that are answered, such as that of a proxy.
    Raises:
        InputError: the address needs a password, or no port is free.
    """
    settings = settings or Settings()
    check_address(host, auth, public=settings.public)
    state = State(settings)
    try:
        place = free_port(host, port)
        door = Door(lambda: _loaded(state, auth, tabs, host, public_names), lambda: server.end())
        config = uvicorn.Config(
            door,
            host=host,
            port=place,
            log_level=logging.WARNING,
            access_log=False,
            timeout_graceful_shutdown=2,
            ws_max_size=MOST_MESSAGE,
            ws_per_message_deflate=False,  # sound does not become shorter
        )
        server = Server(config)
        server.jobs, server.live = state.jobs, state.live
        print(greeting(host, place, auth), flush=True)
        if browser:
            threading.Thread(target=_open, args=(server, f"http://{host}:{place}"), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
        if door.inside is not None:  # an interpreter that ends while PyTorch loads a model aborts
            door.inside.state.warming.join(GRACE)
        if door.error is not None:
            raise door.error
    finally:
        state.close()


def _loaded(
    state: State, auth: Sequence[tuple[str, str]], tabs: Sequence[str] | None, host: str, public_names: Sequence[str]
) -> Any:
    """The web application, whose imports take seconds; the default model is loaded while the person reads the page."""
    with _without_interface_files():
        import gradio  # noqa: F401
    from speechssl.app import gate, page, service

    application = service.make(
        state, auth=auth, tabs=page.TABS if tabs is None else tabs, served=gate.served_names(host, public_names)
    )
    threading.Thread(target=_sweep, args=(state, application.state.gradio), daemon=True).start()
    application.state.warming = threading.Thread(target=_warm, args=(state,), daemon=True)
    application.state.warming.start()
    return application


@contextlib.contextmanager
def _without_interface_files() -> Iterator[None]:
    """Keep gradio from parsing its own source for editors (``.pyi``) whenever it is imported, which takes 2 seconds.

    It leaves the files alone where ``inspect`` finds no source of a component.
    """
    found = inspect.getfile

    def getfile(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("no source is wanted")
        return found(thing)

    inspect.getfile = getfile  # type: ignore[assignment]  # takes what the other takes
    try:
        yield
    finally:
        inspect.getfile = found


def serve_visitors(tabs: Sequence[str]) -> None:
    """Serve some tabs to visitors without accounts, who share nothing.

    The address is ``$GRADIO_SERVER_NAME`` and ``$GRADIO_SERVER_PORT``, which hosts of Gradio pages set; without them,
    127.0.0.1:7860.
    """
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), os.environ.get("GRADIO_SERVER_PORT", "7860")
    serve(Settings(public=True), host=host, port=int(port), tabs=tabs)


def _say(text: str) -> None:
    """Print; a reader that is gone (a closed terminal or pipe) is no error."""
    try:
        print(text, flush=True)
    except OSError:
        # what could not be written is tried again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def check_address(host: str, auth: Sequence[tuple[str, str]], *, public: bool = False) -> None:
    """Refuse an address that other machines reach without a password, unless the service is meant to be public.

    Raises:
        InputError: that, or an empty user or password.
    """
    if any(not user or not password for user, password in auth):
        raise InputError("--auth USER:PASSWORD needs both")
    if not (auth or public or is_local(host)):
        raise InputError(
            f"{host} can be reached from other machines; give --auth USER:PASSWORD, or listen on 127.0.0.1"
        )


def greeting(host: str, port: int, auth: Sequence[tuple[str, str]]) -> str:
    """Say where the page is and who may use it."""
    shown = f"[{host}]" if ":" in host else host
    text = f"speechssl {__version__}: http://{shown}:{port}"
    if auth and not is_local(host):
        users = ", ".join(user for user, _ in auth)
        text += f"\npublic: everybody who reaches this address and knows a password ({users}) can convert, verify and "
        text += "store voices; traffic is not encrypted, so put a TLS proxy in front of it"
    return text


def free_port(host: str, port: int) -> int:
    """Return this port, or the next free one.

    Raises:
        InputError: none of twenty ports is free.
    """
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for one in range(port, port + 20) if port else [0]:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((host, one))
                return int(probe.getsockname()[1])
    raise InputError(f"no free port from {port} to {port + 19} on {host}; give another --port")


def is_local(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _sweep(state: State, gradio: Any) -> None:
    from speechssl.app import leftovers

    while Path(state.folder).exists():
        time.sleep(SWEEP)
        state.sessions.expire()
        leftovers.tidy(gradio)


def _warm(state: State) -> None:
    """Load the default model while the person reads the page."""
    with contextlib.suppress(Exception):
        state.models.system(state.settings.models[0])
        state.models.embedder()


def _open(server: uvicorn.Server, address: str) -> None:
    import webbrowser

    while not server.started:
        time.sleep(0.1)
    webbrowser.open(address)
