"""The beginnings of all words of a vocabulary, as a tree of characters.

A beam search walks it letter by letter, so that it knows of an unfinished word what it can become.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

ROOT = 0  # the empty beginning
NOWHERE = -1  # the beginning of no word
NO_WORD = -1
MAX_WORD_CHARACTERS = 64  # characters; nobody pronounces more, and a table of them stays small


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Characters below characters; the children of a node stand in a row, sorted by character.

    Attributes:
        first_child: int64 [nodes + 1], where the children of each node begin; they end where the next begin.
        character: uint32 [nodes], code point of each node.
        word: int32 [nodes], number of the word that ends here, or NO_WORD.
        best: float32 [nodes], highest score among the words that begin so.
    """

    first_child: memoryview
    character: memoryview
    word: memoryview
    best: memoryview

    @classmethod
    def build(cls, words: list[str], scores: np.ndarray, first_number: int = 0) -> "PrefixTree":
        """The tree of sorted distinct words.

        Args:
            words: in ascending order of code points.
            scores: float32 [words].
            first_number: number of the first word; the others count on from it.
        """
        numbers = np.arange(first_number, first_number + len(words))
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        fitting = (lengths > 0) & (lengths <= MAX_WORD_CHARACTERS)
        if not fitting.all():
            words = [word for word, fits in zip(words, fitting, strict=True) if fits]
            numbers, scores, lengths = numbers[fitting], scores[fitting], lengths[fitting]
        width = int(lengths.max(initial=1))
        letters = np.array(words, dtype=f"<U{width}").view(np.uint32).reshape(len(words), width)

        characters, ends, bests = [np.zeros(1, np.uint32)], [np.array([NO_WORD])], [np.array([-np.inf])]
        first_child = [np.array([1])]
        rows = np.arange(len(words))  # of the words longer than the depth
        above = np.zeros(len(words), np.int64)  # for each word, the node that its beginning ends in
        nodes = 1
        for depth in range(width):
            rows = rows[lengths[rows] > depth]
            opens = np.ones(len(rows), bool)  # the first word of each new node
            opens[1:] = (np.diff(above[rows]) != 0) | (np.diff(letters[rows, depth].astype(np.int64)) != 0)
            firsts = rows[opens]
            level = nodes - len(characters[-1])  # the first node of the level above
            children = np.bincount(above[firsts] - level, minlength=len(characters[-1]))
            first_child.append(nodes + np.cumsum(children))
            above[rows] = nodes + np.cumsum(opens) - 1
            characters.append(letters[firsts, depth])
            ends.append(np.where(lengths[firsts] == depth + 1, numbers[firsts], NO_WORD))
            bests.append(np.maximum.reduceat(scores[rows], np.flatnonzero(opens)))
            nodes += len(firsts)
        first_child.append(np.full(len(characters[-1]), nodes))  # the longest words have no children
        bests[0][:] = scores.max(initial=-np.inf)
        return cls(
            memoryview(np.concatenate(first_child)),
            memoryview(np.concatenate(characters)),
            memoryview(np.concatenate(ends).astype(np.int32)),
            memoryview(np.concatenate(bests).astype(np.float32)),
        )

    def child(self, node: int, code_point: int) -> int:
        """The node of a beginning with one more character, or NOWHERE."""
        if node == NOWHERE:
            return NOWHERE
        first, last = self.first_child[node], self.first_child[node + 1]
        found = bisect_left(self.character, code_point, first, last)
        return found if found < last and self.character[found] == code_point else NOWHERE

    def find(self, beginning: str) -> int:
        """The node of a beginning, or NOWHERE."""
        node = ROOT
        for character in beginning:
            node = self.child(node, ord(character))
        return node
