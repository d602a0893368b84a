"""Hot-words: phrases that the user expects, names above all, as one automaton whose state every hypothesis carries.

The automaton is that of Aho and Corasick (1975, "Efficient string matching"): a tree of all phrases, in which every
node has a failure link to the node of its longest proper suffix that is also a prefix of a phrase. It makes one
transition per token, however many phrases there are.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr_core.text.normaliser import normalise
from asr_core.text.vocabulary import Vocabulary

NOTHING_READ = 0  # the state in which no phrase has begun


class PhraseTables(NamedTuple):
    """The automaton as int32 arrays, for compiled code."""

    following: np.ndarray  # [states, tokens], the state after one more token
    earned: np.ndarray  # [states], total letters of the phrases that end in the state
    credit: np.ndarray  # [states], letters so far of the longest phrase that is incomplete in the state


@dataclass(frozen=True, eq=False)
class HotWords:
    """An automaton over tokens that finds phrases where they stand as whole words.

    A complete phrase earns a bonus for each of its letters. An incomplete phrase has a provisional bonus for its
    letters so far, so that the beam does not prune it; the bonus is lost when the hypothesis continues differently.

    Attributes:
        phrases: in the spelling of the vocabulary.
        start: the state before the first token.
        tables: transitions and bonuses.
    """

    phrases: tuple[str, ...]
    start: int
    tables: PhraseTables

    @classmethod
    def build(cls, phrases: Iterable[str], vocabulary: Vocabulary) -> "HotWords":
        """Builds the automaton for phrases in any spelling; they are normalised like transcripts.

        Phrases without a letter and repeated phrases are ignored.
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
        start = moves[NOTHING_READ].get(space, NOTHING_READ)  # a text begins as if a space preceded it
        return cls(spelled, start, _tables(moves, earned, letters, len(vocabulary)))

    def state_after(self, tokens: Iterable[int], state: int | None = None) -> int:
        """The state after some more tokens, from `state` on, or from the beginning of a text if it is None."""
        state = self.start if state is None else state
        for token in tokens:
            state = int(self.tables.following[state, token])
        return state


def _spell(phrase: str, vocabulary: Vocabulary) -> str:
    known = "".join(character for character in normalise(phrase) if character in vocabulary.characters)
    return " ".join(known.split())


def _tables(moves: list[dict[int, int]], earned: list[int], letters: list[int], tokens: int) -> PhraseTables:
    """Completes the tree of the phrases with failure links: a missing transition is that of the linked state.

    Args:
        moves: for every state, token -> the state one deeper.
        earned: for every state, the letters of the phrase that ends there, or 0.
        letters: for every state, the letters on the path to it.
        tokens: size of the vocabulary.
    """
    following = np.zeros((len(moves), tokens), np.int32)
    credit = np.zeros(len(moves), np.int32)
    total = np.array(earned, np.int32)
    for token, child in moves[NOTHING_READ].items():
        following[NOTHING_READ, token] = child
    queue = deque((child, NOTHING_READ) for child in moves[NOTHING_READ].values())
    while queue:  # breadth first: a linked state is less deep, hence complete
        state, link = queue.popleft()
        following[state] = following[link]
        credit[state] = letters[state] if moves[state] else credit[link]
        total[state] += total[link]
        for token, child in moves[state].items():
            queue.append((child, following[link, token]))
            following[state, token] = child
    return PhraseTables(following, total, credit)
