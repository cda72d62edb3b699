"""Files of our own formats, made or damaged by somebody else, are read or refused in words; `long_run` tries more."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import damage
import numpy as np
import pytest
import torch

from speechssl import checkpoints
from speechssl.checkpoints import foreign
from speechssl.errors import CheckpointError, InputError, SpeechSSLError
from speechssl.receipts import signing
from speechssl.signals import Waveform
from speechssl.units.codebooks import codebook, importing
from speechssl.units.encoding import manifest
from speechssl.verification import database
from speechssl.verification.database import SpeakerDatabase

EACH = 5  # damaged files of a format


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory, speech: list[Waveform]) -> Iterator[dict[str, damage.Format]]:
    folder = tmp_path_factory.mktemp("formats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHSSL_KEY", str(folder / "key.pem"))
        patch.setenv("SPEECHSSL_VOICES", str(folder / "data" / "voices"))
        yield damage.formats_of_ours(folder, speech[0])


def refusal(one: damage.Format, path: Path) -> str:
    try:
        one.read(path)
    except SpeechSSLError as error:
        return str(error)
    return ""


def test_damaged_files_are_read_or_refused_in_words(formats: dict[str, damage.Format], tmp_path: Path) -> None:
    assert len(formats) > 25
    for name, one in formats.items():
        one.read(one.path)
        for number in range(EACH):
            path = one.attacked(tmp_path / "bad", random.Random(f"{name} {number}"))
            assert refusal(one, path) == "" or 20 < len(refusal(one, path)) < 4000, name


WRONG_JSON = {
    "depth": "[" * 100_000 + "]" * 100_000,
    "NaN": '{"format": NaN}',
    "a number that is too large": '{"format": 1e999}',
    "half a surrogate pair": '{"format": "\\ud800"}',
    "a key twice": '{"format": 1, "format": 2}',
    "a list": "[]",
    "a number of a million digits": "1" * 1_000_000,
    "nothing": "",
}


@pytest.mark.parametrize("text", WRONG_JSON.values(), ids=WRONG_JSON)
def test_json_that_programs_read_differently_is_refused_everywhere(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match="damaged"):
        foreign.read_object(path)
    with pytest.raises(InputError, match="damaged"):
        signing.show(path)
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"path": "a.wav"}\n' + text + "\n")
    with (
        pytest.raises(InputError, match=r"damaged|a JSON list") if text else pytest.raises(InputError, match="no JSON")
    ):
        manifest.entries([lines]) if text else foreign.parse(text, "it")


def test_limits_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"path": "' + "a" * 1000 + '"}\n')
    with pytest.raises(InputError, match="larger than 100 bytes"):
        foreign.read_text(path, most=100)
    monkeypatch.setattr(foreign, "LONGEST_LINE", 100)
    with pytest.raises(InputError, match=r"a\.jsonl:1 is longer than 100 bytes"):
        list(foreign.read_lines(path))


def test_a_view_that_never_ends(tmp_path: Path) -> None:
    """Refused before it is asked for; a query that takes for ever is ended as well."""
    path = tmp_path / "speakers.sqlite"
    endless = "WITH RECURSIVE t(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM t) SELECT id FROM t"
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE VIEW utterance AS {endless}")
    connection.close()
    with pytest.raises(CheckpointError, match="holds a view 'utterance' that speechssl does not make"):
        SpeakerDatabase(path)
    with SpeakerDatabase(tmp_path / "good.sqlite") as good, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "SLOWEST", 0.1)
        with pytest.raises(CheckpointError, match="interrupted"):
            good._rows(f"SELECT MAX(id) FROM ({endless})")


def test_a_gigabyte_of_zeros_is_no_codebook(tmp_path: Path) -> None:
    path = tmp_path / "book.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CheckpointError, match=r"book\.safetensors"):
        codebook.load(path)
    with path.open("wb") as file:
        file.truncate(codebook.LARGEST + 1)
    with pytest.raises(CheckpointError, match="a codebook has 1024 at most"):
        codebook.load(path)


def test_arrays_that_hold_code_or_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "pickled.npz", centroids=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CheckpointError, match="cannot be read as arrays"):
        importing.read_centroids(tmp_path / "pickled.npz")
    monkeypatch.setattr(importing, "LARGEST", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("centroids.npy", bytes(2 << 20))
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="more than 1 MB"):
        importing.read_centroids(tmp_path / "bomb.npz")


def test_a_calibration_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "speakers.sqlite"
    with SpeakerDatabase(path) as made:
        made.set_calibration(damage.CALIBRATION)
        assert made.calibration("m@1") == damage.CALIBRATION
    for text in ("no JSON", "[]", "{}", json.dumps({**damage.CALIBRATION.as_dict(), "false_alarm": "much"})):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE calibration SET value = ?", (text,))
        connection.close()
        with SpeakerDatabase(path) as read, pytest.raises(CheckpointError, match="damaged calibration"):
            read.calibration("m@1")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    for read in (checkpoints.peek, foreign.read_text, lambda path: list(foreign.read_lines(path))):
        with pytest.raises(SpeechSSLError, match="a pipe or a device"):
            read(tmp_path / "a.jsonl")
    with pytest.raises(CheckpointError, match="a pipe or a device"):
        checkpoints.load(Path("/dev/zero"), kind="voice")


def test_a_voice_of_other_numbers_is_refused(formats: dict[str, damage.Format], tmp_path: Path) -> None:
    from speechssl.voices import library

    file = checkpoints.load(formats["voice"].path, kind="voice")
    for name, tensor in (("keys", file.tensors["keys"] * float("inf")), ("f0", file.tensors["f0"].double())):
        path = checkpoints.save(tmp_path / "a.safetensors", {**file.tensors, name: tensor}, file.header)
        with pytest.raises(CheckpointError, match=f"damaged voice .*{name}"):
            library.load(path)
    assert torch.isfinite(library.load(formats["voice"].path).keys).all()
