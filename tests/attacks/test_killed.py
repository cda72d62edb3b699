"""A process that is killed while it writes leaves a part of a file; the next run in that folder removes it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from speechssl import checkpoints

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes are forked here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of a fork beside threads of pytest's
]


def started(work: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def writing(path: Path) -> Callable[[], None]:
    """Begin to write a file, and go on for ever."""

    def work() -> None:
        with checkpoints.atomic_path(path) as temporary:
            temporary.write_text("a beginning")
            time.sleep(600)

    return work


def parts(folder: Path) -> set[Path]:
    return set(folder.glob(".*.part"))


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    killed = started(writing(tmp_path / "out.wav"))
    while not parts(tmp_path):
        time.sleep(0.01)
    stale = parts(tmp_path)
    alive = started(writing(tmp_path / "other.wav"))
    while len(parts(tmp_path)) < 2:
        time.sleep(0.01)
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join()
    foreign = {tmp_path / name for name in (".mine.part", ".speechssl-00000000-1-aa.part", ".speechssl-x.part")}
    for path in foreign:
        path.write_text("of another program, or of another machine")
    assert stale < parts(tmp_path)

    def run() -> None:
        with checkpoints.atomic_path(tmp_path / "out.wav") as temporary:
            temporary.write_text("whole")

    try:
        after = started(run)
        after.join(60)
        assert after.exitcode == 0
        assert (tmp_path / "out.wav").read_text() == "whole"
        left = parts(tmp_path)
        assert not stale & left
        assert foreign < left
        assert len(left - foreign) == 1  # of the process that is still writing
    finally:
        alive.kill()
        alive.join()
