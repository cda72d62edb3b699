"""The tab Units: see them over the spectrogram, copy them, download them, hear them again."""

from __future__ import annotations

from typing import Any

import gradio as gr

from speechssl import audio
from speechssl.app import pictures
from speechssl.app.handlers import listing, units
from speechssl.app.handlers.conversions import BUNDLED
from speechssl.app.state import Workshop
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import WORK
from speechssl.errors import SpeechSSLError
from speechssl.voices.clips import clip


def tab(shop: Workshop) -> Any:
    """Build the tab; returns the list of voices."""
    heavy = {"concurrency_id": WORK, "concurrency_limit": shop.jobs, "api_visibility": "private"}
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            example = gr.Button("Example: Cleo says a sentence", size="sm")
            source = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Recording",
                              elem_id="units-source", buttons=[])  # fmt: skip
            source_problem = parts.problem("units-source-problem")
            codebook = gr.Dropdown(list(units.CODEBOOKS), value="tiny/500", label="Codebook",
                                   info="How many different units there are.")  # fmt: skip
            collapse = gr.Checkbox(True, label="Merge repeated units", info="Off: one unit for every 20 ms.")
            go = gr.Button("Show the units", variant="primary", elem_id="units-go")
        with gr.Column(scale=7, min_width=320):
            picture = gr.HTML(_WELCOME, elem_id="units-picture", elem_classes="status")
            text = gr.Textbox(label="Units, as a language model reads them", lines=4, max_lines=8, buttons=["copy"],
                              elem_id="units-text", info="Change them and hear them.",
                              placeholder="<unit_12><unit_7> or 12 7")  # fmt: skip
            text_problem = parts.problem("units-text-problem")
            save = gr.DownloadButton("Download JSON lines", visible=False, size="sm", elem_id="units-save")
            with gr.Row(equal_height=False, elem_classes="bottom"):
                voice = gr.Dropdown(listing.names(shop), value=f"{BUNDLED}beth", label="Voice", elem_id="units-voice")
                say = gr.Button("Say the units", elem_id="units-say")
            voice_problem = parts.problem("units-voice-problem")
            spoken = gr.Audio(label="Units, spoken", type="filepath", interactive=False, visible=False,
                              elem_id="units-spoken", buttons=["download"])  # fmt: skip
    record = gr.State(None)
    fields = {"source": source_problem, "codebook": source_problem}

    def show(file: Any, book: str, merged: bool, request: gr.Request,
             progress: gr.Progress = gr.Progress()) -> dict[Any, Any]:  # noqa: B008  # fmt: skip
        session = parts.session_of(shop, request)
        try:
            found = units.encode(
                shop, session, parts.path(file), codebook=book, collapse=merged, tell=parts.teller(progress)
            )
        except SpeechSSLError as error:
            return parts.blame(fields, error, shop, source_problem)
        marks = [
            (start, end, f"{unit} from {start:.2f} to {end:.2f} s")
            for unit, start, end in zip(found["units"], found["start"], found["end"], strict=True)
        ]
        title = f"{len(found['units'])} units in {found['seconds']:.1f} s"
        return {
            source_problem: "",
            picture: pictures.spectrogram(audio.read(file), title, marks=marks),
            text: units.as_text(found),
            save: gr.update(value=str(units.write(session, found)), visible=True),
            record: {name: found[name] for name in ("units", "durations")},
        }

    def speak(written: str, wanted: str, book: str, known: Any, request: gr.Request,
              progress: gr.Progress = gr.Progress()) -> dict[Any, Any]:  # noqa: B008  # fmt: skip
        session = parts.session_of(shop, request)
        # as long as they are the units of the recording, they last as long
        same = known is not None and written == units.as_text(known)
        try:
            made = units.speak(
                shop, session, written, wanted, codebook=book, durations=known["durations"] if same else None,
                tell=parts.teller(progress),
            )  # fmt: skip
        except SpeechSSLError as error:
            return parts.blame({"units": text_problem, "voice": voice_problem}, error, shop, text_problem)
        return {text_problem: "", voice_problem: "", spoken: gr.update(value=str(made), visible=True)}

    parts.forget(go, fields)
    parts.forget(say, {"units": text_problem, "voice": voice_problem})
    shown = [source_problem, picture, text, save, record]
    go.click(show, [source, codebook, collapse], shown, show_progress_on=[picture], **heavy)
    first = example.click(lambda: str(clip("cleo", "sentence").path), None, source, queue=False,
                          api_visibility="private")  # fmt: skip
    first.then(show, [source, codebook, collapse], shown, show_progress_on=[picture], **heavy)
    say.click(speak, [text, voice, codebook, record], [text_problem, voice_problem, spoken],
              show_progress_on=[spoken], **heavy)  # fmt: skip
    return voice


_WELCOME = (
    '<div class="card muted"><strong>Discrete units</strong><div>Speech as a row of numbers, fifty a second, that a '
    "language model can read and write, with the time of each.</div></div>"
)
