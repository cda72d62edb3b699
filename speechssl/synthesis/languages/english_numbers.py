"""How American English reads numbers, dates, times, money, units, fractions, telephone numbers and codes."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from speechssl.synthesis.languages.english_units import CURRENCIES, SCALES, UNITS
from speechssl.synthesis.languages.rules import LONGEST_NUMBER, Rule, decimal, number_words, whole

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
_PLAIN = r"\d{1,3}(?:,\d{3})+(?!\d)|[1-9]\d{0,2}(?: \d{3}){2,}(?!\d)|\d{1,3}(?:[\u00a0\u202f\u2009]\d{3})+(?!\d)|\d+"
_AMOUNT = rf"(?:{_PLAIN})(?:\.\d+)?"
_UNITS = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_CODES = "|".join(re.escape(code) for code in sorted(CURRENCIES, key=len, reverse=True))
_SIGNS = r"(?:\b(?:US|[AC])\$|[$€£¥₹₿₩₽])"
_SCALES = r"(?:\s?(?P<{}_s>(?i:thousand|million|billion|trillion|tn|bn|k|m|b)\b))?"
_HALF = r"[ap]\.m\.|[AaPp][Mm]\b"
_DENOMINATORS = {*range(2, 11), 12, 16, 20, 32, 64, 100, 1000}


def say(value: int, kind: str = "cardinal") -> str:
    """As in America, without "and"."""
    return " ".join(word for word in number_words(value, "en", kind).split() if word != "and")


def cardinal(text: str) -> str:
    """A whole number as written."""
    return whole(re.sub(r"[\u00a0\u202f\u2009 ]", "", text), say)


def ordinal(value: int) -> str:
    """First, second, third."""
    return say(value, "ordinal")


def _decimal(text: str) -> str:
    return decimal(re.sub(r"[\u00a0\u202f\u2009 ]", "", text), say)


def year(value: int) -> str:
    """As years are said: nineteen eighty four, two thousand, twenty twenty three."""
    high, low = divmod(value, 100)
    if not 1100 <= value < 2100 or 2000 <= value < 2010:
        return say(value)
    return f"{say(high)} {_low(low) or 'hundred'}"


def _low(value: int | str) -> str:
    """The last two digits of a year, a time, a code: oh five, ten; nothing for none."""
    number = int(value)
    return f"{'oh ' if number < 10 else ''}{say(number)}" if number else ""


def _year_digits(text: str) -> str:
    return year(int(text)) if len(text) == 4 else cardinal(text)


def _bare(text: str) -> str:
    return year(int(text)) if re.fullmatch(r"1[1-9]\d\d|20\d\d", text) else _decimal(text)


def date(month: int, day: int, year_digits: str = "") -> str:
    """Month and day, perhaps with a year; numbers that are no date one by one."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join(cardinal(part) for part in (str(month), str(day), year_digits) if part)
    return f"{MONTHS[month - 1]} {ordinal(day)} {_year_digits(year_digits) if year_digits else ''}".strip()


def _month_day(match: re.Match[str]) -> str:
    last = f" to {ordinal(int(match['md_e']))}" if match["md_e"] else ""
    after = f" {_year_digits(match['md_y'])}" if match["md_y"] else ""
    return f"{month_named(match['md_m'])} {ordinal(int(match['md_d']))}{last}{after}"


def _day_month(match: re.Match[str]) -> str:
    after = f" {_year_digits(match['dm_y'])}" if match["dm_y"] else ""
    last = f" to {ordinal(int(match['dm_e']))}" if match["dm_e"] else ""
    the = "" if re.search(r"\bthe\s+$", match.string[: match.start()], re.IGNORECASE) else "the "
    return f"{the}{ordinal(int(match['dm_d']))}{last} of {month_named(match['dm_m'])}{after}"


def month_named(name: str) -> str:
    """The whole name of a month that may be written short."""
    return next(one for one in MONTHS if one.startswith(name[:3].lower()))


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match["time_h"]), int(match["time_m"])
    half = " ".join(match["time_p"].lower().replace(".", "")).replace("a ", "ay ") if match["time_p"] else ""
    if match["time_x"] and not half and not re.search(r"\b(?:at|until|till|by)\s+$", match.string[: match.start()]):
        parts = ((hour, "hour"), (minute, "minute"), (int(match["time_x"]), "second"))
        return " ".join(f"{say(n)} {name}{'' if n == 1 else 's'}" for n, name in parts if n) or "zero seconds"
    if minute:
        said = f"{say(hour)} {_low(minute)}"
    else:
        said = say(hour) + ("" if half or match["time_x"] else " o'clock" if 0 < hour <= 12 else " hundred hours")
    if match["time_x"] and int(match["time_x"]):
        said += f" and {say(int(match['time_x']))} seconds"
    return f"{said} {half}".strip()


