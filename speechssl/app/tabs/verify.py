"""The tab Verify: compare two speakers, enrol speakers and identify one of them, calibrate."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import scores, speakers
from speechssl.app.markup import html
from speechssl.app.tabs import buttons, parts
from speechssl.app.tabs.parts import PROGRESS, Page
from speechssl.voices.clips import clip


def tab(page: Page) -> None:
    """Build the tab."""
    with gr.Tabs():
        with gr.Tab("Compare"):
            _compare(page)
        with gr.Tab("Enrol and identify"):
            _identify(page)
        with gr.Tab("Calibrate"):
            _calibrate(page)


def _compare(page: Page) -> None:
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            with gr.Row():
                same = gr.Button("Example: one speaker", size="sm")
                other = gr.Button("Example: two speakers", size="sm")
            enrolment = gr.File(file_count="multiple", label="Recordings of the speaker", height=170,
                                elem_id="verify-enrolment")  # fmt: skip
            enrolment_problem = parts.problem("verify-enrolment-problem")
            test = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Test recording",
                            elem_id="verify-test", buttons=[])  # fmt: skip
            test_problem = parts.problem("verify-test-problem")
            go = gr.Button("Is it the same speaker?", variant="primary", elem_id="verify-go")
        with gr.Column(min_width=320):
            answer = gr.HTML(_WELCOME, elem_id="verify-answer", elem_classes="status")
            chart = gr.HTML("", elem_id="verify-chart", elem_classes="maybe")
    lines = {"enrolment": enrolment_problem, "test": test_problem}
    state = page.state

    @parts.answering(state, lines, answer)
    def on_verify(files: Any, asked: Any, request: gr.Request, progress: gr.Progress = PROGRESS) -> dict[Any, str]:
        given = parts.paths(files), parts.path(asked)
        found = page.run(request, lambda job: speakers.verify(*state.shared, job, *given), progress)
        same_scores, other_scores = scores.known(found.origin)
        drawn = pictures.histogram(same_scores, other_scores, found, scores.SOURCE) if same_scores else ""
        return {**parts.clear(lines), answer: pictures.verdict(found, _HEADS), chart: drawn}

    def example(voice: str) -> Any:
        def fill() -> tuple[list[str], str]:
            return [str(clip("cleo").path)], str(clip(voice, "sentence").path)

        return fill

    outputs = [enrolment_problem, test_problem, answer, chart]
    page.draft(enrolment, test)
    # an earlier chart goes with the earlier errors
    parts.forget(go, {**lines, "chart": chart})
    go.click(on_verify, [enrolment, test], outputs, show_progress_on=[answer], **page.heavy)
    for button, voice in ((same, "cleo"), (other, "eric")):
        first = button.click(example(voice), None, [enrolment, test], queue=False, api_visibility="private")
        first.then(on_verify, [enrolment, test], outputs, show_progress_on=[answer], **page.heavy)


def _identify(page: Page) -> None:
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
            told = gr.HTML("", elem_id="enrol-answer", elem_classes="status maybe")
            sure = buttons.asked_first(forget, "Remove this speaker with all recordings? It cannot be undone.",
                                       "Remove the speaker", named=name)  # fmt: skip
            table = gr.Dataframe(headers=["speaker", "recordings", "seconds", "added"], interactive=False,
                                 label="Enrolled", elem_id="enrol-table")  # fmt: skip
        with gr.Column(min_width=320):
            test = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Who is this?",
                            elem_id="identify-test", buttons=[])  # fmt: skip
            test_problem = parts.problem("identify-problem")
            go = gr.Button("Identify", variant="primary", elem_id="identify-go")
            answer = gr.HTML("", elem_id="identify-answer", elem_classes="status maybe")
    lines = {"name": name_problem, "files": files_problem, "test": test_problem}
    state = page.state

    def rows(user: str) -> list[list[Any]]:
        found = speakers.listed(state.store, user)
        return [[one["speaker"], one["utterances"], round(one["seconds"], 1), one["added"][:10]] for one in found]

    @parts.answering(state, lines, told)
    def on_enrol(who: str, given: Any, request: gr.Request) -> dict[Any, Any]:
        found = page.run(request, lambda job: speakers.enrol(*state.shared, job, who, parts.paths(given)))
        text = f"{found['speaker']}: {_counted(found['new'])} enrolled"
        text += f", {_counted(found['known'])} known already." if found["known"] else "."
        shown = pictures.enrolled(text, found["remarks"])
        # the next person begins with empty fields, or these recordings would become theirs too
        return {**parts.clear(lines), table: rows(page.session(request).user), told: shown, name: "", files: None}

    @parts.answering(state, lines, told)
    def on_remove(who: str, request: gr.Request) -> dict[Any, Any]:
        user = page.session(request).user
        speakers.remove(state.store, user, who.strip())
        shown = html('<p role="status">{} is removed.</p>', who.strip())
        # what was identified before may be of whoever is gone
        return {**parts.clear(lines), table: rows(user), told: shown, name: "", answer: ""}

    @parts.answering(state, lines, answer)
    def on_identify(asked: Any, request: gr.Request) -> dict[Any, Any]:
        found = page.run(request, lambda job: speakers.identify(*state.shared, job, parts.path(asked)))
        return {**parts.clear(lines), answer: pictures.ranked(found)}

    page.draft(name, files, test)
    outputs = [*lines.values(), table, told]
    for button in (add, sure):
        parts.forget(button, {**lines, "told": told})
    parts.forget(go, lines)
    add.click(on_enrol, [name, files], [*outputs, name, files], show_progress_on=[told], **page.heavy)
    sure.click(on_remove, name, [*outputs, name, answer], **page.heavy)
    table.select(_first_cell, None, name, **parts.QUIET)
    go.click(on_identify, test, [*lines.values(), answer], show_progress_on=[answer], **page.heavy)
    page.opened[table] = rows


def _calibrate(page: Page) -> None:
    gr.Markdown(
        "Give a zip of your own recordings, one folder per speaker, five speakers or more. The calibration fits the "
        "probability and the threshold to your microphones; all your verifications use it from then on."
    )
    archive = gr.File(label="Zip: speaker/recording", elem_id="calibrate-zip", height=170)
    wrong = parts.problem("calibrate-problem")
    with gr.Row():
        go = gr.Button("Calibrate", variant="primary", elem_id="calibrate-go", scale=3)
        stop = gr.Button("Cancel", variant="stop", elem_id="calibrate-cancel", elem_classes="cancel", scale=1)
        back = gr.Button("Remove my calibration", elem_id="calibrate-reset", scale=1)
    sure = buttons.asked_first(back, "Remove your own calibration? The one of the model is used again.", "Remove it")
    answer = gr.HTML("", elem_id="calibrate-answer", elem_classes="status maybe")

    @parts.answering(page.state, {"answer": answer}, wrong)
    def on_calibrate(file: Any, request: gr.Request, progress: gr.Progress = PROGRESS) -> dict[Any, str]:
        found = page.run(request, lambda job: scores.calibrate(*page.state.shared, job, parts.path(file)), progress)
        return {wrong: "", answer: pictures.calibration(found)}

    @parts.answering(page.state, {}, wrong)
    def on_reset(request: gr.Request) -> dict[Any, str]:
        name = scores.reset(page.state.models, page.state.store, page.session(request).user)
        text = html('<p role="status">The calibration on {} is removed.</p>', name)
        return {wrong: "", answer: text}

    def on_cancel(request: gr.Request) -> None:
        page.session(request).stop()

    parts.forget(sure, {"archive": wrong, "answer": answer})
    sure.click(on_reset, None, [wrong, answer], **page.heavy)
    at_work = json.dumps(["", pictures.running("Starting")])
    go.click(None, None, [wrong, answer], js=f"() => {at_work}", **parts.QUIET)
    go.click(on_calibrate, archive, [wrong, answer], show_progress_on=[answer], **page.heavy)
    stop.click(on_cancel, None, None, **parts.QUIET)


def _first_cell(event: gr.SelectData) -> str:
    return str(event.row_value[0])


def _counted(number: int) -> str:
    return f"{number} recording{'' if number == 1 else 's'}"


_HEADS = ("The same speaker", "Not the same speaker")
_WELCOME = (
    '<div class="card muted"><strong>Same speaker?</strong><div>Give three seconds of speech or more on '
    "each side. The answer is a calibrated probability, and the source of its threshold.</div></div>"
)
