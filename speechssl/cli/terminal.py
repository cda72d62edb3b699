"""Output of the commands: results on stdout, progress, remarks and errors on stderr, and all of it in a log file."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from speechssl.checkpoints import names, published
from speechssl.cli.progress import Progress
from speechssl.errors import InputError

_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ")


@dataclass
class Settings:
    """How much a command prints.

    Args:
        quiet: no progress and no remarks.
        verbose: also what is loaded, and how long everything took.
        results: where results are printed; stderr while a recording is written to stdout.
        shown: what is printed in place of names of temporary files.
        log: file that everything is written to, too.
        progress: of the command that runs.
        part: counts seconds of a recording as done, while ``progress`` goes over some.
    """

    quiet: bool = False
    verbose: bool = False
    results: IO[str] | None = None
    shown: dict[str, str] = field(default_factory=dict)
    log: IO[str] | None = None
    progress: Progress = field(default_factory=lambda: Progress("", print, enabled=False))
    part: Done | None = None


settings = Settings()


class _Remarks(logging.Handler):
    """Prints what the library logs as remarks."""

    def emit(self, record: logging.LogRecord) -> None:
        remark(f"remark: {record.getMessage()}")


@contextlib.contextmanager
def working(title: str) -> Iterator[None]:
    """Set everything as it is at the beginning of a command, and take progress and log away at its end."""
    global settings
    settings = Settings()
    settings.progress = Progress(title, remark, enabled=True)
    published.shown = downloading
    logger, handler = logging.getLogger("speechssl"), _Remarks(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        settings.progress.close()
        if settings.log is not None:
            settings.log.close()
        settings = Settings()


def be_quiet() -> None:
    """No progress and no remarks from now on."""
    settings.quiet = True
    settings.progress = Progress("", print, enabled=False)


def log_to(path: Path) -> None:
    """Write everything to a file, too, after what is in it.

    Raises:
        InputError: the file cannot be written to, or holds something else than a log.
    """
    try:
        if path.exists() and path.stat().st_size:
            with path.open("rb") as file:
                if not _STAMP.match(file.read(32)):
                    raise InputError(f"--log {path} is a file that holds no log; name another, so it is not changed")
        settings.log = path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"--log {path}: {error.strerror}; name a file that can be written") from error


def remark(text: str) -> None:
    """Print a line on stderr, unless quiet; names from elsewhere cannot steer the terminal."""
    if not settings.quiet:
        error(text)


def error(text: str) -> None:
    """Print a line on stderr, quiet or not."""
    _print(harmless(text), sys.stderr)


def failed(source: object, reason: object) -> None:
    """Print why something failed; the name of the source stands there once."""
    text = " ".join(str(reason).split())
    error(f"failed: {text}" if text.startswith(str(source)) else f"failed: {source}: {text}")


def detail(text: str) -> None:
    """Print a line on stderr if --verbose is given."""
    if settings.verbose:
        error(text)


def say(text: object = "") -> None:
    """Print a line on stdout; names from elsewhere cannot steer the terminal."""
    _print(harmless(str(text)), settings.results or sys.stdout)


def row(text: str) -> None:
    """Print one line on stdout, whatever the names in it hold."""
    say(names.visible(text))


def _print(text: str, where: IO[str]) -> None:
    for name, shown in settings.shown.items():
        text = text.replace(name, shown)
    if settings.log is not None and not settings.log.closed:
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")[:19]
        with writing(settings.log):
            settings.log.write("".join(f"{stamp} {line}\n" for line in text.split("\n")))
            settings.log.flush()
    if is_open(where):
        with settings.progress.paused(), writing(where):
            print(text, file=where)


def is_open(stream: IO[str] | None) -> bool:
    """Whether it can be written to: not if it was closed before the program began, or found to be on a full disk."""
    return stream is not None and not stream.closed


def flush() -> None:
    """Write what was printed.

    Raises:
        OSError: stdout is on a full disk, or nobody reads it.
    """
    for stream in (sys.stdout, sys.stderr):
        if is_open(stream):
            with writing(stream):
                stream.flush()


@contextlib.contextmanager
def writing(stream: IO[str]) -> Iterator[None]:
    """An error has the name of the stream; what is left in it is not tried again, with a traceback, at the end."""
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            stream.close()
        # nobody can be told
        if stream is not sys.stderr:
            error.filename = getattr(stream, "name", "stdout").strip("<>")
            raise


def count(number: int, thing: str) -> str:
    """``1 sentence``, ``2 sentences``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def harmless(text: str) -> str:
    """The text without what a terminal obeys: escape sequences, right-to-left overrides, and so on."""
    return "\n".join(names.visible(line) for line in text.split("\n"))


def emit(value: Any) -> None:
    """Print JSON on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # JSON has its own way to write what cannot be seen, which keeps the value
    visible = names.is_visible(text.replace("\n", ""))
    _print(text if visible else json.dumps(value, indent=2, allow_nan=False), settings.results or sys.stdout)


def answer(facts: Any, text: object, *, json: bool) -> None:
    """Print facts as JSON, or the line that says the same to a person."""
    emit(facts) if json else say(text)


def stage(text: str) -> None:
    """Say on the terminal what is being done now; commands that take long say so first, before they import."""
    settings.progress.stage(text)


def expect(seconds: float) -> None:
    """Add seconds of audio to those that are to be done."""
    settings.progress.expect(seconds)


def advance(seconds: float) -> None:
    """Count seconds of audio as done."""
    settings.progress.advance(seconds)


@contextlib.contextmanager
def timed(text: str) -> Iterator[None]:
    """A stage that tells with --verbose how long it took."""
    stage(text)
    began = time.monotonic()
    yield
    detail(f"{text}: {time.monotonic() - began:.1f} s")


def seconds_of(path: str | Path) -> float:
    """Seconds of audio in a file as its header has them; 0 where it cannot be read, which its own job will say."""
    from speechssl import audio

    try:
        found = audio.info(path)
    except (InputError, OSError):
        return 0.0
    return float(found.seconds)


@contextlib.contextmanager
def downloading(filename: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Progress of a download, in megabytes."""
    done, of = 0, f" of {total / 1e6:.0f}" if total else ""

    def advance_by(size: int) -> None:
        nonlocal done
        done += size
        stage(f"fetching {filename}, {done / 1e6:.0f}{of} MB")

    stage(f"fetching {filename}")
    yield advance_by


class Done(Protocol):
    """Called with the name of a recording when it is done, or with how many more seconds of it are."""

    def __call__(self, name: str, seconds: float = math.inf, /) -> None: ...


@contextlib.contextmanager
def progress(title: str, files: Iterable[tuple[str, str | Path]]) -> Iterator[Done]:
    """Progress over recordings by their seconds of audio.

    Args:
        title: of what is done with them.
        files: name and path of each.
    """
    stage(title)
    left = {name: seconds_of(path) for name, path in files}
    expect(sum(left.values()))

    def done(name: str, seconds: float = math.inf) -> None:
        stage(f"{title} {Path(name).name}")
        part = min(seconds, left.get(name, 0.0))
        left[name] = left.get(name, 0.0) - part
        advance(part)

    settings.part = done
    try:
        yield done
    finally:
        settings.part = None


def part(name: str, seconds: float) -> None:
    """Count seconds of one of the recordings of ``progress`` as done, before the recording is."""
    if settings.part is not None:
        settings.part(name, seconds)


def table(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> None:
    """Print aligned columns of plain text on stdout; the last column is never wrapped."""
    rows = [tuple(names.visible(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings) - 1)]
    for row in [headings, *rows]:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        say("  ".join([*padded, row[-1]]).rstrip())
