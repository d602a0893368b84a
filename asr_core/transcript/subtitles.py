"""Words with times to subtitles: what to show together, and where to break the lines.

A recogniser writes no punctuation, so the cues end where the speaker paused, and, between pauses, not after a
word that leans on the next one. All cues of a recording are chosen together, by the least sum of penalties.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_CHARACTERS = 42  # a line; with two lines and seven seconds the broadcasters' usual limits (BBC, Netflix)
MAX_LINES = 2
MAX_SECONDS = 7.0
MIN_SECONDS = 1.0  # a cue stays this long if the next one leaves room: a shorter one cannot be read
LONG_PAUSE_SECONDS = 1.0  # a cue never spans a silence as long as this

# Penalties of ending a cue or a line, in units of an unused cue.
NO_PAUSE = 0.5  # the next word follows at once
WEAK_ENDING = 0.6  # the last word belongs to the next one
MID_SENTENCE = 0.2  # in punctuated text: no mark at the end
BREATH_SECONDS = 0.4  # a pause as long as this is as good as a full stop

# Words that lean on what follows: articles, prepositions, conjunctions, auxiliaries, possessives.
LEANING = frozenset(
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
        start, end: whole milliseconds from the start of the recording; end > start.
        lines: what is shown, a line each.
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
) -> list[Cue]:
    """Split the words of a recording into subtitles that do not overlap.

    A word longer than a line has one to itself; a cue of one word that lasts longer than `max_seconds` ends
    early.

    Args:
        words: in order of their start; `text`, and `start` and `end` in seconds.
        seconds: length of the recording.

    Raises:
        ValueError: a limit that is not positive, or infinite.
    """
    if max_characters < 1 or max_lines < 1 or not 0 < max_seconds < float("inf"):
        limits = f"{max_characters} characters, {max_lines} lines and {max_seconds} s"
        raise ValueError(f"Subtitle limits must be positive and finite, got {limits}.")
    groups = _groups(words, max_characters, max_lines, max_seconds)
    shown: list[Cue] = []
    for index, group in enumerate(groups):
        start = max(_milliseconds(group[0].start), shown[-1].end if shown else 0)
        following = groups[index + 1][0].start if index + 1 < len(groups) else seconds
        end = max(_milliseconds(group[-1].end), start + _milliseconds(MIN_SECONDS))
        end = min(end, start + _milliseconds(max_seconds), _milliseconds(following))
        lines = _lines([word.text for word in group], max_characters)
        shown.append(Cue(start, max(end, start + 1), tuple(lines)))
    return shown


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _groups(words: Sequence, max_characters: int, max_lines: int, max_seconds: float) -> list[Sequence]:
    """The words of each cue: the cheapest split, found from the front by dynamic programming."""
    best = [0.0]  # the least penalty of words[:end]
    begin = [0]  # where the last cue of that split begins
    punctuated = any(word.text[-1] in ".?!" for word in words)
    for end in range(1, len(words) + 1):
        ending = _ending(words, end - 1, punctuated)
        best.append(float("inf"))
        begin.append(end - 1)
        for start, fill in _possible(words, end, max_characters, max_lines, max_seconds):
            cost = best[start] + (1 - fill) ** 2 + ending
            if cost < best[end]:
                best[end], begin[end] = cost, start
    return [words[start:end] for start, end in _path(begin)]


def _possible(words: Sequence, end: int, max_characters: int, max_lines: int, max_seconds: float):
    """(start, fill) of the cues that may end at `end`, the shortest first; fill in (0, 1]: how full it is."""
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


def _path(begin: list[int]) -> list[tuple[int, int]]:
    """The (start, end) pairs that lead to the end, in order; begin[end] is the start of the last of them."""
    pairs = []
    end = len(begin) - 1
    while end:
        pairs.append((begin[end], end))
        end = begin[end]
    return pairs[::-1]


def _ending(words, index: int, punctuated: bool) -> float:
    """The penalty of ending a cue with this word."""
    if index + 1 == len(words):
        return 0.0
    text = words[index].text
    if text[-1] in ".?!":
        return 0.0
    pause = max(0.0, words[index + 1].start - words[index].end)
    penalty = NO_PAUSE * max(0.0, 1 - pause / BREATH_SECONDS)
    if punctuated and text[-1] not in ",;:":
        penalty += MID_SENTENCE
    return penalty + _leaning(text)


def _leaning(text: str) -> float:
    return WEAK_ENDING if text.lower() in LEANING else 0.0


def _lines(texts: list[str], max_characters: int) -> list[str]:
    """As few lines as the words need, about equally long, none ending in a word that leans on the next."""
    best: list[tuple[int, float]] = [(0, 0.0)]  # (lines, penalty) of texts[:end]
    begin = [0]
    for end in range(1, len(texts) + 1):
        options = []
        length = -1
        for start in range(end - 1, -1, -1):
            length += 1 + len(texts[start])
            if length > max_characters and end - start > 1:
                break
            lines, penalty = best[start]
            lean = _leaning(texts[end - 1]) / 4 if end < len(texts) else 0.0
            options.append((lines + 1, penalty + (length / max_characters) ** 2 + lean, start))
        lines, penalty, start = min(options)
        best.append((lines, penalty))
        begin.append(start)
    return [" ".join(texts[start:end]) for start, end in _path(begin)]
