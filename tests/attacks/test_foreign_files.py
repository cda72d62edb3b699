"""Voices and databases that somebody else made: every field is checked on the way in, and escaped on the way out."""

from __future__ import annotations

import ast
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Spectra

import speechssl
from speechssl import checkpoints
from speechssl.errors import CheckpointError
from speechssl.signals import Embedding, Waveform
from speechssl.verification.database import Enrolment, SpeakerDatabase
from speechssl.voices import VoiceLibrary

PAGE = '"><img src=x onerror=alert(1)>'
FIELDS = {
    "a page for a checksum": {"references": [{"sha256": PAGE}]},
    "too short a checksum": {"references": [{"sha256": "ab"}]},
    "a number for a checksum": {"references": [{"sha256": 7}]},
    "an escape sequence for a recording": {"references": [{"name": "\x1b[2Jone.wav"}]},
    "a reversed recording": {"references": [{"name": "\u202egpj.wav"}]},
    "a list for a name": {"name": ["ada"]},
    "nothing that is seen for a name": {"name": "\u200b"},
    "a folder for a name": {"name": ".."},
    "a page for a date": {"created": PAGE},
    "no text for an origin": {"key_origin": None},
    "too much for an origin": {"key_origin": "x" * 10_000},
    "a consent of lists": {"consents": [["Ada"]]},
    "a consent at no time": {"consents": [{"who": "Ada", "purpose": "a test", "when": PAGE}]},
    "more frames than there are": {"frames": 1e400},
}


@pytest.fixture
def voice(tmp_path: Path, speech: list[Waveform]) -> Path:
    library = VoiceLibrary(tmp_path / "made")
    library.add("ada", speech[:1], Spectra())
    return library.path("ada")


def forged(path: Path, changes: dict[str, Any]) -> Path:
    """The voice with other fields, and a checksum that fits them."""
    file = checkpoints.load(path, kind="voice")
    header = json.loads(json.dumps(file.header))
    for name, value in changes.items():
        if name == "references":
            header["references"][0] |= value[0]
        else:
            header[name] = value
    target = path.with_name("forged.safetensors")
    if header["frames"] == float("inf"):
        header["frames"] = "1e400"
    return checkpoints.save(target, file.tensors, header)


@pytest.mark.parametrize("changes", FIELDS.values(), ids=FIELDS)
def test_a_forged_voice_is_refused_and_listed_nowhere(voice: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    path = forged(voice, changes)
    library = VoiceLibrary(tmp_path / "voices")
    with pytest.raises(CheckpointError, match="damaged"):
        library.import_(path, "eve")
    assert library.list() == []
    assert [one.name for one in VoiceLibrary(voice.parent).list()] == ["ada"]


COLUMNS = {
    "speaker": ["\x1b[2J", "a\u202eb", "", "x" * 65],
    "sha256": [PAGE, 7],
    "vector": ["a text", b"odd", b""],
    "seconds": ["long", -1.0],
    "source": [PAGE + "\n", b"x"],
    "added": [PAGE],
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, values in COLUMNS.items() for value in values])
def test_a_forged_database_is_refused(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "speakers.sqlite"
    with SpeakerDatabase(path) as database:
        database.enrol("ada", [Enrolment(Embedding(torch.tensor([1.0, 0.0]), "m@1"), "a.wav", "a" * 64, 2.0)])
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE utterance SET {column} = ?", (value,))
    connection.close()
    with SpeakerDatabase(path) as database, pytest.raises(CheckpointError, match="cannot use the speaker database"):
        database.export()


def test_all_html_of_the_page_is_made_by_one_function() -> None:
    """No string with a tag has values in it, unless it is the template of ``markup.html``."""
    for path in (Path(speechssl.__file__).parent / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
                assert not any(tag in text for tag in ("</", "/>", "<p", "<div")), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "html":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", "")
                assert called != "Markup" or path.name == "markup.py", f"{path.name}:{node.lineno}"


def test_what_a_voice_says_is_text_on_the_page() -> None:
    pictures = pytest.importorskip("speechssl.app.pictures", reason="the page needs Gradio")
    recording = {"name": PAGE, "seconds": 1.0, "f0": 100, "sha256": PAGE}
    consent = {"who": PAGE, "when": PAGE, "purpose": PAGE}
    facts = {"name": PAGE, "seconds": 1.0, "frames": 1, "model": PAGE, "megabytes": 1.0, "created": PAGE,
             "recordings": [recording], "consents": [consent], "uncovered": [PAGE]}  # fmt: skip
    shown = pictures.voice(facts)
    shown += pictures.ranked(
        {"decision": "known", "speaker": PAGE, "remarks": [],
         "ranked": [{"speaker": PAGE, "score": 1.0, "accepted": True}]}
    )  # fmt: skip
    shown += pictures.batch([{"recording": PAGE, "error": PAGE}]) + pictures.done(PAGE, PAGE) + pictures.problem(PAGE)
    assert "<img" not in shown
    assert shown.count("&lt;img src=x") == 14
