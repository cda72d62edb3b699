"""What a person or a program sees: progress and remarks on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from speechssl.cli.batch import Outcome


def remark(text: str) -> None:
    """A line on stderr, as it is."""
    print(text, file=sys.stderr)


def emit(value: Any) -> None:
    """JSON on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, if that is a terminal and there is more than one thing to wait for."""
    if total < 2 or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)

        def advance(name: str) -> None:
            bar.update(task, advance=1, description=f"{title} {name}")

        yield advance


def table(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...]) -> None:
    """Aligned columns on stdout, plain text, the last column unbroken."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings) - 1)]
    for row in [headings, *rows]:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*padded, row[-1]]).rstrip())


def finish(outcome: Outcome, *, json: bool, describe: Callable[[dict[str, Any]], str]) -> None:
    """Say what a run did, and leave with exit code 2 if anything failed.

    Args:
        outcome: of ``batch.run``.
        json: print it all as JSON instead of lines.
        describe: one result in a few words.
    """
    if json:
        emit({"results": outcome.results, "skipped": outcome.skipped, "failed": outcome.failed})
    else:
        for result in outcome.results:
            print(f"{result['output']}  {describe(result)}")
    for failure in outcome.failed:
        remark(f"failed: {failure['source']}: {' '.join(failure['error'].split())}")
    if outcome.skipped:
        remark(f"{len(outcome.skipped)} already done with the same settings")
    if outcome.failed:
        total = len(outcome.results) + len(outcome.skipped) + len(outcome.failed)
        remark(f"error: {len(outcome.failed)} of {total} failed; the others are done")
        raise typer.Exit(2)
