"""The tab Speak: text in any voice, heard sentence by sentence while the rest is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import speaking
from speechssl.app.handlers.conversions import FORMATS
from speechssl.app.handlers.speaking import Said
from speechssl.app.state import Workshop
from speechssl.app.tabs import convert, parts
from speechssl.app.tabs.parts import HEARD_AT_ONCE, WORK
from speechssl.errors import SpeechSSLError

EXAMPLE = "Good morning. The train to the coast leaves at half past seven, and it is nearly always full on Fridays."


def tab(shop: Workshop, history: Sequence[Any]) -> parts.TargetFields:
    """Build the tab; ``history`` as of the tab Convert. Returns the fields of the target."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            text = gr.Textbox(EXAMPLE, label="What is said (English)", lines=4, elem_id="speak-text",
                              max_length=speaking.MOST_CHARACTERS)  # fmt: skip
            text_problem = parts.problem("speak-text-problem")
            target = parts.target_fields(shop, "speak", blend=False)
            leave = parts.consent_fields(shop, "speak")
            with gr.Accordion("Options", open=False):
                speed = gr.Slider(0.5, 2, 1, step=0.05, label="Speed", info="2 is twice as fast.")
                interpolation = gr.Slider(0, 1, 1, step=0.05, label="Interpolation",
                                          info="1 is the target's voice, 0 the text model's own.")  # fmt: skip
                seed = gr.Number(0, precision=0, label="Seed", info="Another number is another reading.")
                form = gr.Radio(list(FORMATS), value="wav", label="File")
                options_problem = parts.problem("speak-options-problem")
            with gr.Row():
                go = gr.Button("Speak", variant="primary", elem_id="speak-go", scale=3)
                stop = gr.Button("Cancel", variant="stop", scale=1, min_width=90)
        with gr.Column(scale=6, min_width=320):
            status = gr.HTML(_WELCOME, elem_id="speak-status", elem_classes="status maybe")
            live = gr.Audio(label="While it is made", streaming=True, autoplay=True, interactive=False, visible=False,
                            elem_id="speak-live", buttons=[])  # fmt: skip
            result = gr.Audio(label="Result", type="filepath", interactive=False, visible=False, buttons=["download"],
                              elem_id="speak-result")  # fmt: skip
            with gr.Row(visible=False) as downloads:
                save = gr.DownloadButton("Download recording", size="sm", elem_id="speak-save")
                paper = gr.DownloadButton("Download receipt", size="sm", elem_id="speak-receipt")
                titles = gr.DownloadButton("Download subtitles", size="sm", elem_id="speak-titles")
            verdict = gr.HTML("", elem_id="speak-verdict", elem_classes="maybe")
    fields = {"text": text_problem, "target": target.problem, "consent": leave.problem, "options": options_problem}

    def on_say(
        written: str, kind: Any, voice: Any, second: Any, share: Any, files: Any, microphone: Any, agreed: Any,
        who: Any, purpose: Any, pace: float, blend: float, number: float, wanted: str, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        session = parts.session_of(shop, request)
        chosen = parts.target_of(kind, voice, "", 0, files, microphone)
        try:
            made = speaking.say(
                shop, session, written, chosen, speed=float(pace), interpolation=float(blend), seed=int(number or 0),
                form=wanted, leave=parts.leave_of(agreed, who, purpose), tell=parts.teller(progress),
            )  # fmt: skip
            for one in made:
                if isinstance(one, Said):
                    yield {**dict.fromkeys(fields.values(), ""), **done(one, session, convert.heads_of(chosen))}
                elif HEARD_AT_ONCE:
                    yield {live: parts.heard(one)}
        except SpeechSSLError as error:
            yield parts.blame(fields, error, shop, status)

    def done(one: Said, session: Any, heads: tuple[str, str]) -> dict[Any, Any]:
        return {
            status: "",
            result: gr.update(value=str(one.path), visible=True),
            downloads: gr.update(visible=True),
            save: str(one.path),
            paper: f"{one.path}.receipt.json",
            titles: str(one.subtitles),
            verdict: pictures.verdict(one.decision, heads),
            history[0]: convert.rows_of(session),
            history[1]: convert.files_of(session),
        }

    outputs = [*fields.values(), status, live, result, downloads, save, paper, titles, verdict, *history]
    parts.forget(go, fields)
    shown = go.click(lambda: gr.update(visible=HEARD_AT_ONCE), None, live, queue=False, api_visibility="private")
    event = shown.then(
        on_say, [text, *target.inputs, *leave.inputs, speed, interpolation, seed, form], outputs,
        show_progress_on=[status], concurrency_id=WORK, concurrency_limit=shop.jobs, api_visibility="private",
    )  # fmt: skip
    stop.click(convert.stopper(shop), None, status, cancels=[event], queue=False, api_visibility="private")
    parts.ask_only_where_needed(shop, target, leave)
    return target


_WELCOME = (
    '<div class="card muted"><strong>Text in any voice</strong><div>The first sentence is heard while the others are '
    "made. The voice needs no transcript.</div></div>"
)
