"""Spoken words and their tags -> written words: capitals, punctuation, figures, titles, and replacements.

Every spoken word belongs to a written one. Several spoken words may share one, such as "25", and where a replacement
has more words than were spoken, several written words share a spoken one.
"""

from collections.abc import Callable, Sequence

from asr_core.text.figures import JOINING, figures
from asr_core.text.number_words import WrittenSpan, below_hundred, word_at
from asr_core.text.punctuation import STOPS
from asr_core.text.replacements import Replacements

PRONOUNS = frozenset("i i'm i'll i've i'd i'd've".split())
TITLES = {"mister": "Mr.", "missus": "Mrs.", "doctor": "Dr.", "messers": "Messrs."}  # before a name
PAIRS = frozenset("AC AI DC DJ EU GP HQ HR ID IT LA MP NY OK PC PM PR TV UK UN US VP".split())  # no initials of a name
MAX_WORD_AT_START = 100  # a smaller number at the start of a sentence is written in words


def written_form(
    words: Sequence[str],
    tags: Sequence | None = None,
    cased: Callable | None = None,
    replacements: Replacements | None = None,
    *,
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
    edges = {edge - 1 for spans in replaced.values() for edge in (spans[0].first, spans[-1].end)}
    breaks = {index for index, tag in enumerate(tags) if tag.punctuation} | (edges - {-1})
    numbers = {figure.first: figure for figure in figures(words, breaks)}
    written: list[WrittenSpan] = []
    at = 0
    while at < len(words):
        if at in replaced:
            spans = replaced[at]
        elif at in numbers:
            spans = _number(words, tags, numbers[at], starts)
        else:
            spans = [WrittenSpan(at, at + 1, _word(words, tags, at, starts, cased))]
        at = spans[-1].end
        mark = tags[at - 1].punctuation
        text = spans[-1].text
        if not text.endswith(STOPS if mark == "." else mark):
            text += mark
        written += [*spans[:-1], spans[-1]._replace(text=text)]
        starts = mark in STOPS
    return written


def _as_spoken(words: Sequence[str], replaced: dict[int, list[WrittenSpan]]) -> list[WrittenSpan]:
    written: list[WrittenSpan] = []
    at = 0
    while at < len(words):
        written += replaced.get(at) or [WrittenSpan(at, at + 1, words[at])]
        at = written[-1].end
    return written


def _number(words: Sequence[str], tags: Sequence, figure: WrittenSpan, starts: bool) -> list[WrittenSpan]:
    """A number or spelled letters: in words at the start of a sentence if it is small; initials before a name."""
    first, end, text = figure
    if starts and text.isdigit() and int(text) < MAX_WORD_AT_START and word_at(words, end) not in JOINING:
        number = below_hundred([word.lower() for word in words[first:end]], 0)
        if number and number.end == end - first:
            spelled = "-".join(words[first:end]).lower()
            return [figure._replace(text=spelled[0].upper() + spelled[1:])]
    initials = len(text) == 2 and text.isalpha() and text.isupper() and text not in PAIRS and end - first == 2
    if initials and _is_name(tags, end) and not tags[end - 1].punctuation:
        return [WrittenSpan(first + index, first + index + 1, f"{letter}.") for index, letter in enumerate(text)]
    return [figure]


def _word(words: Sequence[str], tags: Sequence, at: int, starts: bool, cased: Callable | None) -> str:
    word, tag = words[at], tags[at]
    lower = word.lower()
    before_name = not tag.punctuation and _is_name(tags, at + 1)
    if lower in TITLES and before_name:
        return TITLES[lower]
    if lower in PRONOUNS:
        return lower.capitalize()
    text = cased(word, tag) if cased else word
    if starts and text[0].islower():
        text = text[0].upper() + text[1:]
    middle = len(lower) == 1 and lower not in "aio" and not starts and at and tags[at - 1].capital == "first"
    return f"{text.upper()}." if middle and before_name and not tags[at - 1].punctuation else text


def _is_name(tags: Sequence, at: int) -> bool:
    return at < len(tags) and tags[at].capital == "first"
