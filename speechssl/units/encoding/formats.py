"""Records to files: JSON lines, parquet, tar (webdataset) and text; the same records give the same bytes."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechssl import errors
from speechssl.checkpoints import atomic_path, foreign
from speechssl.errors import InputError

Record = dict[str, Any]
META = "meta.json"  # in a folder of units: what is being made
SUFFIXES = {"jsonl": ".jsonl", "parquet": ".parquet", "webdataset": ".tar", "text": ".txt"}

# kinds of column a manifest can carry; anything else is kept as JSON text
_SIMPLE = {bool: "bool", int: "int64", float: "float64", str: "string"}


def column_kinds(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The kind of each extra column, from all rows of the plan, so that every part has the same columns."""
    kinds: dict[str, str] = {}
    for row in rows:
        for key, value in row.items():
            if value is not None:
                kind = _SIMPLE.get(type(value), "json")
                before = kinds.setdefault(key, kind)
                if before != kind:
                    kinds[key] = "float64" if {before, kind} == {"int64", "float64"} else "json"
            else:
                kinds.setdefault(key, "")
    return {key: kind or "string" for key, kind in sorted(kinds.items())}


def write(path: Path, records: Sequence[Record], form: str, columns: Mapping[str, str]) -> None:
    """Write one part, whole or not at all.

    Args:
        path: the file.
        records: in order.
        form: a key of ``SUFFIXES``. ``text`` keeps ids and units only.
        columns: of ``column_kinds``.
    Raises:
        CheckpointError: the disk is full or the place cannot be written to.
    """
    # webdataset ends a key at the first dot, so the part of the name before it begins the keys
    webdataset = functools.partial(_tar, prefix=path.name.split(".")[0])
    writers: dict[str, Callable[[Path, Sequence[Record], Mapping[str, str]], None]] = {
        "jsonl": _jsonl, "parquet": _parquet, "webdataset": webdataset, "text": _text,
    }  # fmt: skip
    with atomic_path(path) as temporary:
        writers[form](temporary, records, columns)


def read(path: Path) -> Iterator[Record]:
    """The records of one part; those of ``text`` hold ``id`` and ``units`` only.

    Raises:
        InputError: damaged, or of an unknown format.
    """
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet, ".tar": _read_tar, ".txt": _read_text}
    if path.suffix not in readers:
        raise InputError(f"{path} is no file of units; one of {', '.join(readers)} needed")
    with _telling(path):
        yield from map(_record, readers[path.suffix](path))


def count(path: Path) -> int:
    """Number of records of one part, which is known without reading all of them.

    Raises:
        InputError: as ``read``.
    """
    with _telling(path):
        if path.suffix == SUFFIXES["parquet"]:
            return int(_arrow()[1].read_metadata(path).num_rows)
        if path.suffix == SUFFIXES["webdataset"]:
            with tarfile.open(path) as archive:
                return sum(1 for _ in archive)
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    # pyarrow's errors are ValueError and OSError, except where it is damaged in the middle
    except (ValueError, KeyError, TypeError, EOFError, RuntimeError, tarfile.TarError, OSError) as error:
        raise InputError(f"{path} cannot be read as units ({error}); mend it, or delete it and encode again") from error


def parts(folder: str | Path) -> list[Path]:
    """The files of units in a folder, in order; or the file itself.

    Raises:
        InputError: there are none.
    """
    path = Path(folder)
    if path.is_file():
        return [path]
    found = sorted(p for p in path.glob("part-*") if p.suffix in SUFFIXES.values())
    if not found:
        raise InputError(f"{path} holds no units; make some with `speechssl units encode`")
    return found


def read_all(path: str | Path) -> Iterator[Record]:
    """All records of a folder or file of units, in order; those of text with the codebook that the folder names.

    Raises:
        InputError: as ``parts`` and ``read``, or every recording of the folder failed.
    """
    empty = True
    for part in parts(path):
        meta = part.with_name(META)
        known = foreign.read_object(meta) if part.suffix == SUFFIXES["text"] and meta.exists() else {}
        for record in read(part):
            empty = False
            yield {"codebook": known["codebook"], **record} if "codebook" in known else record
    if empty:
        raise InputError(f"{path} holds no units, for every recording failed; failed.jsonl in the folder says why")


def parsed(text: str, what: str) -> Iterator[Record]:
    """The records of JSON lines that came through a pipe.

    Raises:
        InputError: a line is no record; the message begins with ``what``.
    """
    for number, row in enumerate(text.splitlines(), start=1):
        if row.strip():
            place = f"{what}, line {number}"
            try:
                yield _record(foreign.parse(row, place))
            except InputError as error:
                raise InputError(f"{place} is no record of units ({error})") from error