def _money(match: re.Match[str]) -> str:
    minus = "minus " if match["money_m"] else ""
    return minus + _amount(match["money_c"], match["money_n"], match["money_d"], match["money_s"])


def _amount(currency: str, amount: str, cents: str | None, scale: str | None) -> str:
    one, many, coin, coins = CURRENCIES[currency]
    if scale:
        scale = SCALES.get(scale.lower(), scale.lower())
        return f"{_decimal(amount + (f'.{cents}' if cents else ''))} {scale} {many}"
    amount = amount or "0"
    said = f"{cardinal(amount)} {one if amount == '1' else many}"
    if not cents or not coin or len(cents) != 2:
        return said if not cents else f"{_decimal(f'{amount}.{cents}')} {many}"
    if int(cents) == 0:
        return said
    change = f"{say(int(cents))} {coin if int(cents) == 1 else coins}"
    return change if amount == "0" else f"{said} {change}"


def _money_range(match: re.Match[str]) -> str:
    first, last = (
        f" {SCALES.get(one.lower(), one.lower())}" if one else "" for one in match.group("dear_s", "prices_s")
    )
    many = CURRENCIES[match["prices_c"]][1]
    return f"{_decimal(match['prices_a'])}{first} to {_decimal(match['prices_b'])}{last} {many}"


def _unit(match: re.Match[str]) -> str:
    number, unit = match["unit_n"], match["unit_u"]
    one, many = UNITS[unit]
    if match["unit_d"]:
        power = {"²": " squared", "³": " cubed"}.get(match["unit_e"], "")
        one, many = (f"{name} per {UNITS[match['unit_d']][0]}{power}" for name in (one, many))
    first = f"{_decimal(match['unit_r'])} to " if match["unit_r"] else ""
    # a 20-yr-old
    alone = (number == "1" and not first) or match.string.startswith("-old", match.end())
    return f"{first}{_decimal(number)} {one if alone else many}"


def _with_fraction(match: re.Match[str]) -> str:
    """3 1/2, 5½, ½ and their units."""
    found = re.fullmatch(r"(\d*)\s?(?:(\d+)[/⁄](\d+)|(\D))", match["mixed_n"])
    assert found is not None
    count, top, bottom, sign = found.groups()
    part = Fraction(unicodedata.numeric(sign)).limit_denominator(10) if sign else Fraction(int(top), int(bottom))
    said = _parts(part.numerator, part.denominator)
    one, many = UNITS[match["mixed_u"]] if match["mixed_u"] else ("", "")
    if not count:
        return f"{said} {one}".strip()
    half = "a " + said.removeprefix("one ") if part.numerator == 1 else said
    return f"{cardinal(count)} and {half} {many}".strip()


def _parts(top: int, bottom: int) -> str:
    name = {2: "half", 4: "quarter"}.get(bottom) or ordinal(bottom)
    many = "halves" if bottom == 2 else f"{name}s"
    return f"{say(top)} {name if top == 1 else many}"


def _slash(match: re.Match[str]) -> str:
    """Two numbers with a slash: a fraction, or what is said in pairs."""
    top, bottom = match["fraction_t"], match["fraction_b"]
    high, low = int(top), int(bottom)
    if re.match(r"\s*=", match.string[match.end() :]):
        return f"{cardinal(top)} divided by {cardinal(bottom)}"
    if (high, low) in ((24, 7), (9, 11), (24, 365), (20, 20)) or (high + low == 100 and high >= low):
        return f"{cardinal(top)} {cardinal(bottom)}"
    if low == 10 or (low == 100 and high > 1) or (high == low and 1 < high <= 20):
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    if low not in _DENOMINATORS or high > low * 3 or top[0] == "0":
        return f"{cardinal(top)} over {cardinal(bottom)}"
    return _parts(high, low)


def _decade(match: re.Match[str]) -> str:
    digits = match["decade_n"]
    said = year(int(digits)) if len(digits) == 4 else say(int(digits))
    return plural(said)


def plural(said: str) -> str:
    """The plural of a number's words: nineties, sixes, threes."""
    return said[:-1] + "ies" if said.endswith("y") else said + ("es" if said.endswith(("x", "s")) else "s")


