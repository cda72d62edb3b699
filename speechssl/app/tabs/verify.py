"""The tab Verify: is this the same speaker, which of the enrolled is it, who is enrolled."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import listing, scores
from speechssl.app.state import Workshop
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import WORK
from speechssl.errors import SpeechSSLError
from speechssl.voices.clips import clip


def tab(shop: Workshop) -> Any:
    """Build the tab; returns the table of speakers, to be filled when the page is opened."""
    heavy = {"concurrency_id": WORK, "concurrency_limit": shop.jobs, "api_visibility": "private"}
    with gr.Tabs():
        with gr.Tab("Compare"):
            _compare(shop, heavy)
        with gr.Tab("Enrol and identify"):
            table = _identify(shop, heavy)
        with gr.Tab("Calibrate"):
            _calibrate(shop, heavy)
    return table


def rows(shop: Workshop, user: str) -> list[list[Any]]:
    """The enrolled speakers as a table."""
    found = listing.speakers(shop, user)
    return [[one["speaker"], one["utterances"], round(one["seconds"], 1), one["added"][:10]] for one in found]


def _compare(shop: Workshop, heavy: dict[str, Any]) -> None:
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            with gr.Row():
                same = gr.Button("Example: one speaker", size="sm")
                other = gr.Button("Example: two speakers", size="sm")
            enrolment = gr.File(file_count="multiple", label="Recordings of the speaker", height=170,
                                elem_id="verify-enrolment")  # fmt: skip
            enrolment_problem = parts.problem("verify-enrolment-problem")
            test = gr.Audio(sources=["upload", "microphone"], type="filepath", label="The recording asked about",
                            elem_id="verify-test", buttons=[])  # fmt: skip
            test_problem = parts.problem("verify-test-problem")
            go = gr.Button("Is it the same speaker?", variant="primary", elem_id="verify-go")
        with gr.Column(min_width=320):
            answer = gr.HTML(_WELCOME, elem_id="verify-answer", elem_classes="status")
            chart = gr.HTML("", elem_id="verify-chart", elem_classes="maybe")
    fields = {"enrolment": enrolment_problem, "test": test_problem}

    def on_verify(files: Any, asked: Any, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict[Any, str]:  # noqa: B008
        session = parts.session_of(shop, request)
        try:
            found = listing.verify(shop, session, parts.paths(files), parts.path(asked), tell=parts.teller(progress))
        except SpeechSSLError as error:
            return {**parts.blame(fields, error, shop, answer), chart: ""}
        same_scores, other_scores = scores.known(found.origin)
        drawn = pictures.histogram(same_scores, other_scores, found, scores.SOURCE) if same_scores else ""
        return {**dict.fromkeys(fields.values(), ""), answer: pictures.verdict(found, _HEADS), chart: drawn}

    def example(voice: str) -> Any:
        def fill() -> tuple[list[str], str]:
            return [str(clip("ada").path)], str(clip(voice, "sentence").path)

        return fill

    outputs = [enrolment_problem, test_problem, answer, chart]
    parts.forget(go, fields)
    go.click(on_verify, [enrolment, test], outputs, show_progress_on=[answer], **heavy)
    for button, voice in ((same, "ada"), (other, "eric")):
        first = button.click(example(voice), None, [enrolment, test], queue=False, api_visibility="private")
        first.then(on_verify, [enrolment, test], outputs, show_progress_on=[answer], **heavy)


def _identify(shop: Workshop, heavy: dict[str, Any]) -> Any:
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            name = gr.Textbox(label="Speaker's name", max_lines=1, elem_id="enrol-name")
            name_problem = parts.problem("enrol-name-problem")
            files = gr.File(file_count="multiple", label="Recordings of the speaker", height=170,
                            elem_id="enrol-files")  # fmt: skip
            files_problem = parts.problem("enrol-files-problem")
            with gr.Row():
                add = gr.Button("Enrol", variant="primary", elem_id="enrol-go")
                forget = gr.Button("Remove this speaker", elem_id="enrol-remove")
            table = gr.Dataframe(headers=["speaker", "recordings", "seconds", "added"], interactive=False,
                                 label="Enrolled", elem_id="enrol-table")  # fmt: skip
        with gr.Column(min_width=320):
            test = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Who is this?",
                            elem_id="identify-test", buttons=[])  # fmt: skip
            test_problem = parts.problem("identify-problem")
            go = gr.Button("Identify", variant="primary", elem_id="identify-go")
            answer = gr.HTML("", elem_id="identify-answer", elem_classes="status maybe")
    fields = {"name": name_problem, "files": files_problem, "test": test_problem}
    quiet = dict.fromkeys(fields.values(), "")

    def on_enrol(who: str, given: Any, request: gr.Request) -> dict[Any, Any]:
        session = parts.session_of(shop, request)
        try:
            found = listing.enrol(shop, session, who, parts.paths(given))
        except SpeechSSLError as error:
            return parts.blame(fields, error, shop, answer)
        text = f"{found['speaker']}: {_counted(found['new'])} enrolled"
        text += f", {_counted(found['known'])} known already." if found["known"] else "."
        return {**quiet, table: rows(shop, session.user), answer: f'<p role="status">{escape(text)}</p>'}

    def remove(who: str, request: gr.Request) -> dict[Any, Any]:
        session = parts.session_of(shop, request)
        try:
            listing.remove_speaker(shop, session.user, who.strip())
        except SpeechSSLError as error:
            return parts.blame(fields, error, shop, answer)
        gone = f'<p role="status">{escape(who.strip())} is removed.</p>'
        return {**quiet, table: rows(shop, session.user), answer: gone}

    def on_identify(asked: Any, request: gr.Request) -> dict[Any, Any]:
        try:
            found = listing.identify(shop, parts.session_of(shop, request), parts.path(asked))
        except SpeechSSLError as error:
            return parts.blame(fields, error, shop, answer)
        return {**quiet, answer: pictures.ranked(found["ranked"], found["speaker"])}

    outputs = [*fields.values(), table, answer]
    for button in (add, forget, go):
        parts.forget(button, fields)
    add.click(on_enrol, [name, files], outputs, show_progress_on=[answer], **heavy)
    forget.click(remove, name, outputs, **heavy)
    go.click(on_identify, test, outputs, show_progress_on=[answer], **heavy)
    return table


def _calibrate(shop: Workshop, heavy: dict[str, Any]) -> None:
    gr.Markdown(
        "A zip of recordings of your own, one folder a speaker (five speakers or more), fits the probability and the "
        "threshold to your microphones; every verification here uses them from then on."
    )
    archive = gr.File(label="Zip: speaker/recording", elem_id="calibrate-zip", height=170)
    wrong = parts.problem("calibrate-problem")
    go = gr.Button("Calibrate", variant="primary", elem_id="calibrate-go")
    answer = gr.HTML("", elem_id="calibrate-answer", elem_classes="status maybe")

    def on_calibrate(file: Any, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict[Any, str]:  # noqa: B008
        session = parts.session_of(shop, request)
        try:
            found = scores.calibrate(shop, session, parts.path(file), tell=parts.teller(progress))
        except SpeechSSLError as error:
            return {wrong: pictures.problem(listing.said(error, shop)), answer: ""}
        return {wrong: "", answer: pictures.calibration(found)}

    parts.forget(go, {"archive": wrong})
    go.click(on_calibrate, archive, [wrong, answer], show_progress_on=[answer], **heavy)


def _counted(number: int) -> str:
    return f"{number} recording{'' if number == 1 else 's'}"


_HEADS = ("The same speaker", "Not the same speaker")
_WELCOME = (
    '<div class="card muted"><strong>Same speaker?</strong><div>Three seconds of speech on each side, or more. The '
    "answer is a calibrated probability, and where its threshold came from.</div></div>"
)
