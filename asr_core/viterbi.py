"""The Viterbi algorithm on the trellis of a text, compiled by Numba: the state of the best path at every step.

Backpointers for every cell of the trellis would fill the memory for long recordings. So the forward pass keeps only the
scores of the current step. For every block of steps, it stores the scores at the beginning of the block and the origin
of each state: the state in which the best path that leads to it was just before the block. Going back from the last
block to the first, both ends of the path in a block are then known, and backpointers are computed for the states
between them alone. The compiled functions stand in one file because Numba's cache does not notice when a function in
another file has changed.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from asr_core.jit import compiled

JUMP = 255  # a backpointer: the path jumped here; other backpointers are the number of states that the path advanced
MAX_SKIP = 3  # states that a path can advance in one step
NO_STATE = -1  # the source of a state to which no path jumps


class Trellis(NamedTuple):
    """The states of a text, and the transitions between them.

    At every step, a path stays in its state, enters the next one, or, where `skips` allows it, advances by two or three
    states, which skips those between. Besides, within a step, it can jump from one state to a later one, at a penalty:
    so a whole word is left out. Penalties are in nats and are subtracted from the score of a path.

    Attributes:
        columns: int32 [states], the column of the scores that a state emits.
        entry_penalties: float64 [states], for entering a state from the one before it.
        skips: int32 [states], by how many states a path can advance at once to reach a state, or 0.
        sources: int32 [states], the earlier state from which a path can jump to this one, or NO_STATE.
        jump_penalties: float64 [states], for jumping to a state.
        targets: int32 [n], the states to which a path can jump, rising.
    """

    columns: np.ndarray
    entry_penalties: np.ndarray
    skips: np.ndarray
    sources: np.ndarray
    jump_penalties: np.ndarray
    targets: np.ndarray


def best_states(
    scores: np.ndarray,
    trellis: Trellis,
    finals: int,
    block_steps: int,
    margin: float = np.inf,
    check: Callable[[], None] | None = None,
) -> np.ndarray:
    """The state of the best path at every step, int32 [steps].

    Before the first step, the path is in the first state; after the last step, it is in one of the final states.

    Args:
        scores: float32 [steps, columns], finite log-probabilities.
        trellis: the states and the transitions between them.
        finals: how many of the last states are final.
        block_steps: steps between two copies of the scores.
        margin: pruning threshold in nats: states whose score is this far below the best of a step are pruned at both
            ends of the active range. If it is infinite, none is pruned and the result is exact. Set it for trellises
            with jumps: all their states can be reached at every step, so that without pruning the time grows with
            steps times states. If it prunes all final states, it is doubled.
        check: called before each block of either pass, or None; an exception from it ends the work.
    """
    blocks = range(0, len(scores), block_steps)
    state_scores, ends = _forward(scores, trellis, blocks, margin, check)
    while margin < np.inf and not np.isfinite(state_scores[-finals:]).any():  # many words at an end were not spoken
        margin *= 2
        state_scores, ends = _forward(scores, trellis, blocks, margin, check)
    state = len(state_scores) - 1 - int(np.argmax(state_scores[: -finals - 1 : -1]))
    path = np.empty(len(scores), np.int32)
    for first, (before_low, before, low, origins) in zip(reversed(blocks), reversed(ends), strict=True):
        if check is not None:
            check()
        last = min(first + block_steps, len(scores))
        origin = int(origins[state - low])
        start = np.full(state + 1 - origin, -np.inf)
        known = before[origin - before_low :][: len(start)]
        start[: len(known)] = known
        state = trace_back(scores, trellis, first, last, start, origin, state, path)
    return path


def _forward(scores: np.ndarray, trellis: Trellis, blocks: range, margin: float, check) -> tuple[np.ndarray, list]:
    """The forward pass through blocks of steps. Arguments as for `best_states`.

    Returns:
        float64 [states], the score of the best path to each state, -inf where it was pruned; and for each block the
        first active state with the scores before the block, and the first active state with the origins after it.
    """
    states = len(trellis.columns)
    state_scores, origins = np.full(states, -np.inf), np.arange(states, dtype=np.int32)
    state_scores[0] = 0.0
    low, high = 0, 1
    ends = []
    for first in blocks:
        if check is not None:
            check()
        before = low, state_scores[low:high].copy()
        origins[low:high] = np.arange(low, high)
        last = min(first + blocks.step, len(scores))
        low, high = run_forward(scores, trellis, first, last, state_scores, origins, low, high, margin)
        ends.append((*before, low, origins[low:high].copy()))
    state_scores[:low] = state_scores[high:] = -np.inf
    return state_scores, ends


@compiled
def run_forward(scores, trellis, first, last, state_scores, origins, low, high, margin):
    """Advances the forward pass from step `first` to before step `last`; returns the new active range, (low, high).

    Only the states from `low` to before `high` are active; the scores of others count as -inf.

    Args:
        scores: float32 [steps, columns].
        trellis: the states and the transitions between them.
        first, last: the steps of the block.
        state_scores: float64 [states], score of the best path to each state; updated in place.
        origins: int32 [states], state of that path before the block; updated in place.
        low, high: the active range before the block.
        margin: pruning threshold in nats.
    """
    states, steps = len(trellis.columns), len(scores)
    old, old_origins = state_scores, origins
    new, new_origins = np.full(states, -np.inf), np.empty(states, np.int32)
    targets = trellis.targets
    for step in range(first, last):
        floor = low
        if len(targets) == 0:  # from a state below this, a path that advances by two every step cannot reach the end
            low = max(low, states - 2 * (steps - step))
        best = -np.inf
        end = min(states, high + MAX_SKIP)
        old[high:end] = -np.inf
        for state in range(low, end):
            score, origin = old[state], old_origins[state]
            if state > floor and old[state - 1] - trellis.entry_penalties[state] > score:
                score, origin = old[state - 1] - trellis.entry_penalties[state], old_origins[state - 1]
            skip = trellis.skips[state]
            if skip and state - skip >= floor and old[state - skip] > score:
                score, origin = old[state - skip], old_origins[state - skip]
            score += scores[step, trellis.columns[state]]
            source = trellis.sources[state]
            if source >= low and new[source] - trellis.jump_penalties[state] > score:
                score, origin = new[source] - trellis.jump_penalties[state], new_origins[source]
            new[state], new_origins[state] = score, origin
            best = max(best, score)
        for target in targets[np.searchsorted(targets, end) :]:
            source = trellis.sources[target]
            score = new[source] - trellis.jump_penalties[target] if source >= low else -np.inf
            if not score > best - margin:
                break
            new[end:target] = -np.inf
            new[target], new_origins[target] = score, new_origins[source]
            end = target + 1
        while low < end - 1 and new[low] < best - margin:
            low += 1
        high = end
        while high > low + 1 and new[high - 1] < best - margin:
            high -= 1
        old, new = new, old
        old_origins, new_origins = new_origins, old_origins
    if (last - first) % 2:  # the two pairs of arrays were exchanged an odd number of times
        state_scores[low:high] = old[low:high]
        origins[low:high] = old_origins[low:high]
    return low, high


@compiled
def trace_back(scores, trellis, first, last, state_scores, low, state, path):
    """Writes the states of the best path through one block of steps into `path`; returns its state before the block.

    Args:
        scores: float32 [steps, columns].
        trellis: the states and the transitions between them.
        first, last: the steps of the block, from `first` to before `last`.
        state_scores: float64 [n], scores of the states from `low` to `state` before the block; overwritten.
        low: state of the path before the block.
        state: state of the path at the last step of the block.
        path: int32 [steps], written from `first` to before `last`.
    """
    count = len(state_scores)
    old, new = state_scores, np.full(count, -np.inf)
    backpointers = np.empty((last - first, count), np.uint8)
    for step in range(first, last):
        for place in range(count):
            here = low + place
            score, backpointer = old[place], 0
            if place > 0 and old[place - 1] - trellis.entry_penalties[here] > score:
                score, backpointer = old[place - 1] - trellis.entry_penalties[here], 1
            skip = trellis.skips[here]
            if skip and skip <= place and old[place - skip] > score:
                score, backpointer = old[place - skip], skip
            score += scores[step, trellis.columns[here]]
            source = trellis.sources[here]
            if source >= low and new[source - low] - trellis.jump_penalties[here] > score:
                score, backpointer = new[source - low] - trellis.jump_penalties[here], JUMP
            new[place], backpointers[step - first, place] = score, backpointer
        old, new = new, old
    for step in range(last - 1, first - 1, -1):
        while backpointers[step - first, state - low] == JUMP:
            state = trellis.sources[state]
        path[step] = state
        state -= backpointers[step - first, state - low]
    return state
