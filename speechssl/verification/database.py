"""The database of enrolled speakers: one SQLite file, safe with several processes writing, and after a kill.

Every row has the origin of its embedding (model and fingerprint of its weights), and only embeddings of one origin are
ever compared. An enrolment of several utterances is one transaction: all of it is there, or nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechssl import checkpoints
from speechssl.checkpoints import foreign, kinds, names
from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Embedding
from speechssl.verification.band import Band
from speechssl.verification.calibration import Calibration

NAME = "speakers.sqlite"
BESIDE = ("-wal", "-shm", "-journal")  # what SQLite may keep beside a database
VERSION = 3  # 2: with the band of each recording; 3: with its noise
LARGEST = 1 << 16  # bytes of one embedding; the largest known has 3072
LONGEST = 1 << 20  # bytes of a value or a row
WAIT = 30.0  # seconds a writer waits for another one
SLOWEST, STEPS = 60.0, 100_000  # seconds of one query (a million utterances take three), and steps between two looks
_TABLES = """
CREATE TABLE IF NOT EXISTS utterance (
    id INTEGER PRIMARY KEY,
    speaker TEXT NOT NULL,
    origin TEXT NOT NULL,
    vector BLOB NOT NULL,
    source TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    seconds REAL NOT NULL,
    added TEXT NOT NULL,
    low REAL,
    high REAL,
    snr REAL,
    UNIQUE (speaker, origin, sha256));
