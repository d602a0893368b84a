"""Characters and tokens, and the normaliser that turns published text into what a recogniser can say.

The vocabulary is that of the Keras example, a-z, apostrophe, question mark, exclamation mark and space, with
the blank of CTC in front of it. The normaliser writes numbers and abbreviations as they are spoken, so that a
transcript holds nothing that has no sound.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

BLANK = 0  # the token of "nothing new"; the characters follow from 1
EXAMPLE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz'?! "  # in the order of the Keras example


@dataclass(frozen=True)
class Vocabulary:
    """The characters a model can write; token 0 is blank, token i is `characters[i - 1]`.

    Attributes:
        characters: every character once, in token order.
    """

    characters: str = EXAMPLE_CHARACTERS

    def __post_init__(self):
        if not self.characters or len(set(self.characters)) != len(self.characters):
            raise ValueError(f"A vocabulary needs every character exactly once, got {self.characters!r}.")

    @cached_property
    def tokens(self) -> list[str]:
        """What each token writes; the blank writes nothing."""
        return ["", *self.characters]

    @cached_property
    def _token_of(self) -> dict[str, int]:
        return {character: token for token, character in enumerate(self.characters, start=1)}

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """The tokens of a normalised text; a character outside the vocabulary raises ValueError."""
        try:
            return [self._token_of[character] for character in text]
        except KeyError as missing:
            odd = missing.args[0]
            raise ValueError(f"{odd!r} in {text!r} is not in the vocabulary: normalise first.") from None

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of collapsed tokens; blanks write nothing."""
        return "".join(self.tokens[token] for token in tokens)


def normalise(text: str, keep: str = "'") -> str:
    """Spell a text out as a-z, apostrophes and single spaces. See Normaliser."""
    return Normaliser(keep)(text)


@dataclass
class Normaliser:
    """Turns published text into lower-case words as they are spoken, and counts what it had to change.

    Letters are folded to a-z; numbers, money, times, dates and common abbreviations are spelled out; hyphens,
    dashes and other punctuation part words. An apostrophe stays inside a word (don't), before a known elision
    ('tis, 'em), and after a plural or a dropped g (dogs', goin') unless a quotation is open; elsewhere it was
    a quotation mark and goes. Initials become letters (U.S. -> u s); Roman numerals and capitals without full
    stops (NATO, USA) stay as they are, for spelling does not tell how they sound.

    Attributes:
        keep: punctuation that stays, of "'?!" (marks stay attached to the word before them).
        changes: kind of change -> number of texts that needed it.
        dropped: letters and marks of other scripts that had no equivalent -> occurrences.
        texts: number of texts seen.
    """

    keep: str = "'"
    changes: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    texts: int = 0

    def __post_init__(self):
        if not set(self.keep) <= set("'?!"):
            raise ValueError(f"Only apostrophe, ? and ! can be kept, got {self.keep!r}.")
        marks = set("'?!") & set(self.keep) - {"'"}
        kept = set("'.") | marks
        self._spaces = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) in kept)}
        self._spaces[ord("`")] = "'"
        self._spaces.update({ord(symbol): f" {name} " for symbol, name in SYMBOLS.items()})

    def __call__(self, text: str) -> str:
        self.texts += 1
        if not text.isascii():
            text = self._fold(text)
        if DIGIT.search(text):
            text = self._spell(text, NUMBER_RULES)
        words = text.translate(self._spaces).split()
        bare = [word.strip("'") for word in words] if "'" in text else words
        if not SHORTHAND.isdisjoint(bare) or ".com" in text or ".org" in text:
            text = self._spell(text, ABBREVIATION_RULES)
            words = text.translate(self._spaces).split()
        joined = " ".join(words)
        if len(joined) != len(text):
            self.changes["punctuation"] += 1
        if "." in joined:
            self.changes["punctuation"] += len(joined) == len(text)
            joined = " ".join(joined.replace(".", " ").split())
        lower = joined.lower()
        if lower != joined:
            self.changes["case"] += 1
        if "'" in lower:
            lower = self._apostrophes(lower)
        if "?" in lower or "!" in lower:
            lower = re.sub(r"\s*([?!])[?!\s]*", r"\1 ", lower).strip()
        return lower

    def _spell(self, text: str, rules) -> str:
        text = " ".join(text.split())  # long runs of space would make the rules slow
        for kind, pattern, spoken in rules:
            text, found = pattern.subn(spoken, text)
            if found:
                self.changes[kind] += 1
        return text

    def _fold(self, text: str) -> str:
        """Curly marks, accents and ligatures to ASCII; currency signs and the degree stay for the numbers."""
        folded = text.translate(FOLDED)
        if folded != text:
            self.changes["typography"] += 1
        if folded.isascii():
            return folded
        letters = []
        accented = False
        for character in unicodedata.normalize("NFKD", folded).translate(FOLDED):
            kind = unicodedata.category(character)
            if character.isascii() or character in "£€¥°":
                letters.append(character)
            elif kind == "Mn":
                accented = True
            elif kind != "Cf":  # invisible ones, such as the soft hyphen, leave no gap
                self.dropped[character] += 1
                letters.append(" ")
        self.changes["accents"] += accented
        return "".join(letters)

    def _apostrophes(self, text: str) -> str:
        """Keep the apostrophes that belong to words; drop those that quote."""
        words: list[str] = []
        quoting = cut = False
        for word in text.split():
            core = word.strip("'")
            if words and (word in CLITICS or (cut and f"'{word}" in CLITICS)):
                words[-1] = words[-1].rstrip("'") + "'" + core
                cut = False
                continue
            cut = word.endswith("'")
            leading, trailing = word.startswith("'"), word.endswith("'") and len(word) > 1
            start = "'" if leading and f"'{core}" in ELISIONS else ""
            quoting = quoting or (leading and not start)
            end = ""
            if trailing:
                elided = core.endswith(("s", "in")) or core in CLIPPED
                end = "'" if (elided and not quoting) or f"'{core}'" == "'n'" else ""
                quoting = quoting and bool(end)
            if core:
                words.append(start + re.sub("'{2,}", "'", core) + end)
        spoken = " ".join(words)
        if "'" not in self.keep:
            spoken = spoken.replace("'", "")
        if spoken != text:
            self.changes["apostrophe"] += 1
        return spoken


