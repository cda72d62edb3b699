"""The speaker database: what is in it stays, whatever happens to the process or beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forking
import pytest
import torch

from speechssl.errors import CheckpointError, InputError
from speechssl.signals import Embedding
from speechssl.verification.band import Band
from speechssl.verification.calibration import Calibration
from speechssl.verification.database import Enrolment, SpeakerDatabase

ORIGIN = "small@0123456789abcdef"
WRITER = """
import hashlib
import sys
import torch
from speechssl.signals import Embedding
from speechssl.verification.database import Enrolment, SpeakerDatabase
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with SpeakerDatabase(path) as database:
    for number in range(count):
        embedding = Embedding(torch.nn.functional.one_hot(torch.tensor(number % 4), 4).float(), "m@1")
        sums = [hashlib.sha256(f"{name}{number}-{part}".encode()).hexdigest() for part in range(2)]
        database.enrol(name, [Enrolment(embedding, "a.wav", one, 2.0) for one in sums])
        print(number, flush=True)
"""


def enrolment(number: int, origin: str = ORIGIN) -> Enrolment:
    vector = torch.nn.functional.normalize(torch.arange(4.0) + number, dim=0)
    return Enrolment(Embedding(vector, origin), f"{number}.wav", f"{number:064x}", 2.0 + number)


def calibration(origin: str = ORIGIN) -> Calibration:
    return Calibration(origin, 10.0, -4.0, 0.4, 0.3, 0.5, None, 0.0, 0.1, "somebody")


def writer(path: Path, name: str, count: int) -> forking.Program:
    return forking.Program(WRITER, path, name, count)


def test_what_is_enrolled_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "new" / "speakers.sqlite"
    with SpeakerDatabase(path) as database:
        assert database.enrol("ada", [enrolment(0), enrolment(1)]) == 2
        assert database.enrol("ada", [enrolment(1), enrolment(2)]) == 1  # the same bytes count once
        database.enrol("bob", [enrolment(1)])
    with SpeakerDatabase(path) as database:
        assert [(row["speaker"], row["utterances"]) for row in database.speakers()] == [("ada", 3), ("bob", 1)]
        assert [row["source"] for row in database.show("ada")] == ["0.wav", "1.wav", "2.wav"]
        found = database.embeddings(ORIGIN)
        assert torch.equal(found["ada"][1].vector, enrolment(1).embedding.vector)


def test_who_is_enrolled_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "speakers of mine?" / "100%.sqlite"
    with SpeakerDatabase(path) as database:
        database.enrol("ada", [enrolment(0)])
    before = {one: one.read_bytes() for one in path.parent.iterdir()}
    # the superuser of the tests may write anywhere
    monkeypatch.setattr("os.access", lambda *_: False)
    with SpeakerDatabase(path) as database:
        assert torch.equal(database.embeddings(ORIGIN)["ada"][0].vector, enrolment(0).embedding.vector)
        with pytest.raises(CheckpointError, match="readonly database; check that speechssl wrote it"):
            database.enrol("bob", [enrolment(1)])
    assert {one: one.read_bytes() for one in path.parent.iterdir()} == before


def test_embeddings_of_another_model_are_never_given(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.enrol("ada", [enrolment(0), enrolment(0, "other@1")])
        database.enrol("bob", [enrolment(1, "other@1")])
        assert {name: len(found) for name, found in database.embeddings(ORIGIN).items()} == {"ada": 1}
        assert database.embeddings("third@2") == {}
        assert database.origins() == {ORIGIN: 1, "other@1": 2}


def test_remove_forgets_the_vectors_on_disk_too(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with SpeakerDatabase(path) as database:
        database.enrol("adalovelace", [enrolment(0)])
        database.enrol("bob", [enrolment(1)])
        assert database.remove("adalovelace") == 1
        assert [row["speaker"] for row in database.speakers()] == ["bob"]
        with pytest.raises(InputError, match=r"nobody called 'adalovelace'.*there are: bob"):
            database.remove("adalovelace")
    assert not any(b"adalovelace" in file.read_bytes() for file in tmp_path.iterdir())


def test_export_holds_everything(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.enrol("ada", [enrolment(3)])
        database.set_calibration(calibration())
        found = database.export()
    assert found["utterances"][0]["vector"] == pytest.approx(enrolment(3).embedding.vector.tolist())
    assert found["calibrations"] == [calibration().as_dict()]


def test_calibration_is_kept_for_its_model(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        assert database.calibration(ORIGIN) is None
        database.set_calibration(calibration())
        database.set_calibration(calibration("other@1"))
        assert database.calibration(ORIGIN) == calibration()
        assert database.calibration("third@2") is None


def test_bad_files_and_names_are_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer.sqlite"
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CheckpointError, match=r"newer\.sqlite is a speaker database of version 99"):
        SpeakerDatabase(newer)
    noise = tmp_path / "noise.sqlite"
    noise.write_bytes(b"this is no database" * 100)
    with pytest.raises(CheckpointError, match=r"noise\.sqlite"):
        SpeakerDatabase(noise)
    with pytest.raises(CheckpointError, match="cannot use"):
        SpeakerDatabase(tmp_path)
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        with pytest.raises(InputError, match="give a speaker a name"):
            database.enrol(" ", [enrolment(0)])
        with pytest.raises(InputError, match="at least one recording needed"):
            database.enrol("ada", [])
        with pytest.raises(InputError, match="there are: none"):
            database.show("ada")


@pytest.mark.parametrize("kind", ["text", "long text", "database", "log of writers"])
def test_a_file_that_is_no_database_of_speakers_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    own = tmp_path / "own.txt"
    if "text" in kind:
        own.write_bytes(b"my notes" * (1 if kind == "text" else 1000))
    else:
        with contextlib.closing(sqlite3.connect(own)) as connection:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if kind == 'log of writers' else 'DELETE'}")
            connection.execute("CREATE TABLE notes (note TEXT)")
    own.chmod(0o664)
    before = own.read_bytes(), own.stat()
    with pytest.raises(CheckpointError, match=r"cannot use the speaker database .*own\.txt"):
        SpeakerDatabase(own)
    assert (own.read_bytes(), own.stat().st_mode, own.stat().st_mtime_ns) == (
        before[0],
        before[1].st_mode,
        before[1].st_mtime_ns,
    )
    assert list(tmp_path.iterdir()) == [own]


def test_a_database_of_speakers_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "speakers.sqlite"
    with SpeakerDatabase(path) as database:
        database.enrol("ada", [enrolment(0)])
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)  # as a copy may have it
    with SpeakerDatabase(path) as database:
        database.enrol("ada", [enrolment(1)])
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.glob("speakers.sqlite*")}
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)


def test_an_interrupted_enrolment_leaves_nothing(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.enrol("ada", [enrolment(0), enrolment(2)])

        def interrupted() -> None:
            with database._writing():
                database._connection.execute("DELETE FROM utterance")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert len(database.show("ada")) == 2
        assert database.enrol("ada", [enrolment(3)]) == 1


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    processes = [writer(path, name, 15) for name in ("ada", "bob")]
    for process in processes:
        assert process.ended().returncode == 0
    with SpeakerDatabase(path) as database:
        assert {row["speaker"]: row["utterances"] for row in database.speakers()} == {"ada": 30, "bob": 30}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_writer_loses_no_finished_enrolment_and_leaves_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    process = writer(path, "ada", 10**6)
    process.line(6)
    time.sleep(0.05)
    process.kill()
    finished = max(int(line) for line in process.ended().stdout.split("\n")[:-1])
    with SpeakerDatabase(path) as database:
        count = len(database.show("ada"))
        assert count >= 2 * (finished + 1)
        assert count % 2 == 0
        assert database.enrol("bob", [enrolment(0)]) == 1


def test_a_database_is_of_the_thread_that_opened_it_and_open(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(database.speakers).exception()
    assert isinstance(heard, CheckpointError)
    assert "open it again, in the thread that uses it" in str(heard)
    with pytest.raises(CheckpointError, match=r"closed database.*; open it again"):
        database.speakers()


def test_a_database_without_bands_is_read_and_completed(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE utterance (id INTEGER PRIMARY KEY, speaker TEXT NOT NULL, origin TEXT NOT NULL, vector BLOB NOT "
        "NULL, source TEXT NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL, added TEXT NOT NULL, "
        "UNIQUE (speaker, origin, sha256)); PRAGMA user_version = 1;"
    )
    vector = enrolment(1).embedding.vector.numpy().tobytes()
    connection.execute(
        "INSERT INTO utterance (speaker, origin, vector, source, sha256, seconds, added) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ("ada", ORIGIN, vector, "1.wav", f"{1:064x}", 3.0, "2026-01-01T00:00:00+00:00"),
    )
    connection.commit()
    connection.close()
    with SpeakerDatabase(path) as database:
        assert database.enrolled(ORIGIN)["ada"][0].band is None
        # the same file again is not new, but its band is kept
        band = Band(0.0, 7500.0)
        assert database.enrol("ada", [dataclasses.replace(enrolment(1), band=band)]) == 0
        assert [row.band for row in database.enrolled(ORIGIN)["ada"]] == [band]
        # so is its noise, which version 2 did not measure
        band = Band(0.0, 7500.0, 31.5)
        assert database.enrol("ada", [dataclasses.replace(enrolment(1), band=band)]) == 0
        assert [row.band for row in database.enrolled(ORIGIN)["ada"]] == [band]
    with SpeakerDatabase(path) as database:
        assert database.enrolled(ORIGIN)["ada"][0].band == band


def test_a_calibration_is_removed(tmp_path: Path) -> None:
    with SpeakerDatabase(tmp_path / "x.sqlite") as database:
        database.set_calibration(calibration())
        assert database.remove_calibration(ORIGIN) == calibration()
        assert database.calibration(ORIGIN) is None
        assert database.remove_calibration(ORIGIN) is None
