"""Jobs: the one way to everything that costs. They wait for their turn, and each can be ended at any moment."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from speechssl.app.refusals import Busy, Overdue, Stopped
from speechssl.app.sessions import Session

POLL = 0.2  # seconds between checks whether a computation is still wanted
SHARE = 4  # one client may take a quarter of the places where jobs wait
Tell = Callable[[float, str], None]
Result = TypeVar("Result")


_at_work = threading.local()  # the job of each thread


@contextlib.contextmanager
def downloading(filename: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show the bytes of a download as steps of the job whose thread begins it; a cancelled job ends it.

    For ``checkpoints.published.shown``.
    """
    job: Job | None = getattr(_at_work, "job", None)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if job is not None:
            of = f" of {total / 1e6:.0f}" if total else ""
            job(done / total if total else 0.05, f"downloading {filename}, {done / 1e6:.0f}{of} MB")

    yield advance


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
        self.asked = self.begun = time.monotonic()
        self.running = False

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
        """Do long work, and interrupt it once ``reason`` gives a reason.

        Raises:
            Stopped: as ``__call__``.
        """
        before, _at_work.job = getattr(_at_work, "job", None), self
        try:
            with _interruptible(self.reason):
                return work()
        finally:
            _at_work.job = before

    def each(self, steps: Iterator[Result]) -> Iterator[Result]:
        """Go through steps, each as in ``run``; a page may take each step in a thread of its own."""
        end = object()
        while (step := self.run(lambda: next(steps, end))) is not end:
            yield cast(Result, step)

    def reason(self) -> Stopped | None:
        """Return the error that the job must end with; None while it may go on."""
        if self.session.stopped > self.asked or (not self.running and self.session.left > self.asked):
            return Stopped("cancelled; nothing was kept")
        if self.running and time.monotonic() > self.begun + self._seconds:
            return Overdue(f"stopped after {self._seconds:.0f} s, the limit here; give shorter recordings")
        return None


class Jobs:
    """Start jobs in turn; start none while the service closes.

    The next job is that of the client who has the fewest running, then of the one who has waited longest since the last
    turn, so that a hundred jobs of one client delay another client by one job.

    Args:
        seconds: how long a job may take.
        parallel: jobs that run at once.
        waiting: jobs that may wait.
    """

    def __init__(self, seconds: float, parallel: int = 2, waiting: int = 40) -> None:
        self.seconds, self.parallel, self.waiting = seconds, parallel, waiting
        self.running, self.done, self.draining = 0, 0, False
        self._beside = 0
        self._changed = threading.Condition()
        self._line: list[Job] = []
        self._at_work: Counter[str] = Counter()
        self._served: dict[str, float] = {}  # when a client last had a turn

    @contextlib.contextmanager
    def start(self, session: Session, tell: Tell = silent) -> Iterator[Job]:
        """Wait for a turn, and hold a place while the block runs.

        Raises:
            Busy: too many wait, or too many of this client.
            Stopped: the service is closing, or the client went away while the job waited.
        """
        job = Job(session, tell, self.seconds)
        with self._changed:
            session.busy += 1
            try:
                self._wait(job)
            except BaseException:
                session.busy -= 1
                raise
        try:
            yield job
        finally:
            with self._changed:
                session.busy -= 1
                self.running -= 1
                self.done += 1
                self._at_work[session.turn] -= 1
                self._at_work += Counter()  # forget those who have none
                self._changed.notify_all()

    def run(self, session: Session, work: Callable[[Job], Result], tell: Tell = silent) -> Result:
        """Do work as a job: in turn, and interrupted once its time is over or nobody wants it.

        Raises:
            Stopped: as ``start``, or cancelled, or overdue.
        """
        with self.start(session, tell) as job:
            return job.run(lambda: work(job))

    def stream(
        self, session: Session, work: Callable[[Job], Iterator[Result]], tell: Tell = silent
    ) -> Iterator[Result]:
        """As ``run``, for work that gives its results one by one."""
        with self.start(session, tell) as job:
            yield from job.each(work(job))

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Start one job fewer at once, but one at least, while something else needs a core."""
        with self._changed:
            self._beside += 1
        try:
            yield
        finally:
            with self._changed:
                self._beside -= 1
                self._changed.notify_all()

    def before(self, session: Session) -> int:
        """How many jobs came before the one of this session, which waits."""
        return next((place for place, job in enumerate(self._line) if job.session is session), 0)

    def _wait(self, job: Job) -> None:
        self._check_open()
        mine = [one for one in self._line if one.session.turn == job.session.turn]
        if len(self._line) >= self.waiting or len(mine) >= max(1, self.waiting // SHARE):
            whose = "of yours" if len(self._line) < self.waiting else "of all"
            raise Busy(f"the queue is full: {len(mine if whose == 'of yours' else self._line)} jobs {whose} wait; "
                       "try again when one of them is done")  # fmt: skip
        self._line.append(job)
        try:
            told = -1
            while self.running >= max(1, self.parallel - self._beside) or self._next() is not job:
                self._check_open()
                if reason := job.reason():
                    raise reason
                before = self._line.index(job)
                if before != told:
                    told = before
                    job(0.0, f"waiting; {before} before you" if before else "waiting; you are next")
                self._changed.wait(POLL)
        finally:
            self._line.remove(job)
            self._changed.notify_all()
        job.begun, job.running = time.monotonic(), True
        self.running += 1
        self._at_work[job.session.turn] += 1
        self._served = {turn: when for turn, when in self._served.items() if self._is_known(turn)}
        self._served[job.session.turn] = job.begun

    def _next(self) -> Job:
        def turn(job: Job) -> tuple[int, float, float]:
            whose = job.session.turn
            return self._at_work[whose], self._served.get(whose, 0.0), job.asked

        return min(self._line, key=turn)

    def _is_known(self, turn: str) -> bool:
        return self._at_work[turn] > 0 or any(one.session.turn == turn for one in self._line)

    def _check_open(self) -> None:
        if self.draining:
            raise Stopped("the service is closing; try again in a minute")

    def drain(self, seconds: float) -> bool:
        """Start no more jobs and wait for those that run; return False if some did not end in time."""
        self.draining = True
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            time.sleep(0.05)
        return self.running == 0


_shielded: set[int] = set()  # threads whose work must not be cut in two
_sending = threading.Lock()


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Put interruptions off until the block ends: for imports and for what several jobs share."""
    thread = threading.get_ident()
    outermost = thread not in _shielded
    with _sending:
        _shielded.add(thread)
    try:
        yield
    finally:
        if outermost:
            with _sending:
                _shielded.discard(thread)


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
                with lock, _sending:
                    if thread in _shielded:
                        continue
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
