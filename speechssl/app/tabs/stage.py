"""Where a job shows: nothing yet, at work, done, or failed. One of these at a time, and always in view."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.jobs import Job, Tell
from speechssl.app.refusals import Stopped, in_words
from speechssl.app.sessions import Session
from speechssl.app.tabs import parts
from speechssl.app.tabs.parts import Page

TOLD = 0.4  # seconds between two looks of a card that says how far a step is
GUESSED = 2.0  # seconds of work from which the time left is guessed
MOST_WORK, MOST_STEPS = 20, 50  # jobs of a session, and steps of a job, that are listed
GONE = "this job is not at work any more; begin it again"
Updates = dict[Any, Any]
_BEGINS = threading.Lock()


@dataclass(frozen=True, eq=False)
class Stage:
    """The card of a job, and the lines beside the fields for its errors.

    Args:
        page: that has it.
        status: shows the card.
        welcome: the card of the empty stage.
        lines: the line of each field.
        live: for pieces that play while the rest is made; None without.
        fields: with recordings, which a window that is opened again shows again.
        name: of the tab, for the list of jobs.
        cancelled: the head of the card of a job that was cancelled.
    """

    page: Page
    status: Any
    welcome: str
    lines: Mapping[str, Any]
    live: Any = None
    fields: Sequence[Any] = ()
    name: str = ""
    cancelled: str = "Nothing was made"

    @property
    def outputs(self) -> list[Any]:
        """All components that ``follow`` updates."""
        return [*dict.fromkeys(self.lines.values()), self.status, *([self.live] if self.live else [])]

    def comes_back(self, results: Sequence[Any]) -> None:
        """Show the job again in a window that is opened again, and do it again where the list of jobs asks for it."""
        outputs = [*self.fields, *self.outputs, *results, *self.page.history]
        self.page.again.append((self.again, outputs))
        # the list writes the number of the job there
        asked = gr.Textbox(visible="hidden", elem_id=f"{self.status.elem_id}-retry")
        asked.change(self.retry, asked, outputs, show_progress="hidden", **self.page.heavy)

    def begins(self, button: Any) -> None:
        """Show in the browser that a press of the button began a job; to be called before the job is bound to it."""
        blank = [""] * (len(self.outputs))
        blank[self.outputs.index(self.status)] = pictures.running("Starting")
        js = json.dumps(blank if len(blank) > 1 else blank[0])
        button.click(None, None, self.outputs, js=f"() => {js}", **parts.QUIET)

    def forgets(self, fields: Sequence[Any]) -> None:
        """Take errors away once a person changes a field."""
        lines = list(dict.fromkeys(self.lines.values()))
        js = f"(card) => [...Array({len(lines)}).fill(''), card.includes('failed') ? {json.dumps(self.welcome)} : card]"
        touched = [event for one in fields for event in _touched(one)]
        gr.on(touched, None, self.status, [*lines, self.status], js=js, **parts.QUIET)

    def follow(
        self,
        request: gr.Request,
        work: Callable[[Job], Iterator[Updates]],
        values: Updates,
        what: str,
        first: Updates | None = None,
    ) -> Iterator[Updates]:
        """Do a job; give its updates, and cards that say how far it is.

        Args:
            request: of the window.
            work: gives updates.
            values: of the fields.
            what: is done, for the list of jobs.
            first: shown as soon as it begins.
        """
        session = self.page.session(request)

        def start(tell: Tell) -> Iterator[Updates]:
            return self.page.state.jobs.stream(session, work, tell)

        yield from self.drive(request, start, values, what, first)

    def drive(
        self,
        request: gr.Request,
        start: Callable[[Tell], Iterator[Updates]],
        values: Updates,
        what: str,
        first: Updates | None = None,
    ) -> Iterator[Updates]:
        """As ``follow``, for work that has several jobs: it is called with a function for its steps."""
        return self._begin(request, Shown(values, self.fields, what, self.name, start), first)

    def retry(self, asked: str, request: gr.Request) -> Iterator[Updates]:
        """Do a job of the list again, with the same values; without a number show what is at work."""
        session = self.page.session(request)
        number = asked.partition("|")[0]
        if not number and (at_work := session.shown.get(self.status.elem_id)):
            yield from at_work.follow(but=self.live)
            return
        found = next((one for one in session.work if str(one.number) == number and one.tab == self.name), None)
        if found is None:
            # a card stands still whose last answer, or whose service, is gone
            yield {self.status: pictures.failed(GONE, beside=False)}
            return
        yield {**found.given, **dict.fromkeys(self.outputs, ""), self.status: pictures.running("Starting")}
        yield from self._begin(request, Shown(found.values, self.fields, found.what, self.name, found.start))

    def _begin(self, request: gr.Request, shown: Shown, first: Updates | None = None) -> Iterator[Updates]:
        """Begin a job, unless the same one is at work: a button may be pressed twice.

        The job that was shown before goes on, for the list of jobs alone.
        """
        session, shown.opening = self.page.session(request), str(request.session_hash)
        with _BEGINS:
            before = session.shown.get(self.status.elem_id)
            if before is not None and before.same_work(shown) and session.stopped < before.begun:
                return before.follow(but=self.live)
            session.shown[self.status.elem_id] = shown
            session.work = [*session.work, shown][-MOST_WORK:]
        if before is not None:
            before.leave()
        # the last words of the job before may come after the button cleared them
        shown.add({**(first or {}), **parts.clear(self.lines), **self.page.remembered(session)})
        threading.Thread(target=self._work, args=(session, shown), daemon=True).start()
        return shown.follow()

    def again(self, request: gr.Request) -> Iterator[Updates]:
        """Show a window that was opened again what its session had: the fields, the job while it runs, the result."""
        session = self.page.session(request)
        shown = session.shown.get(self.status.elem_id)
        if shown is None or shown.opening == str(request.session_hash):
            # nothing, or a button was pressed before the page was filled: its own answers are on their way
            yield {self.status: gr.skip()}
            return
        yield shown.given
        for updates in shown.follow(but=self.live):  # nothing plays before a person asks for it
            yield {**updates, **self.page.remembered(session)}

    def _work(self, session: Session, shown: Shown) -> None:
        begun, told = 0.0, -TOLD

        def tell(share: float, text: str) -> None:
            nonlocal begun, told
            now = time.monotonic()
            begun = begun or (now if share > 0 else 0.0)
            if shown.step(text, share, left(share, now - begun)) or now - told >= TOLD:
                told = now
                shown.add({self.status: pictures.running(text, share, left(share, now - begun))})

        try:
            with contextlib.closing(shown.start(tell)) as steps:  # type: ignore[type-var]
                for one in steps:
                    shown.add(one)
            shown.end("done")
        except Exception as error:
            said = in_words(error, "this job")
            text = self.page.state.sentence(said)
            place = self.lines.get(getattr(said, "field", ""))
            head = {"head": self.cancelled} if type(said) is Stopped else {}
            shown.end("cancelled" if type(said) is Stopped else "failed", text)
            shown.add({
                **parts.clear(self.lines),
                **({place: pictures.problem(text)} if place else {}),
                self.status: pictures.failed(text, beside=place is not None, **head),
            })  # fmt: skip
            if type(said) is Stopped and session.shown.get(self.status.elem_id) is shown:
                del session.shown[self.status.elem_id]  # a person who cancelled does not ask for it again
        finally:
            shown.close()


class Shown:
    """What a job shows: any number of windows follow it, also when it is over.

    Args:
        values: of the fields that it was begun with.
        again: those of them that a window that is opened again shows.
        what: is done.
        tab: that shows it.
        start: does it, called with a function for its steps.

    Attributes:
        opening: of a page that it was begun in; each load of a window is one.
        number: of the job, among all.
        state: ``running`` (or waiting for its turn), ``done``, ``failed`` or ``cancelled``.
        share: that is done, 0 to 1.
        left: seconds that it still takes, if they are known.
        steps: seconds since it was begun, and the step that began then.
        seconds: that it took, once it is over.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        values: Updates,
        again: Sequence[Any] = (),
        what: str = "",
        tab: str = "",
        start: Callable[[Tell], Iterator[Updates]] | None = None,
    ) -> None:
        self.values, self.given = values, {one: values[one] for one in again}
        self.what, self.tab, self._start = what, tab, start
        self.opening = ""
        self.number, self.state, self.share, self.left = next(self._numbers), "running", 0.0, float("nan")
        self.steps: list[tuple[float, str]] = []
        self.begun, self.seconds = time.monotonic(), 0.0
        self._updates: dict[Any, tuple[int, Any]] = {}  # what is shown, and with which change it came
        self._count, self._over, self._left = 0, False, False
        self._changed = threading.Condition()

    def add(self, updates: Updates) -> None:
        """Show this too."""
        with self._changed:
            self._count += 1
            self._updates |= {one: (self._count, value) for one, value in updates.items()}
            self._changed.notify_all()

    def start(self, tell: Tell) -> Iterator[Updates]:
        """Do it."""
        assert self._start is not None
        return self._start(tell)

    def step(self, text: str, share: float, left: float | None) -> bool:
        """It has come to this step; returns whether that is another than the one before."""
        self.share, self.left = share, float("nan") if left is None else left
        # "12 of 340 MB" and the like is one step, not hundreds
        another = not self.steps or _stripped(self.steps[-1][1]) != _stripped(text)
        if another:
            self.steps.append((time.monotonic() - self.begun, text))
            del self.steps[1:-MOST_STEPS]
        else:
            self.steps[-1] = (self.steps[-1][0], text)
        return another

    def end(self, state: str, text: str = "") -> None:
        """It is over, because of this."""
        self.state, self.seconds = state, time.monotonic() - self.begun
        self.steps.append((self.seconds, text or state))

    def close(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def same_work(self, other: Shown) -> bool:
        """Whether it is at work on what the other asks for."""
        return self.state == "running" and (self.what, self.tab, self.values) == (other.what, other.tab, other.values)

    def leave(self) -> None:
        """Another job is shown in its place."""
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def follow(self, but: Any = None) -> Iterator[Updates]:
        """All that is shown, but for one component, then what changes, until the end or until it is left."""
        count, over = 0, False
        while not over:
            with self._changed:
                self._changed.wait_for(lambda: self._count > count or self._over or self._left)  # noqa: B023
                new = {one: value for one, (at, value) in self._updates.items() if at > count and one is not but}
                gone, count, over = self._left, self._count, self._over or self._left
            if new and not gone:
                yield new


def _touched(field: Any) -> list[Any]:
    """The events of a person who changes a field.

    Its event ``change`` also tells of what an example or the job itself has set, late on a busy machine: after the
    error of that job.
    """
    if isinstance(field, gr.Audio):
        return [field.upload, field.clear, field.stop_recording]
    if isinstance(field, gr.File):
        return [field.upload, field.clear, field.delete]
    if isinstance(field, gr.UploadButton):
        return [field.upload]
    return [field.change if isinstance(field, gr.Textbox) else field.input]  # a text can also come from a file


def _stripped(text: str) -> str:
    return re.sub(r"\d+", "", text)


def left(share: float, seconds: float) -> float | None:
    """Seconds that a job still takes, from those that a share of it took; None while that says too little."""
    return seconds * (1 - share) / share if seconds >= GUESSED and share >= 0.1 else None
