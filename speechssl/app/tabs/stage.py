"""Where a job shows: nothing yet, at work, done, or failed. One of these at a time, and always in view."""

from __future__ import annotations

import contextlib
import json
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

TOLD = 0.4  # seconds between two looks of a card that says how far a job is
GUESSED = 2.0  # seconds of work from which the time left is guessed
Updates = dict[Any, Any]


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
    """

    page: Page
    status: Any
    welcome: str
    lines: Mapping[str, Any]
    live: Any = None
    fields: Sequence[Any] = ()

    @property
    def outputs(self) -> list[Any]:
        """All components that ``follow`` updates."""
        return [*dict.fromkeys(self.lines.values()), self.status, *([self.live] if self.live else [])]

    def comes_back(self, results: Sequence[Any]) -> None:
        """Show the job and its results again in a window that is opened again."""
        self.page.again.append((self.again, [*self.fields, *self.outputs, *results, *self.page.history]))

    def begins(self, button: Any) -> None:
        """Show in the browser that a press of the button began a job; to be called before the job is bound to it."""
        blank = [""] * (len(self.outputs))
        blank[self.outputs.index(self.status)] = pictures.running("Starting")
        js = json.dumps(blank if len(blank) > 1 else blank[0])
        button.click(None, None, self.outputs, js=f"() => {js}", **parts.QUIET)

    def forgets(self, fields: Sequence[Any]) -> None:
        """Take errors away once a field changes."""
        lines = list(dict.fromkeys(self.lines.values()))
        js = f"(card) => [...Array({len(lines)}).fill(''), card.includes('failed') ? {json.dumps(self.welcome)} : card]"
        gr.on([one.change for one in fields], None, self.status, [*lines, self.status], js=js, **parts.QUIET)

    def follow(
        self, request: gr.Request, work: Callable[[Job], Iterator[Updates]], values: Updates | None = None
    ) -> Iterator[Updates]:
        """Do a job; give its updates, and cards that say how far it is; ``values`` are those of the fields."""
        session = self.page.session(request)
        yield from self.drive(session, lambda tell: self.page.state.jobs.stream(session, work, tell), values)

    def drive(
        self, session: Session, start: Callable[[Tell], Iterator[Updates]], values: Updates | None = None
    ) -> Iterator[Updates]:
        """As ``follow``, for work that has several jobs: it is called with a function for its steps."""
        given = {one: values[one] for one in self.fields} if values else {}
        shown = session.shown[self.status.elem_id] = Shown(given)
        threading.Thread(target=self._work, args=(session, shown, start), daemon=True).start()
        return shown.follow()

    def again(self, request: gr.Request) -> Iterator[Updates]:
        """Show a window that was opened again what its session had: the fields, the job while it runs, the result."""
        session = self.page.session(request)
        shown = session.shown.get(self.status.elem_id)
        if shown is None:
            yield {self.status: gr.skip()}
            return
        yield shown.given
        for updates in shown.follow():
            updates.pop(self.live, None)  # nothing plays before a person asks for it
            yield {**updates, **self.page.remembered(session)}

    def _work(self, session: Session, shown: Shown, start: Callable[[Tell], Iterator[Updates]]) -> None:
        begun, told = 0.0, -TOLD

        def tell(share: float, text: str) -> None:
            nonlocal begun, told
            now = time.monotonic()
            begun = begun or (now if share > 0 else 0.0)
            if now - told >= TOLD:
                told = now
                shown.add({self.status: pictures.running(text, share, left(share, now - begun))})

        try:
            with contextlib.closing(start(tell)) as steps:  # type: ignore[type-var]
                for one in steps:
                    shown.add(one)
        except Exception as error:
            said = in_words(error, "this job")
            text = self.page.state.sentence(said)
            place = self.lines.get(getattr(said, "field", ""))
            shown.add({
                **parts.clear(self.lines),
                **({place: pictures.problem(text)} if place else {}),
                self.status: pictures.failed(text, beside=place is not None),
            })  # fmt: skip
            if type(said) is Stopped and session.shown.get(self.status.elem_id) is shown:
                del session.shown[self.status.elem_id]  # a person who cancelled does not ask for it again
        finally:
            shown.end()


class Shown:
    """What a job shows: any number of windows follow it, also when it is over.

    Args:
        given: values of the fields that it was begun with.
    """

    def __init__(self, given: Updates) -> None:
        self.given, self._updates = given, Updates()
        self._count, self._over = 0, False
        self._changed = threading.Condition()

    def add(self, updates: Updates) -> None:
        """Show this too."""
        with self._changed:
            self._updates |= updates
            self._count += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing comes any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def follow(self) -> Iterator[Updates]:
        """All that is shown, whenever it changes, until the end."""
        count, over = 0, False
        while not over:
            with self._changed:
                self._changed.wait_for(lambda: self._count > count or self._over)  # noqa: B023  # called here alone
                changed, count, over = self._count > count, self._count, self._over
                updates = dict(self._updates)
            if changed:
                yield updates


def left(share: float, seconds: float) -> float | None:
    """Seconds that a job still takes, from those that a share of it took; None while that says too little."""
    return seconds * (1 - share) / share if seconds >= GUESSED and share >= 0.1 else None
