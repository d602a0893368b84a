"""The Viterbi algorithm on the trellis of a text, compiled by Numba: which state the best path is in at every step.

Only the scores of one step are kept, and a copy of them at the end of every block of steps, with the state at the
beginning of the block from which the best path to each state comes. From the last block to the first, the path in a
block is then found from its two ends, with backpointers for the states between them alone. All of it stands in one
file because Numba's cache does not notice when a function in another one has changed.
"""

from typing import NamedTuple

import numpy as np

from asr_core.jit import compiled

SKIP = 255  # a backpointer; others are the number of states by which a path went on
FURTHEST_LEAP = 3
NOWHERE = -1


class Trellis(NamedTuple):
    """The states of a text, and the ways between them.

    At every step a path stays, moves on to the next state, or, where `leaps` allows it, leaps over one state or two.
    Besides, within a step, it can skip all states between a state and its source, at a price.

    Attributes:
        columns: int32 [states], the column of the scores that a state emits.
        tolls: float64 [states], the price of moving on to a state from the one before, in nats.
        leaps: int32 [states], from how far back a path can leap to a state, or 0.
        sources: int32 [states], from which state (an earlier one) this one can be reached by skipping, or NOWHERE.
        prices: float64 [states], of skipping, in nats.
        entries: int32 [n], the states that can be reached by skipping, rising.
    """

    columns: np.ndarray
    tolls: np.ndarray
    leaps: np.ndarray
    sources: np.ndarray
    prices: np.ndarray
    entries: np.ndarray


def best_states(
    scores: np.ndarray, trellis: Trellis, finals: int, block_steps: int, margin: float = np.inf
) -> np.ndarray:
    """The state of the best path at every step, int32 [steps].

    Before the first step the path is in the first state, after the last one in one of the final states.

    Args:
        scores: float32 [steps, columns], finite log-probabilities.
        trellis: the states and the ways between them.
        finals: how many of the last states are final.
        block_steps: steps between two copies of the scores.
        margin: paths that are so many nats behind the best one at a step are given up; infinite: none, and the result
            is exact. Needed for trellises with skips, where every state is reached at every step.
    """
    states = len(trellis.columns)
    firsts = range(0, len(scores), block_steps)
    column, origins = np.full(states, -np.inf), np.arange(states, dtype=np.int32)
    column[0] = 0.0
    low, high = 0, 1
    ends = []  # of each block: first state, scores and origins of the states from there on; scores before the block
    for first in firsts:
        before = low, column[low:high].copy()
        origins[low:high] = np.arange(low, high)
        last = min(first + block_steps, len(scores))
        low, high = run_forward(scores, trellis, first, last, column, origins, low, high, margin)
        ends.append((*before, low, origins[low:high].copy()))
    state = states - 1 - int(np.argmax(column[: -finals - 1 : -1]))
    path = np.empty(len(scores), np.int32)
    for first, (before_low, before, low, origins) in zip(reversed(firsts), reversed(ends), strict=True):
        last = min(first + block_steps, len(scores))
        origin = int(origins[state - low])
        start = np.full(state + 1 - origin, -np.inf)
        known = before[origin - before_low :][: len(start)]
        start[: len(known)] = known
        state = trace_back(scores, trellis, first, last, start, origin, state, path)
    return path


@compiled
def run_forward(scores, trellis, first, last, column, origins, low, high, margin):
    """The scores of all states from `low` to before `high` after the steps from `first` to before `last`, in place.

    Everything outside of low and high is -inf where it is read. Returns the new low and high.
    """
    states, steps = len(trellis.columns), len(scores)
    old, old_origins = column, origins
    new, new_origins = np.full(states, -np.inf), np.empty(states, np.int32)
    entries = trellis.entries
    for step in range(first, last):
        floor = low
        if len(entries) == 0:  # from below, the end is out of reach
            low = max(low, states - 2 * (steps - step))  # leaps go two states far there
        best = -np.inf
        end = min(states, high + FURTHEST_LEAP)
        old[high:end] = -np.inf
        for state in range(low, end):
            score, origin = old[state], old_origins[state]
            if state > floor and old[state - 1] - trellis.tolls[state] > score:
                score, origin = old[state - 1] - trellis.tolls[state], old_origins[state - 1]
            leap = trellis.leaps[state]
            if leap and state - leap >= floor and old[state - leap] > score:
                score, origin = old[state - leap], old_origins[state - leap]
            score += scores[step, trellis.columns[state]]
            source = trellis.sources[state]
            if source >= low and new[source] - trellis.prices[state] > score:
                score, origin = new[source] - trellis.prices[state], new_origins[source]
            new[state], new_origins[state] = score, origin
            best = max(best, score)
        for entry in entries[np.searchsorted(entries, end) :]:
            source = trellis.sources[entry]
            score = new[source] - trellis.prices[entry] if source >= low else -np.inf
            if not score > best - margin:
                break
            new[end:entry] = -np.inf
            new[entry], new_origins[entry] = score, new_origins[source]
            end = entry + 1
        while low < end - 1 and new[low] < best - margin:
            low += 1
        high = end
        while high > low + 1 and new[high - 1] < best - margin:
            high -= 1
        old, new = new, old
        old_origins, new_origins = new_origins, old_origins
    if (last - first) % 2:
        column[low:high] = old[low:high]
        origins[low:high] = old_origins[low:high]
    return low, high


@compiled
def trace_back(scores, trellis, first, last, column, low, state, path):
    """Writes the states of the best path from state `low` before step `first` to `state` at the last step of a block.

    `column` holds the scores of the states from `low` to `state` before the block. Returns the state before the block.
    """
    count = len(column)
    old, new = column, np.full(count, -np.inf)
    pointers = np.empty((last - first, count), np.uint8)
    for step in range(first, last):
        for place in range(count):
            here = low + place
            score, pointer = old[place], 0
            if place > 0 and old[place - 1] - trellis.tolls[here] > score:
                score, pointer = old[place - 1] - trellis.tolls[here], 1
            leap = trellis.leaps[here]
            if leap and leap <= place and old[place - leap] > score:
                score, pointer = old[place - leap], leap
            score += scores[step, trellis.columns[here]]
            source = trellis.sources[here]
            if source >= low and new[source - low] - trellis.prices[here] > score:
                score, pointer = new[source - low] - trellis.prices[here], SKIP
            new[place], pointers[step - first, place] = score, pointer
        old, new = new, old
    for step in range(last - 1, first - 1, -1):
        while pointers[step - first, state - low] == SKIP:
            state = trellis.sources[state]
        path[step] = state
        state -= pointers[step - first, state - low]
    return state
