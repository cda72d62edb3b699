"""Who says what in a text, and the silence between."""

from __future__ import annotations

import pytest

from speechssl.app.handlers.passages import Passage, passages, remarks
from speechssl.app.refusals import Refused

NAMES = ["Beth of today", "bundled: ada", "bundled: eric"]


def test_a_text_without_names_is_one_passage() -> None:
    assert passages("Good morning: it rains.", NAMES) == [Passage("Good morning: it rains.")]
    assert passages(" ... ", NAMES) == []


def test_a_name_holds_until_the_next_one() -> None:
    script = "It rains.\nERIC: Good morning.\nNote: it is late.\n  beth of today : Yes."
    assert passages(script, NAMES) == [
        Passage("It rains.\n"),
        Passage("Good morning.\nNote: it is late.\n", "bundled: eric"),
        Passage("Yes.", "Beth of today"),
    ]


def test_of_two_voices_of_one_name_a_person_means_their_own() -> None:
    assert passages("ada: Yes.", ["Ada", *NAMES]) == [Passage("Yes.", "Ada")]


def test_names_of_nobody_in_a_script_are_told() -> None:
    assert remarks("ada: Yes.\nBob: No.\nThe end of it: here.\nBob: No.", NAMES) == (
        "“Bob:” is read aloud: no voice has this name",
    )
    assert remarks("Note: it rains.\nBob: No.", NAMES) == ()


def test_pauses_end_passages() -> None:
    found = passages("One. [pause 0.5] Two. [Pause 1 s][pause 1]\nada: Three.", NAMES)
    assert [(one.text.strip(), one.voice, one.pause) for one in found] == [
        ("One.", "", 0.5), ("Two.", "", 2.0), ("Three.", "bundled: ada", 0.0),
    ]  # fmt: skip
    first, second = passages("[pause 3] [pause 1] One. [pause 2]\nada: Two.", NAMES)
    assert (first.lead, first.pause, second.lead) == (4.0, 2.0, 0.0)
    with pytest.raises(Refused, match="only pauses"):
        passages("[pause 3]", NAMES)
    with pytest.raises(Refused, match="at most 30 s"):
        passages("One. [pause 300]", NAMES)
    with pytest.raises(Refused, match=r"\[pause abc\] is no pause"):
        passages("One. [pause abc] Two.", NAMES)