def _range(match: re.Match[str]) -> str:
    minus = re.match(r"\s*=", match.string[match.end() :])
    if match["range_a"] == match["range_b"] and not minus:
        return f"{_bare(match['range_a'])} {_bare(match['range_b'])}"
    return f"{_bare(match['range_a'])} {'minus' if minus else 'to'} {_bare(match['range_b'])}"


def digits(text: str) -> str:
    """Digit by digit."""
    return " ".join(say(int(digit)) for digit in text if digit.isdigit())


def _by(match: re.Match[str]) -> str:
    """A product, a power, or two sides."""
    sign = match["by_o"].strip()
    if sign == "^":
        return "to the power of"
    product = sign == "*" or re.match(r"10[⁰¹²³⁴-⁹⁻^]|[\d.]+\s?=", match.string[match.end() :])
    return "times" if product else "by"


def _arc(match: re.Match[str]) -> str:
    """Degrees of a place or an angle, with minutes and seconds: 51°30′N."""
    named = (("arc_d", "°"), ("arc_m", "min"), ("arc_s", "sec"))
    said = [f"{_decimal(match[part])} {UNITS[unit][match[part] != '1']}" for part, unit in named if match[part]]
    way = {"N": "north", "S": "south", "E": "east", "W": "west"}.get(match["arc_w"] or "", "")
    return " ".join([*said, way]).strip()


def _code(match: re.Match[str]) -> str:
    """Letters and a number: MP3, CO2, A4, H2O, MP3s."""
    text, many = match["code_c"], match["code_s"]
    parts = re.findall(r"[A-Za-z]+|\d+", text)
    said = [_code_number(part) if part.isdigit() else _letters(part.lower()) for part in parts]
    if many:
        said[-1] = plural(said[-1])
    return " ".join(said)


def _code_number(text: str) -> str:
    if len(text) > 4 or text[0] == "0":
        return digits(text)
    high, low = divmod(int(text), 100)
    if len(text) < 3 or (high % 10 == 0 and low < 10):
        return say(int(text))
    # three seventy, twenty four ninety
    return f"{say(high)} {_low(low) or 'hundred'}"


def _letters(letters: str) -> str:
    """Letters one by one, unless they are enough for a word, as in SARS2."""
    word = len(letters) > 3 and any(letter in "aeiouy" for letter in letters)
    return letters if word else " ".join("ay" if letter == "a" else letter for letter in letters)


def _feet(match: re.Match[str]) -> str:
    inches = f" {cardinal(match['tall_i'])}" if match["tall_i"] else ""
    return f"{cardinal(match['tall_f'])} {'foot' if inches else 'feet'}{inches}"


