"""Where a job shows: nothing yet, at work, done, or failed. One of these at a time, and always in view."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from speechssl.app import pictures
from speechssl.app.jobs import Job, Tell
from speechssl.app.refusals import in_words
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
    """

    page: Page
    status: Any
    welcome: str
    lines: Mapping[str, Any]
    live: Any = None

    @property
    def outputs(self) -> list[Any]:
        """All components that ``follow`` updates."""
        return [*dict.fromkeys(self.lines.values()), self.status, *([self.live] if self.live else [])]

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

    def follow(self, request: gr.Request, work: Callable[[Job], Iterator[Updates]]) -> Iterator[Updates]:
        """Do a job; give its updates, and cards that say how far it is."""
        session = self.page.session(request)
        yield from self.drive(lambda tell: self.page.state.jobs.stream(session, work, tell))

    def drive(self, start: Callable[[Tell], Iterator[Updates]]) -> Iterator[Updates]:
        """As ``follow``, for work that has several jobs: it is called with a function for its steps."""
        told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        state, gone = self.page.state, threading.Event()

        def run() -> None:
            try:
                with contextlib.closing(start(lambda share, text: told.put(("step", (share, text))))) as steps:  # type: ignore[type-var]
                    for one in steps:
                        told.put(("made", one))
                        if gone.is_set():
                            return
                told.put(("end", None))
            except BaseException as error:
                told.put(("end", error))

        threading.Thread(target=run, daemon=True).start()
        try:
            yield from self._told(told)
        except Exception as error:
            said = in_words(error, "this job")
            text = state.sentence(said)
            place = self.lines.get(getattr(said, "field", ""))
            yield {
                **parts.clear(self.lines),
                **({place: pictures.problem(text)} if place else {}),
                self.status: pictures.failed(text, beside=place is not None),
            }
        finally:
            gone.set()

    def _told(self, told: queue.SimpleQueue[tuple[str, Any]]) -> Iterator[Updates]:
        begun, shown = 0.0, -TOLD
        while True:
            kind, what = told.get()
            if kind == "made":
                yield what
            elif kind == "step":
                share, text = what
                now = time.monotonic()
                begun = begun or (now if share > 0 else 0.0)
                if now - shown >= TOLD and told.empty():
                    shown = now
                    yield {self.status: pictures.running(text, share, left(share, now - begun))}
            elif what is not None:
                raise what
            else:
                return


def left(share: float, seconds: float) -> float | None:
    """Seconds that a job still takes, from those that a share of it took; None while that says too little."""
    return seconds * (1 - share) / share if seconds >= GUESSED and share >= 0.1 else None