# Characters that mean the same as an ASCII one. NFKD takes the accents off the rest.
FOLDED = str.maketrans(
    {mark: "'" for mark in "\u2018\u2019\u201a\u201b\u2032\u02bc\u0060\u00b4\u2039\u203a"}
    | {mark: '"' for mark in "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033"}
    | {mark: "-" for mark in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2e3a"}
    | {"\u00a0": " ", "\u2026": " ", "\u2022": " ", "\u00b7": " ", "\u00d7": " times ", "\u2044": "/"}
    | {"\u00bd": " 1/2", "\u00bc": " 1/4", "\u00be": " 3/4", "\u00b2": " squared ", "\u00b3": " cubed "}
    | {"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"ß": "ss", "ð": "th", "Ð": "Th", "þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "Ħ": "H", "ə": "a"}
)
SYMBOLS = {"&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals", "°": "degrees"}
SYMBOLS |= {"£": "", "€": "", "¥": ""}

CLITICS = frozenset("'s 't 'm 're 've 'll 'd".split())  # cut off from their word by a tokeniser
ELISIONS = frozenset(
    "'tis 'twas 'twere 'twill 'twould 'twouldn't 'tain't 'em 'cause 'cos 'til 'till 'bout 'round 'neath "
    "'gainst 'midst 'tween 'n 'un 'uns 'ere 'im 'ave 'ad 'as 'ow 'ome 'ouse 'ead 'ud 'pon 'kay 'nuff "
    "'nother 'fraid 'spect 'spose 'most 'ello 'ell 'ard 'arf 'fore 'twixt 'twasn't 'tisn't 'long".split()
)
CLIPPED = frozenset("o an th tha ha ol wi mo po t d lil jes jus mus mist fo".split())  # o', an', ol'

TITLES = {  # shortened only before a name
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
    "mph": "miles per hour", "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz",
    "kb": "kilobytes", "mb": "megabytes", "gb": "gigabytes", "tb": "terabytes", "hrs": "hours",
    "mins": "minutes", "secs": "seconds", "k": "thousand", "bn": "billion", "kw": "kilowatts",
    "mw": "megawatts",
}  # fmt: skip
COINS = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion"}
FRACTIONS = {"1/2": "half", "1/3": "third", "2/3": "two thirds", "1/4": "quarter", "3/4": "three quarters"}
MOST_DIGITS = 15  # a longer number is read digit by digit, whatever its commas say


@lru_cache(maxsize=65536)
def _number(digits: str, to: str = "cardinal") -> str:
    """Digits as words without hyphens or commas; a leading zero or too many digits: one digit at a time."""
    from num2words import num2words

    digits = digits.replace(",", "")
    if to == "cardinal" and ((len(digits) > 1 and digits[0] == "0") or len(digits) > MOST_DIGITS):
        return " ".join(_number(digit) for digit in digits)
    return num2words(int(digits[-MOST_DIGITS:]), to=to).replace("-", " ").replace(",", "")


def _is_year(digits: str) -> bool:
    return len(digits) == 4 and 1100 <= int(digits) <= 2099


def _cardinal(digits: str) -> str:
    """A plain number: 1999 is a year, 5551234 a row of digits, 1,999 and 5000000 are counts."""
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
    amount = int(whole.replace(",", ""))
    small = int(decimals) if decimals else 0
    coins = f"{_number(str(small))} {coin if small == 1 else 'pence' if coin == 'penny' else coin + 's'}"
    if not amount and small:
        return f" {coins} "
    return f" {_number(whole)} {unit if amount == 1 else many} " + (f"and {coins} " if small else "")


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
    article = "" if " " in part else "a "
    return f" {_number(whole)} and {article}{part} " if whole else f" {'' if ' ' in part else 'one '}{part} "


def _rule(kind: str, pattern: str, spoken: Callable[[re.Match], str] | str, flags: int = 0):
    return kind, re.compile(pattern, flags), spoken


DIGIT = re.compile("[0-9]")
_COUNT = r"(\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_ONE_OF_UNITS = "|".join(sorted(UNITS, key=len, reverse=True))
NUMBER_RULES = [  # in this order: what an earlier rule spelled out holds no digits for the later ones
    _rule("number", r"#\s*(?=\d)", " number "),
    _rule("number", r"\b401\s?\(?k\b", " four oh one k "),
    _rule("abbreviation", rf"\b({'|'.join(BEFORE_NUMBER)})\.\s*(?=\d)",
          lambda m: f" {BEFORE_NUMBER[m.group(1).lower()]} ", re.I),
    _rule("date", r"(?<!\d)(\d{4})[-/](0[1-9]|1[0-2])[-/]([0-2][1-9]|[123]0|31)(?!\d)", _date),
    _rule("time", r"(?<![\d.:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])(?:\s*([ap])\.?\s?m\b\.?)?",
          _time, re.I),
    _rule("time", r"(?<![\d.:])(\d{1,2})\s*([ap])\.?m\b\.?",
          lambda m: f" {_number(str(int(m.group(1))))} {m.group(2).lower()} m ", re.I),
    _rule("digits", r"(?<!\d)\d{3}[- ]\d{3}[- ]\d{4}(?!\d)",
          lambda m: f" {' '.join(_number(digit) for digit in m.group() if digit.isdigit())} "),
    _rule("money", r"(?:\b(?:US|AU|CA|NZ|HK|A|C))?([$£€¥])\s?" + _COUNT + r"(?:\.(\d+))?"
          r"(?:\s?(k|mn?|bn?|thousand|million|billion|trillion)\b)?", _money, re.I),
    _rule("number", r"(?<!\d)(\d{4})\s?-\s?(?=\d{4}(?!\d))", r"\1 to "),
    _rule("ordinal", r"(?<![\d.,])" + _COUNT + r"(?:st|nd|rd|th)\b",
          lambda m: f" {_number(m.group(1), 'ordinal')} ", re.I),
    _rule("decade", r"(?<![\d,.])((?:1[1-9]|20)?\d0)'?s\b", _decade),
    _rule("fraction", r"(?<![\d/])(?:(\d+)\s)?\s*(" + "|".join(FRACTIONS) + r")(?![\d/])", _fraction),
    _rule("percent", r"(?<=\d)\s?%", " percent "),
    _rule("unit", rf"(?<=\d)\s?({_ONE_OF_UNITS})\b\.?(?!')",
          lambda m: f" {UNITS[m.group(1).lower()]} ", re.I),
    _rule("unit", r"°\s?C\b", " degrees celsius "),
    _rule("unit", r"°\s?F\b", " degrees fahrenheit "),
    _rule("number", r"(?:(?<=\s)|^)-(?=\d)", " minus "),
    _rule("decimal", r"(?<![\w.,])" + _COUNT[:-1] + r"|)\.(\d+)(?![\d.])", _decimal),
    _rule("number", _COUNT, lambda m: f" {_cardinal(m.group(1))} "),
]  # fmt: skip
_BARE = ("st", "mt", "sgt", "lt", "capt", "prof")  # titles also written without their full stop
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
SHORTHAND = frozenset(  # every spelling that one of the rules above may mean
    form + stop
    for stop, shortened in (("", ALWAYS), ("", _BARE), (".", [*TITLES, *ALWAYS, *DOTTED]))
    for word in shortened
    for form in (word, word.capitalize(), word.upper())
)
