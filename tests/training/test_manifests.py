"""Manifests as spreadsheets and Windows write them, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from speechssl.errors import InputError
from speechssl.training import manifests

HEADER = "path,corpus,speaker,seconds,language,text,split"
ROW = "ann/one.wav,own,Ann,2.5,en,Good morning.,train"


@pytest.mark.parametrize(
    "written",
    [
        f"{HEADER}\n{ROW}\n".encode(),
        f"\ufeff{HEADER}\r\n{ROW}\r\n,,,,,,\r\n".encode(),
        f"{HEADER}\n{ROW}\n".replace(",", ";").encode(),
        f"{HEADER.title()}\n{ROW}\n".replace("/", "\\").encode(),
    ],
    ids=["plain", "windows", "semicolons", "backslash"],
)
def test_a_manifest_is_read_whatever_wrote_it(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(written)
    (row,) = manifests.rows(tmp_path / "m.csv", needed=(*manifests.COLUMNS, "seconds"))
    assert row == dict(zip(HEADER.split(","), ROW.split(","), strict=True))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (f"{HEADER}\n", r"m\.csv: no utterances; a CSV with the columns path, corpus, speaker, split, seconds needed"),
        (
            "path,text\na.wav,Hi.\n",
            r"no column corpus, speaker, split, seconds \(there are: path, text\)",
        ),
        (f"{HEADER}\n{ROW}\n,own,Ann,2,en,,train\n", r"m\.csv:3: no path"),
        (f"{HEADER}\n{ROW.replace('2.5', 'long')}\n", r"m\.csv:2: seconds is 'long'; a number needed"),
        (f"{HEADER}\n{ROW},more\n", r"m\.csv:2: 7 columns needed"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "m.csv").write_text(written)
    with pytest.raises(InputError, match=said):
        manifests.rows(tmp_path / "m.csv", needed=(*manifests.COLUMNS, "seconds"))


def test_what_there_is_instead_of_what_was_asked_for_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"{HEADER}\n{ROW}\n{ROW}\n")
    assert len(manifests.chosen(tmp_path / "m.csv", ["own", "other"], ["train"])) == 2
    with pytest.raises(InputError, match=r"no recordings of librispeech, dev; there are: own train \(2\)"):
        manifests.chosen(tmp_path / "m.csv", ["librispeech"], ["dev"])
