"""Lists of recordings as people have them: text, CSV, JSON lines, and fairseq's TSV.

UTF-8 with or without a byte order mark, any line ends, commas, semicolons or tabs, backslashes of Windows.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from speechssl.checkpoints import foreign
from speechssl.errors import InputError

JSON_LINES = frozenset((".jsonl", ".ndjson", ".json"))
TABLES = frozenset((".csv", ".tsv"))
PATH_KEYS = ("path", "audio_path", "audio_filepath", "audio", "file", "wav", "file_name", "filename", "recording")
# the folders of the paths of lists that lie in another one, as a list does that came on stdin
ELSEWHERE: dict[Path, Path] = {}
LARGEST = 1 << 30  # bytes of a table or a text; lists of millions of recordings are smaller

Rows = Iterator[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Row:
    """One recording of a list.

    Args:
        path: as the list has it, with slashes.
        file: path to read: relative to the list's folder, or an address.
        where: file and line.
        extra: the other columns.
    """

    path: str
    file: str
    where: str
    extra: dict[str, Any] = field(default_factory=dict)


def rows(path: str | Path) -> list[Row]:
    """The recordings of a list, in order.

    Args:
        path: of JSON lines (``.jsonl``), a table (``.csv``, ``.tsv``) with a column ``path``, fairseq's TSV, whose
            first line is the folder of the paths, or else a text with one path a line. Paths are relative to the
            list's folder. A table of one column needs no header. Lines of a text that begin with # are passed over.
    Raises:
        InputError: missing, no UTF-8, nothing in it, or a line that cannot be read; with file and line.
    """
    place = Path(path)
    with _read_as_table(place):
        root, found = _read(place)
        listed = [_row(place, root, number, row) for number, row in found]
    if not listed:
        raise InputError(f"the list {place} holds no recordings; one path a line needed")
    return listed


def table(path: str | Path, keys: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a list that has columns, each with the number of its line.

    Args:
        path: of JSON lines, or of a table.
        keys: names of columns, one of which tells the header and what stands between the columns.
    Raises:
        InputError: as ``rows``.
    """
    place = Path(path)
    with _read_as_table(place):
        is_json = place.suffix.lower() in JSON_LINES
        return list(_json_lines(place) if is_json else _table(place, _text(place), keys))


def folder_of(place: Path) -> Path:
    """The folder that the paths of a list are relative to: its own."""
    return ELSEWHERE.get(place, place.parent)


def located(root: Path, path: str) -> tuple[str, str]:
    """A path of a list with slashes, and the file to read."""
    if "\\" in path and "://" not in path and not (root / path).exists():
        path = path.replace("\\", "/")  # written on Windows
    return path, path if "://" in path else str(root / path)


@contextlib.contextmanager
def _read_as_table(place: Path) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise InputError(f"the list {place} is no table ({error}); save it as CSV again") from error


def _text(place: Path) -> TextIO:
    return io.StringIO(foreign.read_text(place, most=LARGEST), newline="")


def _read(place: Path) -> tuple[Path, Rows]:
    """The folder of the paths, and the rows."""
    suffix = place.suffix.lower()
    if suffix in JSON_LINES:
        return folder_of(place), _json_lines(place)
    file = _text(place)
    if _is_fairseq(file):
        return _fairseq(place, file)
    if suffix in TABLES:
        if _has_header(place, file):
            return folder_of(place), _table(place, file, PATH_KEYS)
        cells = ((n, row) for n, row in enumerate(csv.reader(file), 1) if row)
        return folder_of(place), ((n, {"path": row[0].strip()}) for n, row in cells)
    # what stands behind a tab is no path
    lines = ((number, line.split("\t")[0].strip()) for number, line in enumerate(file, start=1))
    return folder_of(place), ((number, {"path": line}) for number, line in lines if line and line[0] != "#")


def _json_lines(place: Path) -> Rows:
    for number, row in foreign.read_lines(place):
        if not isinstance(row, dict):
            raise InputError(f"{place}:{number}: a JSON {type(row).__name__}; an object with a 'path' needed")
        yield number, row


def _table(place: Path, file: TextIO, keys: Iterable[str]) -> Rows:
    reader = csv.DictReader(file, delimiter=_delimiter(place, file, keys))
    for row in reader:
        if not any(row.values()):
            continue  # spreadsheets write rows of nothing but delimiters
        if None in row or None in row.values():
            raise InputError(
                f"{place}:{reader.line_num}: {len(reader.fieldnames or [])} columns needed, as in the header"
            )
        yield reader.line_num, dict(row)


def _delimiter(place: Path, file: TextIO, keys: Iterable[str]) -> str:
    """What stands between the columns: what makes one of them a key; Excel writes semicolons in many countries."""
    usual = "\t" if place.suffix.lower() == ".tsv" else ","
    header = file.readline()
    file.seek(0)
    for delimiter in (usual, ",", ";", "\t"):
        if set(keys) & {cell.strip().lower() for cell in next(csv.reader([header], delimiter=delimiter), [])}:
            return delimiter
    return usual


def _has_header(place: Path, file: TextIO) -> bool:
    """Whether the first line names columns; one that is the path of a file does not."""
    first = file.readline().strip()
    file.seek(0)
    return not first or not Path(located(folder_of(place), first)[1]).is_file()


def _is_fairseq(file: TextIO) -> bool:
    """Whether the first line is a folder, and the second a path and a number of samples with a tab between."""
    first, second = file.readline().strip(), file.readline().rstrip("\r\n").split("\t")
    file.seek(0)
    return bool(first) and "\t" not in first and len(second) == 2 and second[1].strip().isdecimal()


def _fairseq(place: Path, file: TextIO) -> tuple[Path, Rows]:
    """The folder of the paths, and a row for each path.

    fairseq writes the folder as it was called: absolute, or relative to where it ran.
    """
    lines = [line.rstrip("\r\n") for line in file]
    found = [(number, {"path": line.split("\t")[0]}) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    written = Path(lines[0].strip())
    roots = [folder_of(place) / written, written, folder_of(place)]
    root = next((root for root in roots if (root / found[0][1]["path"]).exists()), roots[0])
    return root, iter(found)


def _row(place: Path, root: Path, number: int, row: dict[str, Any]) -> Row:
    lower = {str(key).strip().lower(): key for key in row}
    found = (lower[name] for name in PATH_KEYS if name in lower)
    key = next((key for key in found if isinstance(row[key], str) and row[key]), None)
    if key is None:
        raise InputError(f"{place}:{number}: no 'path' (keys: {', '.join(map(str, row)) or 'none'}); one needed")
    path, file = located(root, row[key])
    return Row(path, file, f"{place}:{number}", {str(name): value for name, value in row.items() if name != key})
