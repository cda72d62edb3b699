"""The page as a service: the address, the users, the health check, and an orderly end."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import uvicorn

from speechssl import __version__
from speechssl.app import front, gate, guard, leftovers, page
from speechssl.app.jobs import Jobs
from speechssl.app.state import Settings, State
from speechssl.app.uploads import Uploads
from speechssl.app.visitors import Visitors
from speechssl.errors import InputError

GRACE = 30.0  # seconds that running jobs have to finish when the service is told to end
SENDING = 10.0  # seconds that their results have to reach the clients
SWEEP = 60.0  # seconds between deletions of old files


def make(
    state: State,
    *,
    auth: Sequence[tuple[str, str]] = (),
    tabs: Sequence[str] = page.TABS,
    served: Sequence[str] = gate.LOOPBACK,
) -> fastapi.FastAPI:
    """Make the web application: the page at ``/``, the health check at ``/health``.

    Args:
        state: models, voices, limits; its folder takes the uploads.
        auth: users and passwords; without any, everybody who reaches the address may use the page.
        tabs: see ``page.build``.
        served: names under which requests are answered, see ``gate.served_names``; a public service answers all.
    """
    # Gradio keeps uploads and downloads here; it reads the variable when a page is built
    os.environ["GRADIO_TEMP_DIR"] = str(state.sessions.folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "100"  # it makes a table of all of them after each call
    from speechssl.checkpoints import PACKAGED

    application = fastapi.FastAPI(title="speechssl", version=__version__, docs_url=None, redoc_url=None)

    def health() -> dict[str, Any]:
        return {
            "status": "closing" if state.jobs.draining else "ok",
            "version": __version__,
            "running": state.jobs.running,
            "done": state.jobs.done,
            "sessions": len(state.sessions),
            "seconds_up": round(time.time() - state.started),
        }

    visitors = Visitors(state.sessions, guarded=bool(auth))
    application.add_api_route("/health", health)
    application.add_route(f"{guard.API}/upload", Uploads(state.sessions, state.settings).take, methods=["POST"])
    application.add_middleware(front.Front)
    application.add_middleware(guard.Guard, visitors=visitors, endpoints=state.endpoints)
    application.add_middleware(gate.Gate, served=None if state.settings.public else served)
    blocks = page.build(state, tabs=tabs)
    application.state.blocks = blocks
    # a page that is mounted, not launched, would take any path of this machine for an upload
    blocks.has_launched = blocks.is_running = True
    blocks.delete_cache = (None, None)
    gr.mount_gradio_app(
        application,
        blocks,
        path="/",
        auth=gate.Passwords(auth) if auth else None,
        auth_message="speechssl: sign in to use this service.",
        max_file_size=state.settings.megabytes << 20,
        allowed_paths=[str(PACKAGED / "clips")],
        show_error=True,
        footer_links=["api", "settings"],
        run_history=False,
        theme=page.theme(),
        css=page.CSS,
        head=page.SCRIPT,
        ssr_mode=False,
    )
    visitors.gradio = application.state.gradio = application.routes[-1].app
    leftovers.make_light(visitors.gradio)
    state.sessions.ended = functools.partial(leftovers.forget, visitors.gradio)
    return application


class Server(uvicorn.Server):  # type: ignore[misc]
    """A server that lets running jobs finish before it ends."""

    jobs: Jobs

    def handle_exit(self, sig: int, frame: Any) -> None:
        """First signal: start no more jobs, wait for the running ones, then end. Second: end now."""
        if self.jobs.draining:
            super().handle_exit(sig, frame)
            return
        self.jobs.draining = True
        threading.Thread(target=self._end, args=(sig,), daemon=True).start()

    def _end(self, sig: int) -> None:
        running = self.jobs.running
        finished = self.jobs.drain(GRACE)
        self._send()
        _say(f"closing: {running} running jobs {'finished' if finished else f'were cut off after {GRACE:.0f} s'}")
        # open pages hold connections that never end; cutting them is no error
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.should_exit = True

    def _send(self) -> None:
        """Wait until Gradio has sent the results of finished jobs from its queue."""
        queue = getattr(self.config.app.state.blocks, "_queue", None)
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
    tabs: Sequence[str] = page.TABS,
    public_names: Sequence[str] = (),
) -> None:
    """Run the service until it is told to end (Ctrl-C or SIGTERM).

    Args:
        settings: None for the defaults.
        host: address to listen on; one that other machines reach needs ``auth`` or ``Settings.public``.
        port: if it is in use, the next free port is taken; 0 for any.
        auth: users and passwords.
        browser: open the page in the browser of this machine.
        tabs: see ``page.build``.
        public_names: further names that are answered, such as that of a proxy.
    Raises:
        InputError: the address needs a password, or no port is free.
    """
    settings = settings or Settings()
    check_address(host, auth, public=settings.public)
    state = State(settings)
    try:
        place = free_port(host, port)
        config = uvicorn.Config(
            make(state, auth=auth, tabs=tabs, served=gate.served_names(host, public_names)),
            host=host,
            port=place,
            log_level=logging.WARNING,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
        server = Server(config)
        server.jobs = state.jobs
        threading.Thread(target=_sweep, args=(state, config.app.state.gradio), daemon=True).start()
        threading.Thread(target=_warm, args=(state,), daemon=True).start()
        print(greeting(host, place, auth), flush=True)
        if browser:
            threading.Thread(target=_open, args=(server, f"http://{host}:{place}"), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    finally:
        state.close()


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
