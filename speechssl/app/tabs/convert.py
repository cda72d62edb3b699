"""The tab Convert: a source, a voice, its consent; hear, see and compare the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from speechssl import audio
from speechssl.app import pictures
from speechssl.app.handlers import conversions, voices
from speechssl.app.handlers.conversions import Made
from speechssl.app.handlers.targets import BUNDLED, Target
from speechssl.app.jobs import Job
from speechssl.app.markup import html
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import HEARD_AT_ONCE, PROGRESS, Page
from speechssl.signals import Waveform
from speechssl.voices.clips import clip

EXAMPLES = (("ada", "eric"), ("finn", "beth"), ("dan", "cleo"))


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            gr.HTML('<p class="small">Examples, in one click:</p>', elem_classes="tight")
            with gr.Row():
                tries = [gr.Button(f"{a.title()} as {b.title()}", size="sm", min_width=90) for a, b in EXAMPLES]
            source = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Whose words? Upload or record",
                              elem_id="convert-source", buttons=[])  # fmt: skip
            source_problem = parts.problem("convert-source-problem")
            target = parts.target_fields(page, "convert")
            report = gr.HTML("", elem_id="convert-report", elem_classes="maybe")
            consent = parts.consent_fields(page, "convert")
            options = parts.option_fields(page, "convert")
            aloud = gr.Checkbox(HEARD_AT_ONCE, label="Listen during the conversion", visible=HEARD_AT_ONCE,
                                elem_id="convert-aloud", info="Recordings of 30 s and more play after a second or two. "
                                "Off: the whole recording is measured first, as on the command line.")  # fmt: skip
            with gr.Row():
                go = gr.Button("Convert", variant="primary", elem_id="convert-go", scale=3)
                stop = gr.Button("Cancel", variant="stop", elem_id="convert-cancel", scale=1, min_width=90)
        with gr.Column(scale=6, min_width=320):
            shown = _results()
    lines = {"source": source_problem, "target": target.problem, "consent": consent.problem,
             "options": options.problem, "model": options.problem}  # fmt: skip
    state = page.state

    @parts.answering(state, lines, shown.status)
    def on_convert(values: dict[Any, Any], request: gr.Request, progress: gr.Progress = PROGRESS) -> Iterator[Any]:
        recording, wanted, chosen = values[source], target.read(values), options.read(values)
        attested = consent.read(values)
        streamed = values[aloud] and HEARD_AT_ONCE and conversions.streamable(state.models, recording, chosen)

        def work(job: Job) -> Iterator[dict[Any, Any]]:
            begun = conversions.begin(*state.shared, job, recording, wanted, chosen, consent=attested)
            if streamed:
                # a hidden player plays nothing
                yield {shown.live: gr.update(visible=True, value=None), shown.status: _LISTEN}
            for one in begun.stream() if streamed else [begun.convert()]:
                if isinstance(one, Made):
                    results = shown.filled(one, wanted, values[shown.last], streamed)
                    yield {**parts.clear(lines), **results, **page.remembered(job.session)}
                else:
                    yield {shown.live: parts.heard(one)}

        yield from page.stream(request, work, progress)

    inputs = {source, *target.inputs, *consent.inputs, *options.inputs, aloud, shown.last}
    outputs = [*dict.fromkeys(lines.values()), *shown.outputs, *page.history]
    parts.forget(go, lines)
    event = go.click(on_convert, inputs, outputs, show_progress_on=[shown.status], trigger_mode="once", **page.heavy)
    events = [event]
    for (speaker, voice), button in zip(EXAMPLES, tries, strict=True):
        first = button.click(_example(page, speaker, voice), None, [source, target.kind, target.voice, target.second],
                             api_visibility="private", queue=False)  # fmt: skip
        events.append(first.then(on_convert, inputs, outputs, show_progress_on=[shown.status], **page.heavy))
    stop.click(parts.stopper(page), None, shown.status, cancels=events, queue=False, api_visibility="private")

    @parts.answering(state, {"target": target.problem}, report)
    def on_report(files: Any, request: gr.Request) -> dict[Any, str]:
        given = parts.paths(files)
        found = pictures.report(page.run(request, lambda job: voices.report(state.settings, given))) if given else ""
        return {report: found, target.problem: ""}

    for field in (target.files, target.microphone):
        field.change(on_report, field, [report, target.problem], show_progress="hidden", **page.heavy)
    target.kind.change(lambda: "", None, report, queue=False, api_visibility="private")
    parts.ask_only_where_needed(page, target, consent)


@dataclass(frozen=True, eq=False)
class _Results:
    """The components that show a result, and the one before it."""

    status: Any
    live: Any
    result: Any
    downloads: Any
    save: Any
    paper: Any
    verdict: Any
    comparison: Any
    before: Any
    now: Any
    look: Any
    trail: Any
    last: Any

    @property
    def outputs(self) -> list[Any]:
        """All components."""
        return list(vars(self).values())

    def filled(self, made: Made, target: Target, earlier: dict[str, str] | None, streamed: bool) -> dict[Any, Any]:
        """Return updates for a new result; ``earlier`` is compared with it if both have the same source."""
        updates = {
            self.status: pictures.done(made.conversion.converter, made.conversion.reason, made.conversion.remark),
            self.live: gr.update() if streamed else gr.update(visible=False),
            self.result: gr.update(value=str(made.path), visible=True, label=f"Result: {made.label}"),
            self.downloads: gr.update(visible=True),
            self.save: str(made.path),
            self.paper: f"{made.path}.receipt.json",
            self.verdict: pictures.verdict(made.decision, parts.heads_of(target)),
            self.comparison: gr.update(visible=False),
            self.look: _look(made),
            self.trail: pictures.timeline(made.conversion),
            self.last: {"path": str(made.path), "label": made.label, "source": str(made.source)},
        }
        if earlier is not None and earlier["source"] == str(made.source):
            updates[self.comparison] = gr.update(visible=True)
            updates[self.before] = gr.update(value=earlier["path"], label=f"A: {earlier['label']}")
            updates[self.now] = gr.update(value=str(made.path), label=f"B: {made.label}")
        return updates


def _results() -> _Results:
    status = gr.HTML(_WELCOME, elem_id="convert-status", elem_classes="status maybe")
    live = gr.Audio(label="During the conversion", streaming=True, autoplay=True, interactive=False, visible=False,
                    elem_id="convert-live", buttons=[])  # fmt: skip
    sound: dict[str, Any] = {"type": "filepath", "interactive": False, "buttons": ["download"]}
    result = gr.Audio(label="Result", elem_id="convert-result", visible=False, **sound)
    with gr.Row(visible=False) as downloads:
        save = gr.DownloadButton("Download recording", elem_id="convert-save", size="sm")
        paper = gr.DownloadButton("Download receipt", elem_id="convert-receipt", size="sm")
    verdict = gr.HTML("", elem_id="convert-verdict", elem_classes="maybe")
    with gr.Group(visible=False) as comparison:
        gr.HTML('<p class="small">Change an option and convert again: A is the earlier result, B the new one.</p>')
        with gr.Row():
            before = gr.Audio(label="A: before", elem_id="convert-a", **sound)
            now = gr.Audio(label="B: now", elem_id="convert-b", **sound)
    look = gr.HTML("", elem_id="convert-pictures", elem_classes="maybe")
    trail = gr.HTML("", elem_id="convert-timeline", elem_classes="maybe")
    return _Results(
        status, live, result, downloads, save, paper, verdict, comparison, before, now, look, trail, gr.State(None)
    )


def _look(made: Made) -> str:
    """Spectrograms of source, result and target, side by side."""
    shown = [(made.source, "Source"), (made.path, "Result")] + ([(made.reference, "Target")] if made.reference else [])
    seconds = max(1.0, made.conversion.waveform.seconds)
    drawn = [pictures.spectrogram(_beginning(audio.read(path), seconds), title, width=210.0) for path, title in shown]
    return html('<div class="pictures">{}</div>', html("").join(drawn))


def _beginning(waveform: Waveform, seconds: float) -> Waveform:
    return Waveform(waveform.samples[: round(seconds * waveform.sample_rate)], waveform.sample_rate)


def _example(page: Page, speaker: str, voice: str) -> Any:
    def fill(request: gr.Request) -> tuple[str, str, str, str]:
        place = page.session(request).place(f"{speaker}_sentence", ".wav")
        audio.write(place, audio.read(clip(speaker, "sentence").path))
        return str(place), parts.LISTED, f"{BUNDLED}{voice}", ""

    return fill


_LISTEN = (
    '<div class="card muted"><strong>Listen during the conversion</strong><div>The file follows at the end.</div></div>'
)
_WELCOME = (
    '<div class="card muted"><strong>Say it in another voice</strong><div>1. Give a recording whose words are kept. '
    "2. Choose a voice. 3. Convert. Or press one of the examples: they take a few seconds.</div></div>"
)
