"""Splits the words of a transcript into subtitles (cues), and each cue into lines.

Cues of punctuated text end at the ends of sentences, then at commas. Those of words as spoken end at pauses. Neither
ends after a word that belongs to the next one, such as an article, where that can be helped. Dynamic programming finds
the split of the whole recording with the least sum of penalties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import NamedTuple

from asr_core.text.punctuation import COMMAS, TITLES, ends_sentence

# The usual limits of broadcasters (BBC, Netflix).
MAX_CHARACTERS = 42  # in a line
MAX_LINES = 2  # in a cue
MAX_SECONDS = 7.0  # that a cue is shown

MIN_SECONDS = 1.0  # that a cue is shown if the next one leaves time: a shorter one cannot be read
LONG_PAUSE_SECONDS = 1.0  # a pause of this length always ends a cue

# Penalties, in units of the penalty of an empty cue.
NO_PAUSE_PENALTY = 0.5  # for ending a cue where the next word follows at once
WEAK_ENDING_PENALTY = 0.6  # for ending a cue or a line with one of WEAK_ENDINGS
MID_SENTENCE_PENALTY = 0.5  # for ending a cue without a punctuation mark, in punctuated text
COMMA_PENALTY = 0.15  # for ending a cue with a comma
BEGUN_SENTENCE_PENALTY = 0.6  # for a cue that holds the end of a sentence and only a part of the next one
TIED_PENALTY = 1.2  # for ending a cue of punctuated text with an article, a title or a figure
MID_SENTENCE_LINE_PENALTY = 0.1  # for ending a line without a punctuation mark, in punctuated text
SENTENCE_PAUSE_SECONDS = 0.4  # a pause of this length or more costs no NO_PAUSE_PENALTY

ARTICLES = ("a", "an", "the")
# Words that belong to the next one: articles, prepositions, conjunctions, auxiliaries, possessives.
WEAK_ENDINGS = frozenset(
    "a an the this these my your his her its our their some any no every each of to in on at by for with "
    "from into about over under between through after before and but or nor so because if when while "
    "although than that which who whose is are was were be been am has have had do does did will would "
    "can could shall should may might must not very as mister missus doctor i'm i'll i've you're we're "
    "they're it's don't".split()
)


@dataclass(frozen=True)
class Cue:
    """One subtitle.

    Attributes:
        start, end: integer milliseconds from the start of the recording; end > start.
        lines: the lines of text to show.
    """

    start: int
    end: int
    lines: tuple[str, ...]


def cues(
    words: Sequence,
    seconds: float,
    *,
    max_characters: int = MAX_CHARACTERS,
    max_lines: int = MAX_LINES,
    max_seconds: float = MAX_SECONDS,
    separator: str = " ",
) -> list[Cue]:
    """Splits the words of a recording into subtitles that do not overlap.

    A word that is longer than a line gets a line of its own. A word that lasts longer than `max_seconds` gets a cue
    that ends before the word does.

    Args:
        words: in order of their start; each has `text`, and `start` and `end` in seconds.
        seconds: length of the recording.
        max_characters: in a line.
        max_lines: in a cue.
        max_seconds: that a cue is shown.
        separator: what stands between two words of a line.

    Raises:
        ValueError: a limit is not positive, or infinite.
    """
    if max_characters < 1 or max_lines < 1 or not 0 < max_seconds < float("inf"):
        limits = f"{max_characters} characters, {max_lines} lines and {max_seconds} s"
        raise ValueError(f"Subtitle limits must be positive and finite, got {limits}.")
    words = _spread(words)
    punctuated = any(word.text[-1] in ".?!" for word in words)
    groups = _split_into_cues(words, punctuated, max_characters, max_lines, max_seconds)
    shown: list[Cue] = []
    for index, group in enumerate(groups):
        start = max(_milliseconds(group[0].start), shown[-1].end if shown else 0)
        following = groups[index + 1][0].start if index + 1 < len(groups) else seconds
        end = max(_milliseconds(group[-1].end), start + _milliseconds(MIN_SECONDS))
        end = min(end, start + _milliseconds(max_seconds), _milliseconds(following))
        lines = _split_into_lines([word.text for word in group], max_characters, punctuated, separator)
        shown.append(Cue(start, max(end, start + 1), tuple(lines)))
    return shown


class _TimedWord(NamedTuple):
    """A word and its time in seconds."""

    text: str
    start: float
    end: float


def _spread(words: Sequence) -> list[_TimedWord]:
    """Words with times of their own where several, such as those of a replacement, share one: by their characters."""
    spread = []
    for start, together in groupby(words, key=lambda word: word.start):
        group = list(together)
        end = max(word.end for word in group)
        *counts, total = accumulate((len(word.text) for word in group), initial=0)
        edges = [*(start + (end - start) * count / total for count in counts), end]
        spread += [_TimedWord(word.text, *times) for word, times in zip(group, pairwise(edges), strict=True)]
    return spread


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _split_into_cues(
    words: Sequence, punctuated: bool, max_characters: int, max_lines: int, max_seconds: float
) -> list[Sequence]:
    """The words of each cue, in the split of least penalty, which dynamic programming finds."""
    best = [0.0]  # best[end] is the least penalty of words[:end]
    begin = [0]  # begin[end] is the start of the last cue of that split
    sentences = _sentences_before(words)
    for end in range(1, len(words) + 1):
        ending = _ending_penalty(words, end - 1, punctuated)
        part = punctuated and sentences[end] == sentences[end - 1]  # it ends inside a sentence
        best.append(float("inf"))
        begin.append(end - 1)
        for start, fill in _candidates(words, end, max_characters, max_lines, max_seconds):
            cost = best[start] + (1 - fill) ** 2 + ending
            if part and sentences[end] > sentences[start]:
                cost += BEGUN_SENTENCE_PENALTY
            if cost < best[end]:
                best[end], begin[end] = cost, start
    return [words[start:end] for start, end in _backtrace(begin)]


def _sentences_before(words: Sequence) -> list[int]:
    """The number of sentences that end before each word, and of all; the last word ends one."""
    counts = [0]
    for index, word in enumerate(words):
        following = words[index + 1].text if index + 1 < len(words) else ""
        counts.append(counts[-1] + (not following or ends_sentence(word.text, following)))
    return counts


def _candidates(words: Sequence, end: int, max_characters: int, max_lines: int, max_seconds: float):
    """Yields (start, fill) of all cues that may end at `end`, the shortest first.

    `fill` in (0, 1] is the share of the allowed characters that the cue uses.
    """
    characters, lines, line = 0, 1, -1
    for start in range(end - 1, -1, -1):
        length = len(words[start].text)
        if line >= 0 and line + 1 + length > max_characters:
            lines, line = lines + 1, -1
        line += 1 + length
        characters += 1 + length
        if start < end - 1 and (
            lines > max_lines
            or words[end - 1].end - words[start].start > max_seconds
            or words[start + 1].start - words[start].end >= LONG_PAUSE_SECONDS
        ):
            return
        yield start, min(1.0, characters / (max_characters * max_lines))


def _backtrace(begin: list[int]) -> list[tuple[int, int]]:
    """The (start, end) pairs of the split, in order, found by following `begin` back from the end."""
    pairs = []
    end = len(begin) - 1
    while end:
        pairs.append((begin[end], end))
        end = begin[end]
    return pairs[::-1]


def _ending_penalty(words, index: int, punctuated: bool) -> float:
    """The penalty of ending a cue after words[index]."""
    if index + 1 == len(words):
        return 0.0
    text = words[index].text
    if ends_sentence(text, words[index + 1].text):
        return 0.0
    if punctuated and text.endswith(COMMAS):
        return COMMA_PENALTY
    pause = max(0.0, words[index + 1].start - words[index].end)
    penalty = NO_PAUSE_PENALTY * max(0.0, 1 - pause / SENTENCE_PAUSE_SECONDS)
    if punctuated:
        penalty += MID_SENTENCE_PENALTY
    return penalty + _weak_ending_penalty(text, punctuated)


def _weak_ending_penalty(text: str, punctuated: bool) -> float:
    """The penalty of parting a word from the next one: an article or, in punctuated text, the figure of 5 miles."""
    text = text.lower()
    if punctuated and (text in ARTICLES or text in TITLES or text[-1].isdigit()):
        return TIED_PENALTY
    return WEAK_ENDING_PENALTY if text in WEAK_ENDINGS else 0.0


def _split_into_lines(texts: list[str], max_characters: int, punctuated: bool, separator: str) -> list[str]:
    """As few lines as possible, of about equal length, preferably none with a weak ending."""
    best: list[tuple[int, float]] = [(0, 0.0)]  # best[end] is (lines, penalty) of texts[:end]
    begin = [0]
    for end in range(1, len(texts) + 1):
        options = []
        length = -1
        for start in range(end - 1, -1, -1):
            length += 1 + len(texts[start])  # where no space separates words, these are characters of double width
            if length > max_characters and end - start > 1:
                break
            lines, penalty = best[start]
            weak = _line_penalty(texts[end - 1], punctuated) if end < len(texts) else 0.0
            options.append((lines + 1, penalty + (length / max_characters) ** 2 + weak, start))
        lines, penalty, start = min(options)
        best.append((lines, penalty))
        begin.append(start)
    return [separator.join(texts[start:end]) for start, end in _backtrace(begin)]


def _line_penalty(text: str, punctuated: bool) -> float:
    """The penalty of ending a line, but not a cue, after a word."""
    mark = text.endswith((*COMMAS, ".", "?", "!")) and text.lower() not in TITLES
    return _weak_ending_penalty(text, punctuated) / 4 + (MID_SENTENCE_LINE_PENALTY if punctuated and not mark else 0.0)
