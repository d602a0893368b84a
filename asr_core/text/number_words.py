"""Numbers in English words -> their values: cardinals, ordinals, years, digits after a point, and runs of digits.

Every function reads at one position of a list of lower-case words, and returns the value with the index after its last
word, or None. Whether such a number is to be written in figures is for `asr_core.text.figures` to decide. The grammar
is the inverse of what num2words writes in `asr_core.text.spoken_forms`, and also takes numbers without "and".
"""

from collections.abc import Sequence
from typing import NamedTuple

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
BELOW_TWENTY = {word: value for value, word in enumerate(_SMALL)}
DIGITS = {word: value for word, value in BELOW_TWENTY.items() if value < 10}
TENS = {
    word: 10 * value
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
MAGNITUDES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ZERO = ("oh", "o", "zero")  # as said between digits
REPEATED = {"double": 2, "triple": 3}

_IRREGULAR = {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine"}
ORDINALS = {  # ordinal word -> cardinal word
    **{f"{word}th": word for word in [*_SMALL, "hundred", *MAGNITUDES]},
    **{f"{word[:-1]}ieth": word for word in TENS},
    **_IRREGULAR,
    "twelfth": "twelve",
}
PARTS = frozenset(f"{word}s" for word in ORDINALS if word != "second") | {"halves", "quarters"}  # of a fraction
DECADES = {f"{word[:-1]}ies": value for word, value in TENS.items()} | {"tens": 10, "hundreds": 0}
OLDEST_CENTURY, LAST_CENTURY = 10, 20  # first half of a year in words, as in ten sixty six and twenty twenty
_INSIDE = {*BELOW_TWENTY, *TENS, *MAGNITUDES, "hundred", "and"}


class Number(NamedTuple):
    """A number in words: its value, and the index after its last word."""

    value: int
    end: int


class WrittenSpan(NamedTuple):
    """Spoken words with their written text, which has no white space: those from index `first` to before `end`."""

    first: int
    end: int
    text: str


def word_at(words: Sequence[str], at: int) -> str:
    """The word at an index; empty outside the list."""
    return words[at] if 0 <= at < len(words) else ""


def below_hundred(words: Sequence[str], at: int) -> Number | None:
    """Reads zero to ninety nine."""
    word = word_at(words, at)
    if word in BELOW_TWENTY:
        return Number(BELOW_TWENTY[word], at + 1)
    if word not in TENS:
        return None
    unit = DIGITS.get(word_at(words, at + 1), 0)
    return Number(TENS[word] + unit, at + 2 if unit else at + 1)


def _with_hundreds(words: Sequence[str], at: int) -> Number | None:
    """Reads zero to nine hundred and ninety nine, and hundreds such as nineteen hundred and five."""
    head = below_hundred(words, at)
    if head is None or word_at(words, head.end) != "hundred" or head.value % 10 == 0:
        return head
    end = head.end + 1
    rest = below_hundred(words, end + 1 if word_at(words, end) == "and" else end)
    digits = rest and rest.value < 10 and end == rest.end - 1 and word_at(words, rest.end) in DIGITS
    if rest is None or not rest.value or word_at(words, rest.end) == "hundred" or digits:
        return Number(100 * head.value, end)
    return Number(100 * head.value + rest.value, rest.end)


def cardinal(words: Sequence[str], at: int) -> Number | None:
    """Reads a cardinal below 10 to the power of 15, with or without "and" before its tens."""
    total, least, end = 0, 10**15, at
    while group := _with_hundreds(words, end):
        magnitude = MAGNITUDES.get(word_at(words, group.end), 1)
        if group.value * magnitude >= least or (end > at and not group.value):
            break  # a number of its own, as in five thousand ten thousand
        total, end = total + group.value * magnitude, group.end + (magnitude > 1)
        if magnitude == 1:
            break
        least = magnitude
        if word_at(words, end) == "and":
            last = below_hundred(words, end + 1)
            if last and last.value and word_at(words, last.end) not in ("hundred", *MAGNITUDES):
                return Number(total + last.value, last.end)
            break
    return Number(total, end) if end > at else None


def ordinal(words: Sequence[str], at: int) -> Number | None:
    """Reads an ordinal, such as twenty first or two hundred and fifth."""
    for last in range(at, len(words)):
        if words[last] in ORDINALS:
            spoken = [*words[at:last], ORDINALS[words[last]]]
            if spoken[0] == "hundred" or spoken[0] in MAGNITUDES:
                spoken.insert(0, "one")
            number = cardinal(spoken, 0)
            whole = number and number.value and number.end == len(spoken)
            return Number(number.value, last + 1) if whole else None
        if words[last] not in _INSIDE:
            break
    return None


def _century(words: Sequence[str], at: int) -> int | None:
    word = word_at(words, at)
    century = LAST_CENTURY if word == "twenty" else BELOW_TWENTY.get(word, 0)
    return century if OLDEST_CENTURY <= century <= LAST_CENTURY else None


def year(words: Sequence[str], at: int) -> Number | None:
    """Reads a year in two halves: nineteen eighty four, nineteen oh five. From ten sixty six to twenty ninety nine."""
    century = _century(words, at)
    if century is None:
        return None
    if word_at(words, at + 1) in ZERO and DIGITS.get(word_at(words, at + 2)):
        return Number(100 * century + DIGITS[words[at + 2]], at + 3)
    rest = below_hundred(words, at + 1)
    if rest is None or rest.value < 10 or word_at(words, rest.end) in ("hundred", *MAGNITUDES):
        return None
    return Number(100 * century + rest.value, rest.end)


def decade(words: Sequence[str], at: int) -> Number | None:
    """Reads the first year of a decade or century: nineteen eighties, eighteen hundreds, two thousands."""
    if word_at(words, at) == "two" and word_at(words, at + 1) == "thousands":
        return Number(2000, at + 2)
    century, part = _century(words, at), word_at(words, at + 1)
    return Number(100 * century + DECADES[part], at + 2) if century is not None and part in DECADES else None


def digits_after_point(words: Sequence[str], at: int) -> tuple[str, int] | None:
    """Reads the decimals after "point": single digits, or one number from ten to ninety nine."""
    digits, end = "", at
    while (word := word_at(words, end)) in DIGITS or word in ZERO:
        digits, end = digits + str(DIGITS.get(word, 0)), end + 1
    if digits:
        return digits, end
    number = below_hundred(words, at)
    return (str(number.value), number.end) if number else None


def digit_run(words: Sequence[str], at: int) -> tuple[str, int]:
    """Reads digits that are said one by one, with "oh" for zero, and with double and triple: double o seven."""
    digits, end = "", at
    while True:
        times = REPEATED.get(word_at(words, end), 0)
        word = word_at(words, end + (times > 0))
        if word not in DIGITS and word not in ZERO:
            return digits, end
        after = end + 1 + (times > 0)
        if word_at(words, after) == "hundred" or word_at(words, after) in MAGNITUDES:
            return digits, end  # the digit begins a larger number
        digits, end = digits + str(DIGITS.get(word, 0)) * (times or 1), after
