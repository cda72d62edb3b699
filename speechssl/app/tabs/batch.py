"""The tab Batch: a zip of recordings in, a zip of converted ones out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import batches
from speechssl.app.state import Workshop
from speechssl.app.tabs import convert, parts
from speechssl.app.tabs.parts import WORK
from speechssl.errors import SpeechSSLError


def tab(shop: Workshop, history: Sequence[Any]) -> parts.TargetFields:
    """Build the tab; ``history`` as of the tab Convert. Returns the fields of the target."""
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            archive = gr.File(label="Zip of recordings", elem_id="batch-zip", height=170)
            archive_problem = parts.problem("batch-zip-problem")
            target = parts.target_fields(shop, "batch")
            leave = parts.consent_fields(shop, "batch")
            options, options_problem = convert.options_fields(shop, "batch")
            with gr.Row():
                go = gr.Button("Convert all", variant="primary", elem_id="batch-go", scale=3)
                stop = gr.Button("Cancel", variant="stop", elem_id="batch-cancel", scale=1, min_width=90)
        with gr.Column(min_width=320):
            status = gr.HTML(
                '<div class="card muted"><strong>Many at once</strong><div>Every recording in the zip is converted to '
                "the same voice. One that cannot be used has its reason in the table.</div></div>",
                elem_id="batch-status",
                elem_classes="status maybe",
            )
            save = gr.DownloadButton("Download the zip", visible=False, elem_id="batch-save")
    fields = {"archive": archive_problem, "target": target.problem, "consent": leave.problem,
              "options": options_problem, "model": options_problem}  # fmt: skip

    def run(file: Any, kind: Any, voice: Any, second: Any, share: Any, files: Any, microphone: Any, agreed: Any,
            who: Any, purpose: Any, k: Any, converter: Any, interpolation: Any, pitch: Any, tempo: Any, form: Any,
            model: Any, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict[Any, Any]:  # noqa: B008  # fmt: skip
        session = parts.session_of(shop, request)
        try:
            made, found = batches.convert(
                shop, session, parts.path(file), parts.target_of(kind, voice, second, share, files, microphone),
                convert.options_of(k, converter, interpolation, pitch, tempo, form, model),
                leave=parts.leave_of(agreed, who, purpose), tell=parts.teller(progress),
            )  # fmt: skip
        except SpeechSSLError as error:
            return parts.blame(fields, error, shop, status)
        return {
            **dict.fromkeys(fields.values(), ""),
            status: pictures.batch(found),
            save: gr.update(value=str(made), visible=True),
            history[0]: convert.rows_of(session),
            history[1]: convert.files_of(session),
        }

    outputs = [*dict.fromkeys(fields.values()), status, save, *history]
    parts.forget(go, fields)
    event = go.click(run, [archive, *target.inputs, *leave.inputs, *options], outputs, show_progress_on=[status],
                     concurrency_id=WORK, concurrency_limit=shop.jobs, api_visibility="private")  # fmt: skip

    parts.ask_only_where_needed(shop, target, leave)
    stop.click(convert.stopper(shop), None, status, cancels=[event], queue=False, api_visibility="private")
    return target
