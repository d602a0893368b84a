"""The segments in which a long recording is searched: it is cut at pauses, and between words where nobody pauses.

All hypotheses in a beam soon share their earlier words, so that one beam for a whole recording would find no
alternatives for them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asr_core.ctc import TokenSpan, best_path, runs
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import BLANK

MIN_PAUSE_SECONDS = 0.7  # the shortest run of steps without a letter at which a long recording is cut

# The longest segment that is searched as a whole. In a longer one, all hypotheses of a beam would share their first
# words, and rescoring by phones would take time that grows with the square of the length.
MAX_SEGMENT_SECONDS = 12.0
MIN_SEGMENT_SECONDS = 4.0  # at most a third of the longest, so that there is a choice of gaps to cut in


def pauses(emissions: Emissions, space: int | None) -> list[TokenSpan]:
    """Every run of MIN_PAUSE_SECONDS or more in which the best path has no letter, only blanks and spaces."""
    silent = np.isin(best_path(emissions.log_probs), [BLANK, BLANK if space is None else space])
    shortest = MIN_PAUSE_SECONDS / emissions.step_seconds
    return [pause for pause in runs(silent) if pause.end - pause.start >= shortest]


@dataclass(frozen=True)
class Segment:
    """Steps that are searched together.

    Attributes:
        start, end: the steps from `start` to before `end`.
        goes_on: whether the sentence continues in the next segment.
    """

    start: int
    end: int
    goes_on: bool = False


def segments(emissions: Emissions, space: int | None, begins_word: Sequence[bool] | None = None) -> Iterator[Segment]:
    """The segments in which a recording is searched, in order.

    A recording of at most MAX_SEGMENT_SECONDS is one segment. A longer one is cut in the middle of every pause, where
    the sentence ends. Where more than MAX_SEGMENT_SECONDS lie between two pauses, another cut is made in the widest gap
    between two words that lies MIN_SEGMENT_SECONDS or more from either end. The step of such a cut is the space between
    the two words and belongs to no segment. The sentence continues there, unless the gap is as long as a pause.

    Args:
        emissions: output of the network for the whole recording.
        space: the token between words, or None.
        begins_word: for each token, whether a new word begins with it; used where `space` is None.
    """
    inner = [pause for pause in pauses(emissions, space) if 0 < pause.start < pause.end < len(emissions)]
    edges = [pause.middle for pause in inner] if emissions.seconds > MAX_SEGMENT_SECONDS else []
    shortest, longest = (
        max(1, round(seconds / emissions.step_seconds)) for seconds in (MIN_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS)
    )
    for start, end in pairwise([0, *edges, len(emissions)]):
        while end - start > longest:
            first, last = start + shortest, min(start + longest, end - shortest)
            step, width = _widest_gap(emissions.log_probs[first:last], space, begins_word)
            yield Segment(start, first + step, goes_on=width * emissions.step_seconds < MIN_PAUSE_SECONDS)
            start = first + step + 1
        yield Segment(start, end)


def _widest_gap(log_probs: np.ndarray, space: int | None, begins_word: Sequence[bool] | None = None) -> tuple[int, int]:
    """The step at which to cut, and the length of the gap around it in steps.

    The gap is the longest run of steps without a letter; where some runs have a space in the best path, it is the
    longest of those. The cut is made at the most probable space of the gap, or in its middle if the vocabulary has no
    space. Without a space, gaps before a token that begins a word are preferred. Where every step has a letter, the cut
    is made at the step in which letters are least probable.

    Args:
        log_probs: float32 [steps, tokens].
        space: the token between words, or None.
        begins_word: for each token, whether a new word begins with it.
    """
    best, no_letters = best_path(log_probs), [BLANK] if space is None else [BLANK, space]
    gaps = runs(np.isin(best, no_letters))
    if not gaps:
        return int(np.logaddexp.reduce(log_probs[:, no_letters], axis=1).argmax()), 1

    def is_between_words(gap: TokenSpan) -> bool:
        if space is None and begins_word is not None and gap.end < len(best):
            return begins_word[best[gap.end]]
        return bool((best[gap.start : gap.end] == space).any())

    gap = max(gaps, key=lambda gap: (is_between_words(gap), gap.end - gap.start))
    if space is None:
        return gap.middle, gap.end - gap.start
    return gap.start + int(log_probs[gap.start : gap.end, space].argmax()), gap.end - gap.start
