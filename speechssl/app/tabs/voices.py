"""The tab Voices: store, look at, rename, give away, take in, delete."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.handlers import listing
from speechssl.app.state import Refused, Workshop
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import WORK
from speechssl.errors import SpeechSSLError


def tab(shop: Workshop, lists: list[Any], seconds: list[Any]) -> list[Any]:
    """Build the tab.

    Args:
        shop: what the handlers need.
        lists: all drop-downs of voices, which follow; and
        seconds: those that may be empty.
    Returns:
        The table and the drop-down, to be filled when the page is opened.
    """
    heavy = {"concurrency_id": WORK, "concurrency_limit": shop.jobs, "api_visibility": "private"}
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            name = gr.Textbox(label="Name", max_lines=1, elem_id="voices-name",
                              info="The name of a stored voice adds recordings to it.")  # fmt: skip
            name_problem = parts.problem("voices-name-problem")
            files = gr.File(file_count="multiple", label="Recordings of one person", height=170, elem_id="voices-files")
            files_problem = parts.problem("voices-files-problem")
            report = gr.HTML("", elem_id="voices-report", elem_classes="status maybe")
            leave = parts.consent_fields(shop, "voices")
            add = gr.Button("Store the voice", variant="primary", elem_id="voices-add")
            with gr.Accordion("Take in a voice file", open=False):
                file = gr.File(label="Voice (.safetensors)", height=170, elem_id="voices-import")
                file_problem = parts.problem("voices-import-problem")
                take = gr.Button("Import", elem_id="voices-import-go")
        with gr.Column(min_width=320):
            table = gr.Dataframe(headers=["voice", "seconds", "recordings", "MB", "consent of"], interactive=False,
                                 label="Stored voices", elem_id="voices-table")  # fmt: skip
            chosen = gr.Dropdown([], label="Voice", elem_id="voices-chosen")
            chosen_problem = parts.problem("voices-chosen-problem")
            with gr.Row():
                inspect = gr.Button("Show", size="sm", min_width=80, elem_id="voices-show")
                export = gr.Button("Export", size="sm", min_width=80, elem_id="voices-export")
                delete = gr.Button("Delete", size="sm", variant="stop", min_width=80, elem_id="voices-delete")
            facts = gr.HTML("", elem_id="voices-facts", elem_classes="maybe")
            saved = gr.DownloadButton("Download the voice file", visible=False, size="sm", elem_id="voices-saved")
            with gr.Row(equal_height=False, elem_classes="bottom"):
                new = gr.Textbox(label="New name", max_lines=1, scale=3, elem_id="voices-new")
                rename = gr.Button("Rename", min_width=80, scale=1, elem_id="voices-rename")
    making = {"name": name_problem, "files": files_problem, "consent": leave.problem, "target": files_problem}
    keeping = {"name": chosen_problem}
    everything = [
        *dict.fromkeys(making.values()),
        chosen_problem,
        file_problem,
        table,
        chosen,
        facts,
        saved,
        report,
        *lists,
        *seconds,
    ]

    def listed(user: str, picked: str | None = None) -> dict[Any, Any]:
        stored = [one["name"] for one in listing.voices(shop, user)]
        names = listing.names(shop, user)
        return {
            table: rows(shop, user),
            chosen: gr.update(choices=stored, value=picked if picked in stored else next(iter(stored), None)),
            **{one: gr.update(choices=names) for one in lists},
            **{one: gr.update(choices=["", *names]) for one in seconds},
            facts: "",
            saved: gr.update(visible=False),
        }

    def store(called: str, given: Any, agreed: bool, who: str, purpose: str, request: gr.Request,
              progress: gr.Progress = gr.Progress()) -> dict[Any, Any]:  # noqa: B008  # fmt: skip
        session = parts.session_of(shop, request)
        try:
            given_leave = parts.leave_of(agreed, who, purpose)
            made = listing.add_voice(
                shop, session, called, parts.paths(given), given_leave, tell=parts.teller(progress)
            )
        except SpeechSSLError as error:
            return parts.blame(making, error, shop, name_problem)
        text = f'<p role="status">{escape(made["name"])} is stored: {made["seconds"]:.1f} s in all.</p>'
        return {**dict.fromkeys(making.values(), ""), **listed(session.user, made["name"]), report: text}

    def change(work: Any, blamed: dict[str, Any]) -> Any:
        """An event that changes the library: what it does, then the lists anew."""

        def changed(*values: Any) -> dict[Any, Any]:
            *given, request = values
            session = parts.session_of(shop, request)
            try:
                picked = work(session.user, *given)
            except SpeechSSLError as error:
                return parts.blame(blamed, error, shop, chosen_problem)
            return {**dict.fromkeys(blamed.values(), ""), **listed(session.user, picked)}

        return changed

    removing = change(lambda user, called: listing.remove_voice(shop, user, called or ""), keeping)
    renaming = change(lambda user, called, to: listing.rename_voice(shop, user, called or "", to)["name"], keeping)
    taking = change(lambda user, given: listing.import_voice(shop, user, parts.path(given))["name"],
                    {"file": file_problem})  # fmt: skip

    def remove(called: str, request: gr.Request) -> dict[Any, Any]:
        return dict(removing(called, request))

    def give_name(called: str, to: str, request: gr.Request) -> dict[Any, Any]:
        return dict(renaming(called, to, request))

    def take_in(given: Any, request: gr.Request) -> dict[Any, Any]:
        return dict(taking(given, request))

    def show(called: str, request: gr.Request) -> dict[Any, Any]:
        found = {one["name"]: one for one in listing.voices(shop, parts.session_of(shop, request).user)}
        if called not in found:
            return parts.blame(keeping, Refused("name", "Choose a voice."), shop, chosen_problem)
        return {chosen_problem: "", facts: pictures.voice(found[called])}

    def give(called: str, request: gr.Request) -> dict[Any, Any]:
        session = parts.session_of(shop, request)
        try:
            made = listing.export_voice(shop, session, called or "")
        except SpeechSSLError as error:
            return parts.blame(keeping, error, shop, chosen_problem)
        return {chosen_problem: "", saved: gr.update(value=str(made), visible=True)}

    def measure(given: Any) -> dict[Any, str]:
        try:
            found = listing.report(shop, parts.paths(given)) if given else None
        except SpeechSSLError as error:
            return {report: "", files_problem: pictures.problem(listing.said(error, shop))}
        return {report: pictures.report(found) if found else "", files_problem: ""}

    light: dict[str, Any] = {"api_visibility": "private"}
    files.change(measure, files, [report, files_problem], show_progress="hidden", **heavy)
    parts.forget(add, making)
    add.click(store, [name, files, *leave.inputs], everything, show_progress_on=[report], **heavy)
    delete.click(remove, chosen, everything, **light)
    rename.click(give_name, [chosen, new], everything, **light)
    take.click(take_in, file, everything, **light)
    inspect.click(show, chosen, [chosen_problem, facts], **light)
    export.click(give, chosen, [chosen_problem, saved], **light)
    return [table, chosen]


def rows(shop: Workshop, user: str) -> list[list[Any]]:
    """The stored voices as a table."""
    return [
        [one["name"], one["seconds"], len(one["recordings"]), one["megabytes"],
         ", ".join(consent["who"] for consent in one["consents"]) or "nobody"]
        for one in listing.voices(shop, user)
    ]  # fmt: skip
