"""What numbers, dates, money, abbreviations and symbols are read as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechssl.synthesis import normalise

LEXICON = frozenset(("nasa", "it", "us", "the", "a", "cat", "ok", "pcs", "at"))


def read(text: str, language: str = "en-us") -> str:
    sentences = normalise.sentences(text, language, knows=LEXICON.__contains__)
    return " ".join(f"{word.word}{word.after}" for sentence in sentences for word in sentence)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1,024 cats", "one thousand twenty four cats"),
        ("007", "zero zero seven"),
        ("-5 or -3.25", "minus five or minus three point two five"),
        ("12345678901234567890", "one two three four five six seven eight nine zero " * 2),
        ("in 1984, 2005 and 2023", "in nineteen eighty four, two thousand five and twenty twenty three"),
        ("the 1990s and '60s", "the nineteen nineties and sixties"),
        ("1st 22nd 103rd", "first twenty second one hundred third"),
        ("3/4 and 1/2", "three quarters and one half"),
        ("pages 5-10", "pages five to ten"),
        ("50% of #3", "fifty percent of number three"),
        ("$3.50", "three dollars fifty cents"),
        ("$1 and £0.99", "one dollar and ninety nine pence"),
        ("$1.2 million", "one point two million dollars"),
        ("€5bn", "five billion euros"),
        ("Jan. 5th, 2023", "january fifth twenty twenty three"),
        ("2020-01-31", "january thirty first twenty twenty"),
        ("12/25/1999", "december twenty fifth nineteen ninety nine"),
        ("4:30 pm", "four thirty p m"),
        ("4:05", "four oh five"),
        ("12:00", "twelve o'clock"),
        ("7 a.m.", "seven ay m."),
        ("80GB at 5 km/h", "eighty gigabytes at five kilometers per hour"),
        ("-3°C", "minus three degrees celsius"),
        ("10² ½", "ten squared one half"),
        ("(555) 123-4567", "five five five one two three four five six seven"),
        ("Dr. Smith vs. Mrs. Jones", "doctor smith versus missus jones"),
        ("St. Louis etc.", "saint louis et cetera."),
        ("Gen. Lee is a gen. nuisance", "general lee is a gen nuisance"),
        ("e.g. this", "for example this"),
        ("mail me@x.org", "mail me at x dot org"),
        ("www.example.com/a", "w w w dot example dot com slash a"),
        ("R&D", "r and d"),
        ("B2B", "b two b"),
    ],
)
def test_what_is_written_is_said_in_words(written: str, said: str) -> None:
    assert read(written) == said.strip()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("NASA", "nasa"),  # in the dictionary
        ("XQZ", "x q z"),
        ("in the US", "in the u s"),
        ("tell us", "tell us"),
        ("U.S.A.", "u s ay."),
        ("tsk", "t s k"),
        ("caf\u00e9 na\u00efve", "cafe naive"),
        ("e\u0301te\u0301", "ete"),
        ("it’s", "it's"),
        ("snake_case", "snake case"),
    ],
)
def test_capitals_and_spelling(written: str, said: str) -> None:
    assert read(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("привет", "privet"),
        ("中文", "zhong wen"),
        ("😀", "grinning"),
        ("α and Ω", "alpha and omega"),
        ("٣", "three"),
        ("at\u200bat\x00us", "at at us"),
    ],
)
def test_other_scripts_and_symbols_are_said(written: str, said: str) -> None:
    assert read(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1.024 Häuser", "eintausendvierundzwanzig häuser"),
        ("3,50 €", "drei euro fünfzig"),
        ("um 16:30 Uhr", "um sechzehn uhr dreißig"),
        ("50 % z. B.", "fünfzig prozent zum beispiel."),
        ("-2,5", "minus zwei komma fünf"),
        ("XQ", "ix ku"),
        ("1.000,25 bzw. d. h. Nr. 7", "eintausend komma zwei fünf beziehungsweise das heißt nummer sieben"),
    ],
)
def test_german(written: str, said: str) -> None:
    assert read(written, "de-de") == said


def test_sentences_end_where_they_end() -> None:
    text = 'Dr. Who? "Yes!" he said. 3.14 is pi\n\nnew paragraph... and more... More'
    ends = [sentence[-1].word + sentence[-1].after for sentence in normalise.sentences(text)]
    assert ends == ["who?", "yes!", "said.", "pi.", "more.", "more"]


def test_a_sentence_without_an_end_is_parted() -> None:
    text = "word, " * 500
    sizes = [len(sentence) for sentence in normalise.sentences(text)]
    assert sum(sizes) == 500
    assert max(sizes) <= normalise.LONGEST + 1


def test_spans_are_those_of_the_text() -> None:
    text = "It cost $3.50 on Monday."
    words = [word for sentence in normalise.sentences(text) for word in sentence]
    assert [text[word.start : word.end] for word in words] == ["It", "cost", *["$3.50"] * 4, "on", "Monday"]


@given(st.text(max_size=60))
def test_any_text_gives_words_of_the_alphabet_in_order(text: str) -> None:
    words = [word for sentence in normalise.sentences(text) for word in sentence]
    assert all(set(word.word) <= set("abcdefghijklmnopqrstuvwxyz'") and word.word for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert all(0 <= word.start < word.end <= len(text) for word in words)


@given(st.integers(0, 10**12))
def test_numbers_lose_no_digit(number: int) -> None:
    # num2words' own words, but for hyphens, commas and "and"; years are read in another way
    from num2words import num2words

    if 1100 <= number < 2100:
        return
    plain = num2words(number).replace("-", " ").replace(",", "").replace(" and ", " ")
    digits = str(number)
    expected = plain if len(digits) <= 12 else " ".join(num2words(int(digit)) for digit in digits)
    assert read(digits) == expected


@given(st.lists(st.sampled_from(["cat", "dog", "a", "house", "it's"]), min_size=1, max_size=20))
def test_plain_words_pass_unchanged(words: list[str]) -> None:
    spoken = [word.word for sentence in normalise.sentences(" ".join(words)) for word in sentence]
    assert spoken == words
