"""Spoken dates, years and times of day -> figures: May 5th, 1984; 7:30 p.m.

A rule reads at one position of a list of lower-case words and returns its figures, or None. What may be something else,
such as "seven thirty" without a word that asks for a time, is left as spoken.
"""

from collections.abc import Sequence

from asr_core.text.number_words import (
    DIGITS,
    MAGNITUDES,
    ZERO,
    Number,
    WrittenSpan,
    below_hundred,
    cardinal,
    decade,
    ordinal,
    word_at,
    year,
)
from asr_core.text.spoken_forms import MONTHS

BEFORE_YEAR = frozenset("in since of by until from before after during year circa early late mid".split()) | {
    "spring", "summer", "autumn", "fall", "winter", "election", "class", *MONTHS,
}  # fmt: skip
BEFORE_TIME = frozenset("at by until till before after around about between".split())
AFTER_ONE = ("of", "day", "morning", "night")  # in June one of the girls came; one morning
AMBIGUOUS_MONTHS = ("may", "march")  # also verbs, unless one of these stands before them
BEFORE_DATE = frozenset("on for from to until till by since before after through between".split())
EARLIEST_CERTAIN_YEAR = 1300  # an earlier one sounds like a time of day
LATEST_UNCERTAIN_YEAR = 1900  # until then the two halves may be about a number: in ten fifteen years
TIME_WORDS = 5  # of the longest time: twelve twenty five p m
PEOPLE = ("people", "men", "women", "children", "persons")
NO_PLURALS = frozenset(  # though they end in s
    "was is has as its us this thus his hers always perhaps across besides towards unless yes less plus minus does "
    "sometimes yours ours theirs afterwards upwards anyways nevertheless whereas".split()
)


def counts_things(words: Sequence[str], at: int) -> bool:
    """Whether the word looks like a plural noun, so that the number before it is a count rather than a year."""
    word = word_at(words, at)
    return word in PEOPLE or (word.endswith("s") and "'" not in word and len(word) > 3 and word not in NO_PLURALS)


def is_year(words: Sequence[str], at: int, number: Number) -> bool:
    """Whether a cardinal that counts nothing, such as two thousand and nine, is a year."""
    if number.value != 2000:
        return 2000 < number.value <= 2099
    before = word_at(words, at - 1)
    earlier = (year(words, first) for first in range(max(0, at - 4), at - 2))
    return before in BEFORE_YEAR or (before in ("and", "to", "or") and any(y and y.end == at - 1 for y in earlier))


def year_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """A year in two halves, or a decade."""
    if number := decade(words, at):
        return [WrittenSpan(at, number.end, f"{number.value}s")]
    number = year(words, at)
    if number is None:
        return None
    century, rest = divmod(number.value, 100)
    counted = counts_things(words, number.end) or word_at(words, number.end) in ("percent", "per")
    about = 0 < rest - century <= 10 and counted  # fifteen twenty people
    certain = number.value >= EARLIEST_CERTAIN_YEAR and not about
    if not certain and (word_at(words, at - 1) not in BEFORE_YEAR or (about and number.value < LATEST_UNCERTAIN_YEAR)):
        return None
    return [WrittenSpan(at, number.end, str(number.value))]


def date_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """A month with a day, a year or both; a day with its month."""
    if words[at] in MONTHS:
        return _month_first(words, at)
    day = ordinal(words, at)
    text = with_ending(day.value) if day else ""
    if day is None and (day := below_hundred(words, at)):
        text = str(day.value)
    if day is None or not 1 <= day.value <= 31:
        return None
    of = word_at(words, day.end) == "of" and not text.isdigit()
    month = day.end + of
    if word_at(words, month) not in MONTHS:
        return None
    found = _year_of_date(words, month + 1)
    if not (of or found) and words[month] in AMBIGUOUS_MONTHS:
        return None  # ten may come
    link = [WrittenSpan(day.end, month, "of")] if of else []
    spans = [WrittenSpan(at, day.end, text), *link, WrittenSpan(month, month + 1, words[month].capitalize())]
    return [*spans, *([found] if found else [])]


