"""Speech sounds, as dictionaries write them."""

from __future__ import annotations

from typing import NamedTuple

STRESS_MARKS = {"ˈ": 1, "ˌ": 2}
_VOWELS = "aeiouæɑɒɔəʌɚɜɝɛɪʊyøœɐ"


class Phone(NamedTuple):
    """A speech sound.

    Args:
        symbol: in the International Phonetic Alphabet, without stress.
        stress: 0 none, 1 primary, 2 secondary.
    """

    symbol: str
    stress: int

    @property
    def is_vowel(self) -> bool:
        """Whether it can carry a syllable."""
        return self.symbol[0] in _VOWELS


def parse_phones(text: str) -> tuple[Phone, ...]:
    """Phones of a dictionary entry such as ``"h ə l ˈoʊ"``."""
    return tuple(Phone(one.strip("ˈˌ"), STRESS_MARKS.get(one[0], 0)) for one in text.split() if one.strip("ˈˌ"))
