"""Spoken numbers -> figures: cardinals, ordinals, years, money, percentages, times, decimals, and spelled letters.

Zero to nine stay words unless a unit, a date or another figure asks for them. What may be more than one thing, such as
"five twenty", stays as spoken. The words are English; the inverse is in `asr_core.text.spoken_forms`.
"""

from collections.abc import Collection, Sequence

from asr_core.text.amounts import (
    CURRENCIES,
    MAX_EXACT,
    Amount,
    amount_figures,
    is_measure,
    money_figures,
    one_and_coins,
    read_amount,
)
from asr_core.text.dates_and_times import (
    date_rule,
    half_of_day,
    is_pair,
    time_rule,
    with_ending,
    year_rule,
)
from asr_core.text.number_words import (
    BELOW_TWENTY,
    DIGITS,
    MAGNITUDES,
    ORDINALS,
    REPEATED,
    TENS,
    ZERO,
    Number,
    WrittenSpan,
    below_hundred,
    cardinal,
    digit_run,
    digits_after_point,
    ordinal,
    word_at,
)
from asr_core.text.spelled_letters import letters_rule
from asr_core.text.spoken_forms import MONTHS

IDIOMS = {("twenty", "four", "seven"): "24/7", ("nine", "eleven"): "9/11"}
REFERENCES = frozenset(  # nouns whose number stands in figures
    "page pages chapter number room flight gate platform channel highway route volume verse section paragraph item "
    "version apartment extension bus".split()
)
NUMBERED = frozenset("war day part phase".split())  # nouns with a number after them, in words if it is small
RUN_DIGITS = 3  # said one by one make a number; two may be counting
TIMED = frozenset(  # what lasts seconds, and no ordinal counts: every sixty second interval
    "interval intervals break breaks clip clips commercial commercials spot delay timer video videos pause rule ad "
    "ads".split()
)
SINGULAR_UNITS = frozenset("dollar euro pound mile degree foot year".split())  # a hundred dollar bill
JOINING = ("to", "or", "by", "plus", "minus", "times")  # between two numbers that are written alike
BEGINNINGS = frozenset(  # words of more than one letter with which a rule may begin
    [*BELOW_TWENTY, *TENS, *ORDINALS, *REPEATED, *ZERO, *MONTHS]
) | frozenset("minus point hundred thousand half quarter score".split())


def figures(words: Sequence[str], breaks: Collection[int] = ()) -> list[WrittenSpan]:
    """The written text of the spoken words that are written otherwise than in letters, word by word in order.

    A number may have several figures side by side, such as "$2.5" and "million": none contains white space. All other
    words stay as they are.

    Args:
        words: as spoken, one each.
        breaks: indices of words after which no number continues, because a comma or a full stop follows.
    """
    spoken = [word.lower() for word in words]
    found: list[WrittenSpan] = []
    start = 0
    for stop in sorted({index + 1 for index in breaks if index + 1 < len(spoken)} | {len(spoken)}):
        found += [WrittenSpan(start + first, start + end, text) for first, end, text in _in_phrase(spoken[start:stop])]
        start = stop
    return found


def _in_phrase(words: Sequence[str]) -> list[WrittenSpan]:
    found: list[WrittenSpan] = []
    at = 0
    while at < len(words):
        if len(words[at]) > 1 and words[at] not in BEGINNINGS:
            at += 1
            continue
        made = next(filter(None, (rule(words, at) for rule in RULES)), None)
        if made:
            found += made
            at = made[-1].end
        else:
            at = _kept(words, at) or at + 1
    return found


def _idiom_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    for spoken, text in IDIOMS.items():
        end = at + len(spoken)
        is_time = word_at(words, at - 1) == "at" or half_of_day(words, end, True)
        if tuple(words[at:end]) == spoken and not is_time:
            return [WrittenSpan(at, end, text)]
    return None


