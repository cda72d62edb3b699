"""Characters of all scripts: full-width forms, punctuation by its Unicode category, and letters that are not spoken."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from speechssl.errors import InputError

FOREIGN = 0.5  # share of the words above which a text is refused
SHOWN = 30  # characters of a refused text that are repeated
_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_SPOKEN = ("LATIN", "FEMININE", "MASCULINE", "MODIFIER")
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f'’\u0900-\u0dff])*")


def folded(text: str) -> str:
    """The text with full-width and other compatible forms as the plain ones (NFKC), each character in its place.

    Only where the plain form is one character too, so that places in the text stay; superscripts and fractions, which
    mean something else than their digits, stay as well.
    """
    return text if text.isascii() else "".join(map(_folded, text))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if unicodedata.category(character) in ("Nd", "No"):
        digit = unicodedata.digit(character, None) if unicodedata.category(character) == "Nd" else None
        return character if digit is None else str(digit)
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and not plain.isspace() else character


@lru_cache(maxsize=4096)
def pause(character: str) -> str | None:
    """The mark that punctuation of any script is read as: ``.``, ``!``, ``?``, ``,``, or ``""`` for nothing.

    Returns:
        None for what is no punctuation.
    """
    category = unicodedata.category(character)
    if not category.startswith("P"):
        return None
    name = unicodedata.name(character, "")
    # those that are upside down begin a sentence
    if "QUOTATION" in name or "INVERTED" in name or category in ("Pi", "Pf", "Pc"):
        return ""
    if "QUESTION" in name:
        return "?"
    if "EXCLAMATION" in name:
        return "!"
    if any(stop in name for stop in ("FULL STOP", "DANDA", "ELLIPSIS", "SECTION MARK")):
        return "."
    if category in ("Ps", "Pe") or any(stop in name for stop in ("COMMA", "COLON", "EM DASH")):
        return ","
    return ""


def script(letter: str) -> str:
    """The script of a letter as Unicode names it: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].partition("-")[0]


def check(text: str, language: str) -> tuple[str, ...]:
    """Refuse a text that is mostly in letters which the language does not have.

    Args:
        text: any; single Greek letters are symbols.
        language: that is spoken, in the Latin script.
    Returns:
        A remark if some words are in other letters.
    Raises:
        InputError: more than half of the words are.
    """
    if text.isascii():
        return ()
    total, foreign = 0, Counter[str]()
    for match in _WORD.finditer(text):
        word = match.group()
        if not word[0].isalpha():
            continue
        of = next((one for letter in word if (one := script(letter)) in _SPOKEN), script(word[0]))
        # two characters a word, where words are not parted
        count = max(1, len(word) // 2) if of in _WITHOUT_SPACES else 1
        total += count
        if of not in _SPOKEN and not (of == "GREEK" and len(word) == 1):
            foreign[of] += count
    if not foreign:
        return ()
    number, names = foreign.total(), " and ".join(_spoken_name(one) for one, _ in foreign.most_common(2))
    if number > FOREIGN * total:
        shown = " ".join(text.split())[:SHOWN]
        raise InputError(
            f"{number} of {total} words are in {names} letters ({shown!r}), and {language} is spoken; give a text in "
            "its letters, or a text model of the text's language"
        )
    words = f"{number} of {total} words"
    return (f"{words} in {names} letters, read as if in Latin letters: {language} is spoken",)


def _spoken_name(name: str) -> str:
    return "Chinese" if name == "CJK" else name.capitalize()
