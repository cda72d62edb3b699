"""The tab Units: see the units of a recording, copy them, download them, hear them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from speechssl import audio
from speechssl.app import pictures
from speechssl.app.handlers import targets, units
from speechssl.app.handlers.targets import BUNDLED
from speechssl.app.jobs import Job
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import PROGRESS, QUIET, Page
from speechssl.voices.clips import clip


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=320):
            example = gr.Button("Example: Cleo says a sentence", size="sm")
            source = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Recording",
                              elem_id="units-source", buttons=[])  # fmt: skip
            parts.microphone_note()
            problem = parts.problem("units-source-problem")
            codebook = gr.Dropdown(list(units.CODEBOOKS), value="tiny/500", label="Codebook",
                                   info="The number after the slash is the number of different units.")  # fmt: skip
            collapse = gr.Checkbox(True, label="Merge repeated units", info="Off: one unit every 20 ms.")
            go = gr.Button("Show the units", variant="primary", elem_id="units-go")
        with gr.Column(scale=7, min_width=320):
            picture = gr.HTML(_WELCOME, elem_id="units-picture", elem_classes="status")
            text = gr.Textbox(label="Units, as a language model reads them", lines=4, max_lines=8, buttons=["copy"],
                              elem_id="units-text", placeholder="<unit_12><unit_7> or 12 7",
                              info="Edit the units, then press “Say the units”: those that stay keep their "
                              "lengths.")  # fmt: skip
            text_problem = parts.problem("units-text-problem")
            save = gr.DownloadButton("Download JSON lines", visible=False, size="sm", elem_id="units-save")
            record = gr.State(None)
            _say(page, text, text_problem, codebook, record)
    page.draft(source)
    show = _shows(page, problem, (picture, text, save, record))
    parts.forget(go, {"source": problem, "units": text_problem})
    inputs, shown = [source, codebook, collapse], [problem, picture, text, save, record]
    go.click(show, inputs, shown, show_progress_on=[picture], **page.heavy)
    first = example.click(lambda: str(clip("cleo", "sentence").path), None, source, **QUIET)
    first.then(show, inputs, shown, show_progress_on=[picture], **page.heavy)


def _shows(page: Page, problem: Any, shown: tuple[Any, Any, Any, Any]) -> Any:
    """The event that shows the units of a recording."""
    state, (picture, text, save, record) = page.state, shown

    @parts.answering(state, {"source": problem, "codebook": problem}, problem)
    def show(
        file: Any, book: str, merged: bool, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> dict[Any, Any]:
        def work(job: Job) -> tuple[dict[str, Any], str]:
            given = parts.path(file)
            found = units.encode(state.models, state.settings, job, given, codebook=book, collapse=merged)
            marks = [
                (start, end, f"{unit} from {start:.2f} to {end:.2f} s")
                for unit, start, end in zip(found["units"], found["start"], found["end"], strict=True)
            ]
            title = f"{len(found['units'])} units in {found['seconds']:.1f} s"
            return found, pictures.spectrogram(audio.read(file), title, marks=marks)

        found, drawn = page.run(request, work, progress)
        place = units.write(page.session(request), found)
        return {
            problem: "",
            picture: drawn,
            text: units.as_text(found),
            save: gr.update(value=str(place), visible=True),
            record: (found, str(place)),
        }

    def edit(written: str, known: tuple[dict[str, Any], str] | None) -> Any:
        edited = known and units.edited(known[0], written)
        if not known or not edited:
            return gr.update(visible=False)
        return gr.update(value=str(units.write_to(Path(known[1]), edited)), visible=True)

    # what is downloaded is what the text says
    text.change(edit, [text, record], save, trigger_mode="always_last", **QUIET)
    return show


def _say(page: Page, text: Any, text_problem: Any, codebook: Any, record: Any) -> None:
    """Say the units in a voice."""
    with gr.Row(equal_height=False, elem_classes="bottom"):
        voice = gr.Dropdown(
            targets.names(page.state.store),
            value=f"{BUNDLED}beth",
            label="Voice",
            elem_id="units-voice",
            elem_classes=parts.NAMES,
        )
        say = gr.Button("Say the units", elem_id="units-say")
    voice_problem = parts.problem("units-voice-problem")
    spoken = gr.Audio(label="Units, spoken", type="filepath", interactive=False, visible=False,
                      elem_id="units-spoken", buttons=["download"])  # fmt: skip
    page.voices.append(voice)
    lines = {"units": text_problem, "voice": voice_problem}

    @parts.answering(page.state, lines, text_problem)
    def speak(
        written: str, wanted: str, book: str, known: Any, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> dict[Any, Any]:
        def work(job: Job) -> Any:
            durations = known and units.durations_after(known[0]["units"], known[0]["durations"], units.parse(written))
            return units.speak(*page.state.shared, job, written, wanted, codebook=book, durations=durations)

        made = page.run(request, work, progress)
        player = gr.update(value=str(made), visible=True)
        return {**parts.clear(lines), spoken: player, **page.remembered(page.session(request))}

    parts.forget(say, lines)
    say.click(speak, [text, voice, codebook, record], [text_problem, voice_problem, spoken, *page.history],
              show_progress_on=[spoken], **page.heavy)  # fmt: skip


_WELCOME = (
    '<div class="card muted"><strong>Discrete units</strong><div>Speech as a sequence of numbers, fifty per second, '
    "that a language model can read and write. Every unit has its time.</div></div>"
)