def _month_first(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    month = WrittenSpan(at, at + 1, words[at].capitalize())
    first = at + 2 if word_at(words, at + 1) == "the" else at + 1
    article = [WrittenSpan(at + 1, first, "the")] if first > at + 1 else []
    found = _year_of_date(words, first)
    if found and not article:
        return [month, found]
    day, text = ordinal(words, first), ""
    if day:
        text = with_ending(day.value)
    elif not article and (day := below_hundred(words, first)):
        text = str(day.value)
    if not day or not 1 <= day.value <= 31:
        return None
    found = _year_of_date(words, day.end)
    verb = words[at] in AMBIGUOUS_MONTHS and word_at(words, at - 1) not in BEFORE_DATE
    if not found and text.isdigit() and (verb or _goes_on(words, day.end)):
        return None
    if not found and text == "1" and word_at(words, day.end) in AFTER_ONE:
        return None
    last = [WrittenSpan(first, day.end, f"{text}," if found else text)]
    return [month, *article, *last, *([found] if found else [])]


def _year_of_date(words: Sequence[str], at: int) -> WrittenSpan | None:
    number = year(words, at)
    if number is None:
        number = cardinal(words, at)
        if number is None or not 1000 <= number.value <= 2099:
            return None
    return WrittenSpan(at, number.end, str(number.value))


def _goes_on(words: Sequence[str], at: int) -> bool:
    """Whether another part of a number follows, or what the number counts."""
    word = word_at(words, at)
    return (
        bool(below_hundred(words, at))
        or word in (*MAGNITUDES, "hundred", "percent", "point")
        or counts_things(words, at)
    )


def time_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """A time with a.m. or p.m., or one with minutes after a word such as "at"."""
    hour = below_hundred(words, at)
    if hour is None or not 1 <= hour.value <= 24:
        return None
    minutes = _minutes(words, hour.end)
    end = minutes.end if minutes else hour.end
    text = f"{hour.value}:{minutes.value:02}" if minutes else str(hour.value)
    if half := half_of_day(words, end, bool(minutes)):
        return [WrittenSpan(at, end, text), half] if 1 <= hour.value <= 12 else None
    expected = minutes and _time_is_expected(words, at, end, hour.value)
    return [WrittenSpan(at, end, text)] if expected and not _goes_on(words, end) else None


def _time_is_expected(words: Sequence[str], at: int, end: int, hour: int) -> bool:
    """Whether hour and minutes from `at` to before `end` are a time, as the words around them show."""
    before = word_at(words, at - 1)
    if hour > 12:
        return before == "at" and not word_at(words, at - 2).startswith("look")  # looking at nineteen forty five
    if before in BEFORE_TIME:
        return True
    if before == "from":
        return word_at(words, end) in ("to", "till", "until")
    earlier = (time_rule(words, first) for first in range(max(0, at - TIME_WORDS - 1), at - 1))
    return before in ("to", "and", "or") and any(spans and spans[-1].end == at - 1 for spans in earlier)


def _minutes(words: Sequence[str], at: int) -> Number | None:
    if word_at(words, at) in ZERO and DIGITS.get(word_at(words, at + 1)):
        return Number(DIGITS[words[at + 1]], at + 2)
    minutes = below_hundred(words, at)
    return minutes if minutes and 10 <= minutes.value < 60 else None


def half_of_day(words: Sequence[str], at: int, after_minutes: bool = False) -> WrittenSpan | None:
    """The p.m. or a.m. of a time. "am" in one word is taken for the verb, unless minutes come before it."""
    word = word_at(words, at)
    if word in ("a", "p") and word_at(words, at + 1) == "m":
        return WrittenSpan(at, at + 2, f"{word}.m.")
    return WrittenSpan(at, at + 1, f"{word[0]}.m.") if word == "pm" or (word == "am" and after_minutes) else None


def is_pair(words: Sequence[str], at: int) -> int | None:
    """The end of two numbers that may be a time, a year, or hundreds and tens, such as seven thirty; else None."""
    first = below_hundred(words, at)
    if first is None or not 1 <= first.value <= 24:
        return None
    second = below_hundred(words, first.end)
    after = word_at(words, second.end) if second else ""
    return second.end if second and second.value >= 10 and after not in ("hundred", *MAGNITUDES) else None


def with_ending(value: int) -> str:
    """An ordinal in figures: 1st, 2nd, 3rd, 11th, 1,000th."""
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value:,}{ending}"
