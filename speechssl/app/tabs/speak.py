"""The tab Speak: text in any voice; the first sentence plays while the others are made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import conversions, speaking
from speechssl.app.handlers.recordings import FORMATS
from speechssl.app.handlers.speaking import Reading, Said
from speechssl.app.jobs import Job
from speechssl.app.player import Track, pieces, player
from speechssl.app.tabs import buttons, parts
from speechssl.app.tabs.parts import Page
from speechssl.app.tabs.stage import Stage

EXAMPLE = "Good morning. The train to the coast leaves at half past seven, and it is nearly always full on Fridays."


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            text, file = _text()
            text_problem = parts.problem("speak-text-problem")
            target = parts.target_fields(page, "speak", blend=False)
            consent = parts.consent_fields(page, "speak")
            lexicon, words = _pronunciations()
            lexicon_problem = parts.problem("speak-lexicon-problem")
            speed, interpolation, seed, form = _options()
            options_problem = parts.problem("speak-options-problem")
            go, _, stop = buttons.actions("speak", "Speak")
        with gr.Column(scale=6, min_width=320, elem_classes="stage"):
            status = gr.HTML(_WELCOME, elem_id="speak-status", elem_classes="status")
            live = gr.HTML("", elem_id="speak-live", elem_classes="unseen")
            with gr.Column(elem_classes="outcome"):
                shown = _results()
    lines = {"text": text_problem, "target": target.problem, "consent": consent.problem, "options": options_problem,
             "lexicon": lexicon_problem}  # fmt: skip
    taken = (target.kind, target.files, target.microphone)
    stage = Stage(page, status, _WELCOME, lines, live, taken, "speak")
    page.keep(text, lexicon, speed, interpolation, seed, form)

    def on_say(values: dict[Any, Any], request: gr.Request) -> Iterator[Any]:
        def work(job: Job) -> Iterator[dict[Any, Any]]:
            begun, heard = time.monotonic(), list[Path]()
            wanted, attested = target.read(values), consent.read(values)
            reading = Reading(float(values[speed]), float(values[interpolation]), int(values[seed] or 0), values[form],
                              values[lexicon])  # fmt: skip
            for one in speaking.say(*page.state.shared, job, values[text], wanted, reading, consent=attested):
                if isinstance(one, Said):
                    card = pictures.finished(_head(one, time.monotonic() - begun), one.decision, one.cast[0].spoken,
                                             one.remarks)  # fmt: skip
                    yield {status: card, live: "", **_filled(shown, one), **page.remembered(job.session)}
                else:
                    heard.append(conversions.write_piece(page.state.store, job.session, one, len(heard)))
                    yield {live: pieces(heard, one.sample_rate)}

        yield from stage.follow(request, work, values, f"“{speaking.beginning(values[text])}”")

    @parts.answering(page.state, lines, status)
    def on_file(given: str) -> dict[Any, str]:
        return {text: speaking.written(Path(given)), text_problem: ""}

    file.upload(on_file, file, [text, *stage.outputs], show_progress="hidden", api_visibility="private")

    @parts.answering(page.state, {}, lexicon_problem)
    def on_words(given: str) -> dict[Any, str]:
        return {lexicon: speaking.written(Path(given)), lexicon_problem: ""}

    words.upload(on_words, words, [lexicon, lexicon_problem], show_progress="hidden", api_visibility="private")
    inputs = {text, lexicon, *target.inputs, *consent.inputs, speed, interpolation, seed, form}
    outputs = [*stage.outputs, *shown, *page.history]
    stage.comes_back(shown)
    stage.begins(go)
    event = go.click(on_say, inputs, outputs, show_progress="hidden", trigger_mode="multiple", **page.heavy)
    stage.forgets([text, lexicon, *target.inputs, consent.agreed])
    stop.click(buttons.stopper(page), None, status, cancels=[event], **parts.QUIET)
    parts.ask_only_where_needed(page, target, consent)


def _text() -> tuple[Any, Any]:
    """The text, and the button that reads it from a file."""
    text = gr.Textbox(EXAMPLE, label="Text (English)", lines=4, max_lines=16, elem_id="speak-text",
                      max_length=speaking.MOST_CHARACTERS, info="Several voices: begin a line with the name of "
                      "one, “ada: Good morning.” Silence: [pause 0.5] is half a second. Pronunciation: "
                      "{tomato|T AH0 M AA1 T OW2}.")  # fmt: skip
    file = gr.UploadButton("Read a text file (.txt, .md) or subtitles (.srt, .vtt)", size="sm",
                           file_types=[".txt", ".md", ".srt", ".vtt"],
                           elem_id="speak-file")  # fmt: skip
    return text, file


def _pronunciations() -> tuple[Any, Any]:
    """The lexicon, and the button that reads it from a file."""
    with gr.Accordion("Pronunciations", open=False):
        lexicon = gr.Textbox(
            "", label="A word and its sounds on each line", lines=3, max_lines=12, elem_id="speak-lexicon",
            max_length=speaking.MOST_CHARACTERS, placeholder="tomato T AH0 M AA1 T OW2",
            info="ARPAbet, as the CMU dictionary has it, or phonetic letters: t ə m ˈɑ t ˌoʊ.")  # fmt: skip
        words = gr.UploadButton("Read a lexicon file (.txt)", size="sm", file_types=[".txt", ".dict"],
                                elem_id="speak-lexicon-file")  # fmt: skip
    return lexicon, words


def _options() -> tuple[Any, Any, Any, Any]:
    """Speed, share of the voice, seed and kind of file."""
    with gr.Accordion("Options", open=False):
        speed = gr.Slider(0.5, 2, 1, step=0.05, label="Speed", info="2 is twice as fast.",
                          elem_id="speak-speed")  # fmt: skip
        interpolation = gr.Slider(0, 1, 1, step=0.05, label="How much of the voice",
                                  info="1 is the voice, 0 the text model's own.",
                                  elem_id="speak-interpolation")  # fmt: skip
        seed = gr.Number(0, precision=0, label="Reading", info="Another number gives another rhythm.",
                         elem_id="speak-seed")  # fmt: skip
        form = gr.Radio(list(FORMATS), value="wav", label="Kind of file", elem_id="speak-form")
    return speed, interpolation, seed, form


def _results() -> tuple[Any, ...]:
    """The player, what can be downloaded, and the verdict."""
    shown = gr.HTML("", elem_id="speak-player")
    with gr.Row():
        save = gr.DownloadButton("Download recording", size="sm", elem_id="speak-save")
        paper = gr.DownloadButton("Download receipt", size="sm", elem_id="speak-receipt")
        titles = gr.DownloadButton("Download subtitles", size="sm", elem_id="speak-titles")
    with gr.Accordion("Details", open=False, elem_id="speak-details"):
        verdict = gr.HTML("", elem_id="speak-verdict", elem_classes="maybe")
    return shown, save, paper, titles, verdict


def _filled(shown: tuple[Any, ...], said: Said) -> dict[Any, Any]:
    verdict = pictures.verdict(said.decision, parts.heads_of(said.cast[0]))
    values = (player([Track("Result", said.path)]), str(said.path), f"{said.path}.receipt.json", str(said.subtitles))
    return dict(zip(shown, (*values, verdict), strict=True))


def _head(said: Said, seconds: float) -> str:
    whose = f"{len(said.cast)} voices" if len(said.cast) > 1 else said.cast[0].spoken_voice
    return f"{whose}, {said.facts['seconds']:.0f} s, made in {seconds:.1f} s"


_WELCOME = (
    '<div class="card muted"><strong>Text in any voice</strong><div>The first sentence plays while the others are '
    "made. The voice needs no transcript.</div></div>"
)
