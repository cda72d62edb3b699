"""How German is read: numbers, percent, money, times, the commonest abbreviations and symbols."""

from __future__ import annotations

import re

from speechssl.synthesis.languages.rules import Language, Rule, abbreviations, decimal, number_words, whole

CURRENCIES = {"€": "euro", "$": "dollar", "£": "pfund"}
ABBREVIATIONS = {
    "z.b": "zum beispiel", "z. b": "zum beispiel", "d.h": "das heißt", "d. h": "das heißt", "usw": "und so weiter",
    "bzw": "beziehungsweise", "dr": "doktor", "prof": "professor", "nr": "nummer", "ca": "zirka", "hr": "herr",
    "fr": "frau",
}  # fmt: skip
_NAMES = "ah be ze de eh eff ge ha ih jott ka ell emm enn oh pe ku err ess te uh vau we ix ypsilon zett"
LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", _NAMES.split(), strict=True))
SYMBOLS = {
    "&": "und", "+": "plus", "=": "gleich", "@": "at", "#": "nummer", "%": "prozent", "/": "schrägstrich", "€": "euro",
    "$": "dollar", "£": "pfund", "°": "grad", "§": "paragraf", "<": "kleiner als", ">": "größer als", "½": "ein halb",
}  # fmt: skip
_WHOLE = r"\d{1,3}(?:\.\d{3})+|\d+"


def _say(value: int) -> str:
    return number_words(value, "de")


def _cardinal(text: str) -> str:
    return whole(text, _say, separator=".")


def _number(match: re.Match[str]) -> str:
    return decimal(match["number"], _say, separator=".", mark=",", point="komma")


def _money(match: re.Match[str]) -> str:
    cents = f" {_say(int(match['money_d']))}" if match["money_d"] else ""
    return f"{_cardinal(match['money_n'])} {CURRENCIES[match['money_c']]}{cents}"


def _time(match: re.Match[str]) -> str:
    minute = int(match["time_m"])
    return f"{_say(int(match['time_h']))} uhr" + (f" {_say(minute)}" if minute else "")


RULES = {
    "time": Rule(r"\b(?P<time_h>[01]?\d|2[0-4]):(?P<time_m>[0-5]\d)(?:\s?Uhr)?", _time),
    "money": Rule(rf"(?P<money_n>{_WHOLE})(?:,(?P<money_d>\d\d))?\s?(?P<money_c>[€$£])", _money),
    "number": Rule(rf"(?:(?<![\w.)])[-−])?(?:{_WHOLE})(?:,\d+)?", _number),
    "short": abbreviations(ABBREVIATIONS),
}

LANGUAGE = Language(
    code="de-de",
    numbers=_say,
    package="gruut_lang_de",
    alphabet="abcdefghijklmnopqrstuvwxyzäöüß'",
    vowels="aeiouyäöü",
    letters=LETTERS,
    words_of_one_letter="",
    spelled=frozenset(("eu", "usa", "tv")),
    stand_ins={},
    symbols=SYMBOLS,
    rules=RULES,
    # the package holds two dictionaries. The first reads Zeit as "t s a eː t", benannt as "b ə n a n n t", and lacks
    # every word with ß; the one that was made with eSpeak NG is right about these
    dictionary="espeak",
)
