"""The normaliser's rules for spelling out numbers, dates, amounts of money and abbreviations.

A rule is (kind, pattern, replacement); rules apply in the order of their list. The words are English, with
American units and dates, and "and" after the hundreds.
"""

import re
from collections.abc import Callable
from functools import lru_cache

TITLES = {  # abbreviated only before a name
    "gen": "general", "col": "colonel", "rev": "reverend", "hon": "honorable", "gov": "governor",
    "sen": "senator", "rep": "representative", "maj": "major", "pres": "president", "mt": "mount",
    "ft": "fort", "st": "saint", "sgt": "sergeant", "lt": "lieutenant", "capt": "captain",
    "prof": "professor", "cpl": "corporal",
}  # fmt: skip
ALWAYS = {  # with or without a full stop
    "mr": "mister", "mrs": "missus", "dr": "doctor", "jr": "junior", "sr": "senior", "vs": "versus",
    "etc": "et cetera", "ltd": "limited", "blvd": "boulevard", "messrs": "messers",
}  # fmt: skip
DOTTED = {  # only with the full stop
    "st": "street", "inc": "incorporated", "corp": "corporation", "co": "company", "ave": "avenue",
    "rd": "road", "dept": "department", "approx": "approximately", "e.g": "for example", "i.e": "that is",
    "viz": "namely", "esq": "esquire", "tues": "tuesday", "thurs": "thursday",
}  # fmt: skip
MONTHS = "january february march april may june july august september october november december".split()
BEFORE_NUMBER = {"no": "number", "nos": "numbers", "vol": "volume", "p": "page", "pp": "pages"}
BEFORE_NUMBER |= {"fig": "figure", "sept": "september"}
BEFORE_NUMBER |= {month[:3]: month for month in MONTHS if month != "may"}
UNITS = {
    "km": "kilometers", "cm": "centimeters", "mm": "millimeters", "kg": "kilograms", "mg": "milligrams",
    "ml": "milliliters", "lb": "pounds", "lbs": "pounds", "oz": "ounces", "ft": "feet",
    "km/h": "kilometers per hour", "kph": "kilometers per hour", "mph": "miles per hour",
    "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz",
    "kb": "kilobytes", "mb": "megabytes", "gb": "gigabytes", "tb": "terabytes", "hrs": "hours",
    "mins": "minutes", "secs": "seconds", "k": "thousand", "bn": "billion", "kw": "kilowatts",
    "mw": "megawatts",
}  # fmt: skip
COINS = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"}
FRACTIONS = {
    "1/2": "half", "1/3": "third", "2/3": "two thirds", "1/4": "quarter", "3/4": "three quarters", "1/5": "fifth",
    "1/8": "eighth", "3/8": "three eighths", "5/8": "five eighths", "7/8": "seven eighths", "1/10": "tenth",
    "1/16": "sixteenth",
}  # fmt: skip
MAX_DIGITS = 15  # a longer number is spelled digit by digit, with or without commas


@lru_cache(maxsize=65536)
def _number(digits: str, to: str = "cardinal") -> str:
    """Digits in words without hyphens or commas; digit by digit after a leading zero or beyond MAX_DIGITS."""
    from num2words import num2words

    digits = digits.replace(",", "")
    if to == "cardinal" and ((len(digits) > 1 and digits[0] == "0") or len(digits) > MAX_DIGITS):
        return " ".join(_number(digit) for digit in digits)
    return num2words(int(digits[-MAX_DIGITS:]), to=to).replace("-", " ").replace(",", "")


def _is_year(digits: str) -> bool:
    return len(digits) == 4 and 1100 <= int(digits) <= 2099


def _cardinal(digits: str) -> str:
    """A number without context: 1999 is a year, 5551234 is spelled digit by digit, 1,999 and 5000000 are counts."""
    if _is_year(digits):
        return _number(digits, "year")
    if "," not in digits and len(digits) > 6 and not digits.endswith("000"):
        return " ".join(_number(digit) for digit in digits)
    return _number(digits)


def _decimal(match: re.Match) -> str:
    whole, decimals = match.group(1), match.group(2)
    return f" {_number(whole) if whole else ''} point {' '.join(_number(digit) for digit in decimals)} "


