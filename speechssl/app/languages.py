"""The languages of the page: English, in which it is written, and a file in ``words`` for each other one.

``words.js`` translates the page where it is shown, so that the service speaks one language alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

WORDS = Path(__file__).with_name("words")
FIRST, SCRIPT = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("first.js", "words.js"))
ENGLISH = "English"  # its word in another language is the name of that language
COOKIE, SECONDS = "speechssl-language", 365 * 86_400


@functools.cache
def names() -> dict[str, str]:
    """The name of each language in itself, by its code."""
    return {"en": ENGLISH, **{path.stem: words(path.stem)[ENGLISH] for path in sorted(WORDS.glob("*.json"))}}


@functools.cache
def words(language: str) -> Mapping[str, str]:
    """English texts of the page and what they are in a language; of English nothing."""
    if language == "en":
        return {}
    found: dict[str, str] = json.loads((WORDS / f"{language}.json").read_text(encoding="utf-8"))
    return found


def asked(query: bytes) -> str:
    """The language that an address asks for, as ``?lang=de`` does; empty for none that is known."""
    found = parse_qs(query.decode("latin-1")).get("lang", [""])[-1]
    return found if found in names() else ""


def chosen(query: bytes, headers: Headers) -> str:
    """The language of whoever asks: that of the address, the one chosen before, the browser's first one, English."""
    kept = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    first = headers.get("accept-language", "").partition(",")[0].partition(";")[0].partition("-")[0].strip().lower()
    return next((one for one in (asked(query), kept, first) if one in names()), "en")


def page_in(language: str, page: bytes) -> bytes:
    """A page of Gradio's in this language."""
    page = page.replace(b'lang="en"', b'lang="' + language.encode() + b'"', 1)
    return page.replace(b"<head>", b"<head><script>" + _scripts(language) + b"</script>", 1)


@functools.cache
def _scripts(language: str) -> bytes:
    """What comes before all other scripts: Gradio takes its own words from the language of the browser at its start."""
    told = [FIRST]
    told += [f'Object.defineProperty(navigator, "{name}", {{get: () => {json.dumps(value)}}});'
             for name, value in (("language", language), ("languages", [language]))]  # fmt: skip
    if language != "en":
        told.append(f"{SCRIPT.rstrip()}({json.dumps(words(language), ensure_ascii=False)});".replace("</", "<\\/"))
    return "\n".join(told).encode()
