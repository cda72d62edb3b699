"""Text to the tokens that the network reads: sounds with their stress, borders of words, and pauses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from speechssl.errors import InputError
from speechssl.synthesis import lexicon as lexicons
from speechssl.synthesis import normalise, other_languages, scripts, written
from speechssl.synthesis.languages import check_language
from speechssl.synthesis.lexicon import Lexicon
from speechssl.synthesis.phones import Phone
from speechssl.synthesis.pronunciation import Pronouncer, pronouncer

START = "^"  # silence before the first word
BORDERS = (" ", ",", ".", "?", "!")  # between words, and after the last
MAX_WORD = 80  # letters of a word; a longer one is read in parts


@dataclass(frozen=True)
class Word:
    """One word that is said.

    Args:
        word: as the dictionary has it.
        phones: at least one.
        start, end: place in the text without marks (``Prepared.text``), in characters.
        after: the border that follows, one of ``BORDERS``.
    """

    word: str
    phones: tuple[Phone, ...]
    start: int
    end: int
    after: str


@dataclass(frozen=True)
class Tokens:
    """What the network reads of one sentence, L tokens.

    Args:
        symbols: phones, borders and ``START``.
        stresses: 0, 1 or 2.
        words: number of the word each token belongs to; a border belongs to the word before it, ``START`` to none (-1).
    """

    symbols: tuple[str, ...]
    stresses: tuple[int, ...]
    words: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """A text that can be spoken.

    Args:
        text: without marks of Markdown; places of words are places in it.
        remarks: what is not read, or not as its language would have it.
        lexicon: pronunciations that the text gives.
    """

    text: str
    remarks: tuple[str, ...]
    lexicon: Lexicon = field(default_factory=dict)


class FrontEnd:
    """Reads one language.

    Args:
        language: see ``languages.check_language``.
        pronounce: pronounces the words; None for the packaged dictionary.
        lexicon: pronunciations that go before those, by word.
    Raises:
        InputError: a language without a front end.
    """

    def __init__(
        self, language: str = "en-us", *, pronounce: Pronouncer | None = None, lexicon: Lexicon | None = None
    ) -> None:
        self.language = check_language(language)
        self._pronouncer = pronounce or pronouncer(self.language)
        self._lexicon = self._as_read(lexicon or {})

    def prepare(self, text: str) -> Prepared:
        """The text that is read of a written one.

        Raises:
            InputError: most of it is in letters of other languages, only marks are in it, or a pronunciation in it is
                none.
        """
        check_text(text)
        text, given = lexicons.inline(text)
        plain = written.plain(text)
        if plain.remarks and not plain.text.strip():
            raise InputError(f"nothing to say: {', '.join(plain.remarks)}; a text with at least one word needed")
        remarks = plain.remarks + scripts.check(scripts.folded(plain.text), self.language)
        if self.language.startswith("en") and (other := other_languages.likely(plain.text)):
            remarks += (f"the text looks {other}, and {self.language} is spoken: its words are read as if English",)
        return Prepared(plain.text, remarks, self._as_read(given))

    def sentences(self, text: str | Prepared) -> Iterator[list[Word]]:
        """The words of each sentence with their phones, one sentence at a time.

        Args:
            text: any, or what ``prepare`` made of it.
        Raises:
            InputError: nothing in the text can be said, or as ``prepare``.
        """
        empty = True
        prepared = text if isinstance(text, Prepared) else self.prepare(text)
        text, lexicon = prepared.text, {**self._lexicon, **prepared.lexicon}
        for spoken in normalise.sentences(
            text, self.language, knows=lambda word: word in lexicon or self._pronouncer.knows(word)
        ):
            words = self._pronounced(spoken, lexicon)
            if words:
                empty = False
                yield words
        if empty:
            shown = text.strip()[:40]
            raise InputError(f"nothing to say in {shown!r}; a text with at least one word, number or symbol needed")

    def _as_read(self, lexicon: Lexicon) -> dict[str, tuple[Phone, ...]]:
        """The pronunciations by the words as the text is read: in small letters, without accents."""
        found = {}
        for word, phones in lexicon.items():
            read = [one.word for said in normalise.sentences(word, self.language, knows=lambda _: True) for one in said]
            if len(read) != 1:
                said = f"as {len(read)} words" if read else "as no word"
                raise InputError(f"pronunciation of {word[:40]!r}: it is read {said}; give one word")
            found[read[0]] = phones
        return found

    def _pronounced(self, spoken: Sequence[normalise.Spoken], lexicon: Lexicon) -> list[Word]:
        parts = [
            (word.word[at : at + MAX_WORD], word, at + MAX_WORD >= len(word.word))
            for word in spoken
            for at in range(0, len(word.word), MAX_WORD)
        ]
        known = self._pronouncer.pronounce([text for text, _, _ in parts])
        phones = [lexicon.get(text, sounds) for (text, _, _), sounds in zip(parts, known, strict=True)]
        return [
            Word(text, sounds, word.start, word.end, (word.after if last else "") or " ")
            for (text, word, last), sounds in zip(parts, phones, strict=True)
            if sounds
        ]


def check_text(text: object) -> None:
    """Refuse what is no text.

    Raises:
        InputError: the message says what was got.
    """
    if not isinstance(text, str):
        raise InputError(f"the text is of the type {type(text).__name__}; a text (str) needed")
    half = next((place for place, letter in enumerate(text, 1) if "\ud800" <= letter <= "\udfff"), 0)
    if half:
        raise InputError(f"character {half} of the text is no character (a lone surrogate); a text in UTF-8 needed")


def tokens(words: Sequence[Word]) -> Tokens:
    """Tokens of a sentence: its start, and each word's phones with the border after it.

    The border after the last word is never a mere space: a sentence without a full stop has one all the same.
    """
    symbols, stresses, owners = [START], [0], [-1]
    for number, word in enumerate(words):
        border = word.after
        if number == len(words) - 1 and border == " ":
            border = "."
        symbols += [*(phone.symbol for phone in word.phones), border]
        stresses += [*(phone.stress for phone in word.phones), 0]
        owners += [number] * (len(word.phones) + 1)
    return Tokens(tuple(symbols), tuple(stresses), tuple(owners))
