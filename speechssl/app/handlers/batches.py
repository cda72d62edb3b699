"""A zip of recordings in, a zip of converted ones out, with a table of what became of each."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from speechssl import audio
from speechssl.app.handlers import conversions
from speechssl.app.handlers.conversions import Options, Target
from speechssl.app.jobs import Tell
from speechssl.app.sessions import Session, Stopped, harmless
from speechssl.app.state import Refused, Workshop
from speechssl.errors import InputError, SpeechSSLError
from speechssl.voices.consent import Consent

MOST_FILES = 500
MOST_BYTES = 2 << 30  # unpacked; a small zip can hold very much of nothing
SOUND = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".webm"))
COLUMNS = ("recording", "output", "seconds", "converter", "coverage", "accepted", "probability", "error")


def unpack(archive: Path, folder: Path) -> list[tuple[str, Path]]:
    """Names in the archive and the files they were written to, under names of our own.

    Raises:
        InputError: no zip, damaged, too many or too large files, or no recording in it.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            inside = [one for one in zipped.infolist() if _is_recording(one)]
            if not inside:
                raise InputError("the zip holds no recording")
            total = sum(one.file_size for one in inside)
            if len(inside) > MOST_FILES or total > MOST_BYTES:
                raise InputError(
                    f"{len(inside)} recordings of {total >> 20} MB; at most {MOST_FILES} of {MOST_BYTES >> 20} MB"
                )
            return [(one.filename, _unpacked(zipped, one, folder, number)) for number, one in enumerate(inside)]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise InputError(f"the zip cannot be read: {error}; pack it again, without a password") from error


def _is_recording(one: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(one.filename)
    hidden = any(part != ".." and part.startswith((".", "__MACOSX")) for part in path.parts)
    return not one.is_dir() and path.suffix.lower() in SOUND and not hidden


def _unpacked(zipped: zipfile.ZipFile, one: zipfile.ZipInfo, folder: Path, number: int) -> Path:
    name = PurePosixPath(one.filename)
    place = folder / f"{number:04d}-{harmless(name.stem)}{name.suffix.lower()}"
    left = one.file_size
    with zipped.open(one) as source, place.open("wb") as target:
        # the size in the directory may be a lie
        while left > 0 and (block := source.read(min(left, 1 << 20))):
            target.write(block)
            left -= len(block)
    return place


def convert(
    shop: Workshop,
    session: Session,
    archive: Path | None,
    target: Target,
    options: Options | None = None,
    *,
    leave: Consent | None = None,
    tell: Tell = lambda share, text: None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Convert every recording of a zip; one that fails has its reason in the table and does not stop the others.

    Returns:
        The zip (recordings with receipts inside them, and ``results.csv``) and the table.
    Raises:
        Refused: no zip, or nothing that can be converted at all.
        Stopped: cancelled.
    """
    if archive is None:
        raise Refused("archive", "Give a zip of recordings.")
    place = session.place("converted", ".zip")
    folder = place.parent / "in"
    folder.mkdir()
    try:
        found = unpack(archive, folder)
    except InputError as error:
        raise Refused("archive", str(error)) from error
    total, most = sum(_seconds(path) for _, path in found), shop.settings.batch_seconds
    if total > most:
        raise Refused("archive", f"{total / 60:.0f} minutes of recordings; at most {most / 60:.0f} in one zip here")
    begun = time.monotonic()
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(place, "w") as zipped:
        for number, (name, path) in enumerate(found):
            share = number / len(found)

            def step(inner: float, text: str, share: float = share, name: str = name) -> None:
                tell(share + inner / len(found), f"{name}: {text}")

            if session.stopped > begun:
                raise Stopped("cancelled; nothing was kept")
            try:
                rows.append(_one(shop, session, name, path, target, options, leave, step, zipped))
            except Stopped as stopped:
                # one that took too long has that in the table; a person or a service that ends, ends all
                if session.stopped > begun or shop.draining:
                    raise
                rows.append({**dict.fromkeys(COLUMNS, ""), "recording": name, "error": str(stopped)})
        zipped.writestr("results.csv", _table(rows))
    return place, rows


def _seconds(path: Path) -> float:
    """Of a recording; one that cannot be read has none, and says why when its turn comes."""
    try:
        return audio.info(path).seconds
    except SpeechSSLError:
        return 0.0


def _one(
    shop: Workshop,
    session: Session,
    name: str,
    path: Path,
    target: Target,
    options: Options | None,
    leave: Consent | None,
    step: Tell,
    zipped: zipfile.ZipFile,
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row["recording"] = name
    try:
        made = conversions.convert(shop, session, path, target, options, leave=leave, tell=step)
    except Stopped:
        raise
    except Refused as error:
        # what is wrong with all of them ends the batch
        if error.field != "source":
            raise
        return {**row, "error": str(error).replace(str(path), name)}
    except SpeechSSLError as error:
        return {**row, "error": str(error).replace(str(path), name)}
    zipped.write(made.path, made.path.name)
    facts = made.facts()
    similarity = facts["similarity"] or {}
    return {
        **row,
        "output": made.path.name,
        **{key: facts[key] for key in ("seconds", "converter", "coverage")},
        **{key: similarity.get(key, "") for key in ("accepted", "probability")},
    }


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
