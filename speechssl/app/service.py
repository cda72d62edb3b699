"""The page as a service: where it listens, who may come in, health, and an orderly end."""

from __future__ import annotations

import contextlib
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
from speechssl.app import page
from speechssl.app.state import Settings, Workshop
from speechssl.errors import InputError

GRACE = 30.0  # seconds running jobs are waited for when the service is told to end
SENDING = 10.0  # seconds for what they made to reach those who wait for it
SWEEP = 60.0  # seconds between deletions of what is old


def make(shop: Workshop, *, auth: Sequence[tuple[str, str]] = ()) -> fastapi.FastAPI:
    """The web application: the page at ``/``, the state of the service at ``/health``.

    Args:
        shop: models, voices, limits; its folder takes the uploads.
        auth: users and passwords; empty lets everybody in who reaches the address.
    """
    # Gradio keeps uploads and downloads here; it reads the variable when a page is built
    os.environ["GRADIO_TEMP_DIR"] = str(shop.folder / "gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from speechssl.checkpoints import PACKAGED

    application = fastapi.FastAPI(title="speechssl", version=__version__, docs_url=None, redoc_url=None)

    def health() -> dict[str, Any]:
        return {
            "status": "closing" if shop.draining else "ok",
            "version": __version__,
            "running": shop.running,
            "done": shop.done,
            "sessions": len(shop.sessions),
            "seconds_up": round(time.time() - shop.started),
        }

    application.add_api_route("/health", health)
    blocks = page.build(shop)
    application.state.blocks = blocks
    # a page that is mounted, not launched, would take any path of this machine for an upload
    blocks.has_launched = blocks.is_running = True
    return gr.mount_gradio_app(
        application,
        blocks,
        path="/",
        auth=list(auth) or None,
        auth_message="speechssl: sign in to use this service.",
        max_file_size=shop.settings.megabytes << 20,
        allowed_paths=[str(PACKAGED / "clips")],
        show_error=True,
        footer_links=["api", "settings"],
        run_history=False,
        theme=page.theme(),
        css=page.CSS,
        ssr_mode=False,
    )


class Server(uvicorn.Server):  # type: ignore[misc]
    """A server that lets jobs end before it does."""

    shop: Workshop

    def handle_exit(self, sig: int, frame: Any) -> None:
        """First signal: no more jobs, wait for the running ones, then end. Second: end now."""
        if self.shop.draining:
            super().handle_exit(sig, frame)
            return
        self.shop.draining = True
        threading.Thread(target=self._end, args=(sig,), daemon=True).start()

    def _end(self, sig: int) -> None:
        running = self.shop.running
        finished = self.shop.drain(GRACE)
        self._send()
        _say(f"closing: {running} running jobs {'finished' if finished else f'were cut off after {GRACE:.0f} s'}")
        # open pages hold connections that never end; cutting them is no error
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self.should_exit = True

    def _send(self) -> None:
        """Wait until the results of finished jobs are on their way, which Gradio keeps in its queue until then."""
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
) -> None:
    """Run the service until it is told to end (Ctrl-C or SIGTERM).

    Args:
        settings: None for the defaults.
        host: address to listen on; one that others reach needs ``auth``.
        port: the next free one is taken if it is in use; 0 for any.
        auth: users and passwords.
        browser: open the page in the browser of this machine.
    Raises:
        InputError: a public address without a password, or no free port.
    """
    check_address(host, auth)
    shop = Workshop(settings)
    try:
        place = free_port(host, port)
        config = uvicorn.Config(
            make(shop, auth=auth), host=host, port=place, log_level=logging.WARNING, timeout_graceful_shutdown=2,
            access_log=False,
        )  # fmt: skip
        server = Server(config)
        server.shop = shop
        threading.Thread(target=_sweep, args=(shop,), daemon=True).start()
        threading.Thread(target=_warm, args=(shop,), daemon=True).start()
        print(greeting(host, place, auth), flush=True)
        if browser:
            threading.Thread(target=_open, args=(server, f"http://{host}:{place}"), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    finally:
        shop.close()


def _say(text: str) -> None:
    """Print, unless the terminal or program that read what is printed is gone, which is no reason not to end."""
    try:
        print(text, flush=True)
    except OSError:
        # what could not be written is tried again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def check_address(host: str, auth: Sequence[tuple[str, str]]) -> None:
    """Refuse an address that others reach, if nobody is asked for a password.

    Raises:
        InputError: that, or an empty user or password.
    """
    if any(not user or not password for user, password in auth):
        raise InputError("--auth USER:PASSWORD needs both")
    if not auth and not is_local(host):
        raise InputError(
            f"{host} can be reached from other machines; give --auth USER:PASSWORD, or listen on 127.0.0.1"
        )


def greeting(host: str, port: int, auth: Sequence[tuple[str, str]]) -> str:
    """Where the page is, and who may reach what."""
    shown = f"[{host}]" if ":" in host else host
    text = f"speechssl {__version__}: http://{shown}:{port}"
    if not is_local(host):
        users = ", ".join(user for user, _ in auth)
        text += f"\npublic: everybody who reaches this address and knows a password ({users}) can convert, verify and "
        text += "store voices; traffic is not encrypted, so put a TLS proxy in front of it"
    return text


def free_port(host: str, port: int) -> int:
    """This port, or the next one that is free.

    Raises:
        InputError: none of twenty is.
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


def _sweep(shop: Workshop) -> None:
    while Path(shop.folder).exists():
        time.sleep(SWEEP)
        shop.sessions.expire()


def _warm(shop: Workshop) -> None:
    """Load the default model while the person reads the page."""
    with contextlib.suppress(Exception):
        shop.system(shop.settings.models[0])
        shop.embedder()


def _open(server: uvicorn.Server, address: str) -> None:
    import webbrowser

    while not server.started:
        time.sleep(0.1)
    webbrowser.open(address)
