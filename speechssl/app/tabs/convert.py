"""The tab Convert: a source, a voice, its consent; hear, see and compare the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from speechssl import audio
from speechssl.app import pictures
from speechssl.app.handlers import conversions, videos, voices
from speechssl.app.handlers.conversions import Made
from speechssl.app.handlers.targets import BUNDLED, Target
from speechssl.app.jobs import Job
from speechssl.app.markup import html
from speechssl.app.player import Track, pieces, player
from speechssl.app.tabs import buttons, parts
from speechssl.app.tabs.options import OptionFields, option_fields
from speechssl.app.tabs.parts import QUIET, Page
from speechssl.app.tabs.stage import Stage
from speechssl.voices.clips import clip

PREVIEW = 15.0  # seconds that are converted to try the settings on a long recording
EXAMPLE = "example"  # the folder of a session with the sources of these
EXAMPLES = (("ada", "eric"), ("finn", "beth"), ("dan", "cleo"))


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            fields = _fields(page)
        with gr.Column(scale=6, min_width=320, elem_classes="stage"):
            status = gr.HTML(_WELCOME, elem_id="convert-status", elem_classes="status")
            live = gr.HTML("", elem_id="convert-live", elem_classes="unseen")
            with gr.Column(elem_classes="outcome"):
                shown = _results()
    taken = (fields.source, fields.film, fields.target.kind, fields.target.files, fields.target.microphone)
    stage = Stage(page, status, _WELCOME, fields.lines, live, taken, "convert")

    def convert(
        values: dict[Any, Any], request: gr.Request, begins: bool = False, first: dict[Any, Any] | None = None
    ) -> Iterator[Any]:
        def work(job: Job) -> Iterator[dict[Any, Any]]:
            begun, heard = time.monotonic(), list[Path]()
            recording, target = values[fields.source], fields.target.read(values)
            recording = conversions.beginning(job.session, recording, PREVIEW) if begins else recording
            chosen, attested = fields.options.read(values), fields.consent.read(values)
            aloud = values[fields.aloud]
            streamed = aloud and conversions.streamable(page.state.models, recording, chosen)
            work = conversions.begin(*page.state.shared, job, recording, target, chosen, consent=attested)
            for one in work.stream() if streamed else work.heard_first():
                if isinstance(one, Made):
                    card = pictures.finished(_head(one, target, time.monotonic() - begun), one.decision,
                                             target.spoken, [one.conversion.remark])  # fmt: skip
                    results = shown.filled(one, target, values[shown.last])
                    film = _film(job, one, values[fields.film])
                    yield {status: card, live: "", **results, shown.film: film, **page.remembered(job.session)}
                elif aloud:
                    heard.append(conversions.write_piece(page.state.store, job.session, one, len(heard)))
                    yield {live: pieces(heard, one.sample_rate)}

        what = _what(values[fields.source], fields.target.read(values), begins=begins)
        yield from stage.follow(request, work, values, what, first)

    def on_convert(values: dict[Any, Any], request: gr.Request) -> Iterator[Any]:
        yield from convert(values, request)

    def on_preview(values: dict[Any, Any], request: gr.Request) -> Iterator[Any]:
        yield from convert(values, request, begins=True)

    inputs = {*fields.inputs, shown.last}
    given = [fields.source, fields.target.kind, fields.target.voice, fields.target.second]
    outputs = [*given, *stage.outputs, *shown.outputs, *page.history]
    stage.comes_back([*shown.outputs, fields.target.voice, fields.target.second])
    how = {"show_progress": "hidden", "trigger_mode": "multiple", **page.heavy}
    for button in (fields.go, fields.preview, *fields.examples):
        stage.begins(button)
    events = [button.click(work, inputs, outputs, **how) for button, work in
              ((fields.go, on_convert), (fields.preview, on_preview))]  # fmt: skip
    for (speaker, voice), button in zip(EXAMPLES, fields.examples, strict=True):
        on_example = _example(page, speaker, voice, given, convert)
        events.append(button.click(on_example, inputs, outputs, **how))
    stage.forgets([fields.source, fields.video, *fields.target.inputs, fields.consent.agreed, *fields.options.inputs])
    fields.stop.click(buttons.stopper(page), None, status, cancels=events, **QUIET)


@dataclass(frozen=True, eq=False)
class _Fields:
    """What a person gives."""

    examples: list[Any]
    source: Any
    target: parts.TargetFields
    consent: parts.ConsentFields
    options: OptionFields
    aloud: Any
    film: Any
    video: Any
    go: Any
    preview: Any
    stop: Any
    lines: dict[str, Any]

    @property
    def inputs(self) -> set[Any]:
        """The components that a conversion reads."""
        return {self.source, *self.target.inputs, *self.consent.inputs, *self.options.inputs, self.aloud, self.film}


def _fields(page: Page) -> _Fields:
    gr.HTML('<p class="small">Examples, in one click:</p>', elem_classes="tight")
    with gr.Row():
        examples = [gr.Button(f"{a.title()} as {b.title()}", size="sm", min_width=90) for a, b in EXAMPLES]
    source = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Whose words? Upload or record",
                      elem_id="convert-source", buttons=[])  # fmt: skip
    parts.microphone_note()
    film, video = gr.State(None), gr.UploadButton("Take the words of a video", size="sm", file_types=["video"],
                                                  elem_id="convert-video")  # fmt: skip
    source_problem = parts.problem("convert-source-problem")
    heard = gr.HTML("", elem_id="convert-source-report", elem_classes="maybe")
    target = parts.target_fields(page, "convert")
    report = gr.HTML("", elem_id="convert-report", elem_classes="maybe")
    consent = parts.consent_fields(page, "convert")
    options = option_fields(page, "convert", target)
    aloud = gr.Checkbox(True, label="Listen during the conversion", elem_id="convert-aloud",
                        info="Recordings of 30 s and more play after a second or two, shorter ones before they are "
                        "verified. Off: the whole recording is measured first, as on the command line.")  # fmt: skip
    go, preview, stop = buttons.actions("convert", "Convert", preview=f"First {PREVIEW:.0f} s")
    page.keep(aloud)
    lines = {"source": source_problem, "target": target.problem, "consent": consent.problem,
             "options": options.problem, "model": options.problem}  # fmt: skip
    _take_sound(page, video, source, film, source_problem)
    _report_on(page, source, heard, source_problem, lambda *given: pictures.source(voices.source_remarks(*given)))
    for field in (target.files, target.microphone):
        _report_on(page, field, report, target.problem, lambda *given: pictures.report(voices.report(*given)))
    target.kind.change(None, None, report, js="() => ''", **QUIET)
    parts.ask_only_where_needed(page, target, consent)
    return _Fields(examples, source, target, consent, options, aloud, film, video, go, preview, stop, lines)


@dataclass(frozen=True, eq=False)
class _Results:
    """The components that show a result, and the one before it."""

    player: Any
    save: Any
    paper: Any
    film: Any
    verdict: Any
    look: Any
    trail: Any
    last: Any

    @property
    def outputs(self) -> list[Any]:
        """All components."""
        return list(vars(self).values())

    def filled(self, made: Made, target: Target, earlier: dict[str, str] | None) -> dict[Any, Any]:
        """Return updates for a new result; ``earlier`` is compared with it if both have the same source."""
        converter = pictures.done(made.conversion.converter, made.conversion.reason)
        return {
            self.player: player(_tracks(made, earlier)),
            self.save: str(made.path),
            self.paper: f"{made.path}.receipt.json",
            self.verdict: html("{}{}", pictures.verdict(made.decision, parts.heads_of(target)), converter),
            self.look: _look(made),
            self.trail: pictures.timeline(made.conversion),
            self.last: {"path": str(made.path), "label": made.label, "source": str(made.source)},
        }


def _tracks(made: Made, earlier: dict[str, str] | None) -> list[Track]:
    """What a person compares: the result, the one before it if it has the same words, the source, the voice."""
    tracks = [Track("Result", made.path)]
    if earlier is not None and earlier["source"] == str(made.source):
        before, now = parts.differences(earlier["label"], made.label)
        tracks = [Track(f"B: {now}", made.path), Track(f"A: {before}", Path(earlier["path"]))]
    tracks.append(Track("Source", made.source))
    return tracks + ([Track("Voice", made.reference, apart=True)] if made.reference else [])


def _results() -> _Results:
    shown = gr.HTML("", elem_id="convert-player")
    with gr.Row():
        save = gr.DownloadButton("Download recording", elem_id="convert-save", size="sm")
        paper = gr.DownloadButton("Download receipt", elem_id="convert-receipt", size="sm")
        film = gr.DownloadButton("Download video", elem_id="convert-film", size="sm", visible=False)
    with gr.Accordion("Details", open=False, elem_id="convert-details"):
        verdict = gr.HTML("", elem_id="convert-verdict", elem_classes="maybe")
        look = gr.HTML("", elem_id="convert-pictures", elem_classes="maybe")
        trail = gr.HTML("", elem_id="convert-timeline", elem_classes="maybe")
    gr.HTML('<p class="small">Change an option and convert again to compare both.</p>')
    return _Results(shown, save, paper, film, verdict, look, trail, gr.State(None))


def _what(source: str | None, target: Target, *, begins: bool = False) -> str:
    """What is done, for the list of jobs."""
    words = Path(source).name if source else "No recording"
    voice = target.spoken if target.files or target.voices else "no voice"
    return f"{f'First {PREVIEW:.0f} s of ' * begins}{words} as {voice}"


def _head(made: Made, target: Target, seconds: float) -> str:
    length = made.conversion.waveform.seconds
    return f"{target.spoken_voice}, {length:.0f} s, made in {seconds:.1f} s"


def _take_sound(page: Page, button: Any, source: Any, film: Any, problem: Any) -> None:
    """Make the sound of a video the source, and remember the video."""

    @parts.answering(page.state, {"source": problem}, problem)
    def on_video(file: str, request: gr.Request) -> dict[Any, Any]:
        video = Path(file)
        sound = str(page.run(request, lambda job: videos.sound_of(page.state.settings, job, video)))
        return {source: sound, film: {"video": str(video), "sound": sound}, problem: ""}

    button.upload(on_video, button, [source, film, problem], show_progress_on=[source], **page.heavy)


def _film(job: Job, made: Made, film: dict[str, str] | None) -> Any:
    """The video with the result as its sound, if the source is the sound of a video."""
    if film is None or film["sound"] != str(made.source):
        return gr.update(visible=False)
    job(0.97, "putting the sound into the video")
    place = videos.with_sound(Path(film["video"]), made.path, job.session.place(made.path.stem, ""))
    return gr.update(value=str(place), visible=True)


def _look(made: Made) -> str:
    """Spectrograms of source, result and target, side by side."""
    shown = [(made.source, "Source"), (made.path, "Result")] + ([(made.reference, "Target")] if made.reference else [])
    seconds = max(1.0, made.conversion.waveform.seconds)
    drawn = [pictures.spectrogram(audio.read(path).first(seconds), title, width=210.0) for path, title in shown]
    return html('<div class="pictures">{}</div>', html("").join(drawn))


def _example(page: Page, speaker: str, voice: str, fields: Sequence[Any], convert: Callable[..., Any]) -> Any:
    def on_example(values: dict[Any, Any], request: gr.Request) -> Iterator[Any]:
        place = page.session(request).folder / EXAMPLE / f"{speaker}_sentence.wav"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            audio.write(place, audio.read(clip(speaker, "sentence").path))
        given = dict(zip(fields, (str(place), parts.LISTED, f"{BUNDLED}{voice}", ""), strict=True))
        yield from convert(values | given, request, first=given)

    return on_example


def _report_on(page: Page, field: Any, shown: Any, problem: Any, work: Any) -> None:
    """Report on recordings as soon as a field has them."""

    @parts.answering(page.state, {"target": problem, "source": problem}, shown)
    def on_report(files: Any, request: gr.Request) -> dict[Any, str]:
        given = [one for one in parts.paths(files) if one.parent.name != EXAMPLE]  # nothing is to be said of those
        found = page.look(request, lambda job: work(page.state.settings, given)) if given else ""
        return {shown: found}  # an error may be there meanwhile, of the conversion

    field.change(on_report, field, [shown, problem], show_progress="hidden", **page.heavy)


_WELCOME = (
    '<div class="card muted"><strong>Say it in another voice</strong><div>1. Give a recording whose words are kept. '
    "2. Choose a voice. 3. Convert. Or press one of the examples: they take a few seconds.</div></div>"
)
