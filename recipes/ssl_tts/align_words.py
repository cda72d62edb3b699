"""Words in the phones of pocketsphinx."""

from __future__ import annotations

from speechssl.synthesis.pronunciation import pronouncer

_ARPABET = {
    "æ": "AE", "ɑ": "AA", "ɔ": "AO", "ə": "AH", "ʌ": "AH", "ɚ": "ER", "ɛ": "EH", "ɪ": "IH", "i": "IY", "ʊ": "UH",
    "u": "UW", "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "oʊ": "OW", "ɔɪ": "OY", "b": "B", "t͡ʃ": "CH", "d": "D", "ð": "DH",
    "f": "F", "ɡ": "G", "h": "HH", "d͡ʒ": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R",
    "s": "S", "ʃ": "SH", "t": "T", "θ": "TH", "v": "V", "w": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip


def pronounced(word: str) -> str:
    """Phones of a word in the spelling of CMUdict."""
    phones = pronouncer("en-us").pronounce([word])[0]
    return " ".join(_ARPABET[phone.symbol] for phone in phones if phone.symbol in _ARPABET)
