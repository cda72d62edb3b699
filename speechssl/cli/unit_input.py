"""Units that commands are given: folders, files, or ids on the command line or standard input."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from speechssl.errors import InputError

if TYPE_CHECKING:
    from speechssl.units.codebooks.codebook import Codebook


def to_decode(units: str, book: Codebook) -> list[tuple[str, list[int], list[int] | None]]:
    """Name, units and durations of every utterance; ids on the command line or stdin (``-``) are one utterance."""
    # a row of units may be longer than the name of a file: Path.exists would complain
    if os.path.exists(units):
        records = _records(units, book)
        return [(record["id"], record["units"], record.get("durations")) for record in records]
    words = (sys.stdin.read() if units == "-" else units).replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise InputError(f"{units!r} is neither a file nor a row of units such as '12 7 7 41'")
    return [("units", [int(word) for word in words], None)]


def lengths_of(folder: str, book: Codebook) -> Any:
    """How long each unit typically lasts in a folder of units.

    Raises:
        InputError: the folder holds no durations, or is of another codebook.
    """
    from speechssl.units.decode import typical_durations

    records = _records(folder, book)
    if not all("durations" in record for record in records):
        raise InputError(f"{folder} holds no durations, as text does not; encode with --format jsonl or parquet")
    return typical_durations([(r["units"], r["durations"]) for r in records], book.num_units)


def _records(folder: str, book: Codebook) -> list[dict[str, Any]]:
    """The records of a folder or file; refused if they are of another codebook."""
    from speechssl.units.encoding import formats

    records = list(formats.read_all(folder))
    for record in records:
        if record.get("codebook", book.fingerprint) != book.fingerprint:
            raise InputError(
                f"{folder} holds units of the codebook {record['codebook']}, but {book.origin} is {book.fingerprint}; "
                "give --codebook the one they were made with"
            )
    return records
