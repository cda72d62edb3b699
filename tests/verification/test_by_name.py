"""Verify, enrol and identify by recordings, with the database as an object or as its file."""

from __future__ import annotations

from pathlib import Path

import pytest

import speechssl
from speechssl.errors import InputError
from speechssl.verification.database import SpeakerDatabase

ADA, SENTENCE = speechssl.clip("ada"), speechssl.clip("ada", "sentence")


def test_a_database_is_an_object_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "team.sqlite"
    assert speechssl.enrol("ada", ADA, database=str(file)) == 1
    with SpeakerDatabase(file) as opened:
        for database in (file, str(file), opened):
            assert speechssl.identify(SENTENCE, database)[0].speaker == "ada"
            assert speechssl.verify(ADA, SENTENCE, database=database).decision == "same"


def test_a_database_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "taem.sqlite"
    for call in (
        lambda: speechssl.identify(SENTENCE, file),
        lambda: speechssl.verify(ADA, SENTENCE, database=file),
    ):
        with pytest.raises(InputError, match=r"taem\.sqlite does not exist; check the path, or enrol"):
            call()
    assert not file.exists()
