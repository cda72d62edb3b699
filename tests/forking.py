"""Programs in processes of their own that start at once, forked from one that has imported torch and transformers.

Limits, signals and exit codes are those of a process. What a program imports, how much memory it takes, and how the
interpreter itself starts and ends, is tested with ``subprocess``.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any

_CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    # much as ``units.encoding.workers`` has it: there is one such server, which begins with whoever asks first
    _CONTEXT.set_forkserver_preload(["speechssl.units.encoding.records", "speechssl.units.encoding.warm"])


class Program:
    """``python -c code arguments...``.

    Args:
        code: of the program.
        arguments: ``sys.argv[1:]``.
        environment: what differs from that of the tests.
    """

    def __init__(self, code: str, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        words, whole = [str(one) for one in arguments], {**os.environ, **(environment or {})}
        pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(2)]
        self.process = _CONTEXT.Process(target=_run, args=(code, words, whole, [end for _, end in pipes]))
        self.process.start()
        for _, end in pipes:
            end.close()
        self._written = [b"", b""]
        self._readers = [
            threading.Thread(target=self._read, args=(number, pipe), daemon=True)
            for number, (pipe, _) in enumerate(pipes)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, number: int, pipe: Any) -> None:
        with pipe:
            while some := os.read(pipe.fileno(), 1 << 16):
                self._written[number] += some

    def line(self, number: int = 1, seconds: float = 250) -> str:
        """A line that it prints, counted from 1, as soon as it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(lines := self._written[0].decode().split("\n")) > number:
                return lines[number - 1]
            if self.process.exitcode is not None:
                raise EOFError(f"it ended without line {number}: {self.ended()}")
            time.sleep(0.02)
        raise TimeoutError(f"line {number} was not printed in {seconds} s")

    def kill(self) -> None:
        """End it by ``SIGKILL``."""
        self.process.kill()

    def ended(self, seconds: float = 250) -> subprocess.CompletedProcess[str]:
        """Exit code and output once it has ended; it is killed after so many seconds."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"it still runs after {seconds} s")
        for reader in self._readers:
            reader.join(seconds)
        out, err = (written.decode() for written in self._written)
        return subprocess.CompletedProcess("program", self.process.exitcode, out, err)


def giving_back() -> dict[str, str]:
    """The environment for a program whose peak memory is measured, in a process that is not forked.

    Every larger block goes back to the system at once: what glibc keeps otherwise differs by 20 MB from run to run.
    """
    return {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}


def run(
    code: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; see ``Program``."""
    return Program(code, *arguments, environment=environment).ended()


def _run(code: str, words: list[str], environment: dict[str, str], pipes: list[Any]) -> None:
    for number, pipe in enumerate(pipes, 1):
        os.dup2(pipe.fileno(), number)
    tempfile.tempdir = None  # read from the environment anew
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-c", *words]
    exec(compile(code, "-c", "exec"), {"__name__": "__main__"})
