"""Wrong kinds of values: every answer names the argument, what was got and what is needed."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import attack_service
import pytest


def test_values_of_all_kinds_are_refused_in_words(open_service: Any) -> None:
    counts, raw = attack_service.count(open_service, 150)
    assert raw == []
    assert counts["refused in words"] > 75


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("units", [5, "tiny/100", True], r"recording: got the number 5; a file"),
        ("units", [None, "tiny/100", "yes"], r"collapse: got the text 'yes'; true or false needed"),
        ("verify", [["a.wav"], None], r"enrolment: got a list of 1 values; a list of at most 100 files"),
        ("say", ["Hi.", None, "eric", "", "fast"], r"speed: got the text 'fast'; a number from 0.25 to 4 needed"),
        ("say", ["Hi.", None, "eric", "", 1, 1, 0.5], r"seed: got the number 0.5; a whole number from 0"),
        ("say", [{}, None, "eric"], r"text: got an object; a text of at most"),
        ("add_voice", ["a\0b", [], ""], r"name: got the text .*; a text of at most 200 characters without control"),
        ("add_voice", ["x", [], ""], r"recordings: Give at least one recording"),
        ("remove_voice", [[], ""], r"name: got a list of 0 values; a text"),
        ("convert", [None, None, "eric=heavy"], r"the weight of the voice in 'eric=heavy' is no number"),
        ("speakers", ["a", "b"], r"2 values; speakers takes remove"),
        ("nothing", [], r"no endpoint 'nothing'; one of convert"),
    ],
)  # fmt: skip
def test_the_argument_is_named(open_service: Any, name: str, given: list[Any], words: str) -> None:
    import re

    assert re.search(words, open_service.said(name, *given))


def test_arguments_by_name(open_service: Any) -> None:
    api = f"{open_service.address}/gradio_api/call/v2"
    event = open_service.client.post(f"{api}/speakers", json={}).json()["event_id"]
    assert "complete" in open_service.client.get(f"{api}/speakers/{event}").text
    answer = open_service.client.post(f"{api}/speakers", json={"nobody": 1})
    assert answer.json()["detail"] == "nobody: no argument of speakers; one of remove needed"


def test_damaged_zips_are_damaged_in_words(open_service: Any) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a/ä.wav", bytes(range(256)) * 50)
    whole = packed.getvalue()
    at = whole.index(b".wav") + 20
    damaged = [
        whole[:at] + b"\xff" * 40 + whole[at + 40 :],
        whole[:200],
        whole.replace("ä".encode(), b"\xff\xfe"),
        b"PK",
    ]
    for content in damaged:
        given = open_service.upload("a.zip", content)
        said = open_service.call("batch", given, None, "eric").text + open_service.call("calibrate", given).text
        assert not attack_service.RAW.search(said)
        assert "archive: no zip, or a damaged one" in said
