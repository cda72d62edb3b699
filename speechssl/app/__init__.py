"""The front end in the browser: ``build`` makes the page, ``serve`` runs it as a service.

``handlers`` are plain functions; ``tabs`` and ``endpoints`` call them. Gradio is imported only when needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechssl.app.page import build
    from speechssl.app.server import serve
    from speechssl.app.service import make
    from speechssl.app.state import Settings, State

_PLACES = {"build": "page", "make": "service", "serve": "server", "Settings": "state", "State": "state"}

__all__ = ["Settings", "State", "build", "make", "serve"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module 'speechssl.app' has no attribute {name!r}")
    return getattr(importlib.import_module(f"speechssl.app.{_PLACES[name]}"), name)
