"""What cannot be made again lies in the data folder, and whoever is removed is gone from all of it."""

from __future__ import annotations

import io
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Spectra, takes

from speechssl import checkpoints, cli
from speechssl.receipts import signing, trust
from speechssl.signals import Embedding, Waveform
from speechssl.training.probing import encodings
from speechssl.verification import calibration, database, evaluation
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import VoiceLibrary, consent

CALIBRATION = calibration.Calibration("m@1", 10.0, -5.0, 0.5, 0.4, 0.6, 0.01, 0.0, 0.02, "a test")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SPEECHSSL_SPEAKERS", "SPEECHSSL_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPEECHSSL_VOICES", str(tmp_path / "data" / "voices"))
    monkeypatch.setenv("SPEECHSSL_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def paths(tmp_path: Path, speech: list[Waveform]) -> list[Path]:
    return takes(speech[0], tmp_path, (f"take-{number}-of-ada.wav" for number in range(2)))


def enrolment(path: Path, *numbers: float) -> Enrolment:
    vector = torch.tensor(numbers)
    return Enrolment(Embedding(vector / vector.norm(), "m@1"), path.name, checkpoints.sha256_of(path), 2.0)


def traces(*needles: bytes) -> list[str]:
    """Files of the data folder and of the cache that hold any of these bytes."""
    files = [*checkpoints.data_root().rglob("*"), *checkpoints.cache_dir().rglob("*")]
    return sorted(path.name for path in files if path.is_file() and any(one in path.read_bytes() for one in needles))


def embedded(path: Path) -> None:
    """As trials keep embeddings."""
    place = checkpoints.cache_dir() / evaluation.CACHE / "model" / f"{checkpoints.sha256_of(path)}.npy"
    place.parent.mkdir(parents=True, exist_ok=True)
    np.save(place, np.ones(3))


def stored(paths: list[Path]) -> tuple[VoiceLibrary, list[bytes]]:
    """A voice with its prints and cached embeddings, beside another voice; and what must not be found later."""
    library = VoiceLibrary()
    given = consent.attest("Ada Lovelace", "an engine")
    library.add("ada", paths, Spectra(), consent=given)
    prints = [enrolment(path, 0.123, 0.456 + number) for number, path in enumerate(paths)]
    with library.prints() as kept:
        kept.enrol("ada", prints)
        kept.enrol("other", [enrolment(paths[0], 0.5, 0.5)])
    for path in paths:
        embedded(path)
    keys = library.load("ada").keys
    needles = [
        b"Lovelace", b"-of-ada", *(checkpoints.sha256_of(path).encode() for path in paths),
        *(one.embedding.vector.numpy().tobytes() for one in prints),
        keys[3].numpy().tobytes(), keys[-3].numpy().tobytes(),
    ]  # fmt: skip
    return library, needles


def test_nothing_of_a_removed_voice_is_found(paths: list[Path], speech: list[Waveform]) -> None:
    library, needles = stored(paths)
    library.add("bob", [speech[1]], Spectra())
    with library.prints() as prints:
        prints.remove("other")
    assert set(traces(*needles)) >= {"ada.safetensors", "prints.sqlite"}
    assert cli.run(["voice", "remove", "ada"]) == 0
    assert traces(*needles) == []
    assert evaluation.cached_embeddings() == []
    assert [one.name for one in library.list()] == ["bob"]


def test_nothing_of_a_removed_recording_is_found(paths: list[Path]) -> None:
    library, needles = stored(paths)
    first, second = (checkpoints.sha256_of(path).encode() for path in paths)
    library.remove("ada", paths[0].name)
    with library.prints() as prints:
        assert [row["sha256"] for row in prints.show("ada")] == [second.decode()]
        prints.remove("other")
    assert traces(first, paths[0].name.encode(), needles[4], needles[6]) == []
    assert traces(second) == ["ada.safetensors", "prints.sqlite"]
    assert [path.stem for path in evaluation.cached_embeddings()] == [second.decode()]


def test_prints_follow_a_renamed_voice(paths: list[Path]) -> None:
    library, _ = stored(paths)
    library.rename("ada", "augusta")
    with library.prints() as prints:
        assert {row["speaker"]: row["utterances"] for row in prints.speakers()} == {"augusta": 2, "other": 1}


def test_a_damaged_voice_can_be_removed(paths: list[Path]) -> None:
    library, _ = stored(paths)
    library.path("ada").write_bytes(b"damaged")
    library.remove("ada")
    with library.prints() as prints:
        assert [row["speaker"] for row in prints.speakers()] == ["other"]


def test_nothing_of_a_removed_speaker_is_found(paths: list[Path]) -> None:
    with SpeakerDatabase(database.default_path()) as speakers:
        speakers.enrol("ada", [enrolment(paths[0], 0.123, 0.456)])
        speakers.enrol("bob", [enrolment(paths[1], 0.5, 0.6)])
    embedded(paths[0])
    needles = [
        b"take-0",
        checkpoints.sha256_of(paths[0]).encode(),
        enrolment(paths[0], 0.123, 0.456).embedding.vector.numpy().tobytes(),
    ]
    assert len(traces(*needles)) >= 1
    assert cli.run(["speakers", "remove", "ada"]) == 0
    assert traces(*needles) == []
    assert evaluation.cached_embeddings() == []


def test_speakers_of_the_cache_are_moved_at_the_first_start(paths: list[Path]) -> None:
    old, other = (checkpoints.cache_dir() / name for name in ("speakers.sqlite", "speakers-0123.sqlite"))
    for path in (old, other):
        with SpeakerDatabase(path) as before:
            before.enrol("ada", [enrolment(paths[0], 0.1, 0.9)])
            before.set_calibration(CALIBRATION)
    with sqlite3.connect(old) as connection:
        connection.executescript("PRAGMA journal_mode = DELETE; PRAGMA user_version = 1")
        for column in ("low", "high"):
            connection.execute(f"ALTER TABLE utterance DROP COLUMN {column}")
    connection.close()
    # somebody was enrolled in the new place already, as when a move was interrupted
    with SpeakerDatabase(checkpoints.data_root() / "speakers.sqlite") as after:
        after.enrol("bob", [enrolment(paths[1], 0.9, 0.1)])
    assert cli.run(["speakers", "list"]) == 0
    assert [path.name for path in checkpoints.cache_dir().iterdir() if not path.name.endswith(".lock")] == []
    with SpeakerDatabase(database.default_path()) as speakers:
        assert [row["speaker"] for row in speakers.speakers()] == ["ada", "bob"]
        assert speakers.calibrated() == ["m@1"]
    assert (checkpoints.data_root() / other.name).is_file()


@pytest.mark.usefixtures("imported_once")
def test_a_damaged_database_of_the_cache_stays_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    old = checkpoints.cache_dir() / "speakers.sqlite"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"damaged" * 100)
    assert cli.run(["speakers", "list"]) == 0
    assert old.read_bytes() == b"damaged" * 100
    capsys.readouterr()
    cli.run(["doctor"])
    assert f"{old} lies in the cache, which people empty" in capsys.readouterr().out


