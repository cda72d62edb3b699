"""The tab Speak: text in any voice; the first sentence plays while the others are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import speaking
from speechssl.app.handlers.recordings import FORMATS
from speechssl.app.handlers.speaking import Reading, Said
from speechssl.app.jobs import Job
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import HEARD_AT_ONCE, PROGRESS, Page

EXAMPLE = "Good morning. The train to the coast leaves at half past seven, and it is nearly always full on Fridays."


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            text = gr.Textbox(EXAMPLE, label="Text (English)", lines=4, elem_id="speak-text",
                              max_length=speaking.MOST_CHARACTERS)  # fmt: skip
            text_problem = parts.problem("speak-text-problem")
            target = parts.target_fields(page, "speak", blend=False)
            consent = parts.consent_fields(page, "speak")
            with gr.Accordion("Options", open=False):
                speed = gr.Slider(0.5, 2, 1, step=0.05, label="Speed", info="2 is twice as fast.")
                interpolation = gr.Slider(0, 1, 1, step=0.05, label="Interpolation",
                                          info="1 is the target's voice, 0 the text model's own.")  # fmt: skip
                seed = gr.Number(0, precision=0, label="Seed", info="Random seed for sound durations; change it for "
                                 "another reading.")  # fmt: skip
                form = gr.Radio(list(FORMATS), value="wav", label="File")
                options_problem = parts.problem("speak-options-problem")
            with gr.Row():
                go = gr.Button("Speak", variant="primary", elem_id="speak-go", scale=3)
                stop = gr.Button("Cancel", variant="stop", scale=1, min_width=90)
        with gr.Column(scale=6, min_width=320):
            status = gr.HTML(_WELCOME, elem_id="speak-status", elem_classes="status maybe")
            live = gr.Audio(label="While the rest is made", streaming=True, autoplay=True, interactive=False,
                            visible=False, elem_id="speak-live", buttons=[])  # fmt: skip
            result = gr.Audio(label="Result", type="filepath", interactive=False, visible=False, buttons=["download"],
                              elem_id="speak-result")  # fmt: skip
            with gr.Row(visible=False) as downloads:
                save = gr.DownloadButton("Download recording", size="sm", elem_id="speak-save")
                paper = gr.DownloadButton("Download receipt", size="sm", elem_id="speak-receipt")
                titles = gr.DownloadButton("Download subtitles", size="sm", elem_id="speak-titles")
            verdict = gr.HTML("", elem_id="speak-verdict", elem_classes="maybe")
    lines = {"text": text_problem, "target": target.problem, "consent": consent.problem, "options": options_problem}
    state = page.state

    @parts.answering(state, lines, status)
    def on_say(values: dict[Any, Any], request: gr.Request, progress: gr.Progress = PROGRESS) -> Iterator[Any]:
        wanted = target.read(values)
        reading = Reading(float(values[speed]), float(values[interpolation]), int(values[seed] or 0), values[form])
        attested = consent.read(values)

        def work(job: Job) -> Iterator[Any]:
            return speaking.say(*state.shared, job, values[text], wanted, reading, consent=attested)

        for one in page.stream(request, work, progress):
            if isinstance(one, Said):
                made = page.remembered(page.session(request))
                yield {**parts.clear(lines), **done(one, parts.heads_of(wanted)), **made}
            elif HEARD_AT_ONCE:
                yield {live: parts.heard(one)}

    def done(one: Said, heads: tuple[str, str]) -> dict[Any, Any]:
        return {
            status: "",
            result: gr.update(value=str(one.path), visible=True),
            downloads: gr.update(visible=True),
            save: str(one.path),
            paper: f"{one.path}.receipt.json",
            titles: str(one.subtitles),
            verdict: pictures.verdict(one.decision, heads),
        }

    outputs = [*lines.values(), status, live, result, downloads, save, paper, titles, verdict, *page.history]
    inputs = {text, *target.inputs, *consent.inputs, speed, interpolation, seed, form}
    parts.forget(go, lines)
    shown = go.click(lambda: gr.update(visible=HEARD_AT_ONCE), None, live, queue=False, api_visibility="private")
    event = shown.then(on_say, inputs, outputs, show_progress_on=[status], **page.heavy)
    stop.click(parts.stopper(page), None, status, cancels=[event], queue=False, api_visibility="private")
    parts.ask_only_where_needed(page, target, consent)


_WELCOME = (
    '<div class="card muted"><strong>Text in any voice</strong><div>The first sentence plays while the others are '
    "made. The voice needs no transcript.</div></div>"
)
