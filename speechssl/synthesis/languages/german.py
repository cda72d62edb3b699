"""How German is read: numbers, ordinals, dates, times, money, units, fractions, abbreviations and symbols."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from speechssl.synthesis import roman
from speechssl.synthesis.languages.rules import Language, Rule, abbreviations, decimal, number_words, whole

CURRENCIES = {"€": "euro", "$": "dollar", "£": "pfund", "EUR": "euro", "CHF": "schweizer franken"}
UNITS = {
    "km/h": "kilometer pro stunde", "km": "kilometer", "cm": "zentimeter", "mm": "millimeter", "m": "meter",
    "m²": "quadratmeter", "km²": "quadratkilometer", "kg": "kilogramm", "g": "gramm", "mg": "milligramm", "l": "liter",
    "ml": "milliliter", "GB": "gigabyte", "MB": "megabyte", "kWh": "kilowattstunden", "kW": "kilowatt", "W": "watt",
    "V": "volt", "Hz": "hertz", "kHz": "kilohertz", "min": "minuten", "Min": "minuten", "Std": "stunden",
    "s": "sekunden", "°C": "grad celsius", "°": "grad", "%": "prozent", "‰": "promille",
}  # fmt: skip
ABBREVIATIONS = {
    "z.b": "zum beispiel", "z. b": "zum beispiel", "d.h": "das heißt", "d. h": "das heißt", "usw": "und so weiter",
    "bzw": "beziehungsweise", "dr": "doktor", "prof": "professor", "nr": "nummer", "ca": "zirka", "hr": "herr",
    "fr": "frau", "u.a": "unter anderem", "u. a": "unter anderem", "vgl": "vergleiche", "evtl": "eventuell",
    "ggf": "gegebenenfalls", "inkl": "inklusive", "mio": "millionen", "mrd": "milliarden", "st": "sankt",
    "str": "straße", "abb": "abbildung", "bd": "band", "s": "seite", "kap": "kapitel", "tel": "telefon",
    "etc": "et cetera", "jan": "januar", "feb": "februar", "aug": "august", "sept": "september", "okt": "oktober",
    "nov": "november", "dez": "dezember",
}  # fmt: skip
_NEED = dict.fromkeys(("s", "bd", "kap", "abb", "fr"), r"\s*\d") | {"fr": r"\s+[A-ZÄÖÜ]", "st": r"\s+[A-ZÄÖÜ]"}
MONTHS = [
    "januar",
    "februar",
    "märz",
    "april",
    "mai",
    "juni",
    "juli",
    "august",
    "september",
    "oktober",
    "november",
    "dezember",
]
COUNTED = frozenset(
    [
        "kapitel",
        "teil",
        "band",
        "akt",
        "abschnitt",
        "weltkrieg",
        "klasse",
        "stufe",
        "phase",
        "artikel",
        "paragraf",
        "runde",
        "typ",
    ]
)
_NAMES = "ah be ze de eh eff ge ha ih jott ka ell emm enn oh pe ku err ess te uh vau we ix ypsilon zett"
LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", _NAMES.split(), strict=True))
SYMBOLS = {
    "&": "und", "+": "plus", "=": "gleich", "@": "at", "#": "nummer", "%": "prozent", "/": "schrägstrich", "€": "euro",
    "$": "dollar", "£": "pfund", "°": "grad", "§": "paragraf", "<": "kleiner als", ">": "größer als", "×": "mal",
    "÷": "geteilt durch", "±": "plus minus", "≈": "ungefähr", "²": "quadrat", "³": "hoch drei", "№": "nummer",
}  # fmt: skip
_WHOLE = r"\d{1,3}(?:\.\d{3})+(?!\d)|\d+"
_AMOUNT = rf"(?:{_WHOLE})(?:,\d+)?"
_UNITS = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_DATIVE = re.compile(r"\b(?:am|dem|den|des|vom|zum|im|beim|der|ab|bis zum|seit dem)\s+$", re.IGNORECASE)


def _say(value: int) -> str:
    return number_words(value, "de")


def _cardinal(text: str) -> str:
    return whole(text, _say, separator=".")


def _decimal(text: str) -> str:
    return decimal(text, _say, separator=".", mark=",", point="komma")


def _year(text: str) -> str:
    if re.fullmatch(r"1[1-9]\d\d", text):
        return number_words(int(text), "de", "year")
    return _decimal(text)


def _ordinal(value: int, before: str) -> str:
    """Erste after die, ersten after am, erster without an article."""
    stem = number_words(value, "de", "ordinal").removesuffix("e")
    feminine = re.search(r"\b(?:die|das)\s+$", before, re.IGNORECASE)
    masculine = re.search(r"(?:^|[.!?]\s+)der\s+$", before, re.IGNORECASE)
    return stem + ("e" if feminine or masculine else "en" if _DATIVE.search(before) else "er")


def _date(match: re.Match[str]) -> str:
    day, month, year = int(match["date_d"]), int(match["date_m"]), match["date_y"]
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return " ".join(map(_say, (day, month))) + (f" {_cardinal(year)}" if year else "")
    said = f"{_ordinal(day, match.string[: match.start()])} {MONTHS[month - 1]}"
    return f"{said} {_year(year)}" if year else said


def _money(match: re.Match[str]) -> str:
    cents = f" {_say(int(match['money_d']))}" if match["money_d"] else ""
    return f"{_amount_of(match['money_n'])} {CURRENCIES[match['money_c']]}{cents}"


def _amount_of(text: str) -> str:
    return "ein" if text == "1" else _cardinal(text)


def _unit(match: re.Match[str]) -> str:
    first = f"{_decimal(match['unit_r'])} bis " if match["unit_r"] else ""
    number = "ein" if match["unit_n"] == "1" else _decimal(match["unit_n"])
    return f"{first}{number} {UNITS[match['unit_u']]}"


def _time(match: re.Match[str]) -> str:
    minute = int(match["time_m"])
    hour = "ein" if int(match["time_h"]) == 1 else _say(int(match["time_h"]))
    return f"{hour} uhr" + (f" {_say(minute)}" if minute else "")


def _mixed(match: re.Match[str]) -> str:
    parts = re.fullmatch(r"(\d*)\s?(?:(\d+)[/⁄](\d+)|(\D))", match["mixed_n"])
    assert parts is not None
    unit = f" {UNITS[match['mixed_u']]}" if match["mixed_u"] else ""
    if parts[4]:
        part = Fraction(unicodedata.numeric(parts[4])).limit_denominator(10)
        top, bottom = part.numerator, part.denominator
    else:
        top, bottom = int(parts[2]), int(parts[3])
    if not parts[1]:
        return _parts(top, bottom) + unit
    said = "einhalb" if (top, bottom) == (1, 2) else f" {_parts(top, bottom)}"
    return _cardinal(parts[1]) + said + unit


def _parts(top: int, bottom: int) -> str:
    """Ein drittel, drei viertel, ein zwanzigstel."""
    name = "halb" if bottom == 2 else f"{number_words(bottom, 'de', 'ordinal').removesuffix('e')}el"
    return f"{'ein' if top == 1 else _say(top)} {name}"


def _slash(match: re.Match[str]) -> str:
    top, bottom = int(match["fraction_t"]), int(match["fraction_b"])
    if (top, bottom) == (24, 7) or top + bottom == 100:
        return f"{_say(top)} {_say(bottom)}"
    return _parts(top, bottom) if 1 < bottom <= 100 and top < bottom else f"{_say(top)} durch {_say(bottom)}"


def _digits(match: re.Match[str]) -> str:
    said = " ".join(_say(int(digit)) for digit in match.group() if digit.isdigit())
    return f"plus {said}" if "+" in match.group() else said


def _code(match: re.Match[str]) -> str:
    letters, digits = re.findall(r"[A-Z]+|\d+", match["code_c"])
    return " ".join(LETTERS[letter] for letter in letters.lower()) + f" {_cardinal(digits)}"


def _roman(match: re.Match[str]) -> str | None:
    numeral = match["roman_n"]
    number = roman.value(numeral)
    before, after = match.string[max(0, match.start() - 80) : match.start()], match.string[match.end() :][:20]
    if (
        number
        and match.group().endswith(".")
        and re.search(r"\b(?:der|die|das|den|dem|des)\s+$", before, re.IGNORECASE)
    ):
        return _ordinal(number, before)
    kind = roman.kind(numeral, before, after, COUNTED) if number else ""
    if number is None or not kind:
        return None
    stem = number_words(number, "de", "ordinal").removesuffix("e")
    return f"der {stem}e" if kind == "ordinal" else _say(number)


_MONTH = "|".join(MONTHS)
RULES = {
    "date": Rule(r"\b(?P<date_d>[0-3]?\d)\.\s?(?P<date_m>[01]?\d)\.(?:\s?(?P<date_y>[12]\d{3}))?(?![\d.])", _date),
    "time": Rule(r"\b(?P<time_h>[01]?\d|2[0-4])(?::|\.(?=\d\d Uhr))(?P<time_m>[0-5]\d)(?![\d:])(?:\s?Uhr)?", _time),
    "phone": Rule(r"\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\d)|(?<![\w.,-])0\d{1,5}(?:[ /-]\d{2,6}){1,4}\b", _digits),
    "money": Rule(rf"(?P<money_n>{_WHOLE})(?:,(?P<money_d>\d\d))?\s?(?P<money_c>[€$£]|EUR\b|CHF\b)", _money),
    "nth": Rule(
        r"(?<![\w.,])(?P<nth_n>\d{1,3})\.(?=\s+[a-zäöüA-ZÄÖÜ])(?!\s+(?:Er|Sie|Es|Wir|Ich|Das|Die|Der|Dann)\b)",
        lambda m: _ordinal(int(m["nth_n"]), m.string[: m.start()]),
    ),
    "mixed": Rule(
        r"(?P<mixed_n>\b\d+(?:\s\d{1,2}[/⁄][1-9]\d?\b|\s?[¼-¾⅐-⅞])|[¼-¾⅐-⅞])"
        rf"(?:\s?(?P<mixed_u>{_UNITS})(?![\w'’/²³]))?",
        _mixed,
    ),
    "code": Rule(r"\b(?P<code_c>[A-Z]{1,4}\d{1,4})\b", _code),
    "unit": Rule(
        rf"(?:(?P<unit_r>{_AMOUNT})\s?[-–]\s?)?(?P<unit_n>(?:(?<![\w.])[-−])?{_AMOUNT})\s?(?P<unit_u>{_UNITS})(?![\w'’/²³])"
        r"(?:\.(?=[,;:)]|\s+[a-z]))?",
        _unit,
    ),
    "fraction": Rule(r"\b(?P<fraction_t>\d{1,3})/(?P<fraction_b>\d{1,3})\b(?!/)", _slash),
    "ratio": Rule(
        r"(?<![\w:.,])(?P<ratio_a>\d{1,4}):(?P<ratio_b>\d{1,4})(?![\w:])",
        lambda m: f"{_cardinal(m['ratio_a'])} zu {_cardinal(m['ratio_b'])}",
    ),
    "by": Rule(r"(?<=\d)\s?[*×x]\s?(?=\d)", lambda match: "mal"),
    "range": Rule(
        rf"(?<![\w.-])(?P<range_a>{_WHOLE})\s?[-–]\s?(?P<range_b>{_WHOLE})\b(?![-.,]\d)",
        lambda m: f"{_year(m['range_a'])} bis {_year(m['range_b'])}",
    ),
    "number": Rule(rf"(?:(?<![\w.)])[-−])?(?:{_WHOLE})(?:,\d+)?", lambda m: _year(m["number"])),
    "short": abbreviations(ABBREVIATIONS, _NEED),
    "roman": Rule(rf"(?<![\w'’])(?=[IVXLCDM])(?P<roman_n>{roman.NUMERAL})(?!\w)\.?", _roman),
}
# a title or an ordinal goes on, an abbreviation of things that are numbered does before a number
GOES_ON = re.compile(
    r"\b(?:Dr|Prof|Hr|Fr|St|Nr|ca|vgl|bzw|evtl|ggf|inkl|[zZ]\. ?[bB]|[dD]\. ?h|u\. ?a)\.\0\s*\S"
    r"|\b(?:S|Bd|Kap|Abb)\.\0\s*\d|\A\s*\d{1,3}\.\0|\b\d{1,2}\.\0\s*(?:[a-zäöü]|"
    rf"(?i:{_MONTH})|Jahrhundert|Platz|Stock|Klasse|Mal|Tag)|\b[IVX]+\.\0\s*[a-zäöü]"
)

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
    goes_on=GOES_ON,
    # the package holds two dictionaries. The first reads Zeit as "t s a eː t", benannt as "b ə n a n n t", and lacks
    # every word with ß; the one that was made with eSpeak NG is right about these
    dictionary="espeak",
)
