"""Jobs end when they must, are counted, and leave their threads alone."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from speechssl.app import jobs
from speechssl.app.jobs import Jobs
from speechssl.app.refusals import Overdue, Stopped
from speechssl.app.sessions import Session


def test_cancelling_ends_what_ran_and_nothing_that_begins_later(tmp_path: Path) -> None:
    busy, session = Jobs(600.0), Session(tmp_path)
    with busy.start(session) as early:
        session.stop()
        with busy.start(session) as late:
            late(0.5, "goes on")
            with pytest.raises(Stopped, match="cancelled"):
                early(0.5, "ends, though another one has begun")
    assert (busy.running, busy.done) == (0, 2)


def test_interrupted_computations_leave_their_threads_alone() -> None:
    reasons: list[Stopped | None] = [None]
    with jobs._interruptible(lambda: reasons[0]):
        assert sum(range(1000)) == 499_500
    reasons[0] = Overdue("enough")
    with pytest.raises(Overdue, match="enough"), jobs._interruptible(lambda: reasons[0]):
        all(time.sleep(0.01) is None for _ in itertools.count())
    with pytest.raises(ZeroDivisionError), jobs._interruptible(lambda: None):
        raise ZeroDivisionError
    for _ in range(1000):
        time.sleep(0.0001)


def test_a_closing_service_takes_no_job_and_waits_for_those_it_has(tmp_path: Path) -> None:
    closing, session = Jobs(600.0), Session(tmp_path)
    with closing.start(session) as job:
        assert not closing.drain(0.1)
        job(0.5, "still running")
    assert closing.drain(0.1)
    with pytest.raises(Stopped, match="closing"), closing.start(session):
        pass


def test_a_job_ends_when_its_time_is_over(tmp_path: Path) -> None:
    with Jobs(0.0).start(Session(tmp_path)) as job:
        time.sleep(0.01)
        with pytest.raises(Overdue, match="the limit here"):
            job(0.5, "late")
