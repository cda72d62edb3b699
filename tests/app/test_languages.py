"""Which language the page is in, and the words of each."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

import speechssl
from speechssl.app import languages
from speechssl.app.tabs.convert import EXAMPLES

OTHERS = [path.stem for path in languages.WORDS.glob("*.json")]
PLACE = re.compile(r"\{(?:\d+|n|file|words)?\}")
PACKAGE = Path(speechssl.__file__).parent
# what Gradio says in English, also in a page of another language; what the calibration that ships says of itself; the
# names of letters, which Python knows; and what is put together of too many pieces
NOT_FOUND = (
    "Textbox", "common.upload", "common.complete", "In queue: {n} of {n}", "pause", "undo", "processing |", "Copy",
    "Click to upload or drop files", "Copy table data", "Empty value", "File upload", "Fullscreen", "More tabs",
    "Gradio footer navigation", "Open cell menu", "Record audio", "Reset to default value", "Select input device",
    "Stop Recording", "Table actions", "Upload file", "Uploading {n} file...", "Uploading {n} files...",
    "Remove this file", "Reset audio", "Trim audio to selection", "Adjust volume", "High volume", "Low volume",
    "Muted volume", "Adjust playback speed to {n}x", "Skip backwards by {n} seconds", "Skip forward by {n} seconds",
    "number input for {words}", "range slider for {words}", "by the calibration on the training speakers of {}",
    "by the calibration on the training speakers of {}, for {n} s and {n} s of speech",
    "Connection to the server was lost. Attempting reconnection...",
    "{words}: {words} ({n}%, about {n} s left)", "Cyrillic", "Greek", "Arabic", "Hebrew",
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "cookie", "accepted", "language"),
    [
        (b"", "", "", "en"),
        (b"", "", "de-DE,de;q=0.9,en;q=0.8", "de"),
        (b"", "", "DE", "de"),
        (b"", "", "en-GB,de", "en"),
        (b"", "", "ar", "en"),
        (b"", "speechssl-language=en", "de", "en"),
        (b"", "speechssl-language=../../secret", "de", "de"),
        (b"view=api&lang=de", "speechssl-language=en", "en", "de"),
        (b"lang=xx", "", "de", "de"),
        (b"lang=%ff&lang", "", "", "en"),
    ],
)
def test_the_address_goes_before_the_choice_and_the_choice_before_the_browser(
    query: bytes, cookie: str, accepted: str, language: str
) -> None:
    assert languages.chosen(query, Headers({"cookie": cookie, "accept-language": accepted})) == language


def test_every_language_is_named_in_itself() -> None:
    assert languages.names() == {"en": "English", "de": "Deutsch"}


def test_a_page_gets_the_scripts_of_its_language_first() -> None:
    page = b'<!doctype html><html lang="en"><head><script>1</script></head>'
    english, german = languages.page_in("en", page), languages.page_in("de", page)
    first = languages.FIRST.encode()
    assert english.startswith(b'<!doctype html><html lang="en"><head><script>' + first + b"\nObject.defineProperty(nav")
    assert b"Umwandeln" not in english
    assert german.startswith(b'<!doctype html><html lang="de"><head><script>' + first + b"\nObject.defineProperty(nav")
    assert "Lautstärke".encode() in german
    assert german.count(b"</script>") == 2  # no word ends it


@pytest.mark.parametrize("language", OTHERS)
def test_every_word_has_another_with_the_same_places(language: str) -> None:
    pairs = json.loads((languages.WORDS / f"{language}.json").read_text("utf-8"), object_pairs_hook=list)
    assert len({key for key, _ in pairs}) == len(pairs), "given twice"
    for key, said in pairs:
        assert said.strip() == said != "", key
        assert len(PLACE.findall(key)) == len(PLACE.findall(said)), key
        assert key.endswith(".") == said.endswith("."), key


@pytest.mark.parametrize("language", OTHERS)
def test_no_word_becomes_a_third_one(language: str) -> None:
    words = languages.words(language)
    assert [said for said in words.values() if words.get(said, said) != said] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_word_occurs_in_the_source(language: str) -> None:
    texts = list(_texts())
    whole = "\n".join(texts)
    patterns = [re.compile(_pattern(text)) for text in texts if "\0" in text and sum(map(str.isalpha, text)) > 1]

    def occurs(key: str) -> bool:
        parts = [part.strip(" .,:;()“”") for part in PLACE.split(key.lower())]
        return all(part in whole for part in parts) or any(one.fullmatch(key.lower()) for one in patterns)

    assert [key for key in languages.words(language) if key not in NOT_FOUND and not occurs(key)] == []


def _texts() -> Iterator[str]:
    """What the package can say, in small letters; a NUL stands for a value."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"\{[^{}|]*\}", "\0", node.value).lower()
                yield from re.split(r"<[^>]*>", re.sub(r"\{[^{}|]*\}", "\0", node.value).lower())
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values).lower()
    for path in (PACKAGE / "app").glob("*.js"):
        source = re.sub(r'" \+\s*"', "", path.read_text("utf-8"))
        for text, template in re.findall(r'"([^"\n]*)"|`([^`]*)`', source):
            yield (text or re.sub(r"\$\{[^}]*\}", "\0", template)).lower()
    yield from (f"{speaker} as {voice}" for speaker, voice in EXAMPLES)
    yield from (f"{side}: {one}" for side in "ab" for one in ("as usual", "earlier, no change", "now, no change"))


def _pattern(text: str) -> str:
    return r"\W*" + ".*".join(map(re.escape, text.split("\0"))) + r"\W*"