def _run_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """Digits that are said one by one, such as a telephone number, but not counting: one two three."""
    digits, end = digit_run(words, at)
    leading = words[at] in ("oh", "o")
    if len(digits) < RUN_DIGITS + leading or set(words[at:end]) <= {"oh", "o"} or _kept_number(words, at):
        return None
    steps = {int(after) - int(before) for before, after in zip(digits, digits[1:], strict=False)}
    if steps in ({1}, {-1}) and end - at == len(digits):
        return None
    while word_at(words, end) == "point" and (part := digits_after_point(words, end + 1)):
        digits, end = f"{digits}.{part[0]}", part[1]
    if len(digits) == 10 and digits.isdigit():
        digits = f"{digits[:3]}-{digits[3:6]}-{digits[6:]}"
    if word_at(words, end) == "k" and digits == "401":
        return [WrittenSpan(at, end + 1, "401k")]
    return [WrittenSpan(at, end, digits)]


def _ordinal_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """Ordinals from tenth on, except the parts of a fraction, and seconds: a tenth; a twenty second break."""
    number = ordinal(words, at)
    before = word_at(words, at - 1)
    if number is None or number.value < 10 or before in ("a", "an") or before in DIGITS or _kept_number(words, at):
        return None
    if number.end == at + 1 and number.value >= 100:
        return None  # the hundredth time
    if words[at] == "one" and number.end == at + 2 and before != "the":
        return None  # one hundredth
    if words[at] in TENS and words[at + 1 : number.end] == ["second"]:
        if word_at(words, number.end) in TIMED or before in ("every", "per"):
            return None
    return [WrittenSpan(at, number.end, with_ending(number.value))]


def _hundreds_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """Hundreds said without the word, where the noun before them or the unit after them shows it: page one twenty."""
    if word_at(words, at) in DIGITS and (thousands := _hundreds_of_magnitude(words, at)):
        return thousands
    end = is_pair(words, at)
    if end is None or words[at] not in DIGITS or not (word_at(words, at - 1) in REFERENCES or is_measure(words, end)):
        return None
    return [WrittenSpan(at, end, str(100 * DIGITS[words[at]] + below_hundred(words, at + 1).value))]


