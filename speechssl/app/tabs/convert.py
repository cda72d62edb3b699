"""The tab Convert: whose words, whose voice, by whose leave; hear, see and compare what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from speechssl import audio
from speechssl.app import pictures
from speechssl.app.handlers import conversions, listing
from speechssl.app.handlers.conversions import BUNDLED, FORMATS, Made, Options, Target
from speechssl.app.sessions import Session
from speechssl.app.state import Workshop
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import HEARD_AT_ONCE, WORK
from speechssl.conversion import converters
from speechssl.conversion.bundles import BUNDLES, bundle
from speechssl.errors import SpeechSSLError
from speechssl.signals import Waveform
from speechssl.voices.clips import clip

EXAMPLES = (("ada", "eric"), ("finn", "beth"), ("dan", "cleo"))
PITCHES = {"Of the target": "target", "Of the source": "source"}
TEMPOS = {"As the converter has it": "auto", **PITCHES}
HEADINGS = ["made (UTC)", "what", "how", "seconds", "passes", "file"]


def tab(shop: Workshop, history: Sequence[Any]) -> parts.TargetFields:
    """Build the tab.

    Args:
        shop: what the handlers need.
        history: table and files of the tab History, which follow.
    Returns:
        The fields of the target, whose list of voices others change.
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            gr.HTML('<p class="small">Examples, in one click:</p>', elem_classes="tight")
            with gr.Row():
                tries = [gr.Button(f"{a.title()} as {b.title()}", size="sm", min_width=90) for a, b in EXAMPLES]
            source = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Whose words? Upload or record",
                              elem_id="convert-source", buttons=[])  # fmt: skip
            source_problem = parts.problem("convert-source-problem")
            target = parts.target_fields(shop, "convert")
            report = gr.HTML("", elem_id="convert-report", elem_classes="maybe")
            leave = parts.consent_fields(shop, "convert")
            options, options_problem = options_fields(shop, "convert")
            aloud = gr.Checkbox(HEARD_AT_ONCE, label="Listen while it is made", visible=HEARD_AT_ONCE,
                                elem_id="convert-aloud", info="Recordings of half a minute and more are heard after a "
                                "second or two. Off: the whole is measured first, as on the command line.")  # fmt: skip
            with gr.Row():
                go = gr.Button("Convert", variant="primary", elem_id="convert-go", scale=3)
                stop = gr.Button("Cancel", variant="stop", elem_id="convert-cancel", scale=1, min_width=90)
        with gr.Column(scale=6, min_width=320):
            status = gr.HTML(_WELCOME, elem_id="convert-status", elem_classes="status maybe")
            live = gr.Audio(label="While it is made", streaming=True, autoplay=True, interactive=False, visible=False,
                            elem_id="convert-live", buttons=[])  # fmt: skip
            result = gr.Audio(label="Result", type="filepath", interactive=False, elem_id="convert-result",
                              visible=False, buttons=["download"])  # fmt: skip
            with gr.Row(visible=False) as downloads:
                save = gr.DownloadButton("Download recording", elem_id="convert-save", size="sm")
                paper = gr.DownloadButton("Download receipt", elem_id="convert-receipt", size="sm")
            verdict = gr.HTML("", elem_id="convert-verdict", elem_classes="maybe")
            with gr.Group(visible=False) as comparison:
                gr.HTML('<p class="small">Change an option and convert again: A is what you had, B what you get.</p>')
                with gr.Row():
                    before = gr.Audio(
                        label="A: before", type="filepath", interactive=False, elem_id="convert-a", buttons=["download"]
                    )
                    now = gr.Audio(
                        label="B: now", type="filepath", interactive=False, elem_id="convert-b", buttons=["download"]
                    )
            look = gr.HTML("", elem_id="convert-pictures", elem_classes="maybe")
            trail = gr.HTML("", elem_id="convert-timeline", elem_classes="maybe")
    last = gr.State(None)
    fields = {"source": source_problem, "target": target.problem, "consent": leave.problem,
              "options": options_problem, "model": options_problem}  # fmt: skip

    def run(*values: Any, request: gr.Request, progress: gr.Progress) -> Iterator[dict[Any, Any]]:
        spoken, rest = values[0], list(values[1:])
        chosen, rest = parts.target_of(*rest[:6]), rest[6:]
        session = parts.session_of(shop, request)
        try:
            leave_given = parts.leave_of(*rest[:3])
            wanted, aloud, earlier = options_of(*rest[3:10]), rest[10], rest[11]
            given: dict[str, Any] = {"leave": leave_given, "tell": parts.teller(progress)}
            streamed = aloud and HEARD_AT_ONCE and conversions.streamable(shop, spoken, wanted)
            if streamed:
                # a player that is not shown plays nothing
                yield {live: gr.update(visible=True, value=None), status: _LISTEN}
                for one in conversions.stream(shop, session, spoken, chosen, wanted, **given):
                    if isinstance(one, Made):
                        made = one
                    else:
                        yield {live: parts.heard(one)}
            else:
                made = conversions.convert(shop, session, spoken, chosen, wanted, **given)
        except SpeechSSLError as error:
            yield parts.blame(fields, error, shop, status)
            return
        again = earlier is not None and earlier["source"] == str(made.source)
        yield {
            **dict.fromkeys(fields.values(), ""),
            status: pictures.done(made.conversion.converter, made.conversion.reason),
            live: gr.update() if streamed else gr.update(visible=False),
            result: gr.update(value=str(made.path), visible=True, label=f"Result: {made.label}"),
            downloads: gr.update(visible=True),
            save: str(made.path),
            paper: f"{made.path}.receipt.json",
            verdict: pictures.verdict(made.decision, heads_of(chosen)),
            comparison: gr.update(visible=again),
            before: gr.update(value=earlier["path"], label=f"A: {earlier['label']}") if again else gr.update(),
            now: gr.update(value=str(made.path), label=f"B: {made.label}") if again else gr.update(),
            look: look_of(made),
            trail: pictures.timeline(made.conversion),
            last: {"path": str(made.path), "label": made.label, "source": str(made.source)},
            history[0]: rows_of(session),
            history[1]: files_of(session),
        }

    inputs = [source, *target.inputs, *leave.inputs, *options, aloud, last]
    outputs = [*dict.fromkeys(fields.values()), status, live, result, downloads, save, paper, verdict, comparison,
               before, now, look, trail, last, *history]  # fmt: skip

    # Gradio finds the request and the progress by annotation and default, and counts the parameters
    def on_convert(
        source: Any, kind: Any, voice: Any, second: Any, share: Any, files: Any, microphone: Any, agreed: Any, who: Any,
        purpose: Any, k: Any, converter: Any, interpolation: Any, pitch: Any, tempo: Any, form: Any, model: Any,
        aloud: Any, last: Any, request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        yield from run(source, kind, voice, second, share, files, microphone, agreed, who, purpose, k, converter,
                       interpolation, pitch, tempo, form, model, aloud, last, request=request,
                       progress=progress)  # fmt: skip

    heavy = {"concurrency_id": WORK, "concurrency_limit": shop.jobs, "api_visibility": "private"}
    parts.forget(go, fields)
    event = go.click(on_convert, inputs, outputs, show_progress_on=[status], trigger_mode="once", **heavy)
    events = [event]
    for (speaker, wanted), button in zip(EXAMPLES, tries, strict=True):
        first = button.click(_example(shop, speaker, wanted), None, [source, target.kind, target.voice, target.second],
                             api_visibility="private", queue=False)  # fmt: skip
        events.append(first.then(on_convert, inputs, outputs, show_progress_on=[status], **heavy))
    stop.click(stopper(shop), None, status, cancels=events, queue=False, api_visibility="private")
    for field in (target.files, target.microphone):
        field.change(_report(shop), field, [report, target.problem], show_progress="hidden", **heavy)
    target.kind.change(lambda: "", None, report, queue=False, api_visibility="private")
    parts.ask_only_where_needed(shop, target, leave)
    return target


def options_of(
    k: float, converter: str, interpolation: float, pitch: Any, tempo: Any, form: str, model: str
) -> Options:
    """Options as the page has them."""
    wanted = PITCHES.get(pitch, pitch)
    return Options(
        k=int(k) or None,
        converter=converter,
        interpolation=float(interpolation),
        pitch=wanted if wanted in ("target", "source") else parts.semitones(wanted),
        tempo=TEMPOS.get(tempo, tempo),
        form=form,
        model=model.split(" ")[0],
    )


def look_of(made: Made) -> str:
    """Spectrograms of source, result and target, side by side."""
    shown = [(made.source, "Source"), (made.path, "Result")] + ([(made.reference, "Target")] if made.reference else [])
    seconds = max(1.0, made.conversion.waveform.seconds)
    drawn = [pictures.spectrogram(_beginning(audio.read(path), seconds), title, width=210.0) for path, title in shown]
    return f'<div class="pictures">{"".join(drawn)}</div>'


def rows_of(session: Session) -> list[list[Any]]:
    """The history as a table, newest first."""
    rows = []
    for one in reversed(session.results):
        similarity = one.get("similarity") or {}
        accepted = similarity.get("accepted")
        passes = "–" if accepted is None else "yes" if accepted else "no"
        when = one["made"][:19].replace("T", " ")
        rows.append([when, one["what"], one["label"], round(one["seconds"], 1), passes, one["path"].name])
    return rows


def files_of(session: Session) -> list[str]:
    """Everything made in this session that is still there: recordings and receipts."""
    found = [path for one in session.results for path in (str(one["path"]), f"{one['path']}.receipt.json")]
    return [path for path in found if Path(path).is_file()]


def options_fields(shop: Workshop, key: str) -> tuple[list[Any], Any]:
    """Fields in the order ``options_of`` takes, and the line for what is wrong with them."""
    with gr.Accordion("Options", open=False):
        k = gr.Slider(0, 32, 0, step=1, label="k: neighbours averaged", elem_id=f"{key}-k",
                      info="More is smoother, fewer is crisper; 0: what the converter has by itself.")  # fmt: skip
        converter = gr.Dropdown(["auto", *converters.NAMES], value="auto", label="Converter",
                                info="auto chooses by the length of the reference.")  # fmt: skip
        interpolation = gr.Slider(0, 1, 1, step=0.05, label="Interpolation", elem_id=f"{key}-interpolation",
                                  info="1 is the target's voice, 0 the source's own.")  # fmt: skip
        pitch = gr.Dropdown([*PITCHES, "-4", "-2", "2", "4"], value="Of the target", label="Pitch",
                            allow_custom_value=True, elem_id=f"{key}-pitch",
                            info="The target's, the source's, or semitones up or down.")  # fmt: skip
        tempo = gr.Dropdown([*TEMPOS, "0.8", "1.25"], value=next(iter(TEMPOS)), label="Tempo",
                            allow_custom_value=True, elem_id=f"{key}-tempo",
                            info="The target's with selection, else the source's; or times as fast.")  # fmt: skip
        form = gr.Radio(list(FORMATS), value="wav", label="File", elem_id=f"{key}-form")
        models = [_described(name) for name in shop.settings.models]
        model = gr.Dropdown(models, value=models[0], label="Model", visible=len(models) > 1, elem_id=f"{key}-model",
                            info="With size and licence of what is fetched the first time.")  # fmt: skip
    # outside: nobody sees what is wrong in something that is closed
    wrong = parts.problem(f"{key}-options-problem")
    return [k, converter, interpolation, pitch, tempo, form, model], wrong


def _described(name: str) -> str:
    found = bundle(name)
    size = "in the package" if name == "tiny" else f"{found.megabytes or '?'} MB, {found.licence or 'licence unknown'}"
    return f"{name} ({size})" if name in BUNDLES else name


def _example(shop: Workshop, speaker: str, wanted: str) -> Any:
    def fill(request: gr.Request) -> tuple[str, str, str, str]:
        place = parts.session_of(shop, request).place(f"{speaker}_sentence", ".wav")
        audio.write(place, audio.read(clip(speaker, "sentence").path))
        return str(place), parts.LISTED, f"{BUNDLED}{wanted}", ""

    return fill


def stopper(shop: Workshop) -> Any:
    """What a button that cancels does."""

    def stop(request: gr.Request) -> str:
        parts.session_of(shop, request).stop()
        return pictures.problem("Cancelled; nothing was kept.")

    return stop


def _report(shop: Workshop) -> Any:
    def on_report(files: Any) -> tuple[str, str]:
        if not files:
            return "", ""
        try:
            return pictures.report(listing.report(shop, parts.paths(files))), ""
        except SpeechSSLError as error:
            return "", pictures.problem(listing.said(error, shop))

    return on_report


def _beginning(waveform: Waveform, seconds: float) -> Waveform:
    return Waveform(waveform.samples[: round(seconds * waveform.sample_rate)], waveform.sample_rate)


def heads_of(target: Target) -> tuple[str, str]:
    """What a verdict on this voice begins with."""
    name = " and ".join(name.removeprefix(BUNDLED) for name, _ in target.voices) or "the target"
    return f"Passes as {name}", f"Does not pass as {name}"


_LISTEN = (
    '<div class="card muted"><strong>Listen while it is made</strong><div>The file follows at the end.</div></div>'
)
_WELCOME = (
    '<div class="card muted"><strong>Say it in another voice</strong><div>1. A recording whose words are kept. '
    "2. A voice. 3. Convert. Or press one of the examples: they take a few seconds.</div></div>"
)
