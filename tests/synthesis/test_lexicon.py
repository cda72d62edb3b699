"""Pronunciations of a person's own are those that are spoken."""

from __future__ import annotations

import pytest

from speechssl.errors import InputError
from speechssl.synthesis import lexicon
from speechssl.synthesis.front_end import FrontEnd
from speechssl.synthesis.phones import Phone
from speechssl.synthesis.pronunciation import pronouncer

pytest.importorskip("gruut_lang_en")


def spoken(front_end: FrontEnd, text: str) -> dict[str, str]:
    return {word.word: " ".join(one.symbol for one in word.phones)
            for sentence in front_end.sentences(text) for word in sentence}  # fmt: skip


def test_arpabet_and_phonetic_letters_are_the_sounds_of_the_dictionary() -> None:
    for word, written in (
        ("word", "W ER1 D"),
        ("about", "AH0 B AW1 T"),
        ("judge", "JH AH1 JH"),
        ("happy", "HH AE1 P IY0"),
    ):
        known = pronouncer("en-us").pronounce([word])[0]
        assert lexicon.sounds(written) == known
        marks = ("", "ˈ", "ˌ")
        assert lexicon.sounds(" ".join(marks[one.stress] + one.symbol for one in known)) == known


def test_a_pronunciation_in_the_text_holds_for_the_whole_of_it_and_is_not_read() -> None:
    text = "A Tomato, {tomato|T AH0 M AA1 T OW2}: tomatoes."
    front_end = FrontEnd()
    assert front_end.prepare(text).text == "A Tomato, tomato: tomatoes."
    words = spoken(front_end, text)
    assert words["tomato"] == "t ə m ɑ t oʊ"
    assert words["tomatoes"] == spoken(front_end, "tomatoes")["tomatoes"]
    assert spoken(front_end, "tomato")["tomato"] == "t ə m eɪ t oʊ"  # in another text


def test_letters_that_are_spelled_are_a_word_once_they_have_a_pronunciation() -> None:
    assert spoken(FrontEnd(), "a XQJ file").keys() >= {"x", "q", "j"}
    assert spoken(FrontEnd(lexicon={"XQJ": lexicon.sounds("JH IH1 F")}), "a XQJ file")["xqj"] == "d͡ʒ ɪ f"


def test_a_lexicon_file_has_a_word_and_its_sounds_on_each_line(tmp_path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeff;;; as in CMUdict\nGIF\tJH IH1 F  # not g\n\nnai\u0308ve n ɑ ˈi v\n", encoding="utf-8")
    found = lexicon.read(path)
    assert found["gif"] == (Phone("d͡ʒ", 0), Phone("ɪ", 1), Phone("f", 0))
    assert spoken(FrontEnd(lexicon=found), "A naïve gif.") == {"a": "ə", "naive": "n ɑ i v", "gif": "d͡ʒ ɪ f"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("gif", "'gif' (line 1): '' has 0 sounds"), ("# x\ngif JH XX1", "line 2): 'JH XX1' has the sound 'XX'"),
     ("gif JH ü", "has the sound 'ü'"), ("gif JH AH9 XX", "has the sound 'AH9'"),
     (f"gif {'B ' * 65}", "has 65 sounds")],
)  # fmt: skip
def test_sounds_that_english_does_not_have_are_refused(tmp_path, text: str, said: str) -> None:
    (tmp_path / "bad.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        lexicon.read(tmp_path / "bad.txt")
    assert said in str(raised.value)
    assert "bad.txt" in str(raised.value)
    with pytest.raises(InputError, match="has the sound 'QQ'"):
        FrontEnd().prepare("{gif|QQ}")


def test_what_is_no_single_word_and_what_is_no_file_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="'24': it is read as 2 words; give one word"):
        FrontEnd(lexicon={"24": lexicon.sounds("B IY1")})
    with pytest.raises(InputError, match="it is read as no word"):
        FrontEnd(lexicon={"-": lexicon.sounds("B IY1")})
    with pytest.raises(InputError, match=r"none\.txt cannot be read"):
        lexicon.read(tmp_path / "none.txt")
