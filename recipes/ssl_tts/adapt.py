"""Start a network from another synthesizer's, with other sounds perhaps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from speechssl.errors import InputError
from speechssl.synthesis import model as models
from speechssl.synthesis.front_end import BORDERS, START
from speechssl.synthesis.network import TextToKeys

# what phones are alike in, roughly: place, manner, voice; height, backness, rounding. A phone that the first language
# lacks begins as the one it shares most of this with, and is itself from the first step of training on
_TRAITS = {
    "p": "labial stop", "b": "labial stop voiced", "t": "dental stop", "d": "dental stop voiced", "k": "velar stop",
    "ɡ": "velar stop voiced", "f": "labial fricative", "v": "labial fricative voiced", "p͡f": "labial stop fricative",
    "s": "dental fricative", "z": "dental fricative voiced", "t͡s": "dental stop fricative", "ʃ": "palatal fricative",
    "ʒ": "palatal fricative voiced", "t͡ʃ": "palatal stop fricative", "d͡ʒ": "palatal stop fricative voiced",
    "ç": "palatal fricative weak", "x": "velar fricative weak", "χ": "velar fricative weak",
    "h": "glottal fricative weak", "θ": "interdental fricative", "ð": "interdental fricative voiced",
    "m": "labial nasal voiced", "n": "dental nasal voiced", "ŋ": "velar nasal voiced", "l": "dental lateral voiced",
    "ɹ": "dental approximant voiced r", "r": "dental trill voiced r", "ɾ": "dental tap voiced r",
    "ʀ": "velar trill voiced r", "ʁ": "velar approximant voiced r", "j": "palatal approximant voiced",
    "w": "labial approximant voiced", "ʔ": "glottal stop", "i": "vowel high front", "iː": "vowel high front long",
    "ɪ": "vowel high front lax", "e": "vowel mid front", "eː": "vowel mid front long", "eɪ": "vowel mid front glide",
    "ɛ": "vowel mid front lax", "ɛː": "vowel mid front lax long", "æ": "vowel low front", "a": "vowel low central",
    "aː": "vowel low central long", "ɑ": "vowel low back", "ɑː": "vowel low back long", "ɒ": "vowel low back round",
    "ɔ": "vowel mid back round lax", "o": "vowel mid back round", "oː": "vowel mid back round long",
    "oʊ": "vowel mid back round glide", "ʊ": "vowel high back round lax", "u": "vowel high back round",
    "uː": "vowel high back round long", "y": "vowel high front round", "yː": "vowel high front round long",
    "ʏ": "vowel high front round lax", "ø": "vowel mid front round", "øː": "vowel mid front round long",
    "œ": "vowel mid front round lax", "ə": "vowel mid central", "ɐ": "vowel low central reduced",
    "ɜ": "vowel low central reduced", "ʌ": "vowel mid central low", "ɚ": "vowel mid central r",
    "aɪ": "vowel low central glide palatal", "aʊ": "vowel low central glide labial",
    "ɔɪ": "vowel mid back round glide palatal", "ɔʏ": "vowel mid back round glide palatal",
}  # fmt: skip


def nearest_phone(symbol: str, known: Sequence[str]) -> str | None:
    """The known phone that shares most traits; itself if it is known; None for what is not described here."""
    if symbol in known:
        return symbol
    traits = set(_TRAITS.get(symbol, "").split())
    described = [one for one in known if one in _TRAITS]
    if not traits or not described:
        return None

    def likeness(other: str) -> float:
        theirs = set(_TRAITS[other].split())
        return len(traits & theirs) / len(traits | theirs)

    return max(described, key=likeness)


def start_from(network: TextToKeys, path: Path, symbols: Sequence[str]) -> dict[str, str]:
    """Copy all weights of another text model of the same sizes; each symbol's embedding is that of the most similar.

    The scales of keys and pitch stay those of the new data.

    Returns:
        New symbol -> the one it began as, where they differ.
    Raises:
        InputError: other sizes.
    """
    before = models.load(path)
    theirs, ours = before.network.config.as_dict(), network.config.as_dict()
    if {**theirs, "num_symbols": 0} != {**ours, "num_symbols": 0}:
        raise InputError(f"{path} is of the sizes {theirs}; {ours} are trained here: choose another --size or --init")
    state = before.network.state_dict()
    kept = {"key_mean", "key_spread", "pitch_scale", "symbol_embedding.weight"}
    network.load_state_dict({name: value for name, value in state.items() if name not in kept}, strict=False)
    known = [symbol for symbol in before.symbols if symbol not in (START, *BORDERS)]
    began: dict[str, str] = {}
    with torch.no_grad():
        for number, symbol in enumerate(symbols):
            like = symbol if symbol in before.symbols else nearest_phone(symbol, known)
            if like is not None:
                vector = state["symbol_embedding.weight"][before.symbols.index(like)]
                network.symbol_embedding.weight[number] = vector
                if like != symbol:
                    began[symbol] = like
    return began
