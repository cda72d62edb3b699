"""Pronunciations of a person's own: in a file, or in the text as ``{word|W ER1 D}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from speechssl.errors import InputError
from speechssl.synthesis.phones import Phone, parse_phones

# ARPAbet, as the CMU dictionary writes English, to the sounds of the packaged dictionary
ARPABET = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "aʊ", "AY": "aɪ", "B": "b", "CH": "t͡ʃ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɚ", "EY": "eɪ", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "d͡ʒ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "oʊ", "OY": "ɔɪ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
    "TH": "θ", "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
_ARPABET = re.compile(r"([A-Z]{1,2})([012]?)")
_INLINE = re.compile(r"\{([^{}|\n]{1,80})\|([^{}|\n]{1,200})\}")
LONGEST = 64  # sounds of a word
Lexicon = Mapping[str, tuple[Phone, ...]]


def sounds(text: str) -> tuple[Phone, ...]:
    """The sounds of a word.

    Args:
        text: ARPAbet with stress (``W ER1 D``) or phonetic letters (``w ˈɚ d``), with spaces between.
    Raises:
        InputError: none, too many, or one that English does not have.
    """
    written = text.split()
    # no phonetic letter looks like one of ARPAbet, so a wrong one among these leaves the others what they are
    capitals = any(map(_ARPABET.fullmatch, written))
    phones = tuple(map(_arpabet, written)) if capitals else parse_phones(text)
    wrong = [one.symbol for one in phones if one.symbol not in {*ARPABET.values(), "ə"}]
    if wrong or not 1 <= len(phones) <= LONGEST:
        what = f"the sound {wrong[0]!r}" if wrong else f"{len(phones)} sounds"
        raise InputError(f"{text[:60]!r} has {what}; up to {LONGEST} sounds as in 'W ER1 D' or 'w ˈɚ d' needed")
    return phones


def _arpabet(written: str) -> Phone:
    match = _ARPABET.fullmatch(written)
    name, stress = match.groups() if match else (written, "")
    symbol = "ə" if (name, stress) == ("AH", "0") else ARPABET.get(name, name)
    return Phone(symbol, int(stress or 0))


def parse(text: str) -> dict[str, tuple[Phone, ...]]:
    """Pronunciations from lines such as ``tomato T AH0 M AA1 T OW2``; what follows ``#`` or ``;;;`` is a remark.

    Raises:
        InputError: the line is named.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = re.split("#|;;;", line)[0].strip().replace("\t", " ").partition(" ")
        if word:
            try:
                found[word.casefold()] = sounds(rest)
            except InputError as error:
                raise InputError(f"pronunciation of {word[:40]!r} (line {number}): {error}") from None
    return found


def read(path: str | Path) -> dict[str, tuple[Phone, ...]]:
    """Pronunciations from a file in UTF-8.

    Raises:
        InputError: no such file, no text, or as ``parse``.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); a text file in UTF-8 needed") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def inline(text: str) -> tuple[str, dict[str, tuple[Phone, ...]]]:
    """The text without its pronunciations, which hold for the whole of it: ``{word|W ER1 D}`` becomes ``word``.

    Raises:
        InputError: sounds that English does not have.
    """
    found = {word.strip().casefold(): sounds(phones) for word, phones in _INLINE.findall(text)}
    return _INLINE.sub(lambda match: match[1].strip(), text), found
