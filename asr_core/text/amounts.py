"""Spoken amounts -> figures: cardinals with commas, decimals, mixed numbers, millions, and sums of money.

A function reads at one position of a list of lower-case words. Whether a small number is written in figures at all is
for `asr_core.text.figures` to decide.
"""

from collections.abc import Sequence
from typing import NamedTuple

from asr_core.text.dates_and_times import counts_things, is_year
from asr_core.text.number_words import (
    MAGNITUDES,
    ORDINALS,
    PARTS,
    ZERO,
    Number,
    WrittenSpan,
    below_hundred,
    cardinal,
    digits_after_point,
    word_at,
)

MEASURES = frozenset(  # units that ask for figures even below ten
    "degree degrees kilometer kilometers kilometre kilometres meter meters metre metres centimeter centimeters "
    "centimetre centimetres millimeter millimeters millimetre millimetres mile miles foot feet inch inches yard yards "
    "acre acres hectare hectares kilo kilos kilogram kilograms gram grams milligram milligrams pound pounds ounce "
    "ounces ton tons tonne tonnes liter liters litre litres milliliter milliliters gallon gallons pint pints hertz "
    "kilohertz megahertz gigahertz volt volts watt watts kilowatt kilowatts megawatt megawatts amp amps byte bytes "
    "kilobyte kilobytes megabyte megabytes gigabyte gigabytes terabyte terabytes cent cents pence knots calories "
    "horsepower percentage".split()
)
CURRENCIES = {
    "dollar": ("$", ("cent", "cents")), "euro": ("€", ("cent", "cents")), "pound": ("£", ("penny", "pence")),
    "yen": ("¥", ()),
}  # fmt: skip
CURRENCIES |= {f"{unit}s": signs for unit, signs in CURRENCIES.items() if unit != "yen"}
MONEY_WORDS = frozenset(  # near "pounds", which is also a unit of weight
    "pay pays paid paying cost costs costing price prices priced worth spend spends spent earn earns earned owe owes "
    "owed borrow borrowed lend lent sum fee fees fine fined income salary rent bill money bank cheque sell sold buy "
    "bought charge charged invest invested raise raised save saved win won".split()
)
POUNDS = ("pound", "pounds")
OUNCES = 16  # of a pound: below it, the eleven of seven pounds eleven may be a weight
MONEY_REACH = 5  # words between such a word and the amount
FRACTIONS = {
    ("a", "half"): ("½", "5"), ("one", "half"): ("½", "5"), ("a", "quarter"): ("¼", "25"),
    ("one", "quarter"): ("¼", "25"), ("three", "quarters"): ("¾", "75"), ("a", "third"): ("⅓", ""),
    ("one", "third"): ("⅓", ""), ("two", "thirds"): ("⅔", ""),
}  # fmt: skip
INDEFINITE = frozenset("few several many some odd couple of every per".split())  # before hundred and thousand
BEFORE_POINT = frozenset("this that some what which any every".split())  # before the noun: at this point two people
MAX_EXACT = 1000  # magnitudes above it stay words after a round number: 5 million, but 5,000


class Amount(NamedTuple):
    """A number as written, its magnitude word beside it.

    Attributes:
        text: in figures.
        magnitude: "million" and the like, or "".
        end: index after its last word, before which the magnitude word stands.
        plain: its value if it is a cardinal without sign, fraction or magnitude word; else None.
    """

    text: str
    magnitude: str
    end: int
    plain: int | None


def amount_figures(at: int, amount: Amount, sign: str = "", end: int | None = None) -> list[WrittenSpan]:
    """The figures of an amount whose words, with those of its unit, go to before `end`."""
    end = end or amount.end
    if not amount.magnitude:
        return [WrittenSpan(at, end, sign + amount.text)]
    return [
        WrittenSpan(at, amount.end - 1, sign + amount.text),
        WrittenSpan(amount.end - 1, end, amount.magnitude),
    ]


