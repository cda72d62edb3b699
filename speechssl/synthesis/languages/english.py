"""How American English is read and pronounced."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from speechssl.synthesis import roman
from speechssl.synthesis.languages.english_numbers import (
    MONTH,
    NUMBERS,
    cardinal,
    date,
    digits,
    month_named,
    ordinal,
    say,
)
from speechssl.synthesis.languages.english_units import UNITS
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
    "sc": "scene", "ft": "fort", "b": "born", "d": "died", "ste": "suite", "rte": "route", "hwy": "highway",
    "fl": "floor", "ll": "lines", "fn": "footnote", "fax": "fax", "cpl": "corporal", "maj": "major", "adm": "admiral",
    "fr": "father", "tues": "tuesday", "thur": "thursday", "thurs": "thursday",
    "incl": "including", "excl": "excluding",
}  # fmt: skip
_COUNTED = """
act acts amendment annex apollo appendix army article book books bowl canto category chapter chapters class
corps division episode factor fig figure game grade group legion level mark olympiad page pages part parts phase
phases plate psalm rocky round scene schedule season sec section sections sonata stage step symphony table title
type types unit version vol volume volumes war wars
"""
_SPELLED = "us uk tv eu un id pc dc it ai ip ad am pm est edt pst pdt cst cdt mst gmt utc ussr pa ca ny la"
COUNTED = frozenset(_COUNTED.split())
# abbreviations that are words too; they are read as such unless what they need follows
_BEFORE_NUMBERS = "no fig mar mon tue wed thu fri jun jul est p ch sec art ext apt rm bldg sc ste rte hwy fl ll fn fax"
_BEFORE_NAMES = "gen col st rep sen hon ed ft maj adm fr"
_NEED = (
    dict.fromkeys(_BEFORE_NUMBERS.split(), r"\s*\d")
    | dict.fromkeys(_BEFORE_NAMES.split(), r"\s+[A-Z]")
    | dict.fromkeys("bd", r"\s?\d{3,4}(?:[),;.–-]| AD| BC| CE|$)")
    | {"co": r"(?=\W)", "c": r"\s?\d{3}", "ca": r"\s?\d", "viz": r"\s", "eq": r"\s*\(?\d"}
)
SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "#": "number", "%": "percent", "/": "slash", "\\": "backslash",
    "<": "less than", ">": "greater than", "^": "caret", "°": "degrees", "§": "section", "©": "copyright",
    "®": "registered", "™": "trademark", "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "about",
    "≠": "is not equal to", "≤": "at most", "≥": "at least", "$": "dollar", "€": "euro", "£": "pound",
    "¥": "yen", "²": "squared", "³": "cubed", "µ": "micro",
    "∞": "infinity", "√": "square root of", "π": "pi", ".": "point", "№": "number", "′": "feet",
    "″": "inches", "∑": "sum", "∏": "product", "∫": "integral", "∂": "partial", "∆": "delta", "∈": "in", "↑": "up",
    "↓": "down", "¶": "paragraph",
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


_ON_A_STREET = re.compile(r"\b(?i:on|at|near|off|along|down|up|from|of)\s+(?:[A-Z][\w'’]*\s+){1,2}$")
# words that begin sentences, and are no name of a saint
_BEGINS = re.compile(
    r"\s+(?:The|An?|He|She|It|We|They|I|You|This|That|These|Those|There|Then|But|And|So|In|On|At|When|If|As|For|To|From"
    r"|His|Her|My|Our|Your|Their|Its|Next|No|Not|Yes|What|Who|Where|Why|How|Is|Are|Was|After|Before|Now)\b"
)
_STREETS = {"st": "street", "dr": "drive", "ave": "avenue", "rd": "road", "blvd": "boulevard"}


def _street(match: re.Match[str]) -> str | None:
    """12 Main St. and on Elm Dr., but not in front of a name: St. Louis."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    unnamed = not re.match(r"\s+[A-Z]", after) or _BEGINS.match(after)
    is_last = match["street_n"] == "St" and re.search(r"[A-Z][\w'’]*\s$", before) and unnamed
    numbered = is_last or re.search(r"\d+\s+(?:[NSEW]\.?\s+)?(?:[A-Z0-9]\w*\s+){1,2}$", before)
    named = not unnamed and re.match(r"\s+[A-Z]\w*[^\w\s]*\s+[a-z]", after)
    if not numbered and not (_ON_A_STREET.search(before) and not named):
        return ABBREVIATIONS[match["street_n"].lower()]
    return _STREETS[match["street_n"].lower()] + (" ." if _BEGINS.match(after) else "")


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