def _money(match: re.Match) -> str:
    sign, whole, decimals, magnitude = match.groups()
    unit, coin = COINS[sign]
    many = unit if unit == "yen" else f"{unit}s"
    if magnitude or (decimals and len(decimals) != 2):
        part = f" point {' '.join(_number(digit) for digit in decimals)}" if decimals else ""
        scale = magnitude.lower() if magnitude else ""
        return f" {_number(whole)}{part} {MAGNITUDES.get(scale, scale)} {many} "
    amount = whole.replace(",", "").lstrip("0")
    small = int(decimals) if decimals else 0
    coins = f"{_number(str(small))} {coin if small == 1 else 'pence' if coin == 'penny' else coin + 's'}"
    if not amount and small:
        return f" {coins} "
    return f" {_number(whole)} {unit if amount == '1' else many} " + (f"and {coins} " if small else "")


def _time(match: re.Match) -> str:
    hour, minute, second, half = match.groups()
    spoken = [_number(str(int(hour)))]
    if minute != "00" or second:
        spoken.append(("oh " if minute[0] == "0" else "") + _number(str(int(minute))))
    elif not half:
        spoken.append("o'clock" if 1 <= int(hour) <= 12 else "hundred")
    if second:
        spoken.append(("oh " if second[0] == "0" else "") + _number(str(int(second))))
    return f" {' '.join(spoken)} {half.lower() + ' m' if half else ''} "


def _date(match: re.Match) -> str:
    year, month, day = match.groups()
    return f" {MONTHS[int(month) - 1]} {_number(str(int(day)), 'ordinal')} {_number(year, 'year')} "


def _decade(match: re.Match) -> str:
    words = _number(match.group(1), "year" if len(match.group(1)) == 4 else "cardinal")
    return f" {words[:-1] + 'ies' if words.endswith('y') else words + 's'} "


def _fraction(match: re.Match) -> str:
    whole, part = match.group(1), FRACTIONS[match.group(2)]
    article = "" if " " in part else "an " if part == "eighth" else "a "
    return f" {_number(whole)} and {article}{part} " if whole else f" {'' if ' ' in part else 'one '}{part} "


def _one_unit(match: re.Match) -> str:
    unit, *rest = UNITS[match.group(1).lower()].split()
    return " ".join(["", "one", "foot" if unit == "feet" else unit.removesuffix("s"), *rest, ""])


def _day(match: re.Match) -> str:
    month = match.group(1).lower()
    return f"{BEFORE_NUMBER.get(month, month)} {_number(match.group(2), 'ordinal')}"


def _rule(kind: str, pattern: str, spoken: Callable[[re.Match], str] | str, flags: int = 0):
    return kind, re.compile(pattern, flags), spoken


