"""The tab Batch: recordings, or a zip of them, become a zip of converted recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import batches, conversions, speaking
from speechssl.app.handlers.conversions import Made, Options
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job, Tell
from speechssl.app.state import State
from speechssl.app.tabs import buttons, parts
from speechssl.app.tabs.options import option_fields
from speechssl.app.tabs.parts import Page
from speechssl.app.tabs.stage import Stage
from speechssl.voices.consent import Consent

CANCELLED = "Cancelled"  # and not "nothing was made": what was converted before stays


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            archive = gr.File(label="Recordings, or a zip of recordings", elem_id="batch-zip", height=170,
                              file_count="multiple")  # fmt: skip
            archive_problem = parts.problem("batch-zip-problem")
            target = parts.target_fields(page, "batch")
            consent = parts.consent_fields(page, "batch")
            options = option_fields(page, "batch", target)
            go, _, stop = buttons.actions("batch", "Convert all")
        with gr.Column(min_width=320, elem_classes="stage"):
            status = gr.HTML(_WELCOME, elem_id="batch-status", elem_classes="status")
            with gr.Column(elem_classes="outcome"):
                save = gr.DownloadButton("Download the zip", elem_id="batch-save")
    lines = {"archive": archive_problem, "target": target.problem, "consent": consent.problem,
             "options": options.problem, "model": options.problem}  # fmt: skip
    taken = (archive, target.kind, target.files, target.microphone)
    stage = Stage(page, status, _WELCOME, lines, fields=taken, name="batch", cancelled=CANCELLED)
    stage.comes_back([save])

    def run(values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        session = page.session(request)

        def start(tell: Tell) -> Iterator[dict[Any, Any]]:
            each = converter(page.state, target.read(values), options.read(values), consent.read(values))
            made, rows = batches.convert(
                page.state.jobs, session, batches.packed(session, parts.paths(values[archive])), each,
                most_seconds=page.state.settings.batch_seconds, tell=tell,
            )  # fmt: skip
            yield {status: pictures.batch(rows), save: str(made), **page.remembered(session)}

        given = ", ".join(one.name for one in parts.paths(values[archive]))
        yield from stage.drive(request, start, values, speaking.beginning(given, 80) or "No recordings")

    inputs = {archive, *target.inputs, *consent.inputs, *options.inputs}
    stage.begins(go)
    event = go.click(run, inputs, [*stage.outputs, save, *page.history], show_progress="hidden",
                     trigger_mode="multiple", **page.heavy)  # fmt: skip
    stage.forgets([archive, *target.inputs, consent.agreed])
    parts.ask_only_where_needed(page, target, consent)
    cancelled = buttons.stopper(page, CANCELLED, "Recordings that were finished before, if any, are in History.")
    stop.click(cancelled, None, status, cancels=[event], **parts.QUIET)


def converter(state: State, target: Target, options: Options, consent: Consent | None) -> batches.Convert:
    """Return a function that converts one recording of a batch."""

    def one(path: Path, job: Job) -> Made:
        return conversions.begin(*state.shared, job, path, target, options, consent=consent).convert()

    return one


_WELCOME = (
    '<div class="card muted"><strong>Many at once</strong><div>Every recording is converted to the same '
    "voice. The table gives the reason for each recording that fails.</div></div>"
)