def _inches(match: re.Match[str]) -> str:
    """5 in. wide, 6 ft 2 in; a sign after a number is one unless it ends what is quoted."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    sign = match.group()
    if sign in '"”' and re.search(r"(?:(?<!\S)\"(?:[^\"]|(?<=\d)\")*|“[^”]*)$", before):
        return ""
    one = re.search(r"(?<![\d.,])1\s?$", before)
    # a 10" pipe
    return "inch" if one or (sign in '"”' and re.match(rf"\s+(?!{_SIDES}\b)[a-z]", after)) else "inches"


def _day(name: str) -> str:
    return next(day for day in DAYS if day.startswith(name.lower()))


def _days(match: re.Match[str]) -> str:
    """Mon-Fri, Jan-Mar."""
    if match["days_a"]:
        return f"{_day(match['days_a'])} to {_day(match['days_b'])}"
    return f"{month_named(match['days_c'])} to {month_named(match['days_d'])}"


def _per(match: re.Match[str]) -> str:
    """Per kilogram, per month."""
    name = match["per_u"]
    return f"per {UNITS[name][0] if name in UNITS else _PERIOD_NAMES.get(name, name)}"


_SIDES = "(?:wide|long|tall|deep|high|thick|across|by|x|of)"
_DAY = "(?:Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)"
_STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
_PERIOD_NAMES = {"mo": "month", "wk": "week"}
_PATH = r"[^\s<>\"]*[^\s<>\".,;:!?)]"
_PERIODS = (
    r"(?:hour|hr|h|day|week|wk|month|mo|year|yr|night|person|minute|min|second|sec|kg|lb|oz|l|L|GB|mile|mi|km|m²)\b"
)
RULES = {
    "web": Rule(
        rf"(?:(?:https?|ftp)://|www\.){_PATH}|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
        rf"|\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|ai|dev|app|info|co|uk|eu|de|fr|ch)\b(?:/{_PATH})?",
        _address,
    ),
    "item": Rule(r"\A\s*(?P<item_n>\d{1,3})[.)](?=\s+\S)", lambda match: f"{cardinal(match['item_n'])} ,"),
    "street": Rule(r"(?<=[a-z] )(?P<street_n>St|Dr|Ave|Rd|Blvd)\.", _street),
    "day": Rule(
        rf"\b(?P<day_n>{_DAY})\b\.?(?=,?\s+(?:\d{{1,2}}(?:st|nd|rd|th)?\s+)?{MONTH}\b)",
        lambda match: _day(match["day_n"]),
    ),
    "when": Rule(
        rf"\b(?P<when_n>{_DAY})\b\.?,?\s+(?P<when_m>1?\d)/(?P<when_d>[0-3]?\d)(?![/\d])",
        lambda m: f"{_day(m['when_n'])} {date(int(m['when_m']), int(m['when_d']))}",
    ),
    "zip": Rule(rf"(?<=\b(?:{_STATES}) )\d{{5}}(?:-\d{{4}})?\b", lambda match: digits(match.group())),
    "days": Rule(
        rf"\b(?:(?P<days_a>{_DAY})\.?\s?[-–]\s?(?P<days_b>{_DAY})|(?P<days_c>{MONTH})\.?\s?[-–]\s?(?P<days_d>{MONTH}))\b\.?",
        _days,
    ),
    **NUMBERS,
    "per": Rule(rf"(?<=[\w€$£%])/(?P<per_u>{_PERIODS})", _per),
    "alone": Rule(r"\b(?:mmHg|km/h|m/s|M(?:B|bit)/s)(?!\w)", lambda match: UNITS[match.group()][1]),
    "slash": Rule(r"(?<=[A-Za-z])/(?=[A-Za-z]|\d+(?:st|nd|rd|th)\b)", lambda match: ""),
    "short": abbreviations(ABBREVIATIONS, _NEED),
    "initials": Rule(r"(?<![\w.])(?:[A-Za-z]\.){2,}", lambda m: _spelled(m["initials"])),
    "roman": Rule(rf"(?<![\w'’])(?=[IVXLCDM]){roman.NUMERAL}(?!\w)(?P<roman_s>['’]s)?(?!['’]\w)", _roman),
    "inches": Rule(
        rf"(?<=\d)in\b|(?<=\d )in(?:\.?(?=\s+{_SIDES}\b)|\.(?=[,;)]))"
        r"|(?:(?<=ft \d )|(?<=ft \d\d )|(?<=ft\. \d ))in\b\.?|(?<=\d)[\"”](?!\w)",
        _inches,
    ),
    "sharp": Rule(r"(?<=\b[CF])#", lambda match: "sharp"),
    "letter": Rule(r"(?<=&)A\b", lambda match: LETTERS["a"]),
    # but no sentence that no space parts from the next one
    "dot": Rule(
        r"(?:(?<=[A-Za-z])|(?<!\S)(?=\.(?:[a-z]|[A-Z]{2})))\.(?=[A-Za-z])(?!(?<=[a-z]{2}\.)[A-Z][a-z])",
        lambda match: "dot",
    ),
    "tag": Rule(r"#(?=[A-Za-z]{2}|\d+[A-Za-z]{3})", lambda match: "hashtag"),
    "minus": Rule(r"(?<=\b[A-F])[-−](?!\w|\s+(?:and|or|to)\s+(?![A-F][-−](?!\w)))", lambda match: "minus"),
    "with": Rule(
        r"\b(?:w/(?P<with_o>o\b)?|c/o\b)(?=[\s,;.)]|$)",
        lambda match: "without" if match["with_o"] else "with" if match.group()[0] == "w" else "care of",
    ),
    "stars": Rule(r"(?<=\d)[*★](?=\s?(?:hotel|resort|restaurant|rating|review))", lambda match: "star"),
    "key": Rule(r"\b(?:Ctrl|CTRL|Cmd|CMD)\b", lambda match: "control" if match.group()[1] in "tT" else "command"),
    "ip": Rule(r"\bIPv(?=\d)", lambda match: "i p v"),
    "arrow": Rule(r"[-=]+>|→", lambda match: "to"),
    "about": Rule(r"(?<!\w)[~≈](?=\s?\d)", lambda match: "about"),
}
_TITLES = (
    "Mr|Mrs|Ms|Dr|Prof|Gen|Col|Capt|Cpt|Cpl|Maj|Adm|Fr|Lt|Sgt|Rev|Hon|Sen|Rep|Gov|Mme|Messrs|vs|cf|approx|ca|viz"
    r"|e\.g|i\.e"
)
_COUNTS = (
    "[Nn]os?|pp?|[Vv]ols?|[Cc]h|[Ss]ec|[Ff]igs?|[Ee]q|[Aa]rt|[Aa]pp|[Aa]pt|[Rr]m|[Bb]ldg|[Ss]c"
    "|[Ss]te|[Rr]te|[Hh]wy|[Ff]l|ll|[Ff]n|[Tt]el|[Ff]ax|[Ee]xt|Mon|Tue|Wed|Thu|Fri|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec"
)
_SHORT_UNITS = "tbsp|tsp|oz|lbs?|ft|mins?|hrs?|secs?|yrs?|mi|yd|kg|mg|ml|km|cm|mm"
# a title goes on whatever follows, an abbreviation of things that are numbered before a number, a first number always
GOES_ON = re.compile(
    rf"\b(?:{_TITLES})\.\0\s*\S|\b(?:{_COUNTS})\.\0\s*[\dIVXL#(]|\A\s*\(?\d{{1,3}}\.\0"
    rf"|\d\s?(?:{_SHORT_UNITS}|in)\.\0\s*[a-z]|\b(?:Tues|Thurs?)\.\0\s*[a-z\d]|\b(?:Sun|Tues|Thurs?)\.\0\s*(?:\d{{1,2}}\s+)?{MONTH}"
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
