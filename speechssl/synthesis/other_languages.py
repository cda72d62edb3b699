"""Which language a text in Latin letters is likely to be in, by its commonest words; for a remark, never a refusal."""

from __future__ import annotations

import re

# the commonest words of each language that neither English nor the others have
COMMON = {
    "German": "der das und ist nicht ich ein eine einen dem den mit auf für wir sie wie auch sich aus bei nach um ab "
    "zum zur guten morgen tag wie geht es heute hallo danke bitte",
    "French": "le les des et est une je vous nous pas dans pour que qui avec sur au aux du ce cette être bonjour",
    "Spanish": "el los las y una por con para pero como más muy está yo mi lo hola del",
    "Italian": "il gli di che è non sono per della nel anche più ho mio questo ciao dei alle alla",
    "Portuguese": "o os um uma não com mais eu você são muito isso olá dos pelo às",
    "Dutch": "het een en van niet ik je dat zijn op te voor naar maar ook deze wij om uur",
}
ENGLISH = (
    "the a an and is are was were to of in on at it he she you we they that this with for not be have has had do does "
    "will would can could from by or as if but what when who how"
)
SHARE = 0.2  # of the words, from which a language is named
FEWEST = 2  # of its words
_WORD = re.compile(r"[^\W\d_]+")
_COMMON = {name: frozenset(words.split()) for name, words in COMMON.items()}
_ENGLISH = frozenset(ENGLISH.split())


def likely(text: str) -> str | None:
    """The language, other than English, that a text is likely to be in; None if there is none.

    Args:
        text: any.

    Example:
        >>> likely("Der Zug fährt um neun Uhr ab."), likely("The train leaves at nine.")
        ('German', None)
    """
    found = _WORD.findall(text)
    # capitals within a sentence are names: Los Angeles, El Paso
    words = [word.lower() if number == 0 or word[0].islower() else "" for number, word in enumerate(found)]
    counts = {name: sum(word in common for word in words) for name, common in _COMMON.items()}
    name = max(counts, key=lambda one: counts[one])
    enough = counts[name] >= FEWEST and counts[name] >= SHARE * len(words)
    return name if enough and counts[name] > sum(word in _ENGLISH for word in words) else None
