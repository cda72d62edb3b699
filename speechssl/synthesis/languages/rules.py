"""What is read differently in each language: numbers, dates, money, abbreviations, symbols.

The words of numbers are num2words'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

LONGEST_NUMBER = 12  # digits above which a number is read digit by digit


@dataclass(frozen=True)
class Rule:
    """A pattern, and how what it finds is read; its own groups have names that begin with that of the rule."""

    pattern: str
    read: Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class Language:
    """How a language is read.

    Args:
        code: such as ``"en-us"``.
        numbers: name of the language in num2words.
        alphabet: lower-case letters of its words.
        vowels: letters without one of which a word cannot be said, and is spelled.
        letters: names of letters, where they are not simply said as a word of one letter.
        words_of_one_letter: those that are words.
        spelled: words that are spelled where they are in capitals, such as ``us``.
        stand_ins: what letters become that the alphabet lacks, where taking their marks off would not do.
        symbols: what symbols are called.
        rules: in order; the first that fits is taken.
    """

    code: str
    numbers: str
    alphabet: str
    vowels: str
    letters: Mapping[str, str]
    words_of_one_letter: str
    spelled: frozenset[str]
    stand_ins: Mapping[str, str]
    symbols: Mapping[str, str]
    rules: Mapping[str, Rule]

    def letter(self, letter: str) -> str:
        """How a letter is called."""
        return self.letters.get(letter, letter)

    def spell(self, word: str) -> str:
        """The names of its letters."""
        return " ".join(self.letter(letter) for letter in word if letter != "'")

    def digits(self, text: str) -> str:
        """Digit by digit."""
        return " ".join(number_words(int(digit), self.numbers) for digit in text if digit.isdigit())


@lru_cache(maxsize=4096)
def number_words(value: int | str, language: str, kind: str = "cardinal") -> str:
    """Words of a number, in letters and spaces alone; ``kind`` as in num2words."""
    from num2words import num2words

    said = num2words(value, lang=language, to=kind).lower()
    said = re.sub(r"[^\w\s']|_", " ", said)
    if language == "en":
        said = re.sub(r"\band\b", " ", said)  # as in America
    return " ".join(said.split())


def whole(digits: str, language: str, *, separator: str = ",") -> str:
    """A whole number as written, digit by digit if it is too long to be one, or begins with 0."""
    plain = digits.replace(separator, "").replace(" ", "")
    if len(plain) > LONGEST_NUMBER or (len(plain) > 1 and plain[0] == "0"):
        return " ".join(number_words(int(digit), language) for digit in plain)
    return number_words(int(plain), language)


def decimal(text: str, language: str, *, separator: str = ",", mark: str = ".", point: str = "point") -> str:
    """A number that may have a sign, separators of thousands, and decimals after a mark."""
    sign = "minus " if text[0] in "-−" else ""
    integer, _, decimals = text.lstrip("-−+").partition(mark)
    said = sign + whole(integer or "0", language, separator=separator)
    digits = " ".join(number_words(int(digit), language) for digit in decimals)
    return f"{said} {point} {digits}" if digits else said


def abbreviations(table: Mapping[str, str], need: Mapping[str, str] = MappingProxyType({})) -> Rule:
    """Abbreviations with their full stop, capitals or not; some only before what they ``need``, a pattern."""
    longest_first = sorted(table, key=len, reverse=True)
    parts = (rf"{re.escape(name)}\." + (f"(?=(?-i:{need[name]}))" if name in need else "") for name in longest_first)
    return Rule(rf"(?<![\w.])(?i:{'|'.join(parts)})", lambda match: table[match.group().lower().removesuffix(".")])
