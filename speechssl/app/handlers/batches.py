"""Batches: a zip of recordings becomes a zip of converted recordings, with a table of results."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import lzma
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from speechssl import audio
from speechssl.app.handlers import recordings, videos
from speechssl.app.handlers.conversions import Made
from speechssl.app.jobs import Job, Jobs, Tell, silent
from speechssl.app.refusals import Overdue, Refused, Stopped, blaming
from speechssl.app.sessions import Session, harmless
from speechssl.audio import search
from speechssl.checkpoints import names
from speechssl.errors import InputError, SpeechSSLError

Convert = Callable[[Path, Job], Made]
Result = TypeVar("Result")
UTF8_FLAG = 0x800  # of a file in a zip: its name is UTF-8
MOST_FILES = 500
MOST_BYTES = 2 << 30  # unpacked; a small zip can hold gigabytes of zeros
CANCELLED = "cancelled; recordings that were finished before, if any, are in History"
NOT_TAKEN = "not taken: its name ends like that of no recording"
# what zipfile and its decoders raise over damaged files, each in words of its own
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, RuntimeError, OSError,
          EOFError, ValueError, IndexError, OverflowError)  # fmt: skip
COLUMNS = ("recording", "output", "seconds", "converter", "coverage", "accepted", "probability", "remark", "error")


@dataclass(frozen=True)
class Packed:
    """A file in a zip: its name there, and what zipfile knows of it."""

    name: str
    entry: zipfile.ZipInfo


@dataclass(frozen=True, eq=False)
class Archive:
    """An open zip.

    Args:
        recordings: its recordings.
        others: names of its other files.
    """

    recordings: list[Packed]
    others: list[str]
    _file: zipfile.ZipFile

    def unpack(self, one: Packed, folder: Path, number: int) -> Path:
        """Unpack a recording into a folder; see ``placed``.

        Raises:
            InputError: it is damaged, or the disk is full.
        """
        place, left = placed(one, folder, number), one.entry.file_size
        with _readable(), self._file.open(one.entry) as source, place.open("wb") as target:
            # the size that the zip states may be wrong
            while left > 0 and (block := source.read(min(left, 1 << 20))):
                target.write(block)
                left -= len(block)
        return place


def packed(session: Session, files: Sequence[Path]) -> Path | None:
    """What a person gave as one zip: a zip alone as it is, other files in a new one under the names that they have."""
    if len(files) < 2 and all(zipfile.is_zipfile(file) for file in files):
        return next(iter(files), None)
    place, taken = session.place("given", ".zip"), set[str]()
    with zipfile.ZipFile(place, "w") as zipped:
        for file in files:
            name, number = file.name, 1
            while name in taken:
                number += 1
                name = f"{file.stem}-{number}{file.suffix}"
            taken.add(name)
            zipped.write(file, name)
    return place


def placed(one: Packed, folder: Path, number: int) -> Path:
    """Where a recording of a zip is unpacked to, under a harmless name."""
    name = PurePosixPath(one.name)
    return folder / f"{number:04d}-{harmless(name.stem)}{name.suffix.lower()}"


@contextlib.contextmanager
def opened(archive: Path) -> Iterator[Archive]:
    """Open a zip of recordings.

    Raises:
        InputError: no zip, a damaged one, too many or too large files, or no recording in it.
    """
    with contextlib.ExitStack() as stack:
        with _readable():
            zipped = stack.enter_context(zipfile.ZipFile(archive))
            files = [one for one in zipped.infolist() if not one.is_dir() and not _is_hidden(one)]
            inside = [Packed(_name(one), one) for one in files if _is_recording(one)]
        if not inside:
            raise InputError("no recording among these files")
        total = sum(one.entry.file_size for one in inside)
        if len(inside) > MOST_FILES or total > MOST_BYTES:
            raise InputError(
                f"{len(inside)} recordings of {total >> 20} MB; at most {MOST_FILES} of {MOST_BYTES >> 20} MB"
            )
        yield Archive(inside, [_name(one) for one in files if not _is_recording(one)], zipped)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise InputError("the disk of this service is full; give fewer recordings, or try later") from error
        raise InputError("no zip, or a damaged one, or one with a password; pack it again, without one") from error


def _is_recording(one: zipfile.ZipInfo) -> bool:
    return PurePosixPath(one.filename).suffix.lower() in (*audio.SUFFIXES, *videos.SUFFIXES)


def _is_hidden(one: zipfile.ZipInfo) -> bool:
    return any(part != ".." and search.hides(part) for part in PurePosixPath(one.filename).parts)


def _name(one: zipfile.ZipInfo) -> str:
    """The name; many programs write UTF-8 without the flag that says so, which zipfile reads as code page 437."""
    if one.flag_bits & UTF8_FLAG:
        return one.filename
    try:
        return one.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return one.filename


def length(path: Path, most: float) -> float:
    """Seconds of a recording; 0 for an unreadable one, which gets its error where it is used."""
    try:
        return recordings.seconds(path, most)
    except SpeechSSLError:
        return 0.0


def too_long(total: float, most: float) -> str:
    """Say that the recordings of a zip are too long."""
    return f"{total / 60:.0f} minutes of recordings or more; at most {most / 60:.0f} in one zip here"


def convert(
    jobs: Jobs, session: Session, archive: Path | None, one: Convert, *, most_seconds: float, tell: Tell = silent
) -> tuple[Path, list[dict[str, Any]]]:
    """Convert every recording of a zip; a recording that fails has its reason in the table and stops no other.

    A recording is unpacked when its turn comes and deleted after its conversion.

    Args:
        jobs: every recording is a job of its own.
        session: takes the result; its person may cancel.
        archive: the zip.
        one: converts a recording, within a job.
        most_seconds: limit of all recordings together.
        tell: progress of the whole.
    Returns:
        The zip (recordings with receipts inside them, and ``results.csv``) and the table.
    Raises:
        Refused: no zip, or a field other than the source cannot be used.
        Stopped: cancelled, or the service is closing.
    """
    if archive is None:
        raise Refused("archive", "Give recordings, or a zip of recordings.")
    begun, place = time.monotonic(), session.place("converted", ".zip")
    rows: list[dict[str, Any]] = []
    with blaming("archive"), opened(archive) as given, zipfile.ZipFile(place, "w") as zipped:
        lengths = jobs.run(session, lambda job: _lengths(given, place.parent, job, most_seconds), tell)
        for number, packed in enumerate(given.recordings):

            def step(share: float, text: str, number: int = number, name: str = packed.name) -> None:
                tell((sum(lengths[:number]) + share * lengths[number]) / sum(lengths), f"{name}: {text}")

            if session.stopped > begun:
                raise Stopped(CANCELLED)

            def work(job: Job, number: int = number, packed: Packed = packed) -> Made:
                return _unpacked(given, packed, place.parent, number, lambda path: one(path, job))

            try:
                row = _packed(jobs.run(session, work, step), zipped)
            except SpeechSSLError as error:
                if _concerns_all(error):
                    raise Stopped(CANCELLED) if type(error) is Stopped and session.stopped > begun else error from None
                row = {"error": str(error).replace(str(placed(packed, place.parent, number)), packed.name)}
            rows.append({**dict.fromkeys(COLUMNS, ""), "recording": packed.name, **row})
        rows += [{**dict.fromkeys(COLUMNS, ""), "recording": name, "error": NOT_TAKEN} for name in given.others]
        zipped.writestr("results.csv", _table(rows))
    return place, rows


def _lengths(given: Archive, folder: Path, job: Job, most: float) -> list[float]:
    """Seconds of each recording, a second at least: what is short or broken takes some time too."""
    total, found = 0.0, []
    for number, packed in enumerate(given.recordings):
        job(0.0, f"{packed.name}: measuring")
        seconds = _unpacked(given, packed, folder, number, lambda path: length(path, most))
        total += seconds
        if total > most:
            raise InputError(too_long(total, most))
        found.append(max(1.0, seconds))
    return found


def _unpacked(given: Archive, packed: Packed, folder: Path, number: int, work: Callable[[Path], Result]) -> Result:
    """Do something with a recording of a zip, which is on the disk only meanwhile."""
    path = given.unpack(packed, folder, number)
    try:
        return work(path)
    finally:
        path.unlink(missing_ok=True)


def _concerns_all(error: SpeechSSLError) -> bool:
    """Whether the error would meet every recording: another field, or a person or a service that ends the batch."""
    if isinstance(error, Refused):
        return error.field != "source"
    return isinstance(error, Stopped) and not isinstance(error, Overdue)


def _packed(made: Made, zipped: zipfile.ZipFile) -> dict[str, Any]:
    """Add a result to the zip and return its columns of the table."""
    zipped.write(made.path, made.path.name)
    facts = made.facts()
    similarity = facts["similarity"] or {}
    return {
        "output": made.path.name,
        **{key: facts[key] for key in ("seconds", "converter", "coverage")},
        **{key: similarity.get(key, "") for key in ("accepted", "probability")},
        "remark": made.decision if isinstance(made.decision, str) else "",
    }


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows({column: names.cell(value) for column, value in row.items()} for row in rows)
    return text.getvalue()
