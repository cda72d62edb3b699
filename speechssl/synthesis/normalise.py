"""Text to words that can be pronounced: numbers, dates, money, abbreviations and symbols are spelled out.

Nothing is dropped silently. A character that is neither part of a word nor a known symbol is transliterated (anyascii
has all of Unicode, emoji included) and read, or its name is read. Only control characters count as spaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from speechssl.synthesis import languages
from speechssl.synthesis.languages.rules import Language

PAUSES = {",": ",", ";": ",", ":": ",", "(": ",", ")": ",", "[": ",", "]": ",", "{": ",", "}": ",", "—": ",", "–": ","}
ENDS = {".": ".", "!": "!", "?": "?", "…": ".", "。": ".", "！": "!", "？": "?", "।": "."}
LONGEST = 60  # words; a longer sentence is split at a pause, or anywhere


@dataclass(frozen=True)
class Spoken:
    """One word that is said.

    Args:
        word: lower case, letters and apostrophes.
        start, end: place in the written text, in characters; several words may share one place.
        after: the mark that follows: ``""``, ``","``, ``"."``, ``"?"`` or ``"!"``.
    """

    word: str
    start: int
    end: int
    after: str = ""


_LETTER = r"[^\W\d_\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u218b\u2460-\u24ff]"
_MARKS = r"[\u0300-\u036f]"  # accents that follow their letter

Piece: TypeAlias = "tuple[int, int, str]"  # start, end, words to be said


def sentences(
    text: str, language: str = "en-us", *, knows: Callable[[str], bool] = lambda word: False
) -> Iterator[list[Spoken]]:
    """The words of each sentence, one sentence after the other, in memory that does not grow with the text.

    Args:
        text: any text; blank lines end sentences.
        language: see ``languages``.
        knows: whether a word is in the dictionary; capitals such as NASA are then said, else spelled.
    """
    rules = languages.get(language)
    words: list[Spoken] = []
    for start, end, said in _pieces(text, rules, knows):
        if said in ENDS.values() or said == ",":
            if words:
                words[-1] = _followed(words[-1], said)
        else:
            words.extend(Spoken(word, start, end) for word in said.split())
        if words and (words[-1].after in ENDS.values() or len(words) > LONGEST):
            whole, words = _parted(words)
            yield whole
    if words:
        yield words


def _followed(word: Spoken, mark: str) -> Spoken:
    stronger = mark if mark != "," or not word.after else word.after
    return Spoken(word.word, word.start, word.end, stronger)


def _parted(words: list[Spoken]) -> tuple[list[Spoken], list[Spoken]]:
    """A sentence, and the words left for the next one: none, unless the sentence is too long and has a pause in it."""
    if words[-1].after in ENDS.values():
        return words, []
    pauses = [i for i, word in enumerate(words) if word.after]
    cut = pauses[-1] + 1 if pauses and pauses[-1] >= LONGEST // 3 else len(words)
    return words[:cut], words[cut:]


def _pieces(text: str, rules: Language, knows: Callable[[str], bool]) -> Iterator[Piece]:
    """Stretches of the text, each with the words or the mark that it is read as."""
    for match in _scanner(rules.code).finditer(text):
        start, end = match.span()
        kind = match.lastgroup or ""
        if kind == "blank":
            yield start, end, "."
        elif kind == "end":
            yield from _ending(text, match, rules)
        elif kind == "pause":
            yield start, end, ","
        elif kind == "word":
            yield start, end, _word(match.group(), rules, knows)
        elif kind == "symbol":
            yield start, end, _symbol(match.group(), rules, knows)
        else:
            yield start, end, rules.rules[kind].read(match)


def _ending(text: str, match: re.Match[str], rules: Language) -> Iterator[Piece]:
    mark = "?" if "?" in match.group() else "!" if "!" in match.group() else "."
    if match.group() in ("...", "…"):
        # it trails off, and ends a sentence if a capital follows
        following = text[match.end() :].lstrip()[:1]
        mark = "." if not following or following.isupper() else ","
    yield match.start(), match.end(), mark


def _word(text: str, rules: Language, knows: Callable[[str], bool]) -> str:
    word = unicodedata.normalize("NFKC", text).replace("’", "'").strip("'")
    if not _is_latin(word):
        return _transliterated(word, rules, knows)
    lower = _plain(word.lower(), rules)
    capitals = word.removesuffix("'s").removesuffix("s")
    plain = lower.removesuffix("'s")
    if len(capitals) > 1 and capitals.isupper() and (plain in rules.spelled or not knows(plain)):
        # the ending of "PCs" and "NASA's" is said with the last letter
        ending = "'s" if len(word) > len(capitals) else ""
        return rules.spell(_plain(capitals.lower(), rules)) + ending
    if len(lower) == 1 and lower not in rules.words_of_one_letter:
        return rules.letter(lower)
    if not any(letter in rules.vowels for letter in lower) and not knows(lower):
        return rules.spell(lower)
    return lower


def _plain(word: str, rules: Language) -> str:
    """Letters of the alphabet of the language alone: é is e where there is no é."""
    letters = (rules.stand_ins.get(letter, letter) for letter in word)
    plain = (letter if letter in rules.alphabet else _base(letter) for letter in "".join(letters))
    return "".join(letter for letter in "".join(plain) if letter in rules.alphabet).strip("'")


def _base(letter: str) -> str:
    """A letter without its marks (é is e); others as anyascii has them (ø is o, æ is ae)."""
    from anyascii import anyascii

    return anyascii(unicodedata.normalize("NFKD", letter)[0]).lower()


def _is_latin(word: str) -> bool:
    return all(letter == "'" or letter in "ʼ’" or "LATIN" in unicodedata.name(letter, "") for letter in word)


def _transliterated(word: str, rules: Language, knows: Callable[[str], bool]) -> str:
    from anyascii import anyascii

    name = unicodedata.name(word[0], "")
    if len(word) == 1 and name.startswith("GREEK") and " LETTER " in name:
        return _plain(name.rpartition(" LETTER ")[2].split()[0].lower(), rules)
    letters = re.sub(r"[^A-Za-z0-9]+", " ", anyascii(word))
    # the syllables of Chinese begin with capitals
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", letters).split()
    if not parts:
        parts = re.findall(r"[A-Za-z]+|\d+", unicodedata.name(word[0], "unknown symbol"))
    return " ".join(said for part in parts for said in _ascii(part, rules, knows).split())


def _ascii(part: str, rules: Language, knows: Callable[[str], bool]) -> str:
    if part.isdigit():
        return rules.digits(part)
    words = re.findall(r"[A-Za-z]+|\d+", part)
    return " ".join(rules.digits(one) if one.isdigit() else _word(one.lower(), rules, knows) for one in words)


def _symbol(symbol: str, rules: Language, knows: Callable[[str], bool]) -> str:
    if symbol in rules.symbols:
        return rules.symbols[symbol]
    category = unicodedata.category(symbol[0])
    if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"):
        return ""
    if category == "Nd":
        return rules.digits(str(unicodedata.digit(symbol)))
    if symbol in "\"'“”„‘’«»‹›`´*_~|-‐‑":
        return ""
    return _transliterated(symbol, rules, knows)


@lru_cache(maxsize=8)
def _scanner(code: str) -> re.Pattern[str]:
    """One expression for everything that is read in its own way; the first alternative that matches is taken."""
    rules = languages.get(code)
    special = "|".join(f"(?P<{name}>{rule.pattern})" for name, rule in rules.rules.items())
    pauses = re.escape("".join(PAUSES))
    ends = re.escape("".join(ENDS))
    return re.compile(
        rf"(?P<blank>\n[^\S\n]*\n\s*)|{special}"
        rf"|(?P<word>(?:{_LETTER}{_MARKS}*)+(?:['’](?:{_LETTER}{_MARKS}*)+)*['’]?)"
        rf"|(?P<end>[{ends}]+(?=[\s\"'”’)\]»]|$)|[{ends}]{{2,}}|[!?。！？।…]+)"
        rf"|(?P<pause>[{pauses}]|(?<=\s)[-–](?=\s)|--+)"
        r"|(?P<symbol>\S)"
    )
