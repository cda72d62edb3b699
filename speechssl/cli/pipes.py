"""Recordings and lists on standard input and output: ``-`` where one is read, ``--output -`` where one is written."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechssl.cli import terminal
from speechssl.errors import InputError

# commands whose arguments are recordings, and those that write one recording
READERS = (
    ("convert",), ("features",), ("report",), ("verify",), ("identify",), ("enrol",), ("embed",), ("voice", "add"),
    ("units", "encode"),
)  # fmt: skip
WRITERS = (("convert",), ("say",), ("units", "decode"))
OUTPUT = ("--output", "-o")


@contextlib.contextmanager
def connected(arguments: Sequence[str]) -> Iterator[list[str]]:
    """The arguments with a file in place of each ``-``, which is filled from stdin before and sent to stdout after.

    Sound on stdout is WAV; results are then printed on stderr.

    Raises:
        InputError: nothing on stdin, or a terminal that would be sent sound.
    """
    arguments = list(arguments)
    inputs, outputs = _inputs(arguments), _outputs(arguments)
    if not (inputs or outputs):
        yield arguments
        return
    with tempfile.TemporaryDirectory(prefix="speechssl-") as folder:
        if inputs:
            from speechssl.audio import lists

            heard = _filled(Path(folder) / "stdin")
            for place in inputs:
                arguments[place] = str(heard)
            terminal.settings.shown[str(heard)] = "stdin"
            lists.ELSEWHERE[heard] = Path()  # paths of a list on stdin are relative to where the command runs
        made = Path(folder) / "stdout.wav"
        if outputs:
            if sys.stdout.isatty():
                raise InputError("--output - writes sound to a terminal; send it to a file or a program")
            arguments = [_replaced(word, made) if i in outputs else word for i, word in enumerate(arguments)]
            terminal.settings.shown[str(made)] = "stdout"
            terminal.settings.results = sys.stderr
        yield arguments
        if outputs and made.exists():
            with made.open("rb") as sound, terminal.writing(sys.stdout):
                shutil.copyfileobj(sound, sys.stdout.buffer)
                sys.stdout.buffer.flush()


def _is_of(arguments: Sequence[str], commands: Sequence[tuple[str, ...]]) -> bool:
    words = tuple(word for word in arguments if not word.startswith("-"))
    return any(words[: len(command)] == command for command in commands)


def _inputs(arguments: Sequence[str]) -> list[int]:
    """Places of ``-`` that stand for a recording: not after an option that writes."""
    if not _is_of(arguments, READERS):
        return []
    return [i for i, word in enumerate(arguments) if word == "-" and arguments[i - 1] not in OUTPUT]


def _outputs(arguments: Sequence[str]) -> list[int]:
    if not _is_of(arguments, WRITERS):
        return []
    after = [i + 1 for i, word in enumerate(arguments[:-1]) if word in OUTPUT and arguments[i + 1] == "-"]
    return after + [i for i, word in enumerate(arguments) if word in ("--output=-", "-o-")]


def _replaced(word: str, made: Path) -> str:
    return str(made) if word == "-" else f"--output={made}"


def _filled(place: Path) -> Path:
    with place.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if not place.stat().st_size:
        raise InputError("nothing on stdin, although - names it; send a recording, as in: ... < talk.wav")
    return place
