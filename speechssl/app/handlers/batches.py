"""Batches: a zip of recordings becomes a zip of converted recordings, with a table of results."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from speechssl import audio
from speechssl.app.handlers.conversions import Made
from speechssl.app.jobs import Tell, silent
from speechssl.app.refusals import Overdue, Refused, Stopped, blaming
from speechssl.app.sessions import Session, harmless
from speechssl.checkpoints import names
from speechssl.errors import InputError, SpeechSSLError

Convert = Callable[[Path, Tell], Made]
UTF8_FLAG = 0x800  # of a file in a zip: its name is UTF-8
MOST_FILES = 500
MOST_BYTES = 2 << 30  # unpacked; a small zip can hold gigabytes of zeros
NOT_TAKEN = "not taken: its name ends like that of no recording"
COLUMNS = ("recording", "output", "seconds", "converter", "coverage", "accepted", "probability", "error")


def unpack(archive: Path, folder: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Unpack the recordings of a zip under harmless names.

    Returns:
        Pairs of the name in the zip and the file; and the names of files that are no recordings.

    Raises:
        InputError: no zip, a damaged one, too many or too large files, or no recording in it.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            files = [one for one in zipped.infolist() if not one.is_dir() and not _is_hidden(one)]
            inside = [one for one in files if _is_recording(one)]
            if not inside:
                raise InputError("the zip holds no recording")
            total = sum(one.file_size for one in inside)
            if len(inside) > MOST_FILES or total > MOST_BYTES:
                raise InputError(
                    f"{len(inside)} recordings of {total >> 20} MB; at most {MOST_FILES} of {MOST_BYTES >> 20} MB"
                )
            found = [(_name(one), _unpacked(zipped, one, folder, number)) for number, one in enumerate(inside)]
            return found, [_name(one) for one in files if not _is_recording(one)]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise InputError(f"the zip cannot be read: {error}; pack it again, without a password") from error


def _is_recording(one: zipfile.ZipInfo) -> bool:
    return PurePosixPath(one.filename).suffix.lower() in audio.SUFFIXES


def _is_hidden(one: zipfile.ZipInfo) -> bool:
    return any(part != ".." and part.startswith((".", "__MACOSX")) for part in PurePosixPath(one.filename).parts)


def _name(one: zipfile.ZipInfo) -> str:
    """The name; many programs write UTF-8 without the flag that says so, which zipfile reads as code page 437."""
    if one.flag_bits & UTF8_FLAG:
        return one.filename
    try:
        return one.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return one.filename


def _unpacked(zipped: zipfile.ZipFile, one: zipfile.ZipInfo, folder: Path, number: int) -> Path:
    name = PurePosixPath(_name(one))
    place = folder / f"{number:04d}-{harmless(name.stem)}{name.suffix.lower()}"
    left = one.file_size
    with zipped.open(one) as source, place.open("wb") as target:
        # the size that the zip states may be wrong
        while left > 0 and (block := source.read(min(left, 1 << 20))):
            target.write(block)
            left -= len(block)
    return place


def convert(
    session: Session, archive: Path | None, one: Convert, *, most_seconds: float, tell: Tell = silent
) -> tuple[Path, list[dict[str, Any]]]:
    """Convert every recording of a zip; a recording that fails has its reason in the table and stops no other.

    Args:
        session: takes the result; its person may cancel.
        archive: the zip.
        one: converts a recording and reports its progress.
        most_seconds: limit of all recordings together.
        tell: progress of the whole.
    Returns:
        The zip (recordings with receipts inside them, and ``results.csv``) and the table.
    Raises:
        Refused: no zip, or a field other than the source cannot be used.
        Stopped: cancelled, or the service is closing.
    """
    if archive is None:
        raise Refused("archive", "Give a zip of recordings.")
    begun = time.monotonic()
    place = session.place("converted", ".zip")
    folder = place.parent / "in"
    folder.mkdir()
    with blaming("archive"):
        found, others = unpack(archive, folder)
        total = sum(_seconds(path) for _, path in found)
        if total > most_seconds:
            raise InputError(f"{total / 60:.0f} minutes of recordings; at most {most_seconds / 60:.0f} in one zip here")
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(place, "w") as zipped:
        for number, (name, path) in enumerate(found):

            def step(share: float, text: str, number: int = number, name: str = name) -> None:
                tell((number + share) / len(found), f"{name}: {text}")

            if session.stopped > begun:
                raise Stopped("cancelled; nothing was kept")
            row: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), "recording": name}
            try:
                row |= _packed(one(path, step), zipped)
            except SpeechSSLError as error:
                if _concerns_all(error):
                    raise
                row["error"] = str(error).replace(str(path), name)
            rows.append(row)
        rows += [{**dict.fromkeys(COLUMNS, ""), "recording": name, "error": NOT_TAKEN} for name in others]
        zipped.writestr("results.csv", _table(rows))
    return place, rows


def _concerns_all(error: SpeechSSLError) -> bool:
    """Whether the error would meet every recording: another field, or a person or a service that ends the batch."""
    if isinstance(error, Refused):
        return error.field != "source"
    return isinstance(error, Stopped) and not isinstance(error, Overdue)


def _seconds(path: Path) -> float:
    """Length of a recording; 0 for an unreadable one, which gets its error in the table."""
    try:
        return audio.info(path).seconds
    except SpeechSSLError:
        return 0.0


def _packed(made: Made, zipped: zipfile.ZipFile) -> dict[str, Any]:
    """Add a result to the zip and return its columns of the table."""
    zipped.write(made.path, made.path.name)
    facts = made.facts()
    similarity = facts["similarity"] or {}
    return {
        "output": made.path.name,
        **{key: facts[key] for key in ("seconds", "converter", "coverage")},
        **{key: similarity.get(key, "") for key in ("accepted", "probability")},
    }


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({column: names.cell(value) for column, value in row.items()} for row in rows)
    return text.getvalue()
