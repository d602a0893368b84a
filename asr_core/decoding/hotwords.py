"""Phrases that the listener expects, names above all, as one automaton that the beam carries along.

All phrases lie in one tree with links from every node to the longest other beginning that fits (Aho and
Corasick, 1975, "Efficient string matching"): one move per character, however many phrases there are.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr_core.text.normaliser import normalise
from asr_core.text.vocabulary import Vocabulary

NOTHING_READ = 0


class PhraseTables(NamedTuple):
    """The automaton as int32 arrays, for compiled code."""

    following: np.ndarray  # [states, tokens], the state after one more token
    earned: np.ndarray  # [states], the letters of all phrases that end on entering it
    credit: np.ndarray  # [states], the letters read of the longest phrase that is still open


@dataclass(frozen=True, eq=False)
class HotWords:
    """An automaton over tokens. A phrase counts where it stands as whole words.

    A finished phrase has earned its letters for good. An unfinished one is credited with the letters read so
    far, so that the beam keeps it; when the text goes on otherwise, the credit is gone with the state.

    Attributes:
        phrases: what is listened for, as the vocabulary spells it.
        start: the state before the first token.
        tables: what it earns, and where it goes on.
    """

    phrases: tuple[str, ...]
    start: int
    tables: PhraseTables

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
        start = moves[NOTHING_READ].get(space, NOTHING_READ)  # a text begins as if after a space
        return cls(spelled, start, _tables(moves, earned, letters, len(vocabulary)))


def _spell(phrase: str, vocabulary: Vocabulary) -> str:
    known = "".join(character for character in normalise(phrase) if character in vocabulary.characters)
    return " ".join(known.split())


def _tables(moves: list[dict[int, int]], earned: list[int], letters: list[int], tokens: int) -> PhraseTables:
    """Completes the tree of the phrases: where a state has no move, the longest other beginning that fits has its say.

    Args:
        moves: for every state, token -> the state one deeper.
        earned: for every state, the letters of the phrase that ends there.
        letters: for every state, those read.
        tokens: how many there are.
    """
    following = np.zeros((len(moves), tokens), np.int32)
    credit = np.zeros(len(moves), np.int32)
    total = np.array(earned, np.int32)
    for token, child in moves[NOTHING_READ].items():
        following[NOTHING_READ, token] = child
    waiting = deque((child, NOTHING_READ) for child in moves[NOTHING_READ].values())
    while waiting:  # breadth first: the other beginning is less deep, and complete
        state, other = waiting.popleft()
        following[state] = following[other]
        credit[state] = letters[state] if moves[state] else credit[other]
        total[state] += total[other]
        for token, child in moves[state].items():
            waiting.append((child, following[other, token]))
            following[state, token] = child
    return PhraseTables(following, total, credit)
