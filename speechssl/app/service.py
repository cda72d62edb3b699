"""The page as a web application: its users, limits and health check."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from typing import Any

import fastapi
import gradio as gr

from speechssl import __version__
from speechssl.app import front, gate, guard, jobs, leftovers, live, page, visitors
from speechssl.app.state import State
from speechssl.app.uploads import Uploads
from speechssl.checkpoints import published


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
    published.shown = jobs.downloading
    application = fastapi.FastAPI(title="speechssl", version=__version__, docs_url=None, redoc_url=None)
    everybody = visitors.Visitors(state.sessions, guarded=bool(auth))
    application.add_api_route("/health", lambda: _health(state))
    application.add_route(f"{guard.API}/upload", Uploads(state.sessions, state.settings).take, methods=["POST"])
    if "live" in tabs:
        application.add_api_websocket_route(guard.LIVE, live.Live(state, everybody).speak)
    application.add_middleware(front.Front, keep_seconds=state.settings.keep_seconds)
    application.add_middleware(guard.Guard, visitors=everybody, endpoints=state.endpoints)
    application.add_middleware(gate.Gate, served=None if state.settings.public else served)
    application.state.blocks = page.build(state, tabs=tabs)
    _mount(application, auth, state.settings.megabytes)
    everybody.gradio = application.state.gradio = application.routes[-1].app
    leftovers.make_light(everybody.gradio)
    state.sessions.ended = functools.partial(leftovers.forget, everybody.gradio)
    return application


def _health(state: State) -> dict[str, Any]:
    return {
        "status": "closing" if state.jobs.draining else "ok",
        "version": __version__,
        "running": state.jobs.running,
        "live": state.live.running,
        "done": state.jobs.done,
        "sessions": len(state.sessions),
        "seconds_up": round(time.time() - state.started),
    }


def _mount(application: fastapi.FastAPI, auth: Sequence[tuple[str, str]], megabytes: int) -> None:
    """Put the page into the application."""
    blocks = application.state.blocks
    # a page that is mounted, not launched, would take any path of this machine for an upload
    blocks.has_launched = blocks.is_running = True
    blocks.delete_cache = (None, None)
    gr.mount_gradio_app(
        application,
        blocks,
        path="/",
        auth=gate.Passwords(auth) if auth else None,
        auth_message="speechssl: sign in to use this service.",
        max_file_size=megabytes << 20,
        allowed_paths=[str(visitors.CLIPS)],
        show_error=True,
        footer_links=["api", "settings"],
        run_history=False,
        theme=page.theme(),
        css=page.CSS,
        head=page.SCRIPT,
        ssr_mode=False,
    )
