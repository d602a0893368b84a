"""Alignment of a text with emissions that hold more than the text does, or less.

The trellis is that of forced alignment (see `asr_core.forced_alignment`) with two more transitions. Before, between and
after the words, a path may pass over speech that the text lacks: at a step where it could emit a blank, it can also
have the score of the best token, less a penalty (the star token of Pratap et al., 2023, "Scaling Speech Technology to
1,000+ Languages"). And a path may skip a word that was not spoken, at a penalty for each of its letters. So a word does
not extend over speech that belongs to no word of the text, and a word that was not spoken takes no steps from others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.ctc import IMPOSSIBLE, TokenSpan, finite, may_skip_blank
from asr_core.forced_alignment import BLOCK_STEPS, check_fits, spans_of, with_wildcard
from asr_core.text.vocabulary import BLANK, WILDCARD
from asr_core.viterbi import NO_STATE, Trellis, best_states

# Penalties in nats, tuned on concatenated clips so that words keep their times, whether the text is complete or a third
# of it is missing.
PASSAGE_PENALTY = 6.0  # for each passage, so that a word that also occurs in it stays with its neighbours
PASSED_STEP_PENALTY = 1.0  # for each step of a passage that is not blank
SKIPPED_TOKEN_PENALTY = 7.0  # for each token of a skipped word; high enough that a misrecognised word is not skipped

# Pruning threshold of the Viterbi algorithm in nats, which makes the time linear in the length of the recording. It is
# wide enough for the right path through a quarter of an hour of speech that the text lacks.
PRUNING_MARGIN = 2500.0

PASSED = -2  # the token of spans of speech that was passed over


@dataclass(frozen=True)
class PartialAlignment:
    """The steps of the words of a text.

    Attributes:
        words: for each word, the spans of its tokens; those of a skipped word are empty and stand where it would be.
        passed: for each passage of speech that was passed over, the number of the next word, and the spans of its first
            and of its last step.
    """

    words: tuple[tuple[TokenSpan, ...], ...]
    passed: tuple[tuple[int, tuple[TokenSpan, TokenSpan]], ...]


def align_words(
    log_probs: np.ndarray,
    words: Sequence[Sequence[int]],
    separator: int | None,
    check: Callable[[], None] | None = None,
) -> PartialAlignment:
    """The most probable path, where the text may have words that the recording lacks, and the recording speech that the
    text lacks.

    Args:
        log_probs: float32 [steps, tokens].
        words: the tokens of each word, at least one; WILDCARD stands for any token.
        separator: the token between words, or None.
        check: called several times a second, or None; an exception from it ends the work.

    Raises:
        AlignmentError: there is no word, or there are more tokens than fit into the steps.
    """
    trellis, tokens, token_states = _trellis(words, separator, log_probs.shape[1])
    check_fits(tokens, len(log_probs))
    passing = trellis.columns == log_probs.shape[1] + 1
    trellis, used = _of_used_tokens(trellis, log_probs.shape[1])
    scores = _with_passing(log_probs, used)
    states = best_states(scores, trellis, 3, BLOCK_STEPS, PRUNING_MARGIN, check)
    passed = passing[states] & (scores[:, -2] > log_probs[:, BLANK])
    return PartialAlignment(
        tuple(_by_word(spans_of(tokens, token_states, states), words, separator)),
        tuple(_passages(passed, np.cumsum(passing)[states] - 1)),
    )


def _by_word(spans: list[TokenSpan], words, separator: int | None):
    """The spans of each word, without the separators between them."""
    start = 0
    for word in words:
        yield tuple(spans[start : start + len(word)])
        start += len(word) + (separator is not None)


def _of_used_tokens(trellis: Trellis, tokens: int) -> tuple[Trellis, np.ndarray]:
    """The trellis on scores without the columns of tokens that it does not use, and the tokens that it uses."""
    columns = trellis.columns
    used = np.unique(columns[columns < tokens])
    columns = np.where(columns < tokens, np.searchsorted(used, columns), columns - tokens + len(used))
    return trellis._replace(columns=columns.astype(np.int32)), used


def _with_passing(log_probs: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Finite log-probabilities of the tokens `used` with three more columns: float32 [steps, len(used) + 3].

    They are the scores of a wildcard, of passing over speech, and of the state before the first step, which emits
    nothing.
    """
    passing = np.maximum(log_probs[:, BLANK], log_probs.max(axis=1) - PASSED_STEP_PENALTY)[:, None]
    return np.concatenate([with_wildcard(log_probs, used), finite(passing), np.full_like(passing, IMPOSSIBLE)], axis=1)


def _trellis(words, separator: int | None, wildcard_column: int) -> tuple[Trellis, list[int], np.ndarray]:
    """The trellis of a text, its tokens, and the state of each token, int [tokens].

    Before every word and after the last one stand two states, one that passes over speech and one for a blank. The
    first state of all is that before the first step. To skip a word and the separator after it, a path jumps from
    either of the two states before the word to the same one before the next word.
    """
    columns, penalties, skips, tokens, token_states, gaps = [wildcard_column + 2], [0.0], [0], [], [], []

    def add(column: int, skip: int = 0, penalty: float = 0.0) -> None:
        columns.append(column), skips.append(skip), penalties.append(penalty)

    def add_token(token: int, skip: int) -> None:
        may_skip = may_skip_blank(token, tokens[-1] if tokens else BLANK, WILDCARD)
        token_states.append(len(columns))
        tokens.append(token)
        add(wildcard_column if token == WILDCARD else token, skip if may_skip else 0)

    def add_gap() -> None:
        gaps.append(len(columns))
        add(wildcard_column + 1, 0, PASSAGE_PENALTY)
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
    sources, jump_penalties = np.full(len(columns), NO_STATE), np.zeros(len(columns))
    for before, gap, word in zip(gaps, gaps[1:], words, strict=False):
        for state in range(2):
            sources[gap + state], jump_penalties[gap + state] = before + state, SKIPPED_TOKEN_PENALTY * len(word)
    targets = np.flatnonzero(sources != NO_STATE)
    columns, skips, sources, targets = (np.array(v, np.int32) for v in (columns, skips, sources, targets))
    trellis = Trellis(columns, np.array(penalties), skips, sources, jump_penalties, targets)
    return trellis, tokens, np.array(token_states)


def _passages(passed: np.ndarray, next_words: np.ndarray):
    """The passages that a path passed over: yields (number of the next word, spans of first and last step).

    Args:
        passed: bool [steps], whether a step was passed over.
        next_words: int [steps], the number of the word that follows a step.
    """
    steps = np.flatnonzero(passed)
    if not len(steps):
        return
    for passage in np.split(steps, np.flatnonzero(np.diff(next_words[steps])) + 1):
        first, last = int(passage[0]), int(passage[-1])
        yield int(next_words[first]), (TokenSpan(PASSED, first, first + 1), TokenSpan(PASSED, last, last + 1))