def test_speakers_are_not_moved_to_or_from_a_place_for_a_trial(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    old = checkpoints.cache_dir() / "speakers.sqlite"
    with SpeakerDatabase(old) as before:
        before.enrol("ada", [enrolment(paths[0], 0.1, 0.9)])
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "xdg"))
    monkeypatch.delenv("SPEECHSSL_VOICES")
    assert database.default_path() == old
    assert old.is_file()
    assert not (home / "xdg").exists()


def test_data_lists_and_empties_every_place(
    paths: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(paths)
    with SpeakerDatabase(database.default_path()) as speakers:
        speakers.enrol("ada", [enrolment(paths[0], 0.1, 0.9)])
    trust.add(signing.Signer().public, "myself")
    (checkpoints.cache_dir() / "model.bin").write_bytes(bytes(1000))
    probed = checkpoints.cache_dir() / encodings.CACHE / "0123" / "4567.safetensors"
    probed.parent.mkdir(parents=True)
    probed.write_bytes(bytes(10))
    capsys.readouterr()
    assert cli.run(["data", "list", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert all(row["files"] for row in found.values())
    assert [name for name, row in found.items() if row["again"]] == ["embeddings", "encodings", "downloads"]
    listed = {Path(path) for row in found.values() for path in row["files"]}
    kept = [path for folder in ("data", "cache") for path in (home / folder).rglob("*") if path.is_file()]
    assert {path for path in kept if not path.name.endswith(".lock")} == listed
    assert cli.run(["data", "list"]) == 0
    assert "NO" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.run(["data", "clear", "voices"]) == 2
    assert cli.run(["data", "clear", "nothing"]) == 2
    assert cli.run(["data", "clear", "embeddings"]) == 0
    assert cli.run(["data", "clear", "all", "--yes"]) == 0
    assert [path for path in kept if path.exists() and not path.name.endswith(".lock")] == []
