"""Buttons that begin, cancel and delete."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.tabs.parts import QUIET, Page


def actions(key: str, label: str, *, preview: str = "") -> tuple[Any, Any, Any]:
    """The buttons that begin a job, with or without one for a preview, and the one that cancels it: always in view."""
    with gr.Row(elem_classes="actions"):
        go = gr.Button(label, variant="primary", elem_id=f"{key}-go", elem_classes="go", scale=3, min_width=120)
        short = gr.Button(preview, elem_id=f"{key}-preview", elem_classes="go", scale=1, min_width=110,
                          visible=bool(preview))  # fmt: skip
        stop = gr.Button("Cancel", variant="stop", elem_id=f"{key}-cancel", elem_classes="cancel", scale=1,
                         min_width=110)  # fmt: skip
    return go, short, stop


def asked_first(button: Any, question: str, yes: str, named: Any = None) -> Any:
    """A button that is pressed instead of this one once a person has said yes.

    Args:
        button: this one.
        question: says what is lost.
        yes: text of the button.
        named: the field that names what the question is about.
    """
    with gr.Row(visible=False, elem_classes="question") as asked:
        text = gr.HTML("", elem_id=f"{button.elem_id}-question")
        sure = gr.Button(yes, variant="stop", size="sm", min_width=80, elem_id=f"{button.elem_id}-yes")
        no = gr.Button("No, keep it", size="sm", min_width=80)
    button.click(None, named, [asked, text], js=_ASK % json.dumps(question), **QUIET)
    for one in (sure, no):
        one.click(None, None, asked, js="() => ({__type__: 'update', visible: false})", **QUIET)
    return sure


# a name is text, and no language's
_ASK = """(name) => {
    const said = document.createElement("p"), who = document.createElement("strong");
    said.setAttribute("role", "alert");
    who.setAttribute("translate", "no");
    who.textContent = name || "";
    said.append(%s + " ", who);
    return [{__type__: "update", visible: true}, said.outerHTML];
}"""


def stopper(page: Page, head: str = "Nothing was made", text: str = "Cancelled; nothing was kept.") -> Any:
    """Return the event of a button that cancels, and then says this."""

    def stop(request: gr.Request) -> str:
        page.session(request).stop()
        return pictures.failed(text, beside=False, head=head)

    return stop
