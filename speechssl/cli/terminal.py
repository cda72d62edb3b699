"""Output of the commands: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from speechssl.checkpoints import names


def remark(text: str) -> None:
    """Print a line on stderr; names from elsewhere cannot steer the terminal."""
    print(harmless(text), file=sys.stderr)


def say(text: object = "") -> None:
    """Print a line on stdout; names from elsewhere cannot steer the terminal."""
    print(harmless(str(text)))


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
    print(text if names.is_visible(text.replace("\n", "")) else json.dumps(value, indent=2, allow_nan=False))


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, if stderr is a terminal and there are two or more things to wait for."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda _: None
        return
    import rich.markup
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=f"{title} {rich.markup.escape(names.visible(name))}")

        yield advance


def table(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> None:
    """Print aligned columns of plain text on stdout; the last column is never wrapped."""
    rows = [tuple(names.visible(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings) - 1)]
    for row in [headings, *rows]:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*padded, row[-1]]).rstrip())
