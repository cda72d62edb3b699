"""Units that commands are given: folders, files, or ids on the command line or standard input."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.units.codebooks.codebook import Codebook

MANY = 50  # units among which speech has some that last


def to_decode(units: str, book: Codebook) -> list[tuple[str, list[int], list[int] | None]]:
    """Name, units and durations of every utterance.

    Ids on the command line are one utterance. Stdin (``-``) holds one a line: ids, records as JSON, or rows of the
    format text.
    """
    from speechssl.units.encoding import formats

    # a row of units may be longer than the name of a file: Path.exists would complain
    if os.path.exists(units):
        return _utterances(formats.read_all(units), units, book)
    text, given = (sys.stdin.read(), "standard input") if units == "-" else (units, repr(units))
    if text.lstrip().startswith("{"):
        return _utterances(formats.parsed(text, given), given, book)
    if units == "-" and "\t" in text:
        return _utterances(formats.parsed_text(text, given), given, book)
    # a language model writes one sample a line
    rows = [found for line in (text.splitlines() if units == "-" else [text]) if (found := _words(line))]
    if not rows or not all(word.isdecimal() for row in rows for word in row):
        raise InputError(f"{given} is neither a file nor a row of units such as '12 7 7 41'")
    names = ["units"] if len(rows) == 1 else [f"units-{n:0{len(str(len(rows)))}}" for n in range(1, len(rows) + 1)]
    return [(name, [int(word) for word in row], None) for name, row in zip(names, rows, strict=True)]


def _words(line: str) -> list[str]:
    # a language model with the tokens of `units tokenizer` writes them so
    return re.sub(r"<unit_(\d+)>|</?speech>|,", r" \1 ", line).split()


def runs_are_lost(items: Sequence[tuple[str, list[int], list[int] | None]]) -> bool:
    """Whether utterances were collapsed and do not say how long each unit lasts, as text does not."""
    followed = [one == two for _, ids, _ in items for one, two in itertools.pairwise(ids)]
    return len(followed) >= MANY and not any(followed) and all(runs is None for _, _, runs in items)


def lengths_of(folder: str, book: Codebook) -> Any:
    """How long each unit typically lasts in a folder of units.

    Raises:
        InputError: the folder holds no durations, or is of another codebook.
    """
    from speechssl.units.decode import typical_durations
    from speechssl.units.encoding import formats

    records = _of_book(formats.read_all(folder), folder, book)
    if not all("durations" in record for record in records):
        raise InputError(f"{folder} holds no durations, as text does not; encode with --format jsonl or parquet")
    return typical_durations([(r["units"], r["durations"]) for r in records], book.num_units)


def _utterances(
    records: Iterable[dict[str, Any]], given: str, book: Codebook
) -> list[tuple[str, list[int], list[int] | None]]:
    return [(r["id"], r["units"], r.get("durations")) for r in _of_book(records, given, book)]


def _of_book(records: Iterable[dict[str, Any]], given: str, book: Codebook) -> list[dict[str, Any]]:
    """Records; refused if they are of another codebook."""
    found = list(records)
    for record in found:
        if record.get("codebook", book.fingerprint) != book.fingerprint:
            raise InputError(
                f"{given} holds units of the codebook {record['codebook']}, but {book.origin} is {book.fingerprint}; "
                "give --codebook the one they were made with"
            )
    return found
