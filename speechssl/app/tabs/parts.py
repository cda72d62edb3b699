"""Pieces of a page that several tabs share: the session, the wanted voice, the consent, the options, the errors."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from speechssl.app import cards, pictures, player
from speechssl.app.handlers import targets, voices
from speechssl.app.handlers.targets import BUNDLED, Target
from speechssl.app.jobs import Job, Tell, silent
from speechssl.app.markup import kept
from speechssl.app.refusals import Refused, Stopped, in_words
from speechssl.app.sessions import Session
from speechssl.app.state import State
from speechssl.errors import SpeechSSLError
from speechssl.voices.clips import clip
from speechssl.voices.consent import LONGEST, STATEMENT, Consent, attest

Result = TypeVar("Result")
# what endpoints call the fields of the page
ARGUMENTS = {"files": ("recordings",), "source": ("recording",), "target": ("recordings",), "units": ("written",)}
LISTED, FILES, MICROPHONE = "A voice from the list", "Recordings", "Microphone"
# Aesop's fable as phoneticians record it in many languages
ALOUD = (
    "The North Wind and the Sun were disputing which was the stronger, when a traveller came along wrapped in a warm "
    "cloak. They agreed that the one who first succeeded in making the traveller take his cloak off should be "
    "considered stronger than the other. Then the North Wind blew as hard as he could, but the more he blew, the more "
    "closely did the traveller fold his cloak around him; and at last the North Wind gave up the attempt. Then the Sun "
    "shined out warmly, and immediately the traveller took off his cloak."
)
NAMES = "names"  # the class of lists of names, which no language changes
PROGRESS = gr.Progress()  # the default that an event's function needs to report its progress
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True, eq=False)
class Page:
    """A page that is being built, and what its tabs share.

    Args:
        state: everything that the handlers need.
        history: the jobs, their clock, the table and the files of the tab History; empty without that tab.
        voices: drop-downs of one voice; and
        seconds: drop-downs of a voice that may be empty. All of them follow the stored voices.
        opened: for components that are filled when a person opens the page: the value, from the user.
        kept: components whose values stay in the browser, by their ids.
        again: what shows the jobs of a window that is opened again, each with its outputs.
        shelf: the cards of the tab Voices; empty without that tab.
        presets: named settings that the browser keeps, as JSON.
        uses: components of the tab Convert that choose a voice from the list, its line, and what follows then.
        chosen: what follows once a voice is chosen, one event for each tab with options.
        drafted: groups of components whose values stay with the window.
    """

    state: State
    history: tuple[Any, ...] = ()
    voices: list[Any] = field(default_factory=list)
    seconds: list[Any] = field(default_factory=list)
    opened: dict[Any, Callable[[str], Any]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    again: list[tuple[Callable[..., Any], list[Any]]] = field(default_factory=list)
    shelf: tuple[Any, ...] = ()
    presets: Any = None
    uses: list[Any] = field(default_factory=list)
    chosen: list[Any] = field(default_factory=list)
    drafted: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def heavy(self) -> dict[str, Any]:
        """Arguments of an event that computes."""
        return {"concurrency_limit": None, "api_visibility": "private"}

    def keep(self, *components: Any) -> None:
        """Keep what a person chooses here in the browser."""
        for one in components:
            self.kept[one.elem_id] = one
            # a text can also be pasted or come from a file, which is no input to Gradio
            event = one.change if isinstance(one, gr.Textbox) else one.input
            event(None, one, None, js=f"(value) => {{ speechssl.keep('{one.elem_id}', value); }}", **QUIET)

    def draft(self, *components: Any) -> None:
        """Show what these fields hold again in a window that is loaded again."""
        self.drafted.append(components)

    def remember(self, values: dict[Any, Any], request: gr.Request) -> None:
        """Keep what these fields hold with the window."""
        self.session(request).drafts.update(values)

    def drafts(self, session: Session) -> dict[Any, Any]:
        """Return updates of the fields that hold something that is still there."""
        kept = {one: value for one, value in session.drafts.items() if value}
        return {
            one: value for one, value in kept.items() if not isinstance(one, gr.File | gr.Audio) or _are_there(value)
        }

    def session(self, request: gr.Request) -> Session:
        """Return the session of the window that asks."""
        return session_of(self.state, request)

    def run(self, request: gr.Request, work: Callable[[Job], Result], progress: Any = None) -> Result:
        """Do a job for the window that asks; its steps show on the page."""
        return self.state.jobs.run(self.session(request), work, shown(progress))

    def look(self, request: gr.Request, work: Callable[[Job], Result]) -> Result:
        """Do a job that nobody means who cancels, such as a report on recordings: it begins again then."""
        try:
            return self.run(request, work)
        except Stopped as error:
            if type(error) is not Stopped:
                raise
            return self.run(request, work)

    def remembered(self, session: Session) -> dict[Any, Any]:
        """Return updates of the tab History."""
        clock = gr.Timer(active=any(one.state == "running" for one in session.work))
        shown = (cards.jobs(session.work), clock, rows_of(session), files_of(session))
        return dict(zip(self.history, shown, strict=False))

    def shelved(self, user: str) -> dict[Any, Any]:
        """Return updates of the cards of the tab Voices."""
        found = [*voices.listed(self.state.store, user), *voices.bundled()]
        return {one: cards.library(found, converts=bool(self.uses)) for one in self.shelf}

    def listed(
        self, user: str, chosen: Mapping[Any, Any] | None = None, old: str = "", new: str | None = None
    ) -> dict[Any, Any]:
        """Return updates of all drop-downs of voices.

        Those that show a voice by ``chosen`` which is gone show ``new`` if it is ``old``, else what they did at first.
        """
        names, found = targets.names(self.state.store, user), {}
        for one in (*self.voices, *self.seconds):
            choices = ["", *names] if one in self.seconds else names
            found[one] = gr.update(choices=choices)
            if chosen is not None and chosen[one] not in choices:
                found[one]["value"] = new if new and chosen[one] == old else one.value
        return found


def _are_there(files: list[str] | str) -> bool:
    return all(Path(one).is_file() for one in ([files] if isinstance(files, str) else files))


def is_possible(component: Any, value: Any, names: Sequence[str] = ()) -> bool:
    """Whether a value that a browser kept is one of the component's; ``names`` are choices that were added since."""
    if isinstance(component, gr.Dropdown | gr.Radio):
        return value in [choice for _, choice in component.choices] or value in names
    if isinstance(component, gr.Slider):
        return type(value) in (int, float) and component.minimum <= value <= component.maximum
    if isinstance(component, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(component, gr.Number):
        return type(value) in (int, float) and math.isfinite(value)
    return isinstance(value, str) and len(value) <= component.max_length


def shown(progress: Any) -> Tell:
    """Report the steps of a job to Gradio; to nobody if there is no progress."""
    return silent if progress is None else lambda share, text: progress(min(share, 1.0), desc=text)


def session_of(state: State, request: gr.Request) -> Session:
    """Return the session of the window or client that asks."""
    return state.sessions.get(
        request.session_hash, getattr(request, "username", None) or "", request.client.host if request.client else ""
    )


def paths(files: Sequence[str] | str | None) -> tuple[Path, ...]:
    """Read the value of a component for several files."""
    if not files:
        return ()
    return tuple(Path(file) for file in ([files] if isinstance(files, str) else files))


def path(file: str | None) -> Path | None:
    """Read the value of a component for one file."""
    return Path(file) if file else None


def rows_of(session: Session) -> list[list[Any]]:
    """The history as a table, newest first."""
    rows = []
    for one in reversed(session.results):
        accepted = (one.get("similarity") or {}).get("accepted")
        passes = (
            "no decision"
            if accepted is None and one.get("similarity")
            else "–"
            if accepted is None
            else "yes"
            if accepted
            else "no"
        )
        when = one["made"][:19].replace("T", " ")
        rows.append([when, one["what"], one["label"], round(one["seconds"], 1), passes, one["path"].name])
    return rows


def files_of(session: Session) -> list[str]:
    """Recordings and receipts of this session that still exist."""
    found = [path for one in session.results for path in (str(one["path"]), f"{one['path']}.receipt.json")]
    return [path for path in found if Path(path).is_file()]


def heads_of(target: Target) -> tuple[str, str]:
    """How a verdict on this voice begins, if accepted and if not."""
    return f"Passes as {target.spoken}", f"Does not pass as {target.spoken}"


def differences(before: str, now: str) -> tuple[str, str]:
    """What tells two labels apart: the parts between commas that only one of them has."""
    sides = before.split(", "), now.split(", ")
    first, second = (", ".join(one for one in mine if one not in other) for mine, other in (sides, sides[::-1]))
    return (first or "earlier, no change", second or "now, no change") if first == second else (
        first or "as usual", second or "as usual")  # fmt: skip


# ---- fields


@dataclass(frozen=True, eq=False)
class ConsentFields:
    """The attestation: box, name, purpose, and a line for errors."""

    group: Any
    agreed: Any
    who: Any
    purpose: Any
    problem: Any

    @property
    def inputs(self) -> set[Any]:
        """The components that an event reads."""
        return {self.agreed, self.who, self.purpose}

    def read(self, values: Mapping[Any, Any]) -> Consent | None:
        """Return the attestation, if the box is ticked.

        Raises:
            Refused: the box is ticked, but a name or a purpose is missing.
        """
        if not values[self.agreed]:
            return None
        who, purpose = values[self.who], values[self.purpose]
        if not who.strip() or not purpose.strip():
            raise Refused("consent", "Give your name and what the voice is used for; both go into the receipt.")
        return attest(who, purpose)


def consent_fields(page: Page, key: str) -> ConsentFields:
    """Show the attestation, if this service needs one."""
    with gr.Group(visible=page.state.settings.consent) as group:
        agreed = gr.Checkbox(label=STATEMENT, info="Kept in the receipt of everything made with this voice.",
                             elem_id=f"{key}-agree")  # fmt: skip
        with gr.Row():
            who = gr.Textbox(label="Your name", max_lines=1, elem_id=f"{key}-who", max_length=LONGEST, min_width=200)
            purpose = gr.Textbox(label="What the voice is used for", max_lines=1, elem_id=f"{key}-purpose",
                                 max_length=LONGEST, min_width=200)  # fmt: skip
    return ConsentFields(group, agreed, who, purpose, problem(f"{key}-consent-problem"))


@dataclass(frozen=True, eq=False)
class TargetFields:
    """The wanted voice: from a list, perhaps blended, from recordings, or from the microphone."""

    kind: Any
    voice: Any
    second: Any
    share: Any
    files: Any
    microphone: Any
    problem: Any

    @property
    def inputs(self) -> set[Any]:
        """The components that an event reads."""
        return {self.kind, self.voice, self.second, self.share, self.files, self.microphone}

    def read(self, values: Mapping[Any, Any]) -> Target:
        """Return the target that a person chose."""
        kind, voice, second, share = (values[one] for one in (self.kind, self.voice, self.second, self.share))
        if kind != LISTED:
            return Target(files=paths(values[self.files if kind == FILES else self.microphone]))
        if second and second != voice and share > 0:
            return Target(voices=((voice, 1 - share), (second, share)) if share < 1 else ((second, 1.0),))
        return Target(voices=((voice, 1.0),) if voice else ())


def target_fields(page: Page, key: str, *, blend: bool = True) -> TargetFields:
    """Show the ways to choose a voice; ``blend`` offers a second one."""
    choices = targets.names(page.state.store)
    kind = gr.Radio([LISTED, FILES, MICROPHONE], value=LISTED, label="Whose voice?", elem_id=f"{key}-kind")
    with gr.Group(visible=True) as listed:
        voice = gr.Dropdown(choices, value=f"{BUNDLED}eric", label="Voice", elem_id=f"{key}-voice",
                            elem_classes=NAMES, info="Stored voices, and six that ship with speechssl.")  # fmt: skip
        sample = gr.HTML(_sample(f"{BUNDLED}eric"), elem_id=f"{key}-sample", elem_classes="maybe")
        with gr.Accordion("Blend with a second voice", open=False, visible=blend):
            second = gr.Dropdown(["", *choices], value="", label="Second voice", elem_id=f"{key}-second",
                                 elem_classes=NAMES)  # fmt: skip
            share = gr.Slider(0, 1, 0.3, step=0.05, label="Share of the second voice",
                              info="0 is the first voice alone, 1 the second.")  # fmt: skip
    files = gr.File(file_count="multiple", label="Recordings of the voice, 10 s or more",
                    visible=False, elem_id=f"{key}-files", height=170)  # fmt: skip
    with gr.Column(visible=False) as aloud:
        microphone = read_aloud(f"{key}-microphone")
    wrong = problem(f"{key}-target-problem")
    kind.change(lambda chosen: [gr.update(visible=chosen == one) for one in (LISTED, FILES, MICROPHONE)],
                kind, [listed, files, aloud], **QUIET)  # fmt: skip
    voice.change(_sample, voice, sample, **QUIET)
    page.keep(voice)
    page.voices.append(voice)
    page.seconds.append(second)
    return TargetFields(kind, voice, second, share, files, microphone, wrong)


def read_aloud(elem_id: str) -> Any:
    """The microphone, with a text to read: all sounds of English in half a minute."""
    microphone = gr.Audio(sources=["microphone"], type="filepath", label="Read this aloud", elem_id=elem_id,
                          buttons=[])  # fmt: skip
    gr.HTML(kept(ALOUD, "blockquote", class_="small", lang="en"), elem_classes="tight")
    return microphone


def _sample(voice: str | None) -> str:
    """A recording of the voice; stored voices keep none."""
    known = bool(voice) and targets.is_bundled(str(voice))
    name = targets.plain(str(voice))
    return player.sample(clip(name).path if known else None, name)


def ask_only_where_needed(page: Page, target: TargetFields, consent: ConsentFields) -> None:
    """Show the attestation for recordings, and for voices some of whose recordings were stored without one.

    It is of the recordings that are there: it goes with them.
    """

    def needed(kind: str, voice: str, second: str, request: gr.Request) -> Any:
        stored = {one["name"]: one for one in voices.listed(page.state.store, page.session(request).user)}
        lacking = any(name in stored and stored[name]["uncovered"] for name in (voice, second))
        return gr.update(visible=page.state.settings.consent and (kind != LISTED or lacking))

    consent.group.visible = False  # the page opens with a bundled voice
    for one in (target.kind, target.voice, target.second):
        one.change(needed, [target.kind, target.voice, target.second], consent.group, **QUIET)
    for gone in (target.files.clear, target.files.delete, target.microphone.clear):
        gone(None, None, consent.agreed, js="() => false", **QUIET)


def microphone_note() -> None:
    """Say, on a page that may not use the microphone, what it needs; the browser shows this only there."""
    gr.HTML('<p class="small needs-https">The microphone needs https: browsers give it to pages with https, and to '
            "pages of the same machine. Upload a recording instead.</p>", elem_classes="tight")  # fmt: skip


# ---- errors


def problem(key: str) -> Any:
    """An empty line beside a field, for its error."""
    return gr.HTML("", elem_id=key, elem_classes="maybe")


def forget(button: Any, lines: Mapping[str, Any]) -> None:
    """Clear these lines in the browser as soon as the button is pressed."""
    once = list(dict.fromkeys(lines.values()))
    button.click(None, None, once, js=f"() => Array({len(once)}).fill('')" if len(once) > 1 else "() => ''",
                 api_visibility="private", queue=False)  # fmt: skip


def clear(lines: Mapping[str, Any]) -> dict[Any, str]:
    """Return updates that empty these lines."""
    return dict.fromkeys(lines.values(), "")


def answering(state: State, lines: Mapping[str, Any], otherwise: Any) -> Callable[[Any], Any]:
    """Decorate an event: an error becomes a sentence in the line of its field.

    Args:
        state: hides folders of this machine.
        lines: the line of each field.
        otherwise: the component for errors that name no other field.
    """

    def answer(error: SpeechSSLError) -> dict[Any, str]:
        place = lines.get(getattr(error, "field", ""), otherwise)
        return {**clear(lines), otherwise: "", place: pictures.problem(state.sentence(error))}

    def decorate(work: Any) -> Any:
        @functools.wraps(work)
        def once(*values: Any) -> Any:
            try:
                return work(*values)
            except Exception as error:
                return answer(in_words(error, work.__name__))

        @functools.wraps(work)
        def often(*values: Any) -> Iterator[Any]:
            try:
                yield from work(*values)
            except Exception as error:
                yield answer(in_words(error, work.__name__))

        return often if inspect.isgeneratorfunction(work) else once

    return decorate


@contextlib.contextmanager
def told(state: State, name: str) -> Iterator[None]:
    """Turn every error of an endpoint into a sentence for its client, which begins with the name of the argument."""
    try:
        yield
    except Exception as error:
        said, known = in_words(error, name), state.endpoints[name]
        field = getattr(said, "field", "")
        if field not in known:
            field = next((one for one in ARGUMENTS.get(field, ()) if one in known), field)
        raise gr.Error(f"{field}: {state.sentence(said)}".removeprefix(": "), print_exception=False) from error
