"""Sentences that are hard to say, and whether each of their words is heard where it was meant to be.

Numbers, names, repeated words and sentences of 60 words, force-aligned by pocketsphinx: a word counts as wrong if the
aligner finds it elsewhere than where it was meant to be, or much shorter.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from speechssl import errors
from speechssl.synthesis.pronunciation import pronouncer
from speechssl.synthesis.synthesizer import Synthesizer

NAMES = (
    "Priya", "Okonkwo", "Siobhan", "Nguyen", "Xavier", "Bartholomew", "Anastasia", "Rodriguez", "Worcester",
    "Llewellyn", "Kowalski", "Tchaikovsky",
)  # fmt: skip
NOUNS = (
    "river", "engine", "garden", "letter", "captain", "window", "market", "mountain", "doctor", "harbor", "ticket",
    "violin",
)  # fmt: skip
ADJECTIVES = (
    "quiet", "heavy", "narrow", "distant", "golden", "broken", "early", "bitter", "curious", "frozen",
)  # fmt: skip
TOLERANCE = 0.12  # seconds a word may begin from where it was meant to
SHORTEST = 0.4  # of the length it was meant to have
# ARPABET of pocketsphinx
_ARPABET = {
    "æ": "AE", "ɑ": "AA", "ɔ": "AO", "ə": "AH", "ʌ": "AH", "ɚ": "ER", "ɛ": "EH", "ɪ": "IH", "i": "IY", "ʊ": "UH",
    "u": "UW", "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "oʊ": "OW", "ɔɪ": "OY", "b": "B", "t͡ʃ": "CH", "d": "D", "ð": "DH",
    "f": "F", "ɡ": "G", "h": "HH", "d͡ʒ": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R",
    "s": "S", "ʃ": "SH", "t": "T", "θ": "TH", "v": "V", "w": "W", "j": "Y", "z": "Z", "ʒ": "ZH",
}  # fmt: skip


def hard_sentences(count: int, seed: int = 0) -> list[str]:
    """Numbers, names, repeated words and sentences of about 60 words, in turn."""
    chance = random.Random(seed)

    def phrase() -> str:
        return f"the {chance.choice(ADJECTIVES)} {chance.choice(NOUNS)}"

    def numbers() -> str:
        year, money = chance.randint(1700, 2030), chance.randint(2, 9999) / 100
        return (
            f"In {year} {phrase()} cost ${money:.2f}, or {chance.randint(2, 99)}% of {chance.randint(1000, 99999):,}."
        )

    def names() -> str:
        one, two, three = chance.sample(NAMES, 3)
        return f"{one} {two} met Dr. {three} at 4:{chance.randint(10, 59)} pm near {phrase()}."

    def repeated() -> str:
        word = chance.choice(ADJECTIVES)
        return f"It was {word}, {word}, {word} and {word} again, {phrase()}, {phrase()} and {phrase()}."

    def long() -> str:
        parts = [f"{phrase()} beside {phrase()} was {chance.choice(ADJECTIVES)}" for _ in range(7)]
        return ", and ".join(parts).capitalize() + "."

    kinds = (numbers, names, repeated, long)
    return [kinds[i % len(kinds)]() for i in range(count)]


def score(made: Synthesizer, voices: dict[str, Any], count: int) -> dict[str, Any]:
    """Share of words that forced alignment does not find where they were meant to be.

    Args:
        made: speaks.
        voices: taken in turn.
        count: of sentences.
    """
    errors.require_for_recipe("pocketsphinx")
    from pocketsphinx import Decoder

    names = sorted(voices)
    decoder = Decoder(lm=None, loglevel="FATAL", bestpath=False, cmn="batch", beam=1e-80, wbeam=1e-80, pbeam=1e-80)
    wrong = total = lost = 0
    examples = []
    for i, text in enumerate(hard_sentences(count)):
        spoken = made.stream(text, voices[names[i % len(names)]], seed=i)
        for sentence, part in zip(made.front_end.sentences(text), spoken, strict=True):
            found = aligned(decoder, part.waveform.samples.numpy(), [word.word for word in sentence])
            meant = spans(part.prediction, len(sentence))
            total += len(sentence)
            if found is None:
                wrong, lost = wrong + len(sentence), lost + 1
                continue
            bad = [
                word.word
                for word, (start, end), (heard, ends) in zip(sentence, meant, found, strict=True)
                if abs(heard - start) > TOLERANCE or ends - heard < SHORTEST * (end - start)
            ]
            wrong += len(bad)
            if bad:
                examples.append({"text": text, "wrong": bad})
    return {"words": total, "wrong": round(wrong / total, 4), "not_aligned": lost, "examples": examples[:8]}


def spans(prediction: Any, words: int) -> list[tuple[float, float]]:
    """When each word was meant to begin and end, in seconds."""
    ends = prediction.times().tolist()
    times: list[list[float]] = [[] for _ in range(words)]
    for token, owner in enumerate(prediction.tokens.words):
        last = token + 1 == len(ends) or prediction.tokens.words[token + 1] != owner
        if owner >= 0 and not last:
            times[owner] += [ends[token - 1], ends[token]]
    return [(min(one), max(one)) for one in times]


def aligned(decoder: Any, samples: np.ndarray, words: list[str]) -> list[tuple[float, float]] | None:
    """When each word was heard, by pocketsphinx; None if the words do not fit the sound at all."""
    for word in words:
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, pronounced(word), True)
    raw = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    decoder.set_align_text(" ".join(words))
    decoder.start_utt()
    decoder.process_raw(raw, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return None
    heard = [
        (part.start_frame / 100, (part.end_frame + 1) / 100)
        for part in decoder.seg()
        if not part.word.startswith(("<", "[", "+"))
    ]
    return heard if len(heard) == len(words) else None


def pronounced(word: str) -> str:
    """Phones of a word in the spelling of CMUdict."""
    phones = pronouncer("en-us").pronounce([word])[0]
    return " ".join(_ARPABET[phone.symbol] for phone in phones if phone.symbol in _ARPABET)
