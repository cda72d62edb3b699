"""The tab Batch: a zip of recordings becomes a zip of converted recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import batches, conversions
from speechssl.app.handlers.conversions import Made, Options
from speechssl.app.handlers.targets import Target
from speechssl.app.jobs import Job
from speechssl.app.state import State
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import PROGRESS, Page
from speechssl.voices.consent import Consent


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            archive = gr.File(label="Zip of recordings", elem_id="batch-zip", height=170)
            archive_problem = parts.problem("batch-zip-problem")
            target = parts.target_fields(page, "batch")
            consent = parts.consent_fields(page, "batch")
            options = parts.option_fields(page, "batch")
            with gr.Row():
                go = gr.Button("Convert all", variant="primary", elem_id="batch-go", scale=3)
                stop = gr.Button("Cancel", variant="stop", elem_id="batch-cancel", scale=1, min_width=90)
        with gr.Column(min_width=320):
            status = gr.HTML(_WELCOME, elem_id="batch-status", elem_classes="status maybe")
            save = gr.DownloadButton("Download the zip", visible=False, elem_id="batch-save")
    lines = {"archive": archive_problem, "target": target.problem, "consent": consent.problem,
             "options": options.problem, "model": options.problem}  # fmt: skip

    @parts.answering(page.state, lines, status)
    def run(values: dict[Any, Any], request: gr.Request, progress: gr.Progress = PROGRESS) -> dict[Any, Any]:
        session = page.session(request)
        each = converter(page.state, target.read(values), options.read(values), consent.read(values))
        made, rows = batches.convert(
            page.state.jobs, session, parts.path(values[archive]), each, most_seconds=page.state.settings.batch_seconds,
            tell=lambda share, text: progress(min(share, 1.0), desc=text),
        )  # fmt: skip
        saved = gr.update(value=str(made), visible=True)
        return {**parts.clear(lines), status: pictures.batch(rows), save: saved, **page.remembered(session)}

    outputs = [*dict.fromkeys(lines.values()), status, save, *page.history]
    parts.forget(go, lines)
    inputs = {archive, *target.inputs, *consent.inputs, *options.inputs}
    event = go.click(run, inputs, outputs, show_progress_on=[status], **page.heavy)
    parts.ask_only_where_needed(page, target, consent)
    stop.click(parts.stopper(page), None, status, cancels=[event], queue=False, api_visibility="private")


def converter(state: State, target: Target, options: Options, consent: Consent | None) -> batches.Convert:
    """Return a function that converts one recording of a batch."""

    def one(path: Path, job: Job) -> Made:
        return conversions.begin(*state.shared, job, path, target, options, consent=consent).convert()

    return one


_WELCOME = (
    '<div class="card muted"><strong>Many at once</strong><div>Every recording in the zip is converted to the same '
    "voice. The table gives the reason for each recording that fails.</div></div>"
)
