"""Discrete units for language models: see the units of a recording, edit them, hear them.

Run ``python apps/units_for_llms.py``, or point a hosted space at this file.
Visitors need no account and share nothing.
"""

from __future__ import annotations

import gradio as gr

from speechssl.app import page, server
from speechssl.app.state import Settings, State

TABS = ("units", "voices", "history")


def build() -> gr.Blocks:
    """The page with these tabs only."""
    return page.build(State(Settings(public=True)), tabs=TABS)


if __name__ == "__main__":
    server.serve_visitors(TABS)