def parsed_text(text: str, what: str) -> Iterator[Record]:
    """The records of rows of ``text`` that came through a pipe.

    Raises:
        InputError: a line is no such row; the message begins with ``what``.
    """
    for number, row in enumerate(text.splitlines(), start=1):
        if row.strip():
            place = f"{what}, line {number}"
            try:
                yield _text_row(row, place)
            except ValueError as error:
                raise InputError(f"{place} is no row of units; an id, a tab and units needed") from error


def line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON, always the same for the same record."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def text_of(units: Sequence[Any]) -> str:
    """``"5 12 5"``; codes of several levels are joined by commas: ``"5,1 12,0"``."""
    return " ".join(",".join(map(str, u)) if isinstance(u, list) else str(u) for u in units)


def _jsonl(path: Path, records: Sequence[Record], columns: Mapping[str, str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line(record) + "\n" for record in records)


def _text(path: Path, records: Sequence[Record], columns: Mapping[str, str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        # an id may hold anything; JSON keeps tabs and line ends out of the line
        file.writelines(f"{json.dumps(r['id'], ensure_ascii=False)[1:-1]}\t{text_of(r['units'])}\n" for r in records)


def _tar(path: Path, records: Sequence[Record], columns: Mapping[str, str], *, prefix: str) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for number, record in enumerate(records):
            data = line(record).encode()
            # the id may hold dots, so it is inside
            member = tarfile.TarInfo(f"{prefix}-{number:06d}.json")
            member.size, member.mtime = len(data), 0
            archive.addfile(member, io.BytesIO(data))


def _parquet(path: Path, records: Sequence[Record], columns: Mapping[str, str]) -> None:
    pyarrow, parquet = _arrow()
    several = any(isinstance(u, list) for record in records for u in record["units"][:1])
    ids, floats = pyarrow.list_(pyarrow.int32()), pyarrow.list_(pyarrow.float64())
    fields = {
        "id": pyarrow.string(), "path": pyarrow.string(), "sample_rate": pyarrow.int32(),
        "seconds": pyarrow.float64(), "frames": pyarrow.int64(),
        "units": pyarrow.list_(ids) if several else ids, "durations": ids,
        "start": floats, "end": floats, "codebook": pyarrow.string(),
    }  # fmt: skip
    for name, kind in columns.items():
        fields[name] = pyarrow.type_for_alias("string" if kind == "json" else kind)
    table = {
        name: pyarrow.array([_cell(record.get(name), columns.get(name)) for record in records], kind)
        for name, kind in fields.items()
    }
    parquet.write_table(pyarrow.table(table), path, compression="zstd")


def _cell(value: Any, kind: str | None) -> Any:
    if value is None or kind != "json":
        return float(value) if kind == "float64" and value is not None else value
    return value if isinstance(value, str) else line(value)


def check_form(form: str) -> None:
    """Ask for what a form needs, before anything is loaded or made.

    Raises:
        InputError: no such form, or its library is absent.
    """
    if form not in SUFFIXES:
        raise InputError(f"--format is {form!r}; one of {', '.join(SUFFIXES)} needed")
    if form == "parquet":
        _arrow()


def _arrow() -> tuple[Any, Any]:
    with errors.importing("pyarrow", purpose="parquet (jsonl needs nothing)", extra="units"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet


def _read_jsonl(path: Path) -> Iterator[Record]:
    yield from (row for _, row in foreign.read_lines(path))


def _read_text(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as file:
        for row in file:
            yield _text_row(row.rstrip("\n"), path)


def _text_row(row: str, place: str | Path) -> Record:
    name, _, units = row.partition("\t")
    codes = [[int(code) for code in unit.split(",")] for unit in units.split(" ")]
    return {"id": foreign.parse(f'"{name}"', place), "units": [c[0] if len(c) == 1 else c for c in codes]}


def _read_tar(path: Path) -> Iterator[Record]:
    with tarfile.open(path) as archive:
        for member in archive:
            if (
                not member.isreg()
                or member.size > foreign.LONGEST_LINE
                or (file := archive.extractfile(member)) is None
            ):
                raise InputError(f"{member.name!a:.60} in it is something else than a record")
            yield foreign.parse(file.read(), path)


def _read_parquet(path: Path) -> Iterator[Record]:
    _, parquet = _arrow()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(64):
            yield from batch.to_pylist()


def _record(row: Any) -> Record:
    """A row, if it is a record: everything that reads units asks for these fields alone."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("units"), list):
        raise InputError("an object with an id and a list of units needed")
    if not all(isinstance(code, int) for unit in row["units"] for code in (unit if isinstance(unit, list) else [unit])):
        raise InputError("its units are not whole numbers")
    return row
