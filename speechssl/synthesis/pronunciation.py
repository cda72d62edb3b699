"""Words to phones, offline: the dictionaries and grapheme-to-phoneme models that gruut packages for its languages.

Only the data of those packages is read (``gruut-lang-en`` and the like, MIT): a dictionary in SQLite and a conditional
random field for the words it lacks. gruut's own text processing takes seconds to import and drops words it cannot read
without a word; ours is in ``normalise``.
"""

from __future__ import annotations

import base64
import importlib.util
import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from speechssl.errors import InputError

STRESS_MARKS = {"ˈ": 1, "ˌ": 2}
# gruut's German package holds two dictionaries. The first reads Zeit as "t s a eː t", benannt as "b ə n a n n t", and
# lacks every word with ß; the one that was made with eSpeak NG is right there
_PACKAGES = {"en-us": ("gruut_lang_en", "."), "de-de": ("gruut_lang_de", "espeak")}
_VOWELS = "aeiouæɑɒɔəʌɚɜɝɛɪʊyøœɐ"
_SIBILANTS = {"s", "z", "ʃ", "ʒ", "t͡ʃ", "d͡ʒ"}
_VOICELESS = {"p", "t", "k", "f", "θ"}
_CONTEXT = 3  # letters on either side that the grapheme-to-phoneme model was trained with


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


class Pronouncer:
    """Pronunciations of one language.

    Args:
        language: ``"en-us"`` or ``"de-de"``.
        folder: with ``lexicon.db`` and ``g2p/model.crf``; that of the installed package if None.
    Raises:
        InputError: no such language, or its package is not installed.
    """

    def __init__(self, language: str = "en-us", *, folder: Path | None = None) -> None:
        self.language = language
        self._folder = folder or _package_folder(language)
        self._lexicon = sqlite3.connect(
            f"file:{self._folder / 'lexicon.db'}?mode=ro", uri=True, check_same_thread=False
        )
        self._known: dict[str, tuple[Phone, ...]] = {}
        self._tagger: Any = None

    def pronounce(self, words: Sequence[str]) -> list[tuple[Phone, ...]]:
        """Phones of each of the words of a sentence, which may decide between pronunciations.

        Args:
            words: lower case, without punctuation.
        """
        self._look_up({word for word in words if word not in self._known})
        phones = [self._known.get(word) or self._unknown(word) for word in words]
        if self.language == "en-us":
            for i, (word, following) in enumerate(zip(words, phones[1:], strict=False)):
                if word == "the" and following and following[0].is_vowel:
                    phones[i] = parse_phones("ð i")
        return phones

    def knows(self, word: str) -> bool:
        """Whether the dictionary has a word."""
        self._look_up({word} - self._known.keys())
        return word in self._known

    def _look_up(self, words: Iterable[str]) -> None:
        # one pass over the table, which has no index, for all the words of a sentence
        wanted = sorted(words)
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            query = f"SELECT word, phonemes FROM word_phonemes WHERE word IN ({','.join('?' * len(part))})"
            for word, phonemes in self._lexicon.execute(f"{query} ORDER BY pron_order DESC", part):
                self._known[word] = parse_phones(phonemes)

    def _unknown(self, word: str) -> tuple[Phone, ...]:
        phones = self._with_ending(word) or self._predicted(word)
        self._known[word] = phones
        return phones

    def _with_ending(self, word: str) -> tuple[Phone, ...]:
        """A possessive or plural of a word that is known."""
        stem = word[:-2] if word.endswith("'s") else word[:-1] if word.endswith("s'") else ""
        if self.language != "en-us" or not stem:
            return ()
        phones = self.pronounce([stem])[0]
        if word.endswith("s'"):
            return phones
        last = phones[-1].symbol if phones else ""
        ending = "ɪ z" if last in _SIBILANTS else "s" if last in _VOICELESS else "z"
        return phones + parse_phones(ending)

    def _predicted(self, word: str) -> tuple[Phone, ...]:
        if self._tagger is None:
            import pycrfsuite

            self._tagger = pycrfsuite.Tagger()
            self._tagger.open(str(self._folder / "g2p" / "model.crf"))
        letters = unicodedata.normalize("NFC", word)
        coded = self._tagger.tag([_letter_features(letters, i) for i in range(len(letters))])
        parts = [part for one in coded for part in base64.b64decode(one).decode().split("|")]
        return parse_phones(" ".join(part for part in parts if part != "_"))


def _letter_features(word: str, i: int) -> dict[str, Any]:
    """What gruut's model was trained to look at: the letter, its neighbours, whether the word begins or ends."""

    def coded(letter: str) -> str:
        return base64.b64encode(letter.encode()).decode()

    features: dict[str, Any] = {"bias": 1.0, "grapheme": coded(word[i])}
    if i == 0:
        features["begin"] = True
    for away in range(1, _CONTEXT + 1):
        if i >= away:
            features[f"grapheme-{away}"] = coded(word[i - away])
        if i < len(word) - away:
            features[f"grapheme+{away}"] = coded(word[i + away])
    if i == len(word) - 1:
        features["end"] = True
    return features


@lru_cache(maxsize=8)
def pronouncer(language: str) -> Pronouncer:
    """The pronouncer of a language, made once."""
    return Pronouncer(language)


def check_language(language: str) -> str:
    """The language as we name it: ``en``, ``EN_us`` and ``en-us`` are one.

    Raises:
        InputError: we do not read it; the message names those we do.
    """
    wanted = language.strip().lower().replace("_", "-")
    for name in _PACKAGES:
        if wanted in (name, name.split("-")[0]):
            return name
    raise InputError(f"no front end for the language {language!r}; it has {', '.join(_PACKAGES)}")


def _package_folder(language: str) -> Path:
    package, inside = _PACKAGES[check_language(language)]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InputError(
            f"reading {language} needs the package {package.replace('_', '-')}, which is not installed: "
            f"pip install {package.replace('_', '-')}"
        )
    return Path(next(iter(found.submodule_search_locations))) / inside
