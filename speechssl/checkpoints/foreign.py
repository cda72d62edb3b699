"""Text and JSON that somebody else may have written: one reader, with limits of size and depth."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from speechssl.errors import InputError

MOST_BYTES = 64 << 20  # of a file that is read at once; lists of a million recordings are smaller
LONGEST_LINE = 16 << 20  # bytes; the units of an hour of speech are a tenth of it
DEEPEST = 32  # lists and objects inside each other


def read_text(path: str | Path, *, most: int = MOST_BYTES) -> str:
    """The UTF-8 text of a file, with or without a byte order mark.

    Args:
        path: the file.
        most: bytes.
    Raises:
        InputError: no such file, a folder, a pipe or a device, too large, or not UTF-8.
    """
    with _opened(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(f"{path} is larger than {_size(most)}, the most that is read; check that it is the right file")
    return _decoded(data, path)


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        InputError: as ``read_text`` and ``parse_object``.
    """
    return parse_object(read_text(path), path)


def read_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """The JSON values of a file of lines, with their numbers from 1, in flat memory; empty lines are passed over.

    Raises:
        InputError: as ``read_text``; a line is too long, not UTF-8, or as ``parse``: the message has its number.
    """
    with _opened(path) as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            place = f"{path}:{number}"
            if len(line) > LONGEST_LINE:
                raise InputError(f"{place} is longer than {_size(LONGEST_LINE)}; one JSON value a line needed")
            text = _decoded(line, place).strip()
            if text:
                yield number, parse(text, place)


def parse(text: str | bytes, what: object) -> Any:
    """A JSON value, as RFC 8259 has it: whatever program reads it finds the same.

    Args:
        text: UTF-8, if bytes.
        what: begins the message of an error, e.g. the path.
    Raises:
        InputError: no JSON, NaN or infinite numbers, a key that comes twice, half a surrogate pair, or more than
            ``DEEPEST`` levels.
    """
    try:
        value = json.loads(text, parse_constant=_refused, object_pairs_hook=_without_twins)
        _check(value)
    except RecursionError:
        raise InputError(f"{what} is damaged: it is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise InputError(f"{what} is damaged: no JSON ({error})") from error
    return value


def parse_object(text: str | bytes, what: object) -> dict[str, Any]:
    """As ``parse``, but an object.

    Raises:
        InputError: as ``parse``; or a list, a text, a number.
    """
    value = parse(text, what)
    if not isinstance(value, dict):
        raise InputError(f"{what} is damaged: a JSON {type(value).__name__} where an object is needed")
    return value


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    """A file to read, with errors in words; no pipe, which would let the reader wait."""
    try:
        place = Path(path)
        if place.exists() and not place.is_file():
            raise InputError(f"{path} is a folder, a pipe or a device; a file needed")
        with place.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; check the path") from error


def _decoded(data: bytes, what: object) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice in an object")
    return found


def _check(value: Any) -> None:
    """Walk through a value level by level."""
    level = [value]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, float) and not math.isfinite(one):
                raise ValueError("a number is too large")
            elif isinstance(one, str) and not one.isascii():
                _check_text(one)
        if not below:
            return
        level = below
    raise RecursionError


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair is no text") from None


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >> 20 else f"{count} bytes"
