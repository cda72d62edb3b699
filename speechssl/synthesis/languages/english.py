"""How American English is read and pronounced."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from speechssl.synthesis import roman
from speechssl.synthesis.languages.english_numbers import MONTH, NUMBERS, UNITS, cardinal, ordinal, say
from speechssl.synthesis.languages.rules import Language, Phones, Rule, abbreviations
from speechssl.synthesis.phones import parse_phones

_SIBILANTS = {"s", "z", "ʃ", "ʒ", "t͡ʃ", "d͡ʒ"}
_VOICELESS = {"p", "t", "k", "f", "θ"}

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LETTERS = {"a": "ay"}  # the others are words of one letter in the dictionary
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
    "p": "page", "pp": "pages", "ph.d": "p h d", "et al": "et al", "ch": "chapter", "sec": "section", "ed": "edited",
    "cf": "compare", "ca": "circa", "c": "circa", "viz": "namely", "esq": "esquire", "figs": "figures",
    "eq": "equation", "nos": "numbers", "vols": "volumes", "art": "article", "tel": "telephone", "ext": "extension",
    "jun": "june", "jul": "july", "apt": "apartment", "mon": "monday", "tue": "tuesday", "wed": "wednesday",
    "thu": "thursday", "fri": "friday", "b.sc": "b s c", "m.sc": "m s c", "rm": "room", "bldg": "building",
    "sc": "scene", "ft": "fort",
}  # fmt: skip
_COUNTED = """
act acts amendment annex apollo appendix army article book books bowl canto category chapter chapters class
corps division episode factor fig figure game grade group legion level mark olympiad page pages part parts phase
phases plate psalm rocky round scene schedule season sec section sections sonata stage step symphony table title
type types unit version vol volume volumes war wars
"""
_SPELLED = "us uk tv eu un id pc dc it ai ip ad am pm est edt pst pdt cst cdt mst gmt utc ussr pa"
COUNTED = frozenset(_COUNTED.split())
# abbreviations that are words too; they are read as such unless what they need follows
_BEFORE_NUMBERS = "no fig mar mon tue wed thu fri jun jul est p ch sec art ext apt rm bldg sc"
_BEFORE_NAMES = "gen col st rep sen hon ed ft"
_NEED = (
    dict.fromkeys(_BEFORE_NUMBERS.split(), r"\s*\d")
    | dict.fromkeys(_BEFORE_NAMES.split(), r"\s+[A-Z]")
    | {"co": r"(?=\W)", "c": r"\s?\d{3}", "ca": r"\s?\d", "viz": r"\s", "eq": r"\s*\(?\d"}
)
SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "#": "number", "%": "percent", "/": "slash", "\\": "backslash",
    "<": "less than", ">": "greater than", "^": "caret", "°": "degrees", "§": "section", "©": "copyright",
    "®": "registered", "™": "trademark", "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "about",
    "≠": "is not equal to", "≤": "at most", "≥": "at least", "$": "dollar", "€": "euro", "£": "pound",
    "¥": "yen", "²": "squared", "³": "cubed", "µ": "micro",
    "∞": "infinity", "√": "square root of", "π": "pi", ".": "point", "№": "number", "′": "feet",
    "″": "inches", "↑": "up", "↓": "down",
}  # fmt: skip


def _address(match: re.Match[str]) -> str:
    text = re.sub(r"^\w+://(www\.)?", "", match["web"]).rstrip("/")
    text = re.sub(r"\d+", lambda digits: f" {cardinal(digits.group())} ", text)
    names = {
        ".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
        "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde",
    }  # fmt: skip
    for mark, name in names.items():
        text = text.replace(mark, f" {name} ")
    text = re.sub(r"\bwww\b", "w w w", text)
    return re.sub(r"[^A-Za-z' ]", " ", text).lower()


def _spelled(letters: str) -> str:
    return " ".join(LETTERS.get(letter, letter) for letter in letters.lower() if letter.isalpha())


_ON_A_STREET = re.compile(r"\b(?:on|at|near|off|along|down|up|from|of)\s+(?:[A-Z][\w'’]*\s+){1,2}$")
_STREETS = {"st": "street", "dr": "drive", "ave": "avenue", "rd": "road", "blvd": "boulevard"}


def _street(match: re.Match[str]) -> str | None:
    """12 Main St. and on Elm Dr., but not in front of a name: St. Louis."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    is_last = match["street_n"] == "St" and re.search(r"[A-Z][\w'’]*\s$", before) and not re.match(r"\s+[A-Z]", after)
    numbered = is_last or re.search(r"\d+\s+(?:[NSEW]\.?\s+)?(?:[A-Z0-9]\w*\s+){1,2}$", before)
    if not numbered and not (_ON_A_STREET.search(before) and not re.match(r"\s+[A-Z]\w*[^\w\s]*\s+[a-z]", after)):
        return ABBREVIATIONS[match["street_n"].lower()]
    return _STREETS[match["street_n"].lower()]


def _roman(match: re.Match[str]) -> str | None:
    numeral, possessive = match.group().removesuffix("'s").removesuffix("’s"), "'s" if match["roman_s"] else ""
    number = roman.value(numeral)
    before, after = match.string[max(0, match.start() - 80) : match.start()], match.string[match.end() :][:20]
    kind = roman.kind(numeral, before, after, COUNTED) if number else ""
    to = "to " if re.search(r"[IVXLC]\s?[-–]\s?$", before) else ""
    if number is None or not kind:
        return None
    return to + (f"the {ordinal(number)}{possessive}" if kind == "ordinal" else say(number) + possessive)


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


def _per(match: re.Match[str]) -> str:
    """Per kilogram, per month."""
    name = match["per_u"]
    return f"per {UNITS[name][0] if name in UNITS else _PERIOD_NAMES.get(name, name)}"


_PERIOD_NAMES = {"mo": "month", "wk": "week"}
_PATH = r"[^\s<>\"]*[^\s<>\".,;:!?)]"
_PERIODS = (
    r"(?:hour|hr|h|day|week|wk|month|mo|year|yr|night|person|minute|min|second|sec|kg|lb|oz|l|L|GB|mile|mi|km|m²)\b"
)
RULES = {
    "web": Rule(
        rf"(?:https?://|www\.){_PATH}|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
        rf"|\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io)\b(?:/{_PATH})?",
        _address,
    ),
    "item": Rule(r"\A\s*(?P<item_n>\d{1,3})[.)](?=\s+\S)", lambda match: f"{cardinal(match['item_n'])} ,"),
    "street": Rule(r"(?<=[a-z] )(?P<street_n>St|Dr|Ave|Rd|Blvd)\.", _street),
    "day": Rule(
        rf"\b(?P<day_n>Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b\.?(?=,?\s+(?:\d{{1,2}}(?:st|nd|rd|th)?\s+)?{MONTH}\b)",
        lambda match: next(day for day in DAYS if day.startswith(match["day_n"].lower())),
    ),
    **NUMBERS,
    "per": Rule(rf"(?<=[\w€$£%])/(?P<per_u>{_PERIODS})", _per),
    "slash": Rule(r"(?<=[A-Za-z])/(?=[A-Za-z]|\d+(?:st|nd|rd|th)\b)", lambda match: ""),
    "short": abbreviations(ABBREVIATIONS, _NEED),
    "initials": Rule(r"(?<![\w.])(?:[A-Za-z]\.){2,}", lambda m: _spelled(m["initials"])),
    "roman": Rule(rf"(?<![\w'’])(?=[IVXLCDM]){roman.NUMERAL}(?!\w)(?P<roman_s>['’]s)?(?!['’]\w)", _roman),
    "inches": Rule(
        r"(?<=\d)in\b|(?<=\d )in\.(?=\s+(?:wide|long|tall|deep|high|thick|across|by|x|of)\b)",
        lambda m: "inch" if re.search(r"(?<![\d.,])1\s?$", m.string[: m.start()]) else "inches",
    ),
    "sharp": Rule(r"(?<=\b[CF])#", lambda match: "sharp"),
    "letter": Rule(r"(?<=&)A\b", lambda match: LETTERS["a"]),
    "dot": Rule(r"(?:(?<=[A-Za-z])|(?<!\S)(?=\.[a-z]))\.(?=[A-Za-z])", lambda match: "dot"),
    "tag": Rule(r"#(?=[A-Za-z])", lambda match: "hashtag"),
    "arrow": Rule(r"[-=]+>|→", lambda match: "to"),
    "about": Rule(r"(?<!\w)[~≈](?=\s?\d)", lambda match: "about"),
}
_TITLES = "Mr|Mrs|Ms|Dr|Prof|Gen|Col|Capt|Cpt|Lt|Sgt|Rev|Hon|Sen|Rep|Gov|Mme|Messrs|vs|cf|approx|ca|viz|e\\.g|i\\.e"
_COUNTS = (
    "[Nn]os?|pp?|[Vv]ols?|[Cc]h|[Ss]ec|[Ff]igs?|[Ee]q|[Aa]rt|[Aa]pp|[Aa]pt|[Rr]m|[Bb]ldg|[Ss]c"
    "|Mon|Tue|Wed|Thu|Fri|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
)
_SHORT_UNITS = "tbsp|tsp|oz|lbs?|ft|mins?|hrs?|secs?|yrs?|mi|yd|kg|mg|ml|km|cm|mm"
# a title goes on whatever follows, an abbreviation of things that are numbered before a number, a first number always
GOES_ON = re.compile(
    rf"\b(?:{_TITLES})\.\0\s*\S|\b(?:{_COUNTS})\.\0\s*[\dIVXL#(]|\A\s*\(?\d{{1,3}}\.\0"
    rf"|\d\s?(?:{_SHORT_UNITS}|in)\.\0\s*[a-z]|\b(?:Sun|Tues|Thurs?)\.\0\s*(?:\d{{1,2}}\s+)?{MONTH}"
    r"|[ap]\.m\.\0\s*(?:[ECMP][SD]?T|GMT|UTC)\b|\b[Ee]t al\.\0\s*(?:[a-z(,]|[12]\d{3})"
)

LANGUAGE = Language(
    code="en-us",
    numbers=say,
    package="gruut_lang_en",
    alphabet="abcdefghijklmnopqrstuvwxyz'",
    vowels="aeiouy",
    letters=LETTERS,
    words_of_one_letter="ai",
    spelled=frozenset(_SPELLED.split()),
    stand_ins={"ß": "ss"},
    symbols=SYMBOLS,
    rules=RULES,
    goes_on=GOES_ON,
    ending=_with_ending,
    in_context=_in_context,
)
