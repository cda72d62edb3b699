"""Roman numerals, and the words after which letters are some."""

from __future__ import annotations

import re

NUMERAL = r"(?:M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))"
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
LONGEST_REIGN = 39  # no ruler has a greater number, and XL is a size
_LISTED = re.compile(r"(?:\b[IVXLCDM]+(?:\s*(?:,|and|or|to|through|und|oder|bis|&|[-–])\s*))+$")

# of rulers and popes, and common ones of Americans who are called after their fathers; English, German, Latin
_NAMES = """
Adrian Albert Alexander Alexandra Alfonso Alfred Alphonse Amadeus Andrew Anne Anthony Antiochus Arthur August
Augustus Baldwin Benedict Boniface Carl Carlos Casimir Catherine Celestine Charles Charlotte Christian
Christopher Clement Cleopatra Conrad Constantine Cyrus Daniel Darius David Edmund Edward Elisabeth Elizabeth
Emanuel Eric Ernst Eugene Felipe Ferdinand Francis Franz Frederick Friedrich Georg George Gregor Gregory Gustav
Haakon Harald Heinrich Henri Henry Hugo Innocent Isabella Ivan Jacob James Joachim Johann Johannes John Joseph
Juan Julius Karl Katharina Leo Leopold Louis Ludwig Margaret Margarethe Maria Martin Mary Maximilian Michael
Mohammed Murad Napoleon Nicholas Nikolaus Olaf Oscar Oskar Otto Pascal Paul Peter Philip Philipp Pius Ptolemy
Rainier Ramses Richard Robert Rudolf Rudolph Selim Sigismund Simeon Sixtus Stephen Suleiman Theodore Theodosius
Thomas Thutmose Tutmosis Urban Victor Victoria Vittorio Vladimir Walter Wilhelm Wilhelmina William Xerxes
"""
NAMES = frozenset(_NAMES.split())
_TITLES = "King Queen Pope Emperor Empress Tsar Czar Kaiser Prince Duke König Königin Papst"
TITLES = frozenset(_TITLES.split())


def value(numeral: str) -> int | None:
    """The number, or None for letters that are no numeral."""
    if not numeral or not re.fullmatch(NUMERAL, numeral):
        return None
    numbers = [_VALUES[letter] for letter in numeral]
    return sum(-one if one < after else one for one, after in zip(numbers, [*numbers[1:], 0], strict=True))


def kind(numeral: str, before: str, after: str, counted: frozenset[str]) -> str:
    """How a numeral is read: ``"cardinal"``, ``"ordinal"``, or ``""`` for letters that are a word.

    Args:
        numeral: capitals, a valid numeral.
        before, after: the text around it.
        counted: lower-case words for things that are numbered, such as ``chapter``.
    """
    listed = _LISTED.sub("", before)
    words = [word.strip("(\"'“‘„.") for word in listed.split()]
    if not words or not (listed[-1].isspace() or before != listed):
        return ""
    last, title = words[-1], words[-2] if len(words) > 1 else ""
    if last.lower() in counted:
        # the part I like, Plan C
        return "cardinal" if len(numeral) > 1 or (numeral in "IVX" and last[0].isupper()) else ""
    if set(numeral) <= set("IVX") and (value(numeral) or 99) <= LONGEST_REIGN:
        if last in NAMES or (title in TITLES and last[:1].isupper()):
            alone = numeral != "I" or title in TITLES or not re.match(r"\s+(?!was|is|of|had|and|ruled)[a-z]", after)
            return "ordinal" if alone else ""
        if len(numeral) > 1 and last[:1].isupper() and len(last) > 3:
            return "cardinal"
    return ""
