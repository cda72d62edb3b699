"""The language of a text in Latin letters: named where it is not English, and never of a name alone."""

from __future__ import annotations

import pytest

from speechssl.synthesis.front_end import FrontEnd
from speechssl.synthesis.other_languages import likely


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Guten Morgen, wie geht es Ihnen heute?", "German"),
        ("Der Zug fährt um neun Uhr ab.", "German"),
        ("Je voudrais un café et un croissant, s'il vous plaît.", "French"),
        ("Hola, me llamo Pedro y vivo en Madrid.", "Spanish"),
        ("Il treno che parte alle nove non è in ritardo.", "Italian"),
        ("Eu não sei onde você mora.", "Portuguese"),
        ("De trein vertrekt om negen uur van het station.", "Dutch"),
    ],
)
def test_other_languages_are_named(text: str, language: str) -> None:
    assert likely(text) == language
    assert f"looks {language}" in "".join(FrontEnd().prepare(text).remarks)


@pytest.mark.parametrize(
    "text",
    [
        "The train leaves at nine.",
        "To be or not to be, that is the question.",
        "Mr Kowalczyk met Dr Szymanski in Wroclaw.",
        "Los Angeles, Las Vegas, El Paso.",
        "Der Spiegel reports that die Grünen lost.",
        "Les Misérables is a musical.",
        "Il Postino, a film of 1994, is set on an island.",
        "We had pain au chocolat and a café au lait.",
        "Que sera, sera.",
        "1, 2, 3",
    ],
)
def test_english_is_not(text: str) -> None:
    assert likely(text) is None
    assert FrontEnd().prepare(text).remarks == ()
