"""How American English is read and pronounced."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from speechssl.synthesis.languages.rules import (
    LONGEST_NUMBER,
    Language,
    Phones,
    Rule,
    abbreviations,
    decimal,
    number_words,
    whole,
)
from speechssl.synthesis.phones import parse_phones

_SIBILANTS = {"s", "z", "ʃ", "ʒ", "t͡ʃ", "d͡ʒ"}
_VOICELESS = {"p", "t", "k", "f", "θ"}

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
LETTERS = {"a": "ay"}  # the others are words of one letter in the dictionary
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
}
SCALES = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion"}
UNITS = {
    "km/h": ("kilometer per hour", "kilometers per hour"), "mph": ("mile per hour", "miles per hour"),
    "km": ("kilometer", "kilometers"), "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"), "kg": ("kilogram", "kilograms"), "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"), "lbs": ("pound", "pounds"), "lb": ("pound", "pounds"), "oz": ("ounce", "ounces"),
    "ft": ("foot", "feet"), "ml": ("milliliter", "milliliters"), "l": ("liter", "liters"),
    "GB": ("gigabyte", "gigabytes"), "MB": ("megabyte", "megabytes"), "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"), "TB": ("terabyte", "terabytes"), "GHz": ("gigahertz", "gigahertz"),
    "MHz": ("megahertz", "megahertz"), "kHz": ("kilohertz", "kilohertz"), "Hz": ("hertz", "hertz"),
    "ms": ("millisecond", "milliseconds"), "hrs": ("hour", "hours"), "hr": ("hour", "hours"),
    "min": ("minute", "minutes"), "sec": ("second", "seconds"), "s": ("second", "seconds"),
    "kW": ("kilowatt", "kilowatts"), "W": ("watt", "watts"), "V": ("volt", "volts"), "dB": ("decibel", "decibels"),
    "°C": ("degree celsius", "degrees celsius"), "°F": ("degree fahrenheit", "degrees fahrenheit"),
    "°": ("degree", "degrees"), "%": ("percent", "percent"),
}  # fmt: skip
ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "st": "saint", "jr": "junior",
    "sr": "senior", "vs": "versus", "etc": "et cetera", "e.g": "for example", "i.e": "that is", "a.m": "ay m",
    "p.m": "p m", "approx": "approximately", "dept": "department", "est": "established", "fig": "figure",
    "no": "number", "vol": "volume", "gen": "general", "gov": "governor", "sen": "senator", "rep": "representative",
    "capt": "captain", "lt": "lieutenant", "col": "colonel", "sgt": "sergeant", "rev": "reverend", "hon": "honorable",
    "ave": "avenue", "blvd": "boulevard", "rd": "road", "mt": "mount", "inc": "incorporated", "ltd": "limited",
    "corp": "corporation", "co": "company", "bros": "brothers",
    "jan": "january", "feb": "february", "mar": "march", "apr": "april", "aug": "august", "sep": "september",
    "sept": "september", "oct": "october", "nov": "november", "dec": "december",
    "mon": "monday", "tue": "tuesday", "wed": "wednesday", "thu": "thursday", "fri": "friday",
}  # fmt: skip
# abbreviations that are words too; they are read as such unless what they need follows
_NEED = {"no": r"\s*\d", "co": r"(?=\W)", "fig": r"\s*\d", "mar": r"\s*\d", "mon": r"\s*\d", "fri": r"\s*\d",
         "est": r"\s*\d", "gen": r"\s+[A-Z]", "col": r"\s+[A-Z]", "st": r"\s+[A-Z]", "rep": r"\s+[A-Z]",
         "sen": r"\s+[A-Z]", "hon": r"\s+[A-Z]", "wed": r"\s*\d", "thu": r"\s*\d", "tue": r"\s*\d"}  # fmt: skip
SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "#": "number", "%": "percent", "/": "slash", "\\": "backslash",
    "<": "less than", ">": "greater than", "^": "caret", "°": "degrees", "§": "section", "©": "copyright",
    "®": "registered", "™": "trademark", "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "about",
    "≠": "is not equal to", "≤": "at most", "≥": "at least", "→": "arrow", "$": "dollar", "€": "euro", "£": "pound",
    "¥": "yen", "½": "one half", "¼": "one quarter", "¾": "three quarters", "²": "squared", "³": "cubed", "µ": "micro",
    "∞": "infinity", "√": "square root of", "π": "pi", "•": "", ".": "point",
}  # fmt: skip


def _say(value: int, kind: str = "cardinal") -> str:
    """As in America, without "and"."""
    return " ".join(word for word in number_words(value, "en", kind).split() if word != "and")


def _cardinal(text: str) -> str:
    return whole(text, _say)


def _ordinal(value: int) -> str:
    return _say(value, "ordinal")


def _decimal(text: str) -> str:
    return decimal(text, _say)


def year(value: int) -> str:
    """As years are said: nineteen eighty four, two thousand, twenty twenty three."""
    high, low = divmod(value, 100)
    if not 1100 <= value < 2100 or 2000 <= value < 2010:
        return _say(value)
    if low == 0:
        return _say(high) + " hundred"
    return f"{_say(high)} {'oh ' if low < 10 else ''}{_say(low)}"


def _year_digits(text: str) -> str:
    return year(int(text)) if len(text) == 4 else _cardinal(text)


def _date(month: int, day: int, year_digits: str) -> str:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join(_cardinal(part) for part in (str(month), str(day), year_digits))
    return f"{MONTHS[month - 1]} {_ordinal(day)} {_year_digits(year_digits)}"


def _iso(match: re.Match[str]) -> str:
    return _date(int(match["iso_m"]), int(match["iso_d"]), match["iso_y"])


def _slashes(match: re.Match[str]) -> str:
    return _date(int(match["us_m"]), int(match["us_d"]), match["us_y"])


def _month_day(match: re.Match[str]) -> str:
    name = match["md_m"].rstrip(".").lower()
    month = next(one for one in MONTHS if one.startswith(name[:3]))
    after = f" {_year_digits(match['md_y'])}" if match["md_y"] else ""
    return f"{month} {_ordinal(int(match['md_d']))}{after}"


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match["time_h"]), int(match["time_m"])
    half = _spelled(match["time_p"]) if match["time_p"] else ""
    if minute:
        said = f"{_say(hour)} {'oh ' if minute < 10 else ''}{_say(minute)}"
    else:
        said = _say(hour) + ("" if half else " o'clock" if 0 < hour <= 12 else " hundred hours")
    return f"{said} {half}".strip()


def _hour(match: re.Match[str]) -> str:
    return f"{_cardinal(match['hour_h'])} {_spelled(match['hour_p'])}"


def _money(match: re.Match[str]) -> str:
    one, many, coin, coins = CURRENCIES[match["money_c"]]
    amount, cents, scale = match["money_n"], match["money_d"], match["money_s"]
    if scale:
        scale = SCALES.get(scale.lower(), scale.lower())
        return f"{_decimal(amount + (f'.{cents}' if cents else ''))} {scale} {many}"
    said = f"{_cardinal(amount)} {one if amount == '1' else many}"
    if not cents or not coin or len(cents) != 2:
        return said if not cents else f"{_decimal(f'{amount}.{cents}')} {many}"
    if int(cents) == 0:
        return said
    change = f"{_say(int(cents))} {coin if int(cents) == 1 else coins}"
    return change if amount == "0" else f"{said} {change}"


def _unit(match: re.Match[str]) -> str:
    one, many = UNITS[match["unit_u"]]
    return f"{_decimal(match['unit_n'])} {one if match['unit_n'] == '1' else many}"


def _fraction(match: re.Match[str]) -> str:
    top, bottom = int(match["fraction_t"]), int(match["fraction_b"])
    if bottom in (0, 1) or bottom > 100:
        return f"{_cardinal(match['fraction_t'])} over {_cardinal(match['fraction_b'])}"
    name = {2: "half", 4: "quarter"}.get(bottom) or _ordinal(bottom)
    many = "halves" if bottom == 2 else f"{name}s"
    return f"{_say(top)} {name if top == 1 else many}"


def _decade(match: re.Match[str]) -> str:
    digits = match["decade_n"]
    said = year(int(digits)) if len(digits) == 4 else _say(int(digits))
    return said[:-1] + "ies" if said.endswith("y") else said + ("es" if said.endswith("x") else "s")


def _range(match: re.Match[str]) -> str:
    return f"{_bare(match['range_a'])} to {_bare(match['range_b'])}"


def _bare(text: str) -> str:
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", text):
        return year(int(text))
    return _decimal(text)


def _nth(match: re.Match[str]) -> str:
    return _ordinal(int(match["nth_n"].replace(",", "")[:LONGEST_NUMBER]))


def _number(match: re.Match[str]) -> str:
    return _bare(match["number"])


def _telephone(match: re.Match[str]) -> str:
    return " ".join(_cardinal(digit) if digit != "0" else "zero" for digit in match["phone"] if digit.isdigit())


def _address(match: re.Match[str]) -> str:
    text = re.sub(r"^\w+://(www\.)?", "", match["web"]).rstrip("/")
    text = re.sub(r"\d+", lambda digits: f" {_cardinal(digits.group())} ", text)
    names = {
        ".": " dot ",
        "/": " slash ",
        "@": " at ",
        "-": " dash ",
        "_": " underscore ",
        ":": " colon ",
        "?": " question mark ",
    }
    names |= {"=": " equals ", "&": " and ", "#": " hash ", "%": " percent ", "+": " plus ", "~": " tilde "}
    for mark, name in names.items():
        text = text.replace(mark, name)
    text = re.sub(r"\bwww\b", "w w w", text)
    return re.sub(r"[^A-Za-z' ]", " ", text).lower()


def _initials(match: re.Match[str]) -> str:
    return _spelled(match["initials"])


def _spelled(letters: str) -> str:
    return " ".join(LETTERS.get(letter, letter) for letter in letters.lower() if letter.isalpha())


def _with_ending(word: str, pronounce: Callable[[str], Phones]) -> Phones:
    """Phones of a possessive."""
    if word.endswith("s'"):
        return pronounce(word[:-1])
    if not word.endswith("'s") or len(word) == 2:
        return ()
    phones = pronounce(word[:-2])
    last = phones[-1].symbol if phones else ""
    return phones + parse_phones("ɪ z" if last in _SIBILANTS else "s" if last in _VOICELESS else "z")


def _in_context(words: Sequence[str], phones: Sequence[Phones]) -> list[Phones]:
    """The word "the" with another vowel before a vowel."""
    before_vowels = parse_phones("ð i")
    following = [*phones[1:], ()]
    return [
        before_vowels if word == "the" and after and after[0].is_vowel else own
        for word, own, after in zip(words, phones, following, strict=True)
    ]


_PLAIN = r"\d{1,3}(?:,\d{3})+|\d+"
_UNITS = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_PATH = r"[^\s<>\"]*[^\s<>\".,;:!?)]"
_HALF = r"[ap]\.m\.|[AaPp][Mm]\b"
RULES = {
    "web": Rule(
        rf"(?:https?://|www\.){_PATH}|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
        rf"|\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io)\b(?:/{_PATH})?",
        _address,
    ),
    "iso": Rule(r"\b(?P<iso_y>\d{4})-(?P<iso_m>\d\d)-(?P<iso_d>\d\d)\b", _iso),
    "us": Rule(r"\b(?P<us_m>\d{1,2})/(?P<us_d>\d{1,2})/(?P<us_y>\d{4}|\d\d)\b", _slashes),
    "md": Rule(
        rf"\b(?P<md_m>{_MONTH}\.?)\s+(?P<md_d>[0-3]?\d)(?:st|nd|rd|th)?\b(?!:\d)"
        r"(?:,?\s+(?P<md_y>1\d{3}|20\d\d)\b)?",
        _month_day,
    ),
    "time": Rule(rf"\b(?P<time_h>[01]?\d|2[0-4]):(?P<time_m>[0-5]\d)(?::[0-5]\d)?(?:\s?(?P<time_p>{_HALF}))?", _time),
    "hour": Rule(rf"\b(?P<hour_h>1?\d)\s?(?P<hour_p>{_HALF})", _hour),
    "money": Rule(
        rf"(?P<money_c>[$€£¥])\s?(?P<money_n>{_PLAIN})(?:\.(?P<money_d>\d+))?"
        r"(?:\s?(?P<money_s>(?i:thousand|million|billion|trillion|bn|k|m|b)\b))?",
        _money,
    ),
    "phone": Rule(r"(?<![\w-])(?:\+?1[- ])?(?:\(\d{3}\)\s?|\d{3}-)?\d{3}-\d{4}\b", _telephone),
    "decade": Rule(r"(?:\b|['’])(?P<decade_n>\d{3}0|[1-9]0)['’]?s\b", _decade),
    "nth": Rule(r"\b(?P<nth_n>\d[\d,]*)(?:st|nd|rd|th)\b", _nth),
    "unit": Rule(rf"(?P<unit_n>(?:(?<![\w.])[-−])?(?:{_PLAIN})(?:\.\d+)?)[\s-]?(?P<unit_u>{_UNITS})(?![\w'’])", _unit),
    "fraction": Rule(r"\b(?P<fraction_t>\d{1,3})/(?P<fraction_b>\d{1,4})\b", _fraction),
    "range": Rule(rf"(?<![\w.-])(?P<range_a>{_PLAIN})\s?[-–]\s?(?P<range_b>{_PLAIN})\b(?![-.]\d)", _range),
    "number": Rule(rf"(?:(?<![\w.)])[-−])?(?:{_PLAIN})(?:\.\d+)?|(?<!\w)\.\d+", _number),
    "short": abbreviations(ABBREVIATIONS, _NEED),
    "initials": Rule(r"(?<![\w.])(?:[A-Za-z]\.){2,}", _initials),
}

LANGUAGE = Language(
    code="en-us",
    numbers=_say,
    package="gruut_lang_en",
    alphabet="abcdefghijklmnopqrstuvwxyz'",
    vowels="aeiouy",
    letters=LETTERS,
    words_of_one_letter="ai",
    spelled=frozenset(("us", "uk", "tv", "eu", "un", "id", "pc", "dc")),
    stand_ins={"ß": "ss"},
    symbols=SYMBOLS,
    rules=RULES,
    ending=_with_ending,
    in_context=_in_context,
)
