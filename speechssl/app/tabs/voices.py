"""The tab Voices: store, show, rename, export, import and delete voices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import voices
from speechssl.app.markup import html
from speechssl.app.refusals import Refused
from speechssl.app.state import Store
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import PROGRESS, Page

Changed = Callable[..., dict[Any, Any]]  # updates of all lists of voices, from the user and the name to choose


def tab(page: Page) -> None:
    """Build the tab; it comes after all tabs that choose a voice, and updates their lists."""
    table = gr.Dataframe(headers=["voice", "seconds", "recordings", "MB", "consent of"], interactive=False,
                         label="Stored voices", elem_id="voices-table", render=False)  # fmt: skip
    chosen = gr.Dropdown([], label="Voice", elem_id="voices-chosen", render=False)
    facts = gr.HTML("", elem_id="voices-facts", elem_classes="maybe", render=False)
    saved = gr.DownloadButton("Download the voice file", visible=False, size="sm", elem_id="voices-saved",
                              render=False)  # fmt: skip
    store = page.state.store

    def choices(user: str, picked: str | None = None) -> Any:
        stored = [one["name"] for one in voices.listed(store, user)]
        return gr.update(choices=stored, value=picked if picked in stored else next(iter(stored), None))

    def changed(user: str, picked: str | None = None) -> dict[Any, Any]:
        lists = {table: _rows(store, user), chosen: choices(user, picked), **page.listed(user)}
        return {**lists, facts: "", saved: gr.update(visible=False)}

    outputs = [table, chosen, facts, saved, *page.voices, *page.seconds]
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            _make(page, changed, outputs)
            _take_in(page, changed, outputs)
        with gr.Column(min_width=320):
            table.render()
            chosen.render()
            _keep(page, changed, outputs, chosen, facts, saved)
    page.opened[table] = lambda user: _rows(store, user)
    page.opened[chosen] = choices


def _make(page: Page, changed: Changed, lists: list[Any]) -> None:
    """Store a voice."""
    name = gr.Textbox(label="Name", max_lines=1, elem_id="voices-name",
                      info="The name of a stored voice adds recordings to it.")  # fmt: skip
    name_problem = parts.problem("voices-name-problem")
    files = gr.File(file_count="multiple", label="Recordings of one person", height=170, elem_id="voices-files")
    files_problem = parts.problem("voices-files-problem")
    report = gr.HTML("", elem_id="voices-report", elem_classes="status maybe")
    consent = parts.consent_fields(page, "voices")
    add = gr.Button("Store the voice", variant="primary", elem_id="voices-add")
    lines = {"name": name_problem, "files": files_problem, "consent": consent.problem, "target": files_problem}
    state = page.state

    @parts.answering(state, {"target": files_problem}, report)
    def measure(given: Any, request: gr.Request) -> dict[Any, str]:
        files = parts.paths(given)
        found = pictures.report(page.run(request, lambda job: voices.report(state.settings, files))) if files else ""
        return {report: found, files_problem: ""}

    @parts.answering(state, lines, name_problem)
    def store(values: dict[Any, Any], request: gr.Request, progress: gr.Progress = PROGRESS) -> dict[Any, Any]:
        given = values[name], parts.paths(values[files]), consent.read(values)
        made = page.run(request, lambda job: voices.add(*state.shared, job, *given), progress)
        text = html('<p role="status">{} is stored: {:.1f} s in all.</p>', made["name"], made["seconds"])
        return {**parts.clear(lines), **changed(page.session(request).user, made["name"]), report: text}

    files.change(measure, files, [report, files_problem], show_progress="hidden", **page.heavy)
    parts.forget(add, lines)
    outputs = [*dict.fromkeys(lines.values()), report, *lists]
    add.click(store, {name, files, *consent.inputs}, outputs, show_progress_on=[report], **page.heavy)


def _take_in(page: Page, changed: Changed, lists: list[Any]) -> None:
    """Import a voice file."""
    with gr.Accordion("Import a voice file", open=False):
        file = gr.File(label="Voice (.safetensors)", height=170, elem_id="voices-import")
        problem = parts.problem("voices-import-problem")
        go = gr.Button("Import", elem_id="voices-import-go")

    @parts.answering(page.state, {}, problem)
    def take_in(given: Any, request: gr.Request) -> dict[Any, Any]:
        user = page.session(request).user
        made = page.run(request, lambda job: voices.take_in(page.state.store, user, parts.path(given)))
        name = made["name"]
        return {problem: "", **changed(user, name)}

    go.click(take_in, file, [problem, *lists], api_visibility="private")


def _keep(page: Page, changed: Changed, lists: list[Any], chosen: Any, facts: Any, saved: Any) -> None:
    """Show, export, delete or rename the chosen voice."""
    problem = parts.problem("voices-chosen-problem")
    with gr.Row():
        inspect = gr.Button("Show", size="sm", min_width=80, elem_id="voices-show")
        export = gr.Button("Export", size="sm", min_width=80, elem_id="voices-export")
        delete = gr.Button("Delete", size="sm", variant="stop", min_width=80, elem_id="voices-delete")
    sure = parts.asked_first(delete, "Delete this voice, its recordings and its voice prints? It cannot be undone.",
                             "Delete the voice")  # fmt: skip
    facts.render()
    saved.render()
    with gr.Row(equal_height=False, elem_classes="bottom"):
        new = gr.Textbox(label="New name", max_lines=1, scale=3, elem_id="voices-new")
        rename = gr.Button("Rename", min_width=80, scale=1, elem_id="voices-rename")
    state, answering = page.state, parts.answering(page.state, {}, problem)

    @answering
    def on_delete(name: str, request: gr.Request) -> dict[Any, Any]:
        user = page.session(request).user
        voices.remove(state.store, user, name or "")
        return {problem: "", **changed(user)}

    @answering
    def on_rename(name: str, to: str, request: gr.Request) -> dict[Any, Any]:
        user = page.session(request).user
        return {problem: "", **changed(user, voices.rename(state.store, user, name or "", to)["name"])}

    @answering
    def on_show(name: str, request: gr.Request) -> dict[Any, Any]:
        found = {one["name"]: one for one in voices.listed(state.store, page.session(request).user)}
        if name not in found:
            raise Refused("name", "Choose a voice.")
        return {problem: "", facts: pictures.voice(found[name])}

    @answering
    def on_export(name: str, request: gr.Request) -> dict[Any, Any]:
        made = voices.export(state.store, state.settings, page.session(request), name or "")
        return {problem: "", saved: gr.update(value=str(made), visible=True)}

    sure.click(on_delete, chosen, [problem, *lists], api_visibility="private")
    rename.click(on_rename, [chosen, new], [problem, *lists], api_visibility="private")
    inspect.click(on_show, chosen, [problem, facts], api_visibility="private")
    export.click(on_export, chosen, [problem, saved], api_visibility="private")


def _rows(store: Store, user: str) -> list[list[Any]]:
    """The stored voices as a table."""
    return [
        [one["name"], one["seconds"], len(one["recordings"]), one["megabytes"],
         ", ".join([*(consent["who"] for consent in one["consents"]), *["nobody"] * bool(one["uncovered"])])]
        for one in voices.listed(store, user)
    ]  # fmt: skip
