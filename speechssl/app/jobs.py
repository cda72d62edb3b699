"""A job that can be ended: between its steps, and in the midst of a long computation."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from speechssl.app.sessions import Session, Stopped

POLL = 0.2  # seconds between looks at whether a computation is still wanted
Tell = Callable[[float, str], None]
Result = TypeVar("Result")


class Job:
    """What a handler is doing for a session: it reports steps, and is stopped when the person or the clock says so.

    Args:
        session: whose wish to stop is heard.
        tell: progress, 0 to 1, and what is being done.
        seconds: after which it is ended.
    """

    def __init__(self, session: Session, tell: Tell, seconds: float) -> None:
        self._session, self._tell, self._seconds = session, tell, seconds
        self._begun = time.monotonic()

    def __call__(self, share: float, text: str) -> None:
        """Report a step.

        Raises:
            Stopped: cancelled, or over the time.
        """
        if reason := self.reason():
            raise Stopped(reason)
        self._tell(share, text)

    def run(self, work: Callable[[], Result]) -> Result:
        """Do something long that holds no lock, and end it in its midst when it is no longer wanted.

        Raises:
            Stopped: that.
        """
        with _interruptible(self.reason):
            return work()

    def reason(self) -> str:
        """Why it must end; empty if it may go on."""
        if self._session.stopped > self._begun:
            return "cancelled; nothing was kept"
        if time.monotonic() > self._begun + self._seconds:
            return f"stopped after {self._seconds:.0f} s, the limit here; give shorter recordings"
        return ""


class _Cut(BaseException):
    """Raised from outside, so that no ``except Exception`` on the way takes it for its own."""


@contextlib.contextmanager
def _interruptible(reason: Callable[[], str]) -> Iterator[None]:
    """Raise ``Stopped`` inside once there is a reason.

    Encoders, F0 and vocoders are loops over blocks in several libraries, none of which asks whether it should go on.
    CPython can raise an exception in another thread, at its next bytecode; a single product or filter is short. It is
    sent once at most, and taken back if the work ended first.
    """
    thread, lock, done = threading.get_ident(), threading.Lock(), threading.Event()
    found: list[str] = []

    def watch() -> None:
        while not done.wait(POLL):
            if text := reason():
                with lock:
                    if not done.is_set():
                        found.append(text)
                        _send(thread, _Cut)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        try:
            yield
        finally:
            with lock:
                done.set()
                _send(thread, None)
    except _Cut:
        done.set()
        raise Stopped(found[0]) from None


def _send(thread: int, exception: type[BaseException] | None) -> None:
    """Raise in a thread; None takes back what was sent and not yet raised."""
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)
