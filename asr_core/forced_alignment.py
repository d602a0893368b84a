"""Forced alignment: the most probable path among all that collapse to a given text (Viterbi; exact).

The states are those of `asr_core.ctc`: the tokens of the text with a blank before, between and after them.

"""

from collections.abc import Sequence

import numpy as np

from asr_core.ctc import TokenSpan, finite, steps_needed
from asr_core.errors import AlignmentError
from asr_core.text.vocabulary import BLANK, WILDCARD
from asr_core.viterbi import NOWHERE, Trellis, best_states

# A wildcard is as probable as the best token of the step times this: it takes a step only where nothing else
# of the text explains it, and silence stays with its neighbours' blanks, which cost nothing.
WILDCARD_PROBABILITY = 0.8

BLOCK_STEPS = 512  # of the Viterbi algorithm: one copy of all scores is kept for so many steps


def forced_align(log_probs: np.ndarray, tokens: Sequence[int]) -> tuple[list[TokenSpan], np.ndarray]:
    """The most probable path among all that collapse to a text (Viterbi; exact).

    The states of the trellis are the tokens with a blank before, between and after them; a path stays, moves on by
    one, or leaps over a blank between two different tokens (see asr_core.viterbi). Ten minutes of speech need some
    megabytes.

    Args:
        log_probs: float32 [steps, tokens].
        tokens: the text; WILDCARD stands for any sound (two in a row need no blank between them).

    Returns:
        One span per token, in order, and the log-probability of the path at every step, float32 [steps].

    Raises:
        AlignmentError: no token at all, or more than fit into the steps.
    """
    steps = len(log_probs)
    check_fits(tokens, steps)
    scores, trellis = with_wildcard(log_probs), trellis_of(tokens, log_probs.shape[1])
    states = best_states(scores, trellis, 2, BLOCK_STEPS)
    return spans_of(tokens, 2 * np.arange(len(tokens)) + 1, states), scores[np.arange(steps), trellis.columns[states]]


def spans_of(tokens: Sequence[int], places: np.ndarray, states: np.ndarray) -> list[TokenSpan]:
    """The span of every token, whose state stands in `places`, in a path of rising states; empty if it is skipped."""
    starts = np.searchsorted(states, places)
    ends = np.searchsorted(states, places, side="right")
    return [TokenSpan(int(t), int(a), int(b)) for t, a, b in zip(tokens, starts, ends, strict=True)]


def trellis_of(tokens: Sequence[int], wildcard_column: int) -> Trellis:
    """The states of a text: state 2k is the blank before token k, state 2k + 1 is token k."""
    columns = np.full(2 * len(tokens) + 1, BLANK, dtype=np.int32)
    columns[1::2] = [wildcard_column if token == WILDCARD else token for token in tokens]
    leaps = np.zeros(len(columns), np.int32)
    leaps[3::2] = 2 * ((columns[3::2] != columns[1:-2:2]) | (columns[3::2] == wildcard_column))
    free, nowhere = np.zeros(len(columns)), np.full(len(columns), NOWHERE, np.int32)
    return Trellis(columns, free, leaps, nowhere, free, np.empty(0, np.int32))


def with_wildcard(log_probs: np.ndarray) -> np.ndarray:
    """Finite log-probabilities with a column for the wildcard behind them: float32 [steps, tokens + 1]."""
    wildcard = log_probs.max(axis=1, keepdims=True) + np.log(WILDCARD_PROBABILITY)
    return finite(np.concatenate([log_probs, wildcard], axis=1, dtype=np.float32))


def check_fits(tokens: Sequence[int], steps: int) -> None:
    """Raises AlignmentError if there is no token, or no room for all of them."""
    if not len(tokens):
        raise AlignmentError("There is nothing to align: the text holds no letter.")
    needed = steps_needed(tokens)
    if needed > steps:
        raise AlignmentError(
            f"The text needs at least {needed} steps of sound and the recording has {steps}:"
            " give a shorter text, or the recording it belongs to."
        )
