"""Spoken words and their tags -> written words: capitals, punctuation, figures, titles, and replacements.

Every spoken word belongs to a written one. Several spoken words may share one, such as "25", and where a replacement
has more words than were spoken, several written words share a spoken one.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from asr_core.text.figures import JOINING, figures
from asr_core.text.number_words import DIGITS, REPEATED, ZERO, WrittenSpan, below_hundred, word_at
from asr_core.text.punctuation import STOPS
from asr_core.text.replacements import Replacements
from asr_core.text.spoken_forms import MONTHS

PRONOUNS = frozenset("i i'm i'll i've i'd i'd've".split())
TITLES = {"mister": "Mr.", "missus": "Mrs.", "doctor": "Dr.", "messers": "Messrs."}  # before a name
NEVER_LAST = ("mister", "missus", "messers")  # of a sentence, if a name may follow
PAIRS = frozenset("AC AI DC DJ EU GP HQ HR ID IT LA MP NY OK PC PM PR TV UK UN US VP".split())  # no initials of a name
DIGIT_WORDS = frozenset([*DIGITS, *REPEATED, *ZERO])
LEAST_DIGITS = 4  # spoken one by one, between which marks are left out
MAX_WORD_AT_START = 100  # a smaller number at the start of a sentence is written in words


def written_form(
    words: Sequence[str],
    tags: Sequence | None = None,
    cased: Callable | None = None,
    replacements: Replacements | None = None,
    starts: bool = True,
) -> list[WrittenSpan]:
    """The written words, in order; together they span all spoken ones.

    Args:
        words: as spoken.
        tags: one for each word, with `punctuation` ("" or a mark) and `capital` ("lower", "first" or "upper"); see
            `asr_core.text.tagger.Tag`. Without them, all words but the replaced ones stay as spoken.
        cased: writes a word with the capitals of its tag, as `asr_core.text.tagger.Tagger.write` does.
        replacements: how names and terms are written.
        starts: whether the first word begins a sentence.
    """
    replaced = {spans[0].first: spans for spans in (replacements or Replacements()).find(words)}
    if tags is None:
        return _as_spoken(words, replaced)
    if len(tags) != len(words):
        raise ValueError(f"{len(words)} words cannot have {len(tags)} tags.")
    marks = marks_of(words, tags)
    edges = {edge - 1 for spans in replaced.values() for edge in (spans[0].first, spans[-1].end)}
    breaks = {index for index, mark in enumerate(marks) if mark} | (edges - {-1})
    numbers = {figure.first: figure for figure in figures(words, breaks)}
    written: list[WrittenSpan] = []
    at = 0
    while at < len(words):
        if at in replaced:
            spans = replaced[at]
        elif at in numbers and (starts or not _is_named(words, tags, numbers[at])):
            number, last = numbers[at], numbers[at].end - 1
            in_range = not marks[last] and word_at(words, last + 1) in JOINING
            spans = _number(words, number, starts and not in_range, _before_name(tags, marks, last))
        else:
            spans = [WrittenSpan(at, at + 1, _word(words, tags, marks, at, starts, cased))]
        at = spans[-1].end
        mark = marks[at - 1]
        text = spans[-1].text
        if not text.endswith(STOPS if mark == "." else mark):
            text += mark
        written += [*spans[:-1], spans[-1]._replace(text=text)]
        starts = mark in STOPS
    return written


def marks_of(words: Sequence[str], tags: Sequence) -> list[str]:
    """The punctuation of tags, without a full stop after a title: texts may have taught one after "Mr.".

    Digits that are spoken one by one have no marks between them, unless most have one, as in counting.

    Args:
        words: as spoken, at least one for each tag.
        tags: of the first words.
    """
    marks = [tag.punctuation for tag in tags]
    for index, (word, following) in enumerate(zip(words, words[1:], strict=False)):
        if index < len(marks) and marks[index] == "." and word.lower() in NEVER_LAST:
            marks[index] = "." if following.lower() in PRONOUNS else ""
    for first, last in _digit_runs(words):
        gaps = range(first, min(last - 1, len(marks)))
        if 2 * sum(bool(marks[gap]) for gap in gaps) <= len(gaps):
            marks[gaps.start : gaps.stop] = [""] * len(gaps)
    return marks


def _digit_runs(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """First and last index + 1 of every run of digits that is long enough for a telephone number or the like."""
    for digits, run in groupby(range(len(words)), key=lambda index: words[index].lower() in DIGIT_WORDS):
        indices = list(run)
        if digits and len(indices) >= LEAST_DIGITS:
            yield indices[0], indices[-1] + 1


def _as_spoken(words: Sequence[str], replaced: dict[int, list[WrittenSpan]]) -> list[WrittenSpan]:
    written: list[WrittenSpan] = []
    at = 0
    while at < len(words):
        written += replaced.get(at) or [WrittenSpan(at, at + 1, words[at])]
        at = written[-1].end
    return written


def _number(words: Sequence[str], figure: WrittenSpan, starts: bool, before_name: bool) -> list[WrittenSpan]:
    """A number or spelled letters: in words at the start of a sentence if it is small; initials before a name."""
    first, end, text = figure
    if starts and text.isdigit() and int(text) < MAX_WORD_AT_START:
        number = below_hundred([word.lower() for word in words[first:end]], 0)
        if number and number.end == end - first:
            return [figure._replace(text="-".join(words[first:end]).capitalize())]
    if before_name and len(text) == 2 == end - first and text.isalpha() and text.isupper() and text not in PAIRS:
        return [WrittenSpan(first + index, first + index + 1, f"{letter}.") for index, letter in enumerate(text)]
    return [figure]


def _is_named(words: Sequence[str], tags: Sequence, figure: WrittenSpan) -> bool:
    """Whether a number inside a sentence is a name, as far as its capital shows: Twelfth Night."""
    capital = tags[figure.first].capital == "first" and words[figure.first].lower() not in MONTHS
    return capital and figure.text[0].isdigit()


def _word(words: Sequence[str], tags: Sequence, marks: Sequence[str], at: int, starts: bool, cased) -> str:
    word, lower = words[at], words[at].lower()
    before_name = _before_name(tags, marks, at)
    if lower in TITLES and before_name:
        return TITLES[lower]
    if lower in PRONOUNS:
        return lower.capitalize()
    text = cased(word, tags[at])
    if starts and text[0].islower():
        text = text[0].upper() + text[1:]
    after_name = at and not marks[at - 1] and tags[at - 1].capital == "first"
    initial = len(lower) == 1 and lower.isalpha() and lower not in "aio" and after_name and before_name
    return f"{text.upper()}." if initial else text


def _before_name(tags: Sequence, marks: Sequence[str], at: int) -> bool:
    """Whether a name, as far as its capital shows, follows at once."""
    return at + 1 < len(tags) and not marks[at] and tags[at + 1].capital == "first"
