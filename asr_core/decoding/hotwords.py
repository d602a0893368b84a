"""Hotwords: phrases that the user expects, names above all, as one automaton whose state every hypothesis carries.

The automaton is that of Aho and Corasick (1975, "Efficient string matching"): a tree of all phrases, in which every
node has a failure link to the node of its longest proper suffix that is also a prefix of a phrase. It makes one
transition per token, however many phrases there are.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from asr_core.text.alphabet import spell_out
from asr_core.text.vocabulary import WORD_MARK, Vocabulary

NOTHING_READ = 0  # the state in which no phrase has begun
OTHER = 0  # the symbol of every character that is in no phrase
EDGE = " "  # the character before and after every word


class PhraseTables(NamedTuple):
    """The automaton as int32 arrays, for compiled code. Its symbols are the characters of the phrases, from 1 on."""

    following: np.ndarray  # [states, symbols], the state after one more character
    earned: np.ndarray  # [states], total letters of the phrases that end in the state
    provisional: np.ndarray  # [states], letters already read of the longest phrase that has begun but not ended
    first_symbol: np.ndarray  # [tokens + 1], where the symbols of each token begin
    symbols: np.ndarray  # of all tokens, one after the other
    edge: np.ndarray  # [1], the symbol of the space between words


NO_PHRASES = PhraseTables(np.zeros((1, 1), np.int32), *(np.zeros(1, np.int32) for _ in PhraseTables._fields[1:]))


@dataclass(frozen=True, eq=False)
class HotWords:
    """An automaton over characters that finds phrases where they stand as whole words.

    A token moves it by all of its characters, so that a phrase is found however subword pieces spell it. In a
    vocabulary without spaces, a phrase is found anywhere.

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
        """Builds the automaton for phrases, or one phrase, in any spelling; they are normalised like transcripts.

        Phrases without a letter and repeated phrases are ignored.

        Raises:
            TypeError: one of the phrases is not a text.
        """
        phrases = [phrases] if isinstance(phrases, str | bytes) else list(phrases)
        if wrong := [phrase for phrase in phrases if not isinstance(phrase, str)]:
            raise TypeError(f"Expected phrases, each of them a text, got {wrong[0]!r}.")
        spelled = tuple(dict.fromkeys(filter(None, (spell_out(phrase, vocabulary) for phrase in phrases))))
        edge = EDGE if vocabulary.separator else ""
        symbol_of = {character: number for number, character in enumerate(sorted({EDGE, *"".join(spelled)}), OTHER + 1)}
        moves: list[dict[int, int]] = [{}]
        earned, letters = [0], [0]
        for phrase in spelled:
            state = NOTHING_READ
            for character in f"{edge}{phrase}{edge}":
                symbol = symbol_of[character]
                if symbol not in moves[state]:
                    moves[state][symbol] = len(moves)
                    moves.append({})
                    earned.append(0)
                    letters.append(letters[state] + (character != EDGE))
                state = moves[state][symbol]
            earned[state] = letters[state]
        start = moves[NOTHING_READ].get(symbol_of[EDGE], NOTHING_READ)  # a text begins as if a space preceded it
        return cls(spelled, start, _tables(moves, earned, letters, symbol_of, vocabulary))

    @classmethod
    def of(cls, hot_words: "HotWords | Iterable[str] | None", vocabulary: Vocabulary) -> "HotWords | None":
        """The automaton for phrases, unless it is given already; None stays None."""
        return hot_words if hot_words is None or isinstance(hot_words, cls) else cls.build(hot_words, vocabulary)

    def state_after(self, tokens: Iterable[int], state: int | None = None) -> int:
        """The state after some more tokens, from `state` on, or from the beginning of a text if it is None."""
        state = self.start if state is None else state
        tables = self.tables
        for token in tokens:
            for symbol in tables.symbols[tables.first_symbol[token] : tables.first_symbol[token + 1]]:
                state = int(tables.following[state, symbol])
        return state


def _tables(
    moves: list[dict[int, int]],
    earned: list[int],
    letters: list[int],
    symbol_of: dict[str, int],
    vocabulary: Vocabulary,
) -> PhraseTables:
    """Completes the tree of the phrases with failure links: a missing transition is that of the linked state.

    Args:
        moves: for every state, symbol -> the state one deeper.
        earned: for every state, the letters of the phrase that ends there, or 0.
        letters: for every state, the letters on the path to it.
        symbol_of: the number of each character of the phrases.
        vocabulary: the tokens that move the automaton.
    """
    following = np.zeros((len(moves), len(symbol_of) + 1), np.int32)
    provisional = np.zeros(len(moves), np.int32)
    total = np.array(earned, np.int32)
    for symbol, child in moves[NOTHING_READ].items():
        following[NOTHING_READ, symbol] = child
    queue = deque((child, NOTHING_READ) for child in moves[NOTHING_READ].values())
    while queue:  # breadth first: a linked state is less deep, hence complete
        state, link = queue.popleft()
        following[state] = following[link]
        provisional[state] = letters[state] if moves[state] else provisional[link]
        total[state] += total[link]
        for symbol, child in moves[state].items():
            queue.append((child, following[link, symbol]))
            following[state, symbol] = child
    texts = [text.replace(WORD_MARK, EDGE) for text in vocabulary.tokens]
    first_symbol = np.cumsum([0, *map(len, texts)])
    symbols = [symbol_of.get(character, OTHER) for text in texts for character in text]
    columns = (total, provisional, first_symbol, symbols, [symbol_of[EDGE]])
    return PhraseTables(following, *(np.array(column, np.int32) for column in columns))