def read_amount(words: Sequence[str], at: int) -> Amount | None:
    """Reads a number with its sign, decimals or fraction, and magnitude; None where there is none, or words do."""
    minus = words[at] == "minus" and not below_hundred(words, at - 1) and word_at(words, at - 1) != "or"
    first, sign = at + minus, "-" if minus else ""
    if below_one := _below_one(words, first, sign):
        return below_one
    number = _cardinal_with_article(words, first)
    if number is None or word_at(words, number.end) in PARTS:
        return None  # eleven twelfths
    last = MAGNITUDES.get(words[number.end - 1], 1)
    if last > MAX_EXACT and number.value < 1000 * last and number.value % last == 0:
        return Amount(f"{sign}{number.value // last}", words[number.end - 1], number.end, None)
    if decimals := _decimals(words, at, number):
        digits, end = decimals
        text = f"{number.value:,}.{digits}"
    elif mixed := _fraction(words, number.end):
        symbol, digits = mixed
        end = number.end + 3
        in_millions = digits and word_at(words, end) in MAGNITUDES
        text = f"{number.value:,}.{digits}" if in_millions else f"{number.value:,}{symbol}"
        if number.value < 10 and not (in_millions or minus or is_measure(words, end)):
            return None  # two and a half stays in words
    else:
        text = f"{sign}{_grouped(words, first, number)}"
        return Amount(text, "", number.end, None if minus else number.value)
    magnitude = word_at(words, end) if word_at(words, end) in MAGNITUDES else ""
    return Amount(sign + text, magnitude, end + bool(magnitude), None)


def _below_one(words: Sequence[str], at: int, sign: str) -> Amount | None:
    """A decimal without the zero before its point, where a unit follows: point two percent."""
    point = at + (word_at(words, at) in ZERO)
    if word_at(words, point) != "point" or below_hundred(words, at - 1) or word_at(words, at - 1) in BEFORE_POINT:
        return None
    found = digits_after_point(words, point + 1)
    if found is None:
        return None
    digits, end = found
    magnitude = word_at(words, end) if word_at(words, end) in MAGNITUDES else ""
    if not (magnitude or is_measure(words, end)):
        return None
    return Amount(f"{sign}0.{digits}", magnitude, end + bool(magnitude), None)


def _fraction(words: Sequence[str], at: int) -> tuple[str, str] | None:
    """A fraction after "and": its sign and its decimals."""
    return FRACTIONS.get(tuple(words[at + 1 : at + 3])) if word_at(words, at) == "and" else None


def _cardinal_with_article(words: Sequence[str], at: int) -> Number | None:
    """A cardinal; "a" stands for one before hundred and thousand, but not in half a million or a quarter of a million.

    Without "a", as in the last hundred and fifty years, more of the number has to follow.
    """
    word = word_at(words, at)
    if word in ("hundred", "thousand") and word_at(words, at - 1) not in INDEFINITE:
        number = cardinal([*words[:at], "one", *words[at:]], at)
        return Number(number.value, number.end - 1) if number.end > at + 2 else None
    if word != "a":
        return cardinal(words, at)
    part = word_at(words, at - 1) == "half" or (
        word_at(words, at - 1) == "of" and word_at(words, at - 2) in {"half", "quarter", *ORDINALS, *PARTS}
    )
    if word_at(words, at + 1) not in ("hundred", *MAGNITUDES) or part:
        return None
    return cardinal([*words[:at], "one", *words[at + 1 :]], at)


def _decimals(words: Sequence[str], at: int, number: Number) -> tuple[str, int] | None:
    """The decimals of a number; none in "at one point five men", where "point" is a noun."""
    if word_at(words, number.end) != "point" or (number.value == 1 and word_at(words, at - 1) == "at"):
        return None
    found = digits_after_point(words, number.end + 1)
    while found and word_at(words, found[1]) == "point" and (more := digits_after_point(words, found[1] + 1)):
        found = f"{found[0]}.{more[0]}", more[1]  # version 2.1.3
    return found