_NUMBER_SIGN = r"(?:(?<![\w.])[-−])?"
NUMBERS = {
    "iso": Rule(
        r"\b(?P<iso_y>\d{4})(?P<iso_s>[-/])(?P<iso_m>\d\d)(?P=iso_s)(?P<iso_d>\d\d)\b",
        lambda m: date(int(m["iso_m"]), int(m["iso_d"]), m["iso_y"]),
    ),
    # Americans write no dates with full stops, and who does has the day first
    "european": Rule(
        r"(?<![\w.])(?P<european_d>[0-3]?\d)\.(?P<european_m>[01]?\d)\.(?P<european_y>(?:19|20)\d\d)\b(?!\.\d)",
        lambda m: date(int(m["european_m"]), int(m["european_d"]), m["european_y"]),
    ),
    "us": Rule(
        r"\b(?P<us_m>\d{1,2})/(?P<us_d>\d{1,2})/(?P<us_y>\d{4}|\d\d)\b",
        lambda m: date(int(m["us_m"]), int(m["us_d"]), m["us_y"]),
    ),
    "md": Rule(
        rf"\b(?P<md_m>{MONTH}\.?)\s+(?P<md_d>[0-3]?\d)(?:st|nd|rd|th)?\b(?!:\d)(?:\s?[-–]\s?(?P<md_e>[0-3]?\d)(?:st|nd|rd|th)?\b(?![:-]))?(?:,?\s+(?P<md_y>1\d{{3}}|20\d\d)\b(?!-))?",
        _month_day,
    ),
    "dm": Rule(
        rf"\b(?P<dm_d>[0-3]?\d)(?:st|nd|rd|th)?(?:\s?[-–]\s?(?P<dm_e>[0-3]?\d)(?:st|nd|rd|th)?)?\s+(?P<dm_m>{MONTH})\b(?:,?\s+(?P<dm_y>1\d{{3}}|20\d\d)\b)?",
        _day_month,
    ),
    "my": Rule(
        r"(?<![\w./])(?P<my_m>0[1-9]|1[0-2])/(?P<my_y>(?:19|20)\d\d)(?![\w/])",
        lambda m: f"{MONTHS[int(m['my_m']) - 1]} {year(int(m['my_y']))}",
    ),
    "phone": Rule(
        r"(?<![\w-])(?:\+?1[- ])?(?:\(\d{3}\)\s?|\d{3}-)?\d{3}-\d{4}\b"
        r"|(?<![\w.,-])\d{3}(?P<phone_s>[. ])\d{3}(?P=phone_s)\d{4}\b"
        r"|(?<![\w-])1-8\d\d-(?=[A-Z])|(?<![\w.,-])0\d{2,4}/\d{5,8}\b"
        r"|\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\d)|(?<![\w.,-])0\d{1,4}(?:[ -]\d{2,8}){1,4}\b"
        r"|(?<![\w.,-])0\d{5,}\b(?![.,]\d)",
        lambda m: ("plus " if "+" in m.group() else "") + digits(m.group()),
    ),
    # numbers of books, cards and people, of which only the digits are said
    "serial": Rule(
        r"(?<![\w-])(?:\d+(?:-\d+){3,}(?:-X)?|\d{4}(?: \d{4}){3}|\d{3}-\d\d-\d{4})(?![\w-])",
        lambda m: digits(m.group()) + (" x" if m.group().endswith("X") else ""),
    ),
    "arc": Rule(
        r"\b(?P<arc_d>\d{1,3}(?:\.\d+)?)°\s?(?=\d+['’′]|[NSEW]\b)(?:(?P<arc_m>\d{1,2})['’′]\s?)?"
        r"(?:(?P<arc_s>\d{1,2}(?:\.\d+)?)(?:\"|”|″|'')\s?)?(?:(?P<arc_w>[NSEW])\b)?",
        _arc,
    ),
    "emergency": Rule(
        r"(?:(?<=[Dd]ial )|(?<=[Cc]all )|(?<=[Cc]alled )|(?<=[Dd]ialed )|(?<=[Cc]alling )|(?<=[Pp]hone ))[1-9]\d\d\b"
        r"|\b911\b(?=\s+(?:call|dispatch|operator|emergency))",
        lambda m: digits(m.group()),
    ),
    "tall": Rule(r"\b(?P<tall_f>\d)['’′]\s?(?P<tall_i>\d{1,2})(?:\"|”|″|'')", _feet),
    "time": Rule(
        rf"\b(?P<time_h>[01]?\d|2[0-4])(?::|\.(?=[0-5]\d\s?(?:{_HALF})))(?P<time_m>[0-5]\d)(?::(?P<time_x>[0-5]\d)(?:\.\d+)?)?(?![\d:])(?:\s?(?P<time_p>{_HALF}))?",
        _time,
    ),
    # at 1430 hours
    "watch": Rule(
        r"(?<=[TtYy] )(?P<watch_h>[01]\d|2[0-4])(?P<watch_m>[0-5]\d)\s?(?:hrs|hours)\b",
        lambda m: f"{_low(m['watch_h'])} {_low(m['watch_m']) or 'hundred'} hours",
    ),
    "until": Rule(
        rf"(?:(?<=:\d\d)|(?<=[AaPp][Mm])|(?<=[ap]\.m\.)|(?<=\d)(?=[-–]\d{{1,2}}\s?(?:{_HALF})))"
        rf"\s?[-–]\s?(?=\d{{1,2}}(?:[:.]\d\d)?(?:\s?(?:{_HALF})|\b))",
        lambda match: "to",
    ),
    "ratio": Rule(
        r"(?<![\w:.,])(?P<ratio_a>\d{1,4}):(?P<ratio_b>\d{1,4})(?![\w:])",
        lambda m: f"{cardinal(m['ratio_a'])} to {cardinal(m['ratio_b'])}",
    ),
    "hour": Rule(
        rf"\b(?P<hour_h>1?\d)\s?(?P<hour_p>{_HALF})",
        lambda m: f"{cardinal(m['hour_h'])} {'ay' if m['hour_p'][0] in 'aA' else 'p'} m",
    ),
    "prices": Rule(
        rf"(?P<prices_c>{_SIGNS})\s?(?P<prices_a>{_AMOUNT})"
        + _SCALES.format("dear")
        + rf"\s?(?:[-–]|to)\s?{_SIGNS}?(?P<prices_b>{_AMOUNT})"
        + _SCALES.format("prices")
        + r"(?![\w/])",
        _money_range,
    ),
    "money": Rule(
        rf"(?P<money_m>(?<![\w.])[-−])?(?P<money_c>(?:\b(?:USD|EUR|GBP|CHF|CAD|AUD|INR|CNY|SEK)|{_SIGNS}))\s?(?P<money_n>{_PLAIN}|(?=\.\d\d\b))"
        r"(?:\.(?P<money_d>\d+))?" + _SCALES.format("money"),
        _money,
    ),
    "paid": Rule(
        rf"(?P<paid_n>{_PLAIN})(?:\.(?P<paid_d>\d+))?" + _SCALES.format("paid") + rf"\s?(?P<paid_c>{_CODES})(?![\w\d])",
        lambda m: _amount(m["paid_c"], m["paid_n"], m["paid_d"], m["paid_s"]),
    ),
    "decade": Rule(r"(?:\b|['’])(?P<decade_n>\d{3}0|[1-9]0)['’]?s\b", _decade),
    "nth": Rule(
        r"\b(?P<nth_n>\d[\d,]*)(?:st|nd|rd|th)\b", lambda m: ordinal(int(m["nth_n"].replace(",", "")[:LONGEST_NUMBER]))
    ),
    "mixed": Rule(
        r"(?P<mixed_n>\b\d+(?:\s\d{1,2}[/⁄][1-9]\d?\b|\s?[¼-¾⅐-⅞])|[¼-¾⅐-⅞])"
        rf"(?:\s?(?P<mixed_u>{_UNITS})(?![\w'’/²³]))?",
        _with_fraction,
    ),
    "code": Rule(
        r"\b(?=[A-Za-z]*\d)(?![1-9](?:[KMGT]B|MW)\b)(?P<code_c>(?:[A-Z]{1,4}\d{1,5}|[1-9][A-Z])(?:[A-Z]{1,2}\d{0,3})?)(?P<code_s>s)?\b(?![.:/]\d)",
        _code,
    ),
    "science": Rule(
        rf"(?<![\w.])(?P<science_m>{_AMOUNT})e\+?(?P<science_s>[-−]?)(?P<science_e>\d{{1,3}})\b",
        lambda m: (
            f"{_decimal(m['science_m'])} times ten to the {m['science_s'] and 'minus '}{cardinal(m['science_e'])}"
        ),
    ),
    "scaled": Rule(
        rf"(?<!\w)(?P<scaled_n>{_AMOUNT})(?P<scaled_s>k|M|bn|(?<=\.\d)B)\b",
        lambda m: f"{_decimal(m['scaled_n'])} {SCALES[m['scaled_s'].lower()]}",
    ),
    "unit": Rule(
        rf"(?:(?P<unit_r>{_NUMBER_SIGN}{_AMOUNT})(?:%|°[CF]?|℃|℉)?\s?[-–]\s?)?(?P<unit_n>{_NUMBER_SIGN}{_AMOUNT})[\s-]?(?P<unit_u>{_UNITS})"
        rf"(?:/(?P<unit_d>{_UNITS})(?P<unit_e>[²³]?))?(?![\w'’²³]|/(?![-−\d]))(?!(?<=x)\s\d)(?:\.(?=[,;:)]|\s+[a-z]))?",
        _unit,
    ),
    "fraction": Rule(r"\b(?<!/)(?P<fraction_t>\d{1,3})/(?P<fraction_b>\d{1,4})(?:(?:th|rd|nd)s?)?\b(?!/)", _slash),
    "rating": Rule(r"(?<=\.\d)/(?=\d{1,3}\b)", lambda m: "out of"),
    "by": Rule(r"(?<=[\d)\"])(?P<by_o>\s?[*×]\s?|\s?x\s?|\s?\^\s?(?=[\d(−-]))(?=[\d(−-])", _by),
    "power": Rule(
        r"(?<=[\d)])(?P<power_n>⁻?[⁰¹²³⁴-⁹]{2,}|[⁴-⁹])",
        lambda m: f"to the {_decimal(unicodedata.normalize('NFKC', m['power_n']))}",
    ),
    "range": Rule(rf"(?<![\w.-])(?P<range_a>{_PLAIN})\s?[-–]\s?(?P<range_b>{_PLAIN})\b(?![-.]\d)", _range),
    "number": Rule(rf"(?:(?<![\w.)])[-−])?(?:{_PLAIN})(?:\.\d+)?|(?<!\w)\.\d+", lambda m: _bare(m["number"])),
}
