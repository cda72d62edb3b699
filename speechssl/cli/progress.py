"""What a command is doing, on stderr from its first second: on a terminal a line that moves, else a line every 30 s."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from speechssl.checkpoints import names

INTERVAL = 30.0  # seconds between two lines where stderr is no terminal


class Progress:
    """Seconds of audio that are done, of those there are.

    Nothing is shown before the first ``stage``.

    Args:
        title: of the command.
        show: prints a line where there is no terminal.
        enabled: whether anything is shown.
    """

    def __init__(self, title: str, show: Callable[[str], None], *, enabled: bool) -> None:
        self._title, self._show, self._enabled = title, show, enabled
        self._stage, self._total, self._done = "", 0.0, 0.0
        self._began = time.monotonic()
        self._over = threading.Event()
        self._bar: Any = None
        self._thread: threading.Thread | None = None

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        self._stage = names.visible(text)
        if not self._enabled:
            return
        if self._bar is None and self._thread is None:
            self._start()
        self._refresh()

    def expect(self, seconds: float) -> None:
        """Add seconds of audio to those that are to be done."""
        self._total += seconds
        self._refresh()

    def advance(self, seconds: float) -> None:
        """Count seconds of audio as done."""
        self._done = min(self._done + seconds, self._total)
        self._refresh()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the line off the terminal while something else is printed."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def close(self) -> None:
        """Take the line off the terminal for good."""
        self._over.set()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def line(self) -> str:
        """Title, stage, seconds of audio and seconds that have passed, as one line."""
        done = f", {self._done:.0f} of {self._total:.0f} s of audio" if self._total else ""
        return f"{self._title}: {self._stage}{done}, {time.monotonic() - self._began:.0f} s so far"

    def _start(self) -> None:
        if sys.stderr is None or not sys.stderr.isatty():
            self._thread = threading.Thread(target=self._tell, daemon=True)
            self._thread.start()
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20))
        times = (TextColumn("{task.fields[done]}"), TimeElapsedColumn())
        self._bar = Progress(
            *columns,
            *times,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=4,
        )
        self._bar.add_task(self._title, total=None, done="")
        self._bar.start()

    def _refresh(self) -> None:
        if self._bar is None:
            return
        done = f"{self._done:.0f} of {self._total:.0f} s" if self._total else ""
        (task,) = self._bar.task_ids
        description = f"{self._title}: {self._stage}"
        self._bar.update(task, description=description, total=self._total or None, completed=self._done, done=done)

    def _tell(self) -> None:
        while not self._over.wait(INTERVAL):
            self._show(self.line())
