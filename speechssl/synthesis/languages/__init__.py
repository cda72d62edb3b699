"""Rules of reading, one file a language."""

from __future__ import annotations

from speechssl.synthesis.languages.rules import Language


def get(code: str) -> Language:
    """The rules of a language by its full code; see ``pronunciation.check_language``."""
    if code == "de-de":
        from speechssl.synthesis.languages.german import GERMAN

        return GERMAN
    from speechssl.synthesis.languages.english import ENGLISH

    return ENGLISH
