"""The tab Voices: the library of voices, where they are heard, described, exported and deleted; and new ones stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from speechssl.app import cards, pictures
from speechssl.app.handlers import voices
from speechssl.app.markup import html
from speechssl.app.refusals import Refused
from speechssl.app.tabs import buttons, parts
from speechssl.app.tabs.parts import PROGRESS, QUIET, Page

Changed = Callable[..., dict[Any, Any]]  # updates of all lists of voices, from the user and the name to choose


def tab(page: Page) -> None:
    """Build the tab; it comes after all tabs that choose a voice, and updates their lists."""
    edit = _Edit()

    def changed(
        user: str, picked: str | None = None, chosen: dict[Any, Any] | None = None, old: str = ""
    ) -> dict[Any, Any]:
        known = {one["name"]: one for one in voices.listed(page.state.store, user)}
        name = picked if picked in known else next(iter(known), None)
        return {
            **page.shelved(user),
            **edit.filled(known, name),
            **page.listed(user, chosen, old, picked),
            edit.saved: gr.update(visible=False),
        }

    outputs = [*page.shelf, *edit.outputs, *page.voices, *page.seconds]
    _show_library(page, edit)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            _make(page, changed, outputs)
            _take_in(page, changed, outputs)
        with gr.Column(min_width=320):
            _keep(page, changed, outputs, edit)
    page.opened[page.shelf[0]] = lambda user: page.shelved(user)[page.shelf[0]]
    # none is chosen at first: fields that show nothing must not be saved for a voice
    page.opened[edit.chosen] = lambda user: gr.update(
        choices=[one["name"] for one in voices.listed(page.state.store, user)], value=None
    )


class _Edit:
    """The components that change a stored voice."""

    def __init__(self) -> None:
        self.chosen = gr.Dropdown([], label="Change a stored voice", elem_id="voices-chosen",
                                  elem_classes=parts.NAMES, render=False)  # fmt: skip
        self.problem = gr.HTML("", elem_id="voices-chosen-problem", elem_classes="maybe", render=False)
        self.facts = gr.HTML("", elem_id="voices-facts", elem_classes="maybe", render=False)
        self.description = gr.Textbox(label="Description", max_lines=3, elem_id="voices-description", render=False)
        self.tags = gr.Textbox(label="Tags", max_lines=1, elem_id="voices-tags", info="With commas between them.",
                               render=False)  # fmt: skip
        self.new = gr.Textbox(label="New name", max_lines=1, scale=3, elem_id="voices-new", render=False)
        self.saved = gr.DownloadButton("Download the voice file", visible=False, size="sm", elem_id="voices-saved",
                                       render=False)  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """All components."""
        return list(vars(self).values())

    def filled(self, known: dict[str, Any], name: str | None) -> dict[Any, Any]:
        """Updates that show the voice of this name."""
        facts = known.get(name or "")
        return {
            self.chosen: gr.update(choices=list(known), value=name),
            self.problem: "",
            self.facts: pictures.voice(facts) if facts else "",
            self.description: facts["description"] if facts else "",
            self.tags: ", ".join(facts["tags"]) if facts else "",
            self.new: "",
        }


def _show_library(page: Page, edit: _Edit) -> None:
    """Cards, which ask for what their buttons say by hidden fields: ``page.js`` writes the name of the voice there."""
    gr.Textbox(label="Search", max_lines=1, elem_id="voices-search", placeholder="Name, tag or description")
    sample = gr.HTML("", elem_id="voices-sample", elem_classes="maybe")
    problem = parts.problem("voices-problem")
    page.shelf[0].render()
    play, use, change = (gr.Textbox(visible="hidden", elem_id=f"voices-{name}") for name in ("play", "use", "edit"))

    @parts.answering(page.state, {}, problem)
    def on_play(asked: str, request: gr.Request) -> dict[Any, Any]:
        name = asked.partition("|")[0]
        path = page.run(request, lambda job: voices.sample(*page.state.shared, job, name))
        return {problem: "", sample: cards.heard(path, name)}

    @parts.answering(page.state, {}, problem)
    def on_edit(asked: str, request: gr.Request) -> dict[Any, Any]:
        known = {one["name"]: one for one in voices.listed(page.state.store, page.session(request).user)}
        return {problem: "", **edit.filled(known, asked.partition("|")[0])}

    play.change(on_play, play, [sample, problem], show_progress="hidden", **page.heavy)
    change.change(on_edit, change, [problem, *edit.outputs], **QUIET)
    if page.uses:
        *target, chosen = page.uses
        use.change(lambda asked: (parts.LISTED, asked.partition("|")[0], ""), use, target, **QUIET).then(
            *chosen, **QUIET
        )
    edit.chosen.input(on_edit, edit.chosen, [problem, *edit.outputs], **QUIET)


def _make(page: Page, changed: Changed, lists: list[Any]) -> None:
    """Store a voice."""
    name = gr.Textbox(label="Store a voice: its name", max_lines=1, elem_id="voices-name",
                      info="The name of a stored voice adds recordings to it.")  # fmt: skip
    name_problem = parts.problem("voices-name-problem")
    files = gr.File(file_count="multiple", label="Recordings of one person", height=170, elem_id="voices-files")
    with gr.Accordion("Or read something aloud now", open=False):
        spoken = parts.read_aloud("voices-microphone")
    files_problem = parts.problem("voices-files-problem")
    report = gr.HTML("", elem_id="voices-report", elem_classes="status maybe")
    consent = parts.consent_fields(page, "voices")
    told = gr.HTML("", elem_id="voices-stored", elem_classes="status maybe")
    add = gr.Button("Store the voice", variant="primary", elem_id="voices-add")
    lines = {"name": name_problem, "files": files_problem, "consent": consent.problem, "target": files_problem}
    state = page.state

    @parts.answering(state, {"target": files_problem}, report)
    def measure(given: Any, request: gr.Request) -> dict[Any, str]:
        files = parts.paths(given)
        found = pictures.report(page.look(request, lambda job: voices.report(state.settings, files))) if files else ""
        return {report: found, files_problem: ""}

    @parts.answering(state, lines, name_problem)
    def store(values: dict[Any, Any], request: gr.Request, progress: gr.Progress = PROGRESS) -> dict[Any, Any]:
        recordings = parts.paths(values[files]) + parts.paths(values[spoken])
        given = values[name], recordings, consent.read(values)
        made = page.run(request, lambda job: voices.add(*state.shared, job, *given), progress)
        text = html('<p role="status">{} is stored: {:.1f} s in all.</p>', made["name"], made["seconds"])
        # the next voice begins with empty fields, and is attested by itself
        empty = {name: "", files: None, spoken: None, consent.agreed: False}
        return {**parts.clear(lines), **changed(page.session(request).user, made["name"]), **empty, told: text}

    for field in (files, spoken):
        field.change(measure, field, [report, files_problem], show_progress="hidden", **page.heavy)
    parts.forget(add, {**lines, "told": told})
    page.draft(name, files, spoken)
    outputs = [*dict.fromkeys(lines.values()), told, name, files, spoken, consent.agreed, *lists]
    _mended(page, add.click(store, {name, files, spoken, *consent.inputs}, outputs, show_progress_on=[told],
                              **page.heavy))  # fmt: skip


def _take_in(page: Page, changed: Changed, lists: list[Any]) -> None:
    """Import a voice file."""
    with gr.Accordion("Import a voice file", open=False):
        file = gr.File(label="Voice (.safetensors)", height=170, elem_id="voices-import")
        wanted = gr.Textbox(label="Its name here", max_lines=1, elem_id="voices-import-name",
                            placeholder="the name in the file")  # fmt: skip
        problem = parts.problem("voices-import-problem")
        go = gr.Button("Import", elem_id="voices-import-go")

    @parts.answering(page.state, {}, problem)
    def take_in(given: Any, name: str, request: gr.Request) -> dict[Any, Any]:
        user = page.session(request).user
        made = page.run(request, lambda job: voices.take_in(page.state.store, user, parts.path(given), name))
        return {problem: "", wanted: "", **changed(user, made["name"])}

    _mended(page, go.click(take_in, [file, wanted], [problem, wanted, *lists], api_visibility="private"))


def _keep(page: Page, changed: Changed, lists: list[Any], edit: _Edit) -> None:
    """Describe, export, delete or rename the chosen voice."""
    edit.chosen.render()
    edit.problem.render()
    edit.facts.render()
    edit.description.render()
    edit.tags.render()
    with gr.Row():
        note = gr.Button("Save", size="sm", min_width=80, elem_id="voices-note")
        export = gr.Button("Export", size="sm", min_width=80, elem_id="voices-export")
        delete = gr.Button("Delete", size="sm", variant="stop", min_width=80, elem_id="voices-delete")
    sure = buttons.asked_first(
        delete, "Delete this voice, its recordings and its voice prints? It cannot be undone.", "Delete the voice",
        named=edit.chosen,
    )  # fmt: skip
    edit.saved.render()
    with gr.Row(equal_height=False, elem_classes="bottom"):
        edit.new.render()
        rename = gr.Button("Rename", min_width=140, scale=1, elem_id="voices-rename")
    state, problem, answering = page.state, edit.problem, parts.answering(page.state, {}, edit.problem)

    @answering
    def on_delete(values: dict[Any, Any], request: gr.Request) -> dict[Any, Any]:
        user, name = page.session(request).user, _chosen(values[edit.chosen])
        voices.remove(state.store, user, name)
        return {**changed(user, None, values, name), problem: html('<p role="status">{} is deleted.</p>', name)}

    @answering
    def on_rename(values: dict[Any, Any], request: gr.Request) -> dict[Any, Any]:
        user, name = page.session(request).user, _chosen(values[edit.chosen])
        new = voices.rename(state.store, user, name, values[edit.new])["name"]
        return changed(user, new, values, name)

    @answering
    def on_note(name: str, description: str, tags: str, request: gr.Request) -> dict[Any, Any]:
        user = page.session(request).user
        voices.note(state.store, user, _chosen(name), lambda notes: notes.described(description, voices.tags_in(tags)))
        return {**changed(user, name), problem: html('<p role="status">Saved.</p>')}

    @answering
    def on_export(name: str, request: gr.Request) -> dict[Any, Any]:
        made = voices.export(state.store, state.settings, page.session(request), _chosen(name))
        return {problem: "", edit.saved: gr.update(value=str(made), visible=True)}

    lists_shown = {edit.chosen, *page.voices, *page.seconds}
    # a list may show a voice that another window has deleted, which Gradio would not take
    deleted = sure.click(on_delete, lists_shown, lists, preprocess=False, api_visibility="private")
    renamed = rename.click(on_rename, {*lists_shown, edit.new}, lists, preprocess=False,
                           api_visibility="private")  # fmt: skip
    noted = note.click(on_note, [edit.chosen, edit.description, edit.tags], lists, api_visibility="private")
    for event in (deleted, renamed):
        _followed(page, event)
    _mended(page, noted)
    export.click(on_export, edit.chosen, [problem, edit.saved], api_visibility="private")


def _mended(page: Page, event: Any) -> None:
    """Let drop-downs that show a voice which another window has deleted show another, once the lists have changed."""
    lists = [*page.voices, *page.seconds]

    def mend(values: dict[Any, Any], request: gr.Request) -> dict[Any, Any]:
        return page.listed(page.session(request).user, values)

    event.then(mend, set(lists), lists, preprocess=False, **QUIET)


def _followed(page: Page, event: Any) -> None:
    """Let the settings of tabs, and what the browser keeps, follow a voice that was chosen there and is gone."""
    for chosen in page.chosen:
        event = event.then(*chosen, **QUIET)
    for voice in set(page.voices) & set(page.kept.values()):
        event.then(None, voice, None, js=f"(value) => {{ speechssl.keep('{voice.elem_id}', value); }}", **QUIET)


def _chosen(name: str | None) -> str:
    if not name:
        raise Refused("name", "Choose a voice.")
    return name