CREATE TABLE IF NOT EXISTS calibration (origin TEXT PRIMARY KEY, value TEXT NOT NULL, added TEXT NOT NULL);
"""
BAND = ("low", "high", "snr")  # columns of ``Band``
_COLUMNS = {
    "utterance": ["id", "speaker", "origin", "vector", "source", "sha256", "seconds", "added", *BAND],
    "calibration": ["origin", "value", "added"],
}


_CURES = {
    "thread": "open it again, in the thread that uses it",
    "closed": "open it again",
    "is not a database": "what 'speakers export' writes is to be read; copy the database file itself instead",
    "is full": "make room on the disk; nothing that was enrolled before is lost",
    "": "check that speechssl wrote it, that it is writable, and that no other program holds it",
}


class _Foreign(Exception):
    """A row that this package does not write."""


def _field(check: Callable[..., object], *given: str) -> Callable[[Any], Any]:
    def checked(value: Any) -> Any:
        try:
            return check(value, *given)
        except InputError as error:
            raise _Foreign(str(error)) from error

    return checked


def _seconds(value: object) -> float:
    if not isinstance(value, float) or not 0 <= value < math.inf:
        raise InputError(f"seconds is {value!a:.60}; a number from 0 on needed")
    return value


def _edge(value: object) -> float | None:
    return None if value is None else _seconds(value)


def _vector(value: object) -> bytes:
    if not isinstance(value, bytes) or len(value) % 4 or not 0 < len(value) <= LARGEST:
        raise InputError(f"a voice print is {value!a:.30}; up to {LARGEST} bytes of 32-bit numbers needed")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "speaker": _field(names.checked, "a speaker"),
    "origin": _field(names.text_field, "origin"),
    "source": _field(names.text_field, "source"),
    "sha256": _field(names.checksum_field),
    "added": _field(names.time_field, "added"),
    "seconds": _field(_seconds),
    **{name: _field(_edge) for name in BAND},
    "vector": _field(_vector),
}


@dataclass(frozen=True, eq=False)
class Enrolment:
    """One utterance to enrol: its embedding, and where it came from (seconds of speech, checksum of the file).

    Args:
        band: of the recording; None if it was not measured, as in databases of version 1.
    """

    embedding: Embedding
    source: str
    sha256: str
    seconds: float
    band: Band | None = None


class SpeakerDatabase:
    """Enrolled utterances by speaker, and calibrations by model.

    Args:
        path: of the file; made where there is none.
    Raises:
        CheckpointError: no database, which stays as it is, or damaged, of a newer version, or not writable.
    """

    @kinds.checked
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._translated():
            self._connection = self._connected()
            try:
                self._check_tables()
                if os.access(self.path, os.W_OK):
                    checkpoints.make_private(Path(f"{self.path}{suffix}") for suffix in ("", *BESIDE))
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _connected(self) -> sqlite3.Connection:
        """The file, made where there is none; for reading alone where the place is read-only."""
        address, only_read = str(self.path), self.path.exists() and not os.access(self.path, os.W_OK)
        if only_read:
            # without a log of writers beside it nothing changes, and SQLite asks for no files of its own
            mode = "mode=ro" if Path(f"{self.path}-wal").exists() else "mode=ro&immutable=1"
            address = f"{self.path.absolute().as_uri()}?{mode}"
        else:
            checkpoints.private_folder(self.path.parent)
            # SQLite gives the files beside it the same rights
            if not self.path.exists():
                self.path.touch(checkpoints.OWN_FILE)
        # autocommit: transactions are begun where they are meant
        return sqlite3.connect(address, timeout=WAIT, isolation_level=None, uri=only_read)

    def _check_tables(self) -> None:
        """Refuse a file that does more than hold rows: views, triggers, columns that are computed."""
        self._until = time.monotonic() + SLOWEST
        self._connection.set_progress_handler(lambda: time.monotonic() > self._until, STEPS)
        # Python 3.10 has no limits
        if sys.version_info >= (3, 11):
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        self._connection.execute("PRAGMA trusted_schema = OFF")
        for kind, name, statement in self._connection.execute("SELECT type, name, sql FROM sqlite_master"):
            known = (kind == "table" and name in _COLUMNS) or (kind == "index" and statement is None)
            if not known and not str(name).startswith("sqlite_stat"):
                raise _Foreign(f"it holds a {kind} {name!a:.60} that speechssl does not make")
        for table, columns in _COLUMNS.items():
            found = {(row[1], row[6]) for row in self._connection.execute(f"PRAGMA table_xinfo({table})")}
            if not found <= {(column, 0) for column in columns}:
                raise _Foreign(f"its table {table} has columns that speechssl does not make")

    def _prepare(self) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise CheckpointError(
                f"{self.path} is a speaker database of version {version}; up to {VERSION} can be read: update speechssl"
            )
        self._connection.execute("PRAGMA synchronous = FULL")  # what was said to be enrolled survives a power cut
        if version < VERSION:
            # the first writers of a new file wait here: SQLite does not wait for a change of the journal
            with checkpoints.alone(self.path.parent, f".{self.path.name}.lock"):
                self._connection.execute("PRAGMA journal_mode = WAL")
            with self._writing():
                for statement in _TABLES.split(";"):
                    self._connection.execute(statement)
                columns = {row[1] for row in self._connection.execute("PRAGMA table_info(utterance)")}
                for name in set(BAND) - columns:
                    self._connection.execute(f"ALTER TABLE utterance ADD COLUMN {name} REAL")
                self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def enrol(self, name: str, utterances: Sequence[Enrolment]) -> int:
        """Add utterances to a speaker, all or none.

        Returns:
            How many were new: a file whose bytes are enrolled already, for this speaker and model, is passed over.
        Raises:
            InputError: a name that is none (see ``names.checked``), or nothing to enrol.
        """
        name = names.checked(name, "a speaker")
        if not utterances:
            raise InputError("at least one recording needed to enrol")
        rows = [
            (
                name,
                u.embedding.origin,
                np.asarray(u.embedding.vector.detach().cpu().numpy(), "<f4").tobytes(),
                names.visible(u.source),
                u.sha256,
                u.seconds,
                names.now(),
                *_edges(u.band),
            )
            for u in utterances
        ]
        with self._writing():
            before = self._connection.total_changes
            self._connection.executemany(
                "INSERT OR IGNORE INTO utterance (speaker, origin, vector, source, sha256, seconds, added, "
                "low, high, snr) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            new = self._connection.total_changes - before
            # enrolled before bands were measured: enrolling the file again adds its band
            self._connection.executemany(
                "UPDATE utterance SET low = ?, high = ?, snr = ? WHERE speaker = ? AND origin = ? AND sha256 = ? "
                "AND (high IS NULL OR snr IS NULL)",
                [(*_edges(u.band), name, u.embedding.origin, u.sha256) for u in utterances],
            )
            return new

    def speakers(self) -> list[dict[str, Any]]:
        """A row a speaker and model: name, origin, utterances, seconds, when last added to."""
        found = self._rows(
            "SELECT speaker, origin, COUNT(*), SUM(seconds) AS seconds, MAX(added) AS added FROM utterance "
            "GROUP BY speaker, origin ORDER BY speaker, origin"
        )
        return [dict(zip(("speaker", "origin", "utterances", "seconds", "added"), row, strict=True)) for row in found]

    def show(self, name: str) -> list[dict[str, Any]]:
        """The utterances of a speaker, without their vectors.

        Raises:
            InputError: nobody of that name; the message lists who is there.
        """
        query = "SELECT id, origin, source, sha256, seconds, added FROM utterance WHERE speaker = ? ORDER BY id"
        found = self._rows(query, name)
        if not found:
            raise InputError(self._unknown(name))
        return [dict(zip(("id", "origin", "source", "sha256", "seconds", "added"), row, strict=True)) for row in found]

    def remove(self, name: str) -> int:
        """Forget a speaker; returns how many utterances that were.

        Raises:
            InputError: nobody of that name.
        """
        if not (count := self.forget(name)):
            raise InputError(self._unknown(name))
        return count

    def forget(self, name: str, checksums: Collection[str] | None = None) -> int:
        """As ``remove``, also if there is nobody; of the recordings with these checksums alone, if some are given."""
        with self._writing():
            known = self._connection.execute("SELECT id, sha256 FROM utterance WHERE speaker = ?", (name,)).fetchall()
            gone = [(number,) for number, sha256 in known if checksums is None or sha256 in checksums]
            self._connection.executemany("DELETE FROM utterance WHERE id = ?", gone)
        # deleted pages would keep the voice print until they are reused
        with self._translated():
            self._until = math.inf
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(gone)

    def rename(self, name: str, new: str) -> None:
        """Give the utterances of a speaker to another name."""
        new = names.checked(new, "a speaker")
        with self._writing():
            self._connection.execute("UPDATE OR REPLACE utterance SET speaker = ? WHERE speaker = ?", (new, name))

    def absorb(self, other: SpeakerDatabase) -> None:
        """Take in all that another database holds and this one does not."""
        columns = _COLUMNS["utterance"][1:]  # without the id, which is the database's own
        told, marks = ", ".join(columns), ", ".join("?" * len(columns))
        rows = other._rows(f"SELECT {told} FROM utterance ORDER BY id")
        calibrations = other._rows("SELECT origin, value, added FROM calibration")
        with self._writing():
            self._connection.executemany(f"INSERT OR IGNORE INTO utterance ({told}) VALUES ({marks})", rows)
            self._connection.executemany("INSERT OR IGNORE INTO calibration VALUES (?, ?, ?)", calibrations)

    def calibrated(self) -> list[str]:
        """The models that have a calibration here."""
        return [row[0] for row in self._rows("SELECT origin FROM calibration ORDER BY origin")]

    def enrolled(self, origin: str) -> dict[str, list[Enrolment]]:
        """Utterances of every speaker enrolled with this model; those of other models are left out."""
        found: dict[str, list[Enrolment]] = {}
        for speaker, vector, source, sha256, seconds, low, high, snr in self._rows(
            "SELECT speaker, vector, source, sha256, seconds, low, high, snr FROM utterance WHERE origin = ? "
            "ORDER BY speaker, id",
            origin,
        ):
            with self._translated():
                band = None if high is None else Band(low, high, snr)
                one = Enrolment(_unpacked(vector, origin), source, sha256, seconds, band)
            found.setdefault(speaker, []).append(one)
        return found

    def embeddings(self, origin: str) -> dict[str, list[Embedding]]:
        """Embeddings alone of ``enrolled``."""
        return {name: [row.embedding for row in rows] for name, rows in self.enrolled(origin).items()}

    def origins(self) -> dict[str, int]:
        """Speakers enrolled with each model."""
        return dict(self._rows("SELECT origin, COUNT(DISTINCT speaker) FROM utterance GROUP BY origin ORDER BY origin"))

    def export(self) -> dict[str, Any]:
        """Everything, JSON-able, vectors included."""
        columns = ("speaker", "origin", "vector", "source", "sha256", "seconds", "added", *BAND)
        rows = self._rows(f"SELECT {', '.join(columns)} FROM utterance ORDER BY id")
        utterances = [dict(zip(columns, row, strict=True)) for row in rows]
        for row in utterances:
            row["vector"] = _unpacked(row["vector"], row["origin"]).vector.tolist()
        calibrations = self._rows("SELECT value FROM calibration ORDER BY origin")
        return {
            "version": VERSION,
            "utterances": utterances,
            "calibrations": [self._calibration(row[0]).as_dict() for row in calibrations],
        }

    def set_calibration(self, calibration: Calibration) -> None:
        """Store a calibration, in place of an earlier one of the same model."""
        with self._writing():
            self._connection.execute(
                "INSERT OR REPLACE INTO calibration (origin, value, added) VALUES (?, ?, ?)",
                (calibration.origin, json.dumps(calibration.as_dict()), names.now()),
            )

    def calibration(self, origin: str) -> Calibration | None:
        """The calibration of this model, if there is one."""
        found = self._rows("SELECT value FROM calibration WHERE origin = ?", origin)
        return self._calibration(found[0][0]) if found else None

    def _calibration(self, text: object) -> Calibration:
        try:
            return Calibration.from_dict(foreign.parse_object(str(text), "it"), source=str(self.path))
        except InputError as error:
            raise CheckpointError(f"{self.path} holds a damaged calibration ({error}); calibrate again") from error

    def remove_calibration(self, origin: str) -> Calibration | None:
        """Remove the calibration of this model; returns what was removed, None if there was none."""
        found = self.calibration(origin)
        with self._writing():
            self._connection.execute("DELETE FROM calibration WHERE origin = ?", (origin,))
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> SpeakerDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, query: str, *values: object) -> list[Any]:
        """The rows of a query; the columns that somebody else may have written are checked by their names."""
        with self._translated():
            self._until = time.monotonic() + SLOWEST
            found = self._connection.execute(query, values)
            checks = [_CHECKS.get(column[0], lambda value: value) for column in found.description]
            return [tuple(check(one) for check, one in zip(checks, row, strict=True)) for row in found]

    def _unknown(self, name: str) -> str:
        known = sorted({row["speaker"] for row in self.speakers()})
        return f"nobody called {name!r} is enrolled in {self.path}; there are: {', '.join(known[:20]) or 'none'}"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction: committed as a whole, or rolled back."""
        with self._translated():
            self._until = time.monotonic() + WAIT + SLOWEST
            # IMMEDIATE takes the lock at once; a read lock that is raised later can dead-lock with another writer
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                # an error may have ended the transaction already
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError, _Foreign) as error:
            do = next(do for text, do in _CURES.items() if text in str(error))
            raise CheckpointError(f"cannot use the speaker database {self.path}: {error}; {do}") from error


