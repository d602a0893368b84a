"""Phrases that the listener expects, names above all, as one automaton that the beam carries along.

All phrases lie in one tree with links from every node to the longest other beginning that fits (Aho and
Corasick, 1975, "Efficient string matching"): one move per character, however many phrases there are.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from asr_core.vocabulary import Vocabulary, normalise

NOTHING_READ = 0


class PhraseTables(NamedTuple):
    """The automaton as int32 arrays, for compiled code; the moves of a state stand in a row, by token."""

    first_move: np.ndarray
    token: np.ndarray
    target: np.ndarray
    fallback: np.ndarray
    earned: np.ndarray
    credit: np.ndarray
    most: np.ndarray  # letters that one more token can earn or be credited with


@dataclass(frozen=True, eq=False)
class HotWords:
    """An automaton over tokens. A phrase counts where it stands as whole words.

    A finished phrase has earned its letters for good. An unfinished one is credited with the letters read so
    far, so that the beam keeps it; when the text goes on otherwise, the credit is gone with the state.

    Attributes:
        phrases: what is listened for, as the vocabulary spells it.
        start: the state before the first token.
        moves: for every state, token -> next state.
        fallback: for every state, the one to go on from when none of its moves fits.
        earned: for every state, the letters of all phrases that end on entering it.
        credit: for every state, the letters read of the longest phrase that is still open.
    """

    phrases: tuple[str, ...]
    start: int
    moves: list[dict[int, int]]
    fallback: list[int]
    earned: list[int]
    credit: list[int]

    @classmethod
    def build(cls, phrases: Iterable[str], vocabulary: Vocabulary) -> "HotWords":
        """The automaton for phrases in any spelling; they are normalised as transcripts are.

        Phrases without a letter, and repeated ones, make no difference.
        """
        spelled = tuple(dict.fromkeys(filter(None, (_spell(phrase, vocabulary) for phrase in phrases))))
        space = vocabulary.encode(" ")[0] if " " in vocabulary.characters else None
        edge = [] if space is None else [space]
        moves: list[dict[int, int]] = [{}]
        earned, letters = [0], [0]
        for phrase in spelled:
            state = NOTHING_READ
            for token in [*edge, *vocabulary.encode(phrase), *edge]:
                if token not in moves[state]:
                    moves[state][token] = len(moves)
                    moves.append({})
                    earned.append(0)
                    letters.append(letters[state] + (token != space))
                state = moves[state][token]
            earned[state] = letters[state]
        fallback = _link(moves, earned)
        credit = [0] * len(moves)
        for state in _breadth_first(moves):  # a fallback is less deep, so it has its credit already
            credit[state] = letters[state] if moves[state] else credit[fallback[state]]
        start = moves[NOTHING_READ].get(space, NOTHING_READ)  # a text begins as if after a space
        return cls(spelled, start, moves, fallback, earned, credit)

    @cached_property
    def tables(self) -> PhraseTables:
        """The automaton for the beam."""
        moves = [sorted(of_state.items()) for of_state in self.moves]
        first_move = np.cumsum([0, *map(len, moves)])
        token, target = zip(*(move for of_state in moves for move in of_state), strict=True)
        most = list(self.credit)
        for state in _breadth_first(self.moves):
            gains = [self.earned[longer] + self.credit[longer] for longer in self.moves[state].values()]
            most[state] = max(most[state], most[self.fallback[state]], *gains, 0)
        columns = (first_move, token, target, self.fallback, self.earned, self.credit, most)
        return PhraseTables(*(np.array(column, np.int32) for column in columns))


def _spell(phrase: str, vocabulary: Vocabulary) -> str:
    known = "".join(character for character in normalise(phrase) if character in vocabulary.characters)
    return " ".join(known.split())


def _breadth_first(moves: list[dict[int, int]]) -> list[int]:
    states = [NOTHING_READ]
    for state in states:
        states.extend(moves[state].values())
    return states


def _link(moves: list[dict[int, int]], earned: list[int]) -> list[int]:
    """The fallback of every state; adds to each state what the phrases that end in its fallback earn."""
    fallback = [NOTHING_READ] * len(moves)
    waiting = deque(moves[NOTHING_READ].values())
    while waiting:
        state = waiting.popleft()
        earned[state] += earned[fallback[state]]
        for token, child in moves[state].items():
            link = fallback[state]
            while link != NOTHING_READ and token not in moves[link]:
                link = fallback[link]
            fallback[child] = moves[link].get(token, NOTHING_READ)
            waiting.append(child)
    return fallback
