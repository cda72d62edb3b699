"""Words to phones from the packaged dictionary, and what it does not have."""

from __future__ import annotations

import itertools

import pytest

from speechssl.errors import InputError
from speechssl.synthesis.front_end import BORDERS, START, FrontEnd, tokens
from speechssl.synthesis.languages import check_language
from speechssl.synthesis.phones import Phone, parse_phones
from speechssl.synthesis.pronunciation import Pronouncer


@pytest.fixture(scope="module")
def english() -> Pronouncer:
    return Pronouncer("en-us")


def plain(phones: tuple[Phone, ...]) -> str:
    return " ".join(phone.symbol for phone in phones)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("danger", "d eɪ n d͡ʒ ɚ"),
        ("the", "ð ə"),
        ("it's", "ɪ t s"),
        ("kathleen's", "k æ θ l i n z"),
        ("boss's", "b ɔ s ɪ z"),
        ("w", "d ʌ b ə l j u"),
    ],
)
def test_words_of_the_dictionary(english: Pronouncer, word: str, phones: str) -> None:
    assert plain(english.pronounce([word])[0]) == phones


def test_the_before_a_vowel(english: Pronouncer) -> None:
    assert [plain(one) for one in english.pronounce(["the", "apple", "the", "pear"])][::2] == ["ð i", "ð ə"]


def test_stress_is_kept_apart() -> None:
    assert parse_phones("h ə l ˈoʊ ˌɛ") == (
        Phone("h", 0), Phone("ə", 0), Phone("l", 0), Phone("oʊ", 1), Phone("ɛ", 2)
    )  # fmt: skip


@pytest.mark.parametrize("word", ["flibbertigibbetish", "zxcvb", "q", "kathleenia", "a" * 60])
def test_unknown_words_are_spelled_by_the_model(english: Pronouncer, word: str) -> None:
    assert english.pronounce([word])[0]


def test_unknown_words_sound_like_their_letters(english: Pronouncer) -> None:
    assert plain(english.pronounce(["blimpster"])[0]) == "b l ɪ m p s t ɚ"


def test_more_words_than_a_query_takes(english: Pronouncer) -> None:
    words = [one + "".join(two) for one in "bcdfghjklmnprst" for two in itertools.product("aeiou", "bcdfgklmnprst")]
    assert all(english.pronounce(words))


@pytest.mark.parametrize(("given", "named"), [("en", "en-us"), ("EN_us", "en-us"), ("de", "de-de")])
def test_languages_have_one_name(given: str, named: str) -> None:
    assert check_language(given) == named


def test_another_language_names_those_there_are() -> None:
    with pytest.raises(InputError, match="'tlh'; it has en-us, de-de"):
        check_language("tlh")


def test_tokens_of_a_sentence() -> None:
    (words,) = FrontEnd("en").sentences("Go, cat")
    found = tokens(words)
    assert found.symbols == (START, "ɡ", "oʊ", ",", "k", "æ", "t", ".")
    assert found.stresses == (0, 0, 1, 0, 0, 1, 0, 0)
    assert found.words == (-1, 0, 0, 0, 1, 1, 1, 1)
    assert set(found.symbols) & set(BORDERS) == {",", "."}


@pytest.mark.parametrize("text", ["", "   ", "?!...", "\x00\x01", "—", "\u200b"])
def test_nothing_to_say(text: str) -> None:
    with pytest.raises(InputError, match="nothing to say"):
        list(FrontEnd().sentences(text))


def test_long_texts_are_read_as_they_go() -> None:
    sentences = FrontEnd().sentences("This is it. " * 10_000)
    assert [word.word for word in next(sentences)] == ["this", "is", "it"]


def test_a_word_of_a_thousand_letters_is_read_in_parts() -> None:
    (words,) = FrontEnd().sentences("ab" * 500)
    assert len(words) > 10
    assert "".join(word.word for word in words) == "ab" * 500


def test_german_is_read_from_the_dictionary_that_is_right() -> None:
    pytest.importorskip("gruut_lang_de")
    words = ["zeit", "benannt", "weiß", "stadtbaumeister"]
    said = [" ".join(phone.symbol for phone in phones) for phones in Pronouncer("de-de").pronounce(words)]
    assert said == ["t s a ɪ t", "b ə n a n t", "v a ɪ s", "ʃ t a t b a ʊ m a ɪ s t ɜ"]