def default_path() -> Path:
    """Where the command line keeps its database: ``$SPEECHSSL_SPEAKERS``, else in ``checkpoints.data_root()``.

    What earlier versions kept in the cache is moved there, unless it is damaged. If only one of ``$SPEECHSSL_VOICES``
    and ``$SPEECHSSL_CACHE`` is set, for a trial or a container, the database in the cache goes on.
    """
    if chosen := os.environ.get("SPEECHSSL_SPEAKERS"):
        return Path(chosen).expanduser()
    root, old = checkpoints.data_root(), in_old_place()
    if old and bool(os.environ.get("SPEECHSSL_VOICES")) != bool(os.environ.get("SPEECHSSL_CACHE")):
        return checkpoints.cache_dir() / NAME
    for path in old:
        with contextlib.suppress(CheckpointError):
            _move(path, root / path.name)
    return root / NAME


def in_old_place() -> list[Path]:
    """Databases that earlier versions kept in the cache, which people empty."""
    folder = checkpoints.cache_dir()
    return sorted(folder.glob("speakers*.sqlite")) if folder != checkpoints.data_root() else []


def _move(old: Path, new: Path) -> None:
    """All rows first, then the file: a process that is killed in between leaves both, and the next one goes on."""
    with SpeakerDatabase(old) as before, SpeakerDatabase(new) as after:
        after.absorb(before)
    for suffix in ("", *BESIDE):
        old.with_name(old.name + suffix).unlink(missing_ok=True)


def _unpacked(vector: bytes, origin: str) -> Embedding:
    import torch

    return Embedding(torch.from_numpy(np.frombuffer(vector, "<f4").copy()), origin)


def _edges(band: Band | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if band is None else (band.low, band.high, band.snr)