DIGIT = re.compile("[0-9]")
_COUNT = r"(\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_ONE_OF_UNITS = "|".join(sorted(UNITS, key=len, reverse=True))
_ONE_OF_MONTHS = "|".join([*MONTHS, "sept", *(month[:3] for month in MONTHS)]).title()
NUMBER_RULES = [  # in this order: later rules find no digits where an earlier rule has spelled them out
    _rule("number", r"(?:(?<=\s)|^)-(?=\d)", " minus "),
    _rule("number", rf"(?<=\d)(\s?(?:{_ONE_OF_UNITS}|%))\s?[-–]\s?(?=\d)", r"\1 to ", re.I),
    _rule("number", r"(?<=\d)[-–](?=\d[\d.,]*\s?%)", " to "),
    _rule("number", r"([$£€¥]\d[\d,.]*)\s?[-–]\s?(?=[$£€¥]?\d)", r"\1 to "),
    _rule("number", r"#\s*(?=\d)", " number "),
    _rule("number", r"\b401\s?\(?k\b", " four oh one k "),
    _rule("date", rf"\b({_ONE_OF_MONTHS})\.?\s([12]?\d|3[01])(?!\d|[:.,/–-]\d|\s?%|st\b|nd\b|rd\b|th\b)", _day),
    _rule("abbreviation", rf"\b({'|'.join(BEFORE_NUMBER)})\.\s*(?=\d)",
          lambda m: f" {BEFORE_NUMBER[m.group(1).lower()]} ", re.I),
    _rule("date", r"(?<!\d)(\d{4})[-/](0[1-9]|1[0-2])[-/]([0-2][1-9]|[123]0|31)(?!\d)", _date),
    _rule("time", r"(?<![\d.:])(1?\d)\.([0-5]\d)(?=\s*[ap]\.?\s?m\b)", r"\1:\2", re.I),
    _rule("time", r"(?<![\d.:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:\s*([ap])\.?\s?m\b\.?)?",
          _time, re.I),
    _rule("time", r"(?<![\d.:])(\d{1,2})\s*([ap])\.?m\b\.?",
          lambda m: f" {_number(str(int(m.group(1))))} {m.group(2).lower()} m ", re.I),
    _rule("digits", r"(?<!\d)(?:\(\d{3}\)\s?|\d{3}[-. ])\d{3}[-. ]\d{4}(?!\d)",
          lambda m: f" {' '.join(_number(digit) for digit in m.group() if digit.isdigit())} "),
    _rule("money", r"(?<![\d.,$£€¥])" + _COUNT + r"(\.\d\d?)?\s?([$£€¥])(?!\s?\d)", r" \3\1\2 "),  # puts the sign first
    _rule("money", r"(?<=\d)\s?¢", " cents "),
    _rule("money", r"(?:\b(?:US|AU|CA|NZ|HK|A|C))?([$£€¥])\s?" + _COUNT + r"(?:\.(\d+))?"
          r"(?:\s?(k|mn?|bn?|thousand|million|billion|trillion)\b)?", _money, re.I),
    _rule("number", r"(?<!\d)(\d{4})\s?-\s?(?=\d{4}(?!\d))", r"\1 to "),
    _rule("ordinal", r"(?<![\d.,])" + _COUNT + r"(?:st|nd|rd|th)\b",
          lambda m: f" {_number(m.group(1), 'ordinal')} ", re.I),
    _rule("decade", r"(?<![\d,.])((?:1[1-9]|20)?\d0)'?s\b", _decade),
    _rule("fraction", r"(?<![\d/])(?:(\d+)\s)?\s*(" + "|".join(FRACTIONS) + r")(?![\d/])", _fraction),
    _rule("percent", r"(?<=\d)\s?%", " percent "),
    _rule("unit", rf"(?<![\d.,/])1\s?({_ONE_OF_UNITS})\b\.?(?!')", _one_unit, re.I),
    _rule("unit", rf"(?<=\d)\s?({_ONE_OF_UNITS})\b\.?(?!')",
          lambda m: f" {UNITS[m.group(1).lower()]} ", re.I),
    _rule("unit", r"°\s?C\b", " degrees celsius "),
    _rule("unit", r"°\s?F\b", " degrees fahrenheit "),
    _rule("decimal", r"(?<![\w.,])" + _COUNT[:-1] + r"|)\.(\d+)(?![\d.])", _decimal),
    _rule("number", _COUNT, lambda m: f" {_cardinal(m.group(1))} "),
]  # fmt: skip
_BARE = ("st", "mt", "sgt", "lt", "capt", "prof")  # titles that also occur without their full stop
ABBREVIATION_RULES = [
    _rule("abbreviation", rf"\b({'|'.join(t.capitalize() for t in TITLES)})\.\s*(?=[A-Z])",
          lambda m: f"{TITLES[m.group(1).lower()]} "),
    _rule("abbreviation", rf"\b({'|'.join(t.capitalize() for t in _BARE)})\s+(?=[A-Z])",
          lambda m: f"{TITLES[m.group(1).lower()]} "),
    _rule("abbreviation", rf"\b({'|'.join(ALWAYS)})\b(?:\.|(?!['\w]))",
          lambda m: f"{ALWAYS[m.group(1).lower()]} ", re.I),
    _rule("abbreviation", rf"(?<![\w.])({'|'.join(map(re.escape, DOTTED))})\.",
          lambda m: f"{DOTTED[m.group(1).lower()]} ", re.I),
    _rule("abbreviation", r"\.(com|org|net)\b", r" dot \1"),
]  # fmt: skip
SHORTHAND = frozenset(  # every spelling that a rule above may match
    form + stop
    for stop, shortened in (("", ALWAYS), ("", _BARE), (".", [*TITLES, *ALWAYS, *DOTTED]))
    for word in shortened
    for form in (word, word.capitalize(), word.upper())
)
