"""Jobs end when they must, are counted, and leave their threads alone."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from speechssl.app import jobs
from speechssl.app.jobs import Jobs
from speechssl.app.refusals import Busy, Overdue, Stopped
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


def test_a_hundred_jobs_of_one_client_delay_another_by_one(tmp_path: Path) -> None:
    turns, order, go = Jobs(600.0, 1, 40), [], threading.Event()
    threads: list[threading.Thread] = []

    def start(session: Session) -> None:
        def work(job: jobs.Job) -> None:
            order.append(session.turn)
            go.wait(60)

        threads.append(threading.Thread(target=turns.run, args=(session, work)))
        threads[-1].start()
        while turns.running + len(turns._line) < len(threads):
            time.sleep(0.005)

    greedy, other = Session(tmp_path, turn="greedy"), Session(tmp_path, turn="other")
    for _ in range(5):
        start(greedy)
    for _ in range(2):
        start(other)
    go.set()
    for thread in threads:
        thread.join(60)
    assert order == ["greedy", "other", "greedy", "other", "greedy", "greedy", "greedy"]


def test_the_queue_has_an_end_for_each_and_for_all(tmp_path: Path) -> None:
    turns, go = Jobs(600.0, 1, 4), threading.Event()
    clients = [Session(tmp_path, turn=str(number)) for number in range(6)]
    threads = [threading.Thread(target=turns.run, args=(one, lambda job: go.wait(60))) for one in clients[:5]]
    for number, thread in enumerate(threads):
        thread.start()
        while turns.running + len(turns._line) <= number:
            time.sleep(0.005)
    with pytest.raises(Busy, match="4 jobs of all wait"):
        turns.run(clients[5], lambda job: None)
    clients[4].leave()
    threads[4].join(60)  # its client went away
    with pytest.raises(Busy, match="1 jobs of yours wait"):
        turns.run(clients[3], lambda job: None)
    go.set()
    for thread in threads:
        thread.join(60)
    assert (turns.running, turns.done, [one.busy for one in clients]) == (0, 4, [0] * 6)


def test_what_several_jobs_share_is_not_cut_in_two() -> None:
    late, whole = Overdue("enough"), []

    def work() -> None:
        with jobs.shielded():
            time.sleep(3 * jobs.POLL)
            whole.append(True)
        while True:
            time.sleep(0.01)

    with pytest.raises(Overdue, match="enough"), jobs._interruptible(lambda: late):
        work()
    assert whole
