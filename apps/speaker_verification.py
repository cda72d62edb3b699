"""Speaker verification: compare two speakers, enrol and identify speakers, calibrate on your own recordings.

Run ``python apps/speaker_verification.py``, or point a hosted space at this file.
Visitors need no account and share nothing.
"""

from __future__ import annotations

import gradio as gr

from speechssl.app import page, server
from speechssl.app.state import Settings, State

TABS = ("verify",)


def build() -> gr.Blocks:
    """The page with these tabs only."""
    return page.build(State(Settings(public=True)), tabs=TABS)


if __name__ == "__main__":
    server.serve_visitors(TABS)
