"""One rule of names, and what names do in spreadsheets, in a terminal and in a consent."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import torch

from speechssl.checkpoints import names
from speechssl.cli import terminal
from speechssl.conversion.result import Attribution, Conversion
from speechssl.errors import InputError
from speechssl.signals import Embedding, Features, Waveform
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import check_name, consent

GOOD = ["ada", "Zoë", "声", "अदा", "Ада 2"]
BAD: list[Any] = [
    *(
        "",
        " ",
        ".",
        "..",
        "a\0b",
        "a\nb",
        "\x1b[31mred",
        "a\u202eb",
        "a\u200bda",
        "\u2066ada",
        "\ufeffada",
        "a\u00adda",
    ),
    *("\u3164", "\u115f", "ada\ufe0f", "\ud800", "a\u2028b", "x" * 65, 7, None, ["ada"], b"ada"),
]
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"


@pytest.mark.parametrize("name", GOOD)
def test_names_of_all_scripts_are_taken(name: str) -> None:
    assert names.checked(name, "a speaker") == check_name(name) == name


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_names_that_deceive_are_refused_everywhere(name: Any, tmp_path: Path) -> None:
    no_name = isinstance(name, str) and not name.strip()
    reason = "give a speaker a name" if no_name else r"cannot name a speaker.* printable"
    with pytest.raises(InputError, match=reason):
        names.checked(name, "a speaker")
    one = Enrolment(Embedding(torch.tensor([1.0, 0.0]), "m@1"), "a.wav", "a" * 64, 2.0)
    with (
        SpeakerDatabase(tmp_path / "speakers.sqlite") as database,
        pytest.raises(InputError, match=r"cannot name|give a"),
    ):
        database.enrol(name, [one])
    if isinstance(name, str):
        with pytest.raises(InputError, match=r"cannot name a voice|give a voice a name"):
            check_name(name)


def test_two_ways_to_write_a_letter_are_one_name() -> None:
    assert names.checked("Zoe\u0308", "a speaker") == check_name("Zoe\u0308") == "Zo\u00eb"


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_name_is_no_formula_in_a_spreadsheet(name: str, tmp_path: Path) -> None:
    one = Attribution(
        name, (name,), *(torch.zeros(1, 1, dtype=kind) for kind in (torch.int64, torch.float64, torch.float64)),
        torch.ones(1, 1, dtype=torch.float64),
    )  # fmt: skip
    made = Conversion(
        Waveform(torch.zeros(320), 16_000), Features(torch.zeros(1, 4), 50.0, "m/1"), "uniform", "as asked", (one,),
        torch.ones(1, dtype=torch.float64),
    )  # fmt: skip
    made.write_attribution(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        _, row = csv.reader(file)
    assert row[4] == row[5] == f"'{name}"
    batches = pytest.importorskip("speechssl.app.handlers.batches", reason="the page needs Gradio")
    table = batches._table([dict.fromkeys(batches.COLUMNS, name)])
    assert all(cell == f"'{name}" for cell in list(csv.reader(io.StringIO(table, newline="")))[1])


def test_no_escape_sequence_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.remark(f"{ESCAPES} is enrolled")
    terminal.say(f"{ESCAPES}\nenrolled")
    terminal.emit({"speaker": ESCAPES})
    terminal.table([(ESCAPES, "1 s")], ("speaker", "length"))
    written = capsys.readouterr()
    assert all(names.is_visible(line.replace("\ufffd", "")) for line in (written.out + written.err).split("\n"))
    assert "enrolled" in written.out
    assert '"\\u001b]0;owned' in written.out  # JSON keeps the value in its own notation


@pytest.mark.parametrize("who", ["\u200b\u200c", "...", "  ", "123", "\u3164", "Ada\u202e"])
def test_consent_needs_somebody_and_something(who: str) -> None:
    for given in (f"{who}: an audiobook", f"Ada Smith: {who}"):
        with pytest.raises(InputError, match="consent"):
            consent.parse(given)
    assert consent.parse("Ада: книга").who == "Ада"
