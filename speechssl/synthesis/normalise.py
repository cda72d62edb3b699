"""Text to words that can be pronounced: numbers, dates, money, abbreviations and symbols are spelled out.

Nothing is dropped silently. A character that is neither part of a word nor a known symbol is transliterated (anyascii
has all of Unicode, emoji included) and read. Control characters count as
spaces; punctuation that is no pause is silent.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from speechssl.synthesis import languages, scripts, sentence_ends, written
from speechssl.synthesis.languages.rules import Language

ENDS = (".", "?", "!")
MARKS = (",", *ENDS)
LONGEST = 60  # words; a longer sentence is split at a pause, or anywhere
LONGEST_SPELLED = 5  # capitals; more are a word, as in UNICEF
SHORTEST_SHOUTED = 3  # capitals among capitals; fewer that are no word are an abbreviation there too
SHOUTED = 0.7  # share of the words in capitals from which on capitals are no abbreviations


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
_ACRONYM = re.compile("(?:[^aeiouy][aeiouy]){2,}[^aeiouy]?")  # capitals that can be said as a word: FIFA, COVID
_CLOSING = "\"'”’)]»›"

Piece: TypeAlias = "tuple[int, int, str]"  # start, end, words to be said and marks


@dataclass(frozen=True)
class _Block:
    """A paragraph, an item or a heading, with what decides how it is read.

    Args:
        text: of the block, folded.
        rules: of the language.
        knows: whether a word is in the dictionary.
        ends: places where a sentence ends.
        shouted: whether the text is all in capitals.
    """

    text: str
    rules: Language
    knows: Callable[[str], bool]
    ends: frozenset[int]
    shouted: bool


def sentences(
    text: str, language: str = "en-us", *, knows: Callable[[str], bool] = lambda word: False
) -> Iterator[list[Spoken]]:
    """The words of each sentence, one sentence after the other, in memory that does not grow with the text.

    Args:
        text: any text without Markdown, see ``written.plain``; blank lines, items and headings end sentences.
        language: see ``languages``.
        knows: whether a word is in the dictionary; capitals such as NASA are then said, else spelled.
    """
    rules = languages.get(language)
    for begin, stop in written.blocks(text):
        block = scripts.folded(text[begin:stop])
        ends = frozenset(sentence_ends.places(block, rules))
        pieces = _pieces(_Block(block, rules, knows, ends, _is_shouted(block)))
        yield from _gathered(pieces, begin, last="" if not text[stop:].strip() else ".")


def _gathered(pieces: Iterable[Piece], begin: int, *, last: str) -> Iterator[list[Spoken]]:
    """Pieces of a block as sentences; ``last`` is the mark at its end."""
    words: list[Spoken] = []
    for start, end, said in pieces:
        for one in said.split():
            if one not in MARKS:
                words.append(Spoken(one, begin + start, begin + end))
            elif words:
                words[-1] = _followed(words[-1], one)
        if words and (words[-1].after in ENDS or len(words) > LONGEST):
            whole, words = _parted(words)
            yield whole
    if words:
        yield [*words[:-1], _followed(words[-1], last) if last else words[-1]]


def _followed(word: Spoken, mark: str) -> Spoken:
    stronger = mark if mark != "," or not word.after else word.after
    return Spoken(word.word, word.start, word.end, stronger)


def _parted(words: list[Spoken]) -> tuple[list[Spoken], list[Spoken]]:
    """A sentence, and the words left for the next one: none, unless the sentence is too long and has a pause in it."""
    if words[-1].after in ENDS:
        return words, []
    pauses = [i for i, word in enumerate(words) if word.after]
    cut = pauses[-1] + 1 if pauses and pauses[-1] >= LONGEST // 3 else len(words)
    return words[:cut], words[cut:]


def _is_shouted(text: str) -> bool:
    words = re.findall(rf"{_LETTER}{{2,}}", text)
    return len(words) > 3 and sum(word.isupper() for word in words) >= SHOUTED * len(words)


def _pieces(block: _Block) -> Iterator[Piece]:
    """Stretches of a block, each with the words and the mark that it is read as."""
    text, rules = block.text, block.rules
    for match in _scanner(rules.code).finditer(text):
        start, end = match.span()
        kind = match.lastgroup or ""
        said: str | None
        if kind == "end":
            said = _ending(match, block)
        elif kind == "pause":
            said = ","
        elif kind == "symbol":
            said = _symbol(match.group(), block)
        else:
            said = None if kind == "word" else rules.rules[kind].read(match)
            said = _word(match.group(), block) if said is None else said
            # its full stop belongs to an abbreviation and may end the sentence as well
            if text[end - 1] == "." and end in block.ends and not text[end : end + 1].isalnum():
                said += " ."
        yield start, end, said


def _ending(match: re.Match[str], block: _Block) -> str:
    marks = match.group()
    if "?" in marks or "!" in marks:
        return "?" if "?" in marks else "!"
    if marks in ("...", "…", ". . ."):
        # it trails off, and ends a sentence if a capital follows
        following = block.text[match.end() :].lstrip(_CLOSING + string.whitespace)[:1]
        return "." if not following or following.isupper() else ","
    return "." if len(marks) > 1 or match.end() in block.ends else ""


def _word(text: str, block: _Block) -> str:
    word = unicodedata.normalize("NFKC", text).replace("’", "'").strip("'")
    rules, knows = block.rules, block.knows
    if not _is_latin(word):
        return _transliterated(word, block)
    lower = _plain(word.lower(), rules)
    capitals = word.removesuffix("'s").removesuffix("s")
    plain = lower.removesuffix("'s")
    if capitals.isupper() and _is_spelled(len(capitals), plain, block):
        # the ending of "PCs" and "NASA's" is said with the last letter
        return rules.spell(_plain(capitals.lower(), rules)) + ("'s" if len(word) > len(capitals) else "")
    if len(lower) == 1 and lower not in rules.words_of_one_letter:
        return rules.letter(lower)
    if not any(letter in rules.vowels for letter in lower) and not knows(lower):
        return rules.spell(lower)
    parts = re.findall(r"[^\W\d_][a-z]+", word)
    if len(parts) > 1 and "".join(parts) == word and not knows(lower) and all(knows(part.lower()) for part in parts):
        return " ".join(parts).lower()
    return lower


def _is_spelled(size: int, word: str, block: _Block) -> bool:
    """Whether so many capitals are letters of an abbreviation; in a text all in capitals only short ones are."""
    if not 1 < size <= (SHORTEST_SHOUTED if block.shouted else LONGEST_SPELLED):
        return False
    known = block.knows(word) or bool(_ACRONYM.fullmatch(word))
    return not known or (word in block.rules.spelled and not block.shouted)


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


def _is_greek(letter: str) -> bool:
    return "\u0370" <= letter <= "\u03ff"


def _transliterated(word: str, block: _Block) -> str:
    from anyascii import anyascii

    rules = block.rules
    # letters of mathematics among others: 2πr, ΔT
    if len(parts := re.findall(r"[\u0370-\u03ff]|[^\u0370-\u03ff]+", word)) > 1 and not all(map(_is_greek, word)):
        return " ".join(_word(part, block) for part in parts)
    name = unicodedata.name(word[0], "")
    if len(word) == 1 and name.startswith("GREEK") and " LETTER " in name:
        return _plain(name.rpartition(" LETTER ")[2].split()[0].lower(), rules)
    letters = re.sub(r"[^A-Za-z0-9]+", " ", anyascii(word))
    # the syllables of Chinese begin with capitals
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", letters).split()
    words = (one for part in parts for one in re.findall(r"[A-Za-z]+|\d+", part))
    return " ".join(rules.digits(one) if one.isdigit() else _word(one.lower(), block) for one in words)


def _symbol(symbol: str, block: _Block) -> str:
    rules = block.rules
    if symbol in rules.symbols:
        return rules.symbols[symbol]
    category = unicodedata.category(symbol[0])
    if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Sk"):
        return ""
    if (number := _numeric(symbol)) is not None:
        return rules.numbers(number)
    mark = scripts.pause(symbol)
    if mark is not None:
        return mark
    return _transliterated(symbol, block)


def _numeric(symbol: str) -> int | None:
    """The whole number that one character stands for: ٣, Ⅷ, ①."""
    number = unicodedata.numeric(symbol, None) if unicodedata.category(symbol).startswith("N") else None
    return None if number is None or number != int(number) else int(number)


@lru_cache(maxsize=8)
def _scanner(code: str) -> re.Pattern[str]:
    """One expression for everything that is read in its own way; the first alternative that matches is taken."""
    rules = languages.get(code)
    special = "|".join(f"(?P<{name}>{rule.pattern})" for name, rule in rules.rules.items())
    closing = re.escape(_CLOSING)
    return re.compile(
        rf"{special}"
        rf"|(?P<word>(?:{_LETTER}{_MARKS}*)+(?:['’](?:{_LETTER}{_MARKS}*)+)*['’]?)"
        rf"|(?P<end>\.(?: \.){{2}}|\.{{2,}}|[.!?…][.!?…]+|[!?…]|\.(?=[\s{closing},;:]|$)"
        r"|(?<=[a-z][a-z])\.(?=[A-Z][a-z]))"
        r"|(?P<pause>[,;:(){}\[\]—](?!\w)|[(\[{—]|(?<=\s)[-–](?=\s)|--+)"
        r"|(?P<symbol>\S)"
    )
