"""A text laid along emissions that hold more than the text does, or less.

As forced alignment (see `asr_core.forced_alignment.forced_align`), with two more ways. Before, between and after the
words, speech
that the text lacks may be passed over: where a blank stands there, a step can also have the score of its best token,
less a price (the star token of Pratap et al., 2023, "Scaling Speech Technology to 1,000+ Languages"). And a word that
was not spoken may be skipped, at a price for each of its letters. So a word neither reaches out for sounds that
belong to no word of the text, nor takes the place of its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.ctc import IMPOSSIBLE, TokenSpan, finite
from asr_core.forced_alignment import BLOCK_STEPS, check_fits, spans_of, with_wildcard
from asr_core.text.vocabulary import BLANK, WILDCARD
from asr_core.viterbi import NOWHERE, Trellis, best_states

# In nats, tuned on joined clips: complete texts keep their times, words of texts that lack a third keep their place.
OPENING_PRICE = 6.0  # of a passage that is passed over, so that a word that recurs in it stays with its neighbours
PASSED_PRICE = 1.0  # of every step of it that is not blank
SKIPPED_PRICE = 7.0  # of every token of a skipped word; a word that was merely misheard costs less than both

# Paths so far behind the best one are given up, which makes the time linear in the length of the recording. Speech
# that is not in the text must last a quarter of an hour or more before the right path could be among them.
MARGIN = 2500.0

PASSED = -2  # the token of a span that holds speech of no word of the text


@dataclass(frozen=True)
class PartialAlignment:
    """Where the words of a text lie.

    Attributes:
        words: the spans of the tokens of every word; of a skipped word, empty ones where it would have been.
        passed: the speech between two words that the text lacks, with its place, the number of the word before which
            it lies: spans of its first and its last step.
        log_probs: float32 [steps], of the path; 0 where speech was passed over.
    """

    words: tuple[tuple[TokenSpan, ...], ...]
    passed: tuple[tuple[int, tuple[TokenSpan, TokenSpan]], ...]
    log_probs: np.ndarray


def align_words(log_probs: np.ndarray, words: Sequence[Sequence[int]], separator: int | None) -> PartialAlignment:
    """The most probable path through a text of which words may be missing in the recording, and the reverse.

    Args:
        log_probs: float32 [steps, tokens].
        words: the tokens of each, at least one; WILDCARD stands for any sound.
        separator: the token between words, or None.

    Raises:
        AlignmentError: no word at all, or more tokens than fit into the steps.
    """
    trellis, tokens, places = _trellis(words, separator, log_probs.shape[1])
    check_fits(tokens, len(log_probs))
    scores = _with_passing(log_probs)
    states = best_states(scores, trellis, 3, BLOCK_STEPS, MARGIN)
    columns = trellis.columns[states]
    passing = trellis.columns == log_probs.shape[1] + 1
    passed = passing[states] & (scores[:, -2] > log_probs[:, BLANK])
    path_log_probs = np.where(passed, 0.0, scores[np.arange(len(states)), columns]).astype(np.float32)
    return PartialAlignment(
        tuple(_by_word(spans_of(tokens, places, states), words, separator)),
        tuple(_passages(passed, np.cumsum(passing)[states] - 1)),
        path_log_probs,
    )


def _by_word(spans: list[TokenSpan], words, separator: int | None):
    """The spans of each word, without the separators between them."""
    start = 0
    for word in words:
        yield tuple(spans[start : start + len(word)])
        start += len(word) + (separator is not None)


def _with_passing(log_probs: np.ndarray) -> np.ndarray:
    """Finite log-probabilities; behind them the columns of the wildcard, of passing over speech, and of no score."""
    passing = np.maximum(log_probs[:, BLANK], log_probs.max(axis=1) - PASSED_PRICE)[:, None]
    return np.concatenate([with_wildcard(log_probs), finite(passing), np.full_like(passing, IMPOSSIBLE)], axis=1)


def _trellis(words, separator: int | None, wildcard_column: int) -> tuple[Trellis, list[int], np.ndarray]:
    """The trellis of a text, its tokens, and the states of these.

    In front of every word stand a state that passes over speech and one for a blank, and behind the last word as well;
    in front of all, the state before the first step. A word is skipped, with the separator behind it, from either of
    the two states before it to the same one before the next word.
    """
    columns, tolls, leaps, tokens, places, gaps = [wildcard_column + 2], [0.0], [0], [], [], []

    def add(column: int, leap: int = 0, toll: float = 0.0) -> None:
        columns.append(column), leaps.append(leap), tolls.append(toll)

    def add_token(token: int, leap: int) -> None:
        repeated = token != WILDCARD and tokens[-1:] == [token]
        places.append(len(columns))
        tokens.append(token)
        add(wildcard_column if token == WILDCARD else token, 0 if repeated else leap)

    def add_gap() -> None:
        gaps.append(len(columns))
        add(wildcard_column + 1, 0, OPENING_PRICE)
        add(BLANK, 2)

    for word in words:
        if tokens and separator is not None:
            add(BLANK)
            add_token(separator, 2)
        add_gap()
        add_token(word[0], 3)
        for token in word[1:]:
            add(BLANK)
            add_token(token, 2)
    add_gap()
    sources, prices = np.full(len(columns), NOWHERE), np.zeros(len(columns))
    for before, gap, word in zip(gaps, gaps[1:], words, strict=False):
        for state in range(2):
            sources[gap + state], prices[gap + state] = before + state, SKIPPED_PRICE * len(word)
    entries = np.flatnonzero(sources != NOWHERE)
    return _compact(columns, tolls, leaps, sources, prices, entries), tokens, np.array(places)


def _compact(columns, tolls, leaps, sources, prices, entries) -> Trellis:
    """With the types that Trellis asks for."""
    integers = (np.array(values, np.int32) for values in (columns, leaps, sources, entries))
    columns, leaps, sources, entries = integers
    return Trellis(columns, np.array(tolls), leaps, sources, prices, entries)


def _passages(passed: np.ndarray, places: np.ndarray):
    """(place, spans) of the passed steps between two words."""
    steps = np.flatnonzero(passed)
    if not len(steps):
        return
    for part in np.split(steps, np.flatnonzero(np.diff(places[steps])) + 1):
        first, last = int(part[0]), int(part[-1])
        yield int(places[first]), (TokenSpan(PASSED, first, first + 1), TokenSpan(PASSED, last, last + 1))
