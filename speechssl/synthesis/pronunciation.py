"""Words to phones, offline: the dictionaries and grapheme-to-phoneme models that gruut packages for its languages.

Only the data of those packages is read (``gruut-lang-en`` and the like, MIT): a dictionary in SQLite and a conditional
random field for the words it lacks. gruut's own text processing takes seconds to import and silently drops words it
cannot read; ``normalise`` replaces it.
"""

from __future__ import annotations

import base64
import importlib.util
import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from speechssl.errors import InputError
from speechssl.synthesis import languages
from speechssl.synthesis.languages.rules import Language
from speechssl.synthesis.phones import Phone, parse_phones

_CONTEXT = 3  # letters on either side that the grapheme-to-phoneme model was trained with


class Pronouncer:
    """Pronunciations of one language.

    Args:
        language: see ``languages.check_language``.
        folder: with ``lexicon.db`` and ``g2p/model.crf``; that of the installed package if None.
    Raises:
        InputError: no such language, or its package is not installed.
    """

    def __init__(self, language: str = "en-us", *, folder: Path | None = None) -> None:
        self.language = languages.check_language(language)
        self._language = languages.get(self.language)
        self._folder = folder or _package_folder(self._language)
        self._lexicon = sqlite3.connect(
            f"file:{self._folder / 'lexicon.db'}?mode=ro", uri=True, check_same_thread=False
        )
        self._known: dict[str, tuple[Phone, ...]] = {}
        self._words: frozenset[str] | None = None
        self._tagger: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the dictionary itself."""
        return partial(Pronouncer, folder=self._folder), (self.language,)

    def pronounce(self, words: Sequence[str]) -> list[tuple[Phone, ...]]:
        """Phones of each word of a sentence; neighbouring words may decide between pronunciations.

        Args:
            words: lower case, without punctuation.
        """
        self._look_up({word for word in words if word not in self._known})
        return self._language.in_context(words, [self._known.get(word) or self._unknown(word) for word in words])

    def knows(self, word: str) -> bool:
        """Whether the dictionary has a word."""
        if self._words is None:
            # the table has no index: a pass for each word would take longer than all of them at once
            self._words = frozenset(word for (word,) in self._lexicon.execute("SELECT word FROM word_phonemes"))
        return word in self._words

    def _look_up(self, words: Iterable[str]) -> None:
        # one pass over the table, which has no index, for all the words of a sentence
        wanted = sorted(words)
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            query = f"SELECT word, phonemes FROM word_phonemes WHERE word IN ({','.join('?' * len(part))})"
            for word, phonemes in self._lexicon.execute(f"{query} ORDER BY pron_order DESC", part):
                self._known[word] = parse_phones(phonemes)

    def _unknown(self, word: str) -> tuple[Phone, ...]:
        phones = self._language.ending(word, lambda stem: self.pronounce([stem])[0]) or self._predicted(word)
        self._known[word] = phones
        return phones

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
    """Features that gruut's model was trained on: the letter, its neighbours, and whether the word begins or ends."""

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
    """The pronouncer of a language; made once."""
    return Pronouncer(language)


def _package_folder(language: Language) -> Path:
    found = importlib.util.find_spec(language.package)
    if found is None or not found.submodule_search_locations:
        name = language.package.replace("_", "-")
        raise InputError(
            f"reading {language.code} needs the package {name}, which is not installed: pip install {name}"
        )
    return Path(next(iter(found.submodule_search_locations))) / language.dictionary
