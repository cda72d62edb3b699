"""Files, folders, patterns and manifests as one list of recordings, each with its own id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.audio import lists, search
from speechssl.checkpoints import names
from speechssl.errors import InputError
from speechssl.units import addresses

LONGEST_ID = 4096  # as a path
NAMED = ""  # place of a file that no line of a manifest names
MANIFESTS = frozenset((".jsonl", ".ndjson", ".csv", ".tsv"))
ARCHIVES = frozenset((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"))
# keys of a record; a manifest's own value is kept under "manifest_<key>"
MEASURED = ("sample_rate", "seconds", "frames", "units", "durations", "start", "end", "codebook")


@dataclass(frozen=True)
class Entry:
    """One utterance to encode.

    Args:
        id: unique in the list.
        path: as given, or relative to the manifest's folder; stored in the record.
        file: path to read, or an address of any fsspec file system.
        extra: other columns of the manifest: text, speaker ...
    """

    id: str
    path: str
    file: str
    extra: dict[str, Any] = field(default_factory=dict)


def entries(given: Sequence[str | Path | Entry], listed: Sequence[str | Path] = ()) -> list[Entry]:
    """Every recording once, in a fixed order: that of the manifests, else by path.

    The id of a file is its place below the folder that was given, or its name, without the extension. Files that would
    share an id get as many of their folders as tell them apart, or keep their extensions: ``monday/talk`` and
    ``tuesday/talk``, ``talk.mp3`` and ``talk.wav``.

    Args:
        given: audio files, folders (searched below), glob patterns, addresses (``s3://...``), and manifests: JSON
            lines, CSV (commas, semicolons or tabs) or TSV with a column ``path`` (relative to the manifest), perhaps
            ``id``, and anything else; or fairseq's TSV, whose first line is the folder of the paths. Entries are taken
            as they are.
        listed: manifests of any name, also texts with one path a line; see ``audio.lists.rows``.
    Raises:
        InputError: no recordings, a file that does not exist, an unreadable line (the message has file and line), an
            id that occurs twice in manifests, an archive, a name that is no UTF-8, or addresses that need a library.
    """
    found: list[tuple[Entry, str]] = []
    for one in given:
        found += [(one, one.path)] if isinstance(one, Entry) else _expanded(str(one))
    for one in listed:
        found += _listed(one)
    if not found:
        raise InputError("no recordings: name a file, a folder, a pattern or a manifest")
    found = _told_apart(found)
    seen: dict[str, str] = {}
    for entry, place in found:
        if seen.get(entry.id) == place:
            raise InputError(f"{place} is given twice; name each recording and each list once")
        if entry.id in seen:
            raise InputError(
                f"{place}: the id {entry.id!r} is taken by {seen[entry.id]}; ids must differ: "
                "change one in the column 'id' of the list, or add such a column"
            )
        _check_text(entry, place)
        seen[entry.id] = place
    addresses.check(entry.file for entry, _ in found)
    return [entry for entry, _ in found]


def _check_text(entry: Entry, place: str) -> None:
    """Units are written as UTF-8, with the ids and paths of their recordings."""
    try:
        f"{entry.id}{entry.path}".encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name of {place!a:.300} is no UTF-8, which units are written in; rename it") from error


def plan_digest(plan: Sequence[Entry]) -> str:
    """16 hexadecimal digits that identify the list: ids, paths, order and other columns."""
    digest = hashlib.sha256()
    for entry in plan:
        digest.update(json.dumps([entry.id, entry.path, entry.extra], sort_keys=True).encode() + b"\n")
    return digest.hexdigest()[:16]


def ids_digest(ids: Iterator[str]) -> str:
    """16 hexadecimal digits that identify the ids and their order."""
    digest = hashlib.sha256()
    for one in ids:
        digest.update(json.dumps(one).encode() + b"\n")
    return digest.hexdigest()[:16]


def _told_apart(found: Sequence[tuple[Entry, str]]) -> list[tuple[Entry, str]]:
    """Each file that was named once, and with an id of its own; those of manifests as they are."""
    named = {entry.file: entry for entry, place in reversed(found) if place == NAMED}
    sharing: dict[str, list[Entry]] = {}
    for entry in named.values():
        sharing.setdefault(entry.id, []).append(entry)
    for several in (group for group in sharing.values() if len(group) > 1):
        paths = [entry.path for entry in several]
        if len(set(paths)) < len(paths):
            taken = {entry.path for entry in named.values()}
            paths = audio.told_apart([entry.file for entry in several], taken)
        ids = [_stem(path) for path in paths]
        for entry, path, id_ in zip(several, paths, ids if len(set(ids)) == len(ids) else paths, strict=True):
            named[entry.file] = replace(entry, id=id_, path=path)
    return [
        (named.pop(entry.file), entry.file) if place == NAMED else (entry, place)
        for entry, place in found
        if place != NAMED or entry.file in named
    ]


def _expanded(given: str) -> Iterator[tuple[Entry, str]]:
    path = Path(given)
    if "://" in given:
        yield Entry(given.split("://", 1)[1].rpartition(".")[0] or given, given, given), NAMED
    elif path.suffix.lower() in MANIFESTS and not path.is_dir():
        yield from _listed(given)
    elif search.is_pattern(given):
        for match in search.matches(given):
            yield Entry(_stem(str(match)), str(match), str(match)), NAMED
    elif not path.exists():
        raise InputError(f"{given} does not exist; a recording, a folder, a pattern or a list needed: check the path")
    elif path.suffix.lower() in ARCHIVES and path.is_file():
        raise InputError(f"{given} is an archive; unpack it first, and give the folder with the recordings")
    else:
        for file, root in search.located([given]):
            name = file.relative_to(root).as_posix()
            yield Entry(_stem(name), name, str(file)), NAMED


def _listed(given: str | Path) -> Iterator[tuple[Entry, str]]:
    for row in lists.rows(given):
        name = row.extra.get("id")
        if name is not None and not isinstance(name, str | int):
            raise InputError(f"{row.where}: the id is {name!r}; text or a whole number needed")
        extra = {
            (f"manifest_{key}" if key in MEASURED else key): value for key, value in row.extra.items() if key != "id"
        }
        text = _stem(row.path) if name is None or name == "" else str(name)
        id_ = names.text_field(text, f"{row.where}: the id", longest=LONGEST_ID)
        yield Entry(id_, row.path, row.file, extra), row.where


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix else name
