"""Files, folders, patterns and manifests as one list of recordings, each with its own id."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechssl import audio
from speechssl.checkpoints import foreign, names
from speechssl.errors import InputError

MANIFESTS = frozenset((".jsonl", ".ndjson", ".csv", ".tsv"))
PATH_KEYS = ("path", "audio_path", "audio_filepath", "audio", "file", "wav")
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


def entries(given: Sequence[str | Path | Entry]) -> list[Entry]:
    """Every recording once, in a fixed order: that of the manifests, else by path.

    Args:
        given: audio files, folders (searched below), glob patterns, addresses (``s3://...``), and manifests: JSON
            lines, CSV (commas, semicolons or tabs) or TSV with a column ``path`` (relative to the manifest), perhaps
            ``id``, and anything else; or fairseq's TSV, whose first line is the folder of the paths. Entries are taken
            as they are.
    Raises:
        InputError: no recordings, an unreadable line (the message has file and line), or an id that occurs twice.
    """
    found: list[tuple[Entry, str]] = []
    for one in given:
        found += [(one, one.path)] if isinstance(one, Entry) else _expanded(str(one))
    if not found:
        raise InputError("no recordings: name a file, a folder, a pattern or a manifest")
    seen: dict[str, str] = {}
    for entry, place in found:
        if entry.id in seen:
            raise InputError(
                f"{place}: the id {entry.id!r} is taken by {seen[entry.id]}; ids must differ: "
                "rename one, or give a manifest with a column 'id'"
            )
        seen[entry.id] = place
    return [entry for entry, _ in found]


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


def _expanded(given: str) -> Iterator[tuple[Entry, str]]:
    path = Path(given)
    if "://" in given:
        yield Entry(given.split("://", 1)[1].rpartition(".")[0] or given, given, given), given
    elif path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in audio.SUFFIXES and p.is_file())
        if not found:
            raise InputError(f"{path} holds no audio file; name a folder of recordings, or a manifest")
        for one in found:
            name = one.relative_to(path).as_posix()
            yield Entry(_stem(name), name, str(one)), str(one)
    elif path.suffix.lower() in MANIFESTS:
        yield from _manifest(path)
    elif glob.has_magic(given) and not path.exists():
        matches = [match for match in sorted(glob.glob(given, recursive=True)) if Path(match).is_file()]
        if not matches:
            raise InputError(f"the pattern {given!r} matches no file; check it, or name the files")
        for match in matches:
            yield Entry(_stem(match), match, match), match
    else:
        yield Entry(path.stem, path.name, given), given


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix else name


def _manifest(path: Path) -> Iterator[tuple[Entry, str]]:
    try:
        # with or without the byte order mark that Excel and Notepad write
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in (".jsonl", ".ndjson"):
                root, rows = path.parent, _json_lines(path)
            elif _is_fairseq(file):
                root, rows = _fairseq(path, file)
            else:
                root, rows = path.parent, _table(path, file)
            for number, row in rows:
                yield _entry(path, root, number, row), f"{path}:{number}"
    except OSError as error:
        raise InputError(f"cannot read the manifest {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the manifest {path} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise InputError(f"the manifest {path} is no table ({error}); save it as CSV again") from error


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in foreign.read_lines(path):
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}: a JSON {type(row).__name__}; an object with a 'path' needed")
        yield number, row


def _table(path: Path, file: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(file, delimiter=_delimiter(path, file))
    for row in reader:
        if not any(row.values()):
            continue  # spreadsheets write rows of nothing but delimiters
        if None in row or None in row.values():
            raise InputError(
                f"{path}:{reader.line_num}: {len(reader.fieldnames or [])} columns needed, as in the header"
            )
        yield reader.line_num, dict(row)


def _delimiter(path: Path, file: Any) -> str:
    """What stands between the columns: what makes one of them a path; Excel writes semicolons in many countries."""
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    header = file.readline()
    file.seek(0)
    for delimiter in (usual, ",", ";", "\t"):
        if set(PATH_KEYS) & set(next(csv.reader([header], delimiter=delimiter), [])):
            return delimiter
    return usual


def _is_fairseq(file: Any) -> bool:
    """Whether the first line is a folder, and the second a path and a number of samples with a tab between."""
    first, second = file.readline().strip(), file.readline().rstrip("\r\n").split("\t")
    file.seek(0)
    return bool(first) and "\t" not in first and len(second) == 2 and second[1].strip().isdecimal()


def _fairseq(path: Path, file: Any) -> tuple[Path, Iterator[tuple[int, dict[str, Any]]]]:
    """The folder of the paths, and a row for each path.

    fairseq writes the folder as it was called: absolute, or relative to where it ran.
    """
    lines = [line.rstrip("\r\n") for line in file]
    rows = [(number, {"path": line.split("\t")[0]}) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    written = Path(lines[0].strip())
    roots = [path.parent / written, written, path.parent]
    root = next((root for root in roots if (root / rows[0][1]["path"]).exists()), roots[0])
    return root, iter(rows)


def _entry(manifest: Path, root: Path, number: int, row: dict[str, Any]) -> Entry:
    key = next((key for key in PATH_KEYS if isinstance(row.get(key), str) and row[key]), None)
    if key is None:
        raise InputError(f"{manifest}:{number}: no 'path' (keys: {', '.join(map(str, row)) or 'none'}); one needed")
    path = row[key]
    if "\\" in path and "://" not in path and not (root / path).exists():
        path = path.replace("\\", "/")  # written on Windows
    name = row.get("id")
    if name is not None and not isinstance(name, str | int):
        raise InputError(f"{manifest}:{number}: the id is {name!r}; text or a whole number needed")
    extra = {
        (f"manifest_{other}" if other in MEASURED else str(other)): value
        for other, value in row.items()
        if other not in (key, "id")
    }
    file = path if "://" in path else str(root / path)
    id_ = names.text_field(_stem(path) if name is None or name == "" else str(name), f"{manifest}:{number}: the id")
    return Entry(id_, path, file, extra)