def _grouped(words: Sequence[str], at: int, number: Number) -> str:
    """A cardinal with commas, without if it is a year, such as nineteen hundred or two thousand and nine."""
    counted = (
        counts_things(words, number.end) or word_at(words, number.end) in CURRENCIES or is_measure(words, number.end)
    )
    hundreds = 1000 <= number.value <= 2099 and word_at(words, at + 1) == "hundred"
    return str(number.value) if not counted and (hundreds or is_year(words, at, number)) else f"{number.value:,}"


def money_figures(words: Sequence[str], at: int, amount: Amount) -> list[WrittenSpan] | None:
    """The figures of an amount of dollars, euros, yen, or of pounds that are surely money; None if it is none."""
    unit = word_at(words, amount.end)
    if unit not in CURRENCIES or amount.text[-1] not in "0123456789":
        return None
    sign, coins = CURRENCIES[unit]
    end, cents = amount.end + 1, ""
    part = _coins(words, end, coins) if amount.plain is not None else None
    pence = part is not None and _are_pence(words, part, coins)
    if unit in POUNDS and not pence and not _is_sterling(words, at, amount):
        return None  # seven pounds eleven may be a weight
    if part:
        end, cents = part.end, f".{part.value:02}"
    end += word_at(words, end) == "sterling"
    return amount_figures(at, amount._replace(text=amount.text + cents), sign, end)


def one_and_coins(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """The figures of a dollar fifty, or a dollar and fifty cents."""
    sign, coins = CURRENCIES.get(word_at(words, at + 1), ("", ()))
    part = _coins(words, at + 2, coins) if words[at] == "a" else None
    if part is None or (words[at + 1] in POUNDS and not _are_pence(words, part, coins)):
        return None
    return [WrittenSpan(at, part.end, f"{sign}1.{part.value:02}")]


def _are_pence(words: Sequence[str], part: Number, coins: tuple[str, ...]) -> bool:
    """Whether what follows pounds cannot be ounces, as that of seven pounds eleven can."""
    return part.value >= OUNCES or words[part.end - 1] in coins


def _coins(words: Sequence[str], at: int, coins: tuple[str, ...]) -> Number | None:
    """The cents that follow an amount of dollars, with their unit or without: and twenty cents; fifty."""
    part = cardinal(words, at + (word_at(words, at) == "and"))
    if part and 0 < part.value < 100 and word_at(words, part.end) in coins:
        return Number(part.value, part.end + 1)
    return _coins_without_unit(words, at) if coins else None


def _coins_without_unit(words: Sequence[str], at: int) -> Number | None:
    """The fifty of five dollars fifty, unless it counts what follows: five dollars ten years ago."""
    part = below_hundred(words, at)
    if part is None or part.value < 10 or cardinal(words, at).end > part.end or cardinal(words, part.end):
        return None
    after = word_at(words, part.end)
    counted = counts_things(words, part.end) or is_measure(words, part.end) or after in (*CURRENCIES, "of")
    return None if counted else part


def _is_sterling(words: Sequence[str], at: int, amount: Amount) -> bool:
    """Whether pounds are money, as far as the words around them show."""
    after = words[amount.end + 1 : amount.end + 3]
    known = after[:1] in (["sterling"], ["note"], ["notes"]) or after in (["a", "year"], ["a", "week"], ["a", "month"])
    near = MONEY_WORDS.intersection(words[max(0, at - MONEY_REACH) : at])
    return bool(known or near or amount.magnitude or after == ["per", "annum"])


def is_measure(words: Sequence[str], at: int) -> bool:
    """Whether a unit stands there that asks for figures."""
    word = word_at(words, at)
    return word in MEASURES or word == "percent" or (word == "per" and word_at(words, at + 1) == "cent")
