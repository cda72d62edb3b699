"""What differs between languages: numbers, dates, money, abbreviations, symbols, and where pronunciations come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from speechssl.synthesis.phones import Phone

Phones: TypeAlias = tuple[Phone, ...]
Numbers: TypeAlias = Callable[[int], str]  # the words of a whole number

LONGEST_NUMBER = 12  # digits above which a number is read digit by digit


@dataclass(frozen=True)
class Rule:
    """A pattern, and how a match is read. Names of groups in the pattern begin with the name of the rule.

    A match is read as words and marks with spaces between them; None reads it as a word like others.
    """

    pattern: str
    read: Callable[[re.Match[str]], str | None]


@dataclass(frozen=True)
class Language:
    """How a language is read.

    Args:
        code: such as ``"en-us"``.
        numbers: words of a whole number.
        package: with the pronunciations, such as ``"gruut_lang_en"``.
        alphabet: lower-case letters of its words.
        vowels: letters without one of which a word cannot be said, and is spelled.
        letters: names of letters that are not said as a word of one letter.
        words_of_one_letter: those that are words.
        spelled: words that are spelled if they are in capitals, such as ``us``.
        stand_ins: replacements of letters that the alphabet lacks and that cannot just lose their marks.
        symbols: names of symbols.
        rules: in order; the first that fits is taken.
        goes_on: where a full stop ends no sentence, with NUL between what is before and after it.
        dictionary: folder in the package with ``lexicon.db`` and ``g2p/model.crf``.
        ending: phones of an inflected word that the dictionary lacks, such as a possessive, from those of its stem,
            which the function it is given pronounces; empty for other words.
        in_context: phones of the words of a sentence, given those of each word alone.
    """

    code: str
    numbers: Numbers
    package: str
    alphabet: str
    vowels: str
    letters: Mapping[str, str]
    words_of_one_letter: str
    spelled: frozenset[str]
    stand_ins: Mapping[str, str]
    symbols: Mapping[str, str]
    rules: Mapping[str, Rule]
    goes_on: re.Pattern[str]
    dictionary: str = "."
    ending: Callable[[str, Callable[[str], Phones]], Phones] = lambda word, pronounce: ()
    in_context: Callable[[Sequence[str], Sequence[Phones]], list[Phones]] = lambda words, phones: list(phones)

    def letter(self, letter: str) -> str:
        """Name of a letter."""
        return self.letters.get(letter, letter)

    def spell(self, word: str) -> str:
        """The names of its letters."""
        return " ".join(self.letter(letter) for letter in word if letter != "'")

    def digits(self, text: str) -> str:
        """Digit by digit."""
        return " ".join(self.numbers(int(digit)) for digit in text if digit.isdigit())


@lru_cache(maxsize=4096)
def number_words(value: int | str, language: str, kind: str = "cardinal") -> str:
    """Words of a number, in letters and spaces alone; ``language`` and ``kind`` as in num2words."""
    from num2words import num2words

    said = num2words(value, lang=language, to=kind).lower()
    return " ".join(re.sub(r"[^\w\s']|_", " ", said).split())


def whole(digits: str, numbers: Numbers, *, separator: str = ",") -> str:
    """A whole number as written, digit by digit if it is too long to be one, or begins with 0."""
    plain = digits.replace(separator, "").replace(" ", "")
    if len(plain) > LONGEST_NUMBER or (len(plain) > 1 and plain[0] == "0"):
        return " ".join(numbers(int(digit)) for digit in plain)
    return numbers(int(plain))


def decimal(text: str, numbers: Numbers, *, separator: str = ",", mark: str = ".", point: str = "point") -> str:
    """A number that may have a sign, separators of thousands, and decimals after a mark."""
    sign = "minus " if text[0] in "-−" else ""
    integer, _, decimals = text.lstrip("-−+").partition(mark)
    said = sign + whole(integer or "0", numbers, separator=separator)
    digits = " ".join(numbers(int(digit)) for digit in decimals)
    return f"{said} {point} {digits}" if digits else said


def abbreviations(table: Mapping[str, str], need: Mapping[str, str] = MappingProxyType({})) -> Rule:
    """Abbreviations with their full stop, capitals or not; some only before what they ``need``, a pattern."""
    longest_first = sorted(table, key=len, reverse=True)
    parts = (rf"{re.escape(name)}\." + (f"(?=(?-i:{need[name]}))" if name in need else "") for name in longest_first)
    return Rule(rf"(?<![\w.])(?i:{'|'.join(parts)})", lambda match: table[match.group().lower().removesuffix(".")])
