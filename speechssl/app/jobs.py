"""Jobs: each can be ended between its steps and within a long computation; the service counts those that run."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from speechssl.app.refusals import Overdue, Stopped
from speechssl.app.sessions import Session

POLL = 0.2  # seconds between checks whether a computation is still wanted
Tell = Callable[[float, str], None]
Result = TypeVar("Result")


def silent(share: float, text: str) -> None:
    """Report progress to nobody."""


class Job:
    """One request at work: it reports its steps and ends when the person cancels or its time is over.

    Args:
        session: takes the results, and says whether the person cancelled.
        tell: called with the progress, 0 to 1, and the name of the step.
        seconds: how long the job may take.
    """

    def __init__(self, session: Session, tell: Tell, seconds: float) -> None:
        self.session, self._tell, self._seconds = session, tell, seconds
        self._begun = time.monotonic()

    def __call__(self, share: float, text: str) -> None:
        """Report a step.

        Raises:
            Stopped: cancelled.
            Overdue: the time is over.
        """
        if reason := self.reason():
            raise reason
        self._tell(share, text)

    def run(self, work: Callable[[], Result]) -> Result:
        """Do long work that holds no lock, and interrupt it once ``reason`` gives one.

        Raises:
            Stopped: as ``__call__``.
        """
        with _interruptible(self.reason):
            return work()

    def reason(self) -> Stopped | None:
        """Return the error that the job must end with; None while it may go on."""
        if self.session.stopped > self._begun:
            return Stopped("cancelled; nothing was kept")
        if time.monotonic() > self._begun + self._seconds:
            return Overdue(f"stopped after {self._seconds:.0f} s, the limit here; give shorter recordings")
        return None


class Jobs:
    """Start and count jobs; start none while the service closes.

    Args:
        seconds: how long a job may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running, self.done, self.draining = 0, 0, False
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def start(self, session: Session, tell: Tell = silent) -> Iterator[Job]:
        """Count a job while the block runs.

        Raises:
            Stopped: the service is closing.
        """
        with self._lock:
            if self.draining:
                raise Stopped("the service is closing; try again in a minute")
            self.running += 1
        try:
            yield Job(session, tell, self.seconds)
        finally:
            with self._lock:
                self.running -= 1
                self.done += 1

    def drain(self, seconds: float) -> bool:
        """Start no more jobs and wait for those that run; return False if some did not end in time."""
        self.draining = True
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            time.sleep(0.05)
        return self.running == 0


class _Cut(BaseException):
    """Raised from another thread; a ``BaseException``, so that no ``except Exception`` on the way catches it."""


@contextlib.contextmanager
def _interruptible(reason: Callable[[], Stopped | None]) -> Iterator[None]:
    """Raise the reason inside the block once there is one.

    Encoders, F0 and vocoders are loops over blocks in several libraries, and no library asks whether to go on.
    CPython can raise an exception in another thread, at its next bytecode; a single product or filter is short. The
    exception is sent once at most, and taken back if the work ended first.
    """
    thread, lock, done = threading.get_ident(), threading.Lock(), threading.Event()
    found: list[Stopped] = []

    def watch() -> None:
        while not done.wait(POLL):
            if error := reason():
                with lock:
                    if not done.is_set():
                        found.append(error)
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
        raise found[0] from None


def _send(thread: int, exception: type[BaseException] | None) -> None:
    """Raise an exception in a thread; None takes back one that was sent and not yet raised."""
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)
