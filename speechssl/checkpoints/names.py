"""One rule for the names of voices, people and units, and for every text that comes from a file of somebody else.

A name is what a person reads: printable, in Unicode's NFC form, without control, bidirectional or zero-width
characters, of 1 to 64 characters. Letters that merely look alike are not told apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from speechssl.errors import InputError

LONGEST = 64  # characters
# printable to Python, though nothing is seen: joiners, fillers, an empty Braille cell, variation selectors
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_CELL = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula


def checked(name: object, what: str) -> str:
    """A name that can be kept.

    Args:
        name: as it was given; spaces around it are cut off, and letters are composed to NFC.
        what: is named, e.g. ``"a voice"``.
    Raises:
        InputError: no text, empty, too long, ``.`` or ``..``, or with characters that nobody sees.
    """
    if isinstance(name, str):
        if not name.strip():
            raise InputError(f"no name; give {what} a name")
        plain = unicodedata.normalize("NFC", name.strip())
        if is_visible(plain) and 1 <= len(plain) <= LONGEST and plain not in (".", ".."):
            return plain
    raise InputError(
        f"{quoted(name)} cannot name {what}; 1 to {LONGEST} printable characters needed, without control, "
        "bidirectional or zero-width characters"
    )


def is_visible(text: str) -> bool:
    """Whether every character is printable and can be seen."""
    return text.isprintable() and not _INVISIBLE.search(text)


def visible(text: str) -> str:
    """The text with U+FFFD for each character that is not printable, so that a terminal obeys none of them."""
    return _INVISIBLE.sub("\ufffd", "".join(one if one.isprintable() else "\ufffd" for one in text))


def quoted(value: object, most: int = 100) -> str:
    """A value of somebody else as an error shows it, with escapes for what nobody sees."""
    text = repr(value)
    return (ascii(value) if _INVISIBLE.search(text) else text)[:most]


def has_letters(text: str) -> bool:
    """Whether there is a letter, of any script, among what can be seen."""
    return any(one.isalpha() for one in _INVISIBLE.sub("", text))


def cell(value: Any) -> Any:
    """A value for a spreadsheet: a text that would be a formula begins with an apostrophe and stays a text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_CELL) else value


def some(texts: Sequence[str], most: int = 5) -> str:
    """The first few of a list, for a sentence: "a, b and 3 more"."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def now() -> str:
    """The time as files, receipts and consents write it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# ---- fields of files that somebody else may have written


def text_field(value: object, name: str, *, longest: int = 255, empty: bool = False) -> str:
    """A printable text.

    Raises:
        InputError: another kind of value, too long, empty, or with characters that nobody sees.
    """
    if not isinstance(value, str) or not is_visible(value) or not (empty or value) or len(value) > longest:
        raise InputError(f"{name} is {quoted(value, 60)}; a printable text of {longest} characters at most needed")
    return value


def checksum_field(value: object) -> str:
    """A SHA-256.

    Raises:
        InputError: anything but 64 hexadecimal digits.
    """
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise InputError(f"sha256 is {quoted(value, 60)}; 64 hexadecimal digits needed")
    return value


def time_field(value: object, name: str) -> str:
    """A date and time.

    Raises:
        InputError: anything but ISO 8601 as this package writes it.
    """
    try:
        if isinstance(value, str) and len(value) <= 32:
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise InputError(f"{name} is {quoted(value, 60)}; a date and time as in 2026-01-31T12:00:00+00:00 needed")