def _hundreds_of_magnitude(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """The figures of two fifty thousand, with the hundred that is left out."""
    rest = below_hundred(words, at + 1)
    if rest is None or rest.value < 10 or word_at(words, rest.end) not in MAGNITUDES:
        return None
    if word_at(words, at - 1) in (*REFERENCES, *NUMBERED):
        return None  # chapter one ten thousand years later
    spans = _number_rule([*words[: at + 1], "hundred", *words[at + 1 :]], at)
    return spans and [WrittenSpan(max(at, first - 1), end - 1, text) for first, end, text in spans]


def _number_rule(words: Sequence[str], at: int) -> list[WrittenSpan] | None:
    """A cardinal, decimal or mixed number, with its percent sign or currency."""
    if _kept(words, at):
        return None
    amount = read_amount(words, at)
    if amount is None:
        return one_and_coins(words, at)
    after = word_at(words, amount.end)
    if words[at] == "a" and after in SINGULAR_UNITS:  # a hundred dollar bill
        spans = _number_rule([*words[:at], "one", *words[at + 1 :]], at)
        if spans is None or spans[0].end == at + 1:
            return None  # a million dollar question
        return [WrittenSpan(at, at + 1, "a"), spans[0]._replace(first=at + 1), *spans[1:]]
    if money := money_figures(words, at, amount):
        return money
    if sign := _sign_of_range(words, at, amount):
        return amount_figures(at, amount, sign)
    if after == "percent" or (after == "per" and word_at(words, amount.end + 1) == "cent"):
        end = amount.end + (1 if after == "percent" else 2)
        if not amount.magnitude:
            return [WrittenSpan(at, end, f"{amount.text}%")]
    if words[at] == "a" and amount.text == "1" and (amount.magnitude or words[amount.end - 1] in MAGNITUDES):
        return None
    if words[at] == "a" and amount.plain in (100, *MAGNITUDES.values()):
        return None  # a hundred times
    if amount.plain is not None and amount.plain < 10 and not _asked(words, at, amount):
        return None
    if word_at(words, amount.end) == "year" and word_at(words, amount.end + 1) in ("old", "olds"):
        return [WrittenSpan(at, amount.end + 2, f"{amount.text}-year-{words[amount.end + 1]}")]
    return amount_figures(at, amount)


def _sign_of_range(words: Sequence[str], at: int, amount: Amount) -> str:
    """The currency sign of the first of two amounts, as in two to three dollars; empty if it is none of those."""
    joining = word_at(words, amount.end)
    if joining not in ("to", "or") and not (joining == "and" and word_at(words, at - 1) == "between"):
        return ""
    following = amount.end + 1
    other = read_amount(words, following) if following < len(words) and not _kept(words, following) else None
    money = other and money_figures(words, following, other)
    return money[0].text[0] if money and amount.text[-1] in "0123456789" else ""


def _asked(words: Sequence[str], at: int, amount: Amount) -> bool:
    """Whether a number below ten is written in figures, because of its unit, its noun or the number beside it."""
    if word_at(words, at - 1) in REFERENCES:
        return amount.plain != 1 or words[at - 1] != "number"  # "the number one" is an idiom
    if is_measure(words, amount.end):
        return amount.plain != 1 or word_at(words, amount.end).endswith("s")
    if word_at(words, at - 1) in ("foot", "feet") and below_hundred(words, at - 2):
        return True
    joining = word_at(words, amount.end)
    if joining in (*JOINING, "and"):
        other = cardinal(words, amount.end + 1)
        if other is None or _kept(words, amount.end + 1):
            return False
        if half_of_day(words, other.end) or (other.value >= 10 and joining == "to"):
            return True
        return is_measure(words, other.end) or (amount.plain != 1 and other.value >= 10 and joining in JOINING)
    return amount.plain != 1 and word_at(words, at - 1) in JOINING and _ends_large(words, at - 1)


def _ends_large(words: Sequence[str], end: int) -> bool:
    """Whether a number of ten or more, which is in figures, ends there."""
    starts = (cardinal(words, at) for at in range(max(0, end - 4), end))
    return any(number and number.end == end and number.value >= 10 for number in starts)


def _kept(words: Sequence[str], at: int) -> int | None:
    """The end of words that stay as spoken although they hold numbers; None if none begin here."""
    word = words[at]
    if word in ("half", "quarter") and word_at(words, at + 1) in ("past", "to"):
        hour = below_hundred(words, at + 2)
        return hour and hour.end
    if word == "score" and word_at(words, at + 1) == "and":
        number = below_hundred(words, at + 2)
        return number and number.end
    return _kept_number(words, at)


def _kept_number(words: Sequence[str], at: int) -> int | None:
    """The end of ten past nine, ten o'clock, one and twenty, nine out of ten, fifty fifty, two to three hundred, or an
    unclear pair.
    """
    number = below_hundred(words, at)
    if number is None:
        return None
    if words[at] in DIGITS and word_at(words, at + 1) == "and" and word_at(words, at + 2) in TENS:
        return at + 3 if words[at] not in ("zero", *ZERO) and word_at(words, at + 3) not in DIGITS else None
    if word_at(words, number.end) == "o'clock" and number.value <= 12:
        return number.end + 1
    if number.value <= 10 and words[number.end : number.end + 2] == ["out", "of"]:
        other = below_hundred(words, number.end + 2)
        return other.end if other and other.value <= 10 else None
    past = number.end + (word_at(words, number.end) in ("minutes", "minute"))
    if word_at(words, past) == "past" or (past > number.end and word_at(words, past) == "to"):
        hour = below_hundred(words, past + 1)
        return hour.end if hour else past + 1
    if end := _unclear_range(words, number):
        return end
    if number.value >= 20 and below_hundred(words, number.end) == Number(number.value, 2 * number.end - at):
        return 2 * number.end - at
    return is_pair(words, at)


def _unclear_range(words: Sequence[str], number: Number) -> int | None:
    """The end of a range whose first number may be of the second one's hundreds or thousands: two to three hundred."""
    larger = below_hundred(words, number.end + 1) if word_at(words, number.end) in ("to", "or") else None
    if larger is None or word_at(words, larger.end) not in ("hundred", *MAGNITUDES):
        return None
    if not 0 < number.value < larger.value:
        return None  # zero to one hundred; three to one hundred
    end = cardinal(words, number.end + 1).end
    clear = MAGNITUDES.get(words[larger.end], 0) > MAX_EXACT and word_at(words, end) not in CURRENCIES
    return None if clear else end  # 2 to 3 million people


RULES = (
    date_rule, _idiom_rule, time_rule, year_rule, _run_rule, _hundreds_rule, _ordinal_rule, _number_rule, letters_rule,
)  # fmt: skip
