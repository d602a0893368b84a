"""Forced alignment: the most probable of all paths that collapse to a given text, and so the steps of its tokens.

The trellis is that of `asr_core.ctc`: its states are the tokens of the text with a blank before, between and after
them, and a path stays, enters the next state, or skips the blank between two different tokens. The Viterbi algorithm
(`asr_core.viterbi`) finds the best path through it.
"""

from collections.abc import Sequence

import numpy as np

from asr_core.ctc import TokenSpan, finite, may_skip_blank, steps_needed
from asr_core.errors import AlignmentError
from asr_core.text.vocabulary import BLANK, WILDCARD
from asr_core.viterbi import NO_STATE, Trellis, best_states

# The probability of a wildcard relative to that of the best token of a step. Below 1, a wildcard takes only steps that
# no token of the text explains, and silence goes to the blanks beside it.
WILDCARD_PROBABILITY = 0.8

BLOCK_STEPS = 512  # between two copies of the scores that the Viterbi algorithm keeps: a trade of memory for time


def forced_align(log_probs: np.ndarray, tokens: Sequence[int]) -> list[TokenSpan]:
    """The most probable of all paths that collapse to a text (Viterbi algorithm; exact).

    Args:
        log_probs: float32 [steps, tokens].
        tokens: the text. WILDCARD stands for any token; two in a row need no blank between them.

    Returns:
        One span per token, in order.

    Raises:
        AlignmentError: there is no token, or there are more than fit into the steps.
    """
    check_fits(tokens, len(log_probs))
    trellis = trellis_of(tokens, log_probs.shape[1])
    states = best_states(with_wildcard(log_probs), trellis, 2, BLOCK_STEPS)
    return spans_of(tokens, 2 * np.arange(len(tokens)) + 1, states)


def spans_of(tokens: Sequence[int], token_states: np.ndarray, states: np.ndarray) -> list[TokenSpan]:
    """The span of every token in a path; the span of a token that the path skips is empty.

    Args:
        tokens: the text.
        token_states: int [tokens], the state of each token.
        states: int32 [steps], the path; states never fall.
    """
    starts = np.searchsorted(states, token_states)
    ends = np.searchsorted(states, token_states, side="right")
    return [TokenSpan(int(t), int(a), int(b)) for t, a, b in zip(tokens, starts, ends, strict=True)]


def trellis_of(tokens: Sequence[int], wildcard_column: int) -> Trellis:
    """The trellis of a text: state 2k is the blank before token k, state 2k + 1 is token k."""
    columns = np.full(2 * len(tokens) + 1, BLANK, dtype=np.int32)
    columns[1::2] = [wildcard_column if token == WILDCARD else token for token in tokens]
    skips = np.zeros(len(columns), np.int32)
    skips[3::2] = 2 * may_skip_blank(columns[3::2], columns[1:-2:2], wildcard_column)
    no_penalty, no_source = np.zeros(len(columns)), np.full(len(columns), NO_STATE, np.int32)
    return Trellis(columns, no_penalty, skips, no_source, no_penalty, np.empty(0, np.int32))


def with_wildcard(log_probs: np.ndarray, tokens: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Finite log-probabilities of some tokens, and of the wildcard in one more column: float32 [steps, n + 1]."""
    wildcard = log_probs.max(axis=1, keepdims=True) + np.log(WILDCARD_PROBABILITY)
    return finite(np.concatenate([log_probs[:, tokens], wildcard], axis=1, dtype=np.float32))


def check_fits(tokens: Sequence[int], steps: int) -> None:
    """Raises AlignmentError if there is no token, or if the tokens need more steps than there are."""
    if not len(tokens):
        raise AlignmentError("There is nothing to align: the text holds no letter.")
    needed = steps_needed(tokens)
    if needed > steps:
        raise AlignmentError(
            f"The text needs at least {needed} output steps and the recording has {steps}:"
            " give a shorter text, or the recording it belongs to."
        )
