"""The prefixes of all words of a vocabulary, as a tree of characters.

A beam search walks it letter by letter and so knows which words an unfinished word can still become.
"""

from dataclasses import dataclass

import numpy as np

NOWHERE = -1  # stands for the node of what is not a prefix of any word
NO_WORD = -1  # stands for the word of a node at which no word ends
MAX_WORD_CHARACTERS = 64  # longer words are left out: nobody pronounces them, and the table below stays small


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """A trie in flat arrays. Node 0 is the empty prefix; the children of a node are adjacent, sorted by character.

    Attributes:
        first_child: int64 [nodes + 1], index of each node's first child; its last child precedes the next node's first.
        character: uint32 [nodes], code point of each node.
        word: int32 [nodes], number of the word that ends at the node, or NO_WORD.
        best: float32 [nodes], highest score of the words that begin with the node's prefix.
    """

    first_child: np.ndarray
    character: np.ndarray
    word: np.ndarray
    best: np.ndarray

    @classmethod
    def build(cls, words: list[str], scores: np.ndarray, first_number: int = 0) -> "PrefixTree":
        """Builds the tree.

        Args:
            words: distinct, in ascending order of code points.
            scores: float32 [words].
            first_number: number of the first word; the others are numbered consecutively.
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
        parents = np.zeros(len(words), np.int64)  # for each word, the node of its prefix as long as the depth
        nodes = 1
        for depth in range(width):
            rows = rows[lengths[rows] > depth]
            is_first = np.ones(len(rows), bool)  # whether a word is the first of a new node
            is_first[1:] = (np.diff(parents[rows]) != 0) | (np.diff(letters[rows, depth].astype(np.int64)) != 0)
            firsts = rows[is_first]
            level = nodes - len(characters[-1])  # the first node of the level before
            children = np.bincount(parents[firsts] - level, minlength=len(characters[-1]))
            first_child.append(nodes + np.cumsum(children))
            parents[rows] = nodes + np.cumsum(is_first) - 1
            characters.append(letters[firsts, depth])
            ends.append(np.where(lengths[firsts] == depth + 1, numbers[firsts], NO_WORD))
            bests.append(np.maximum.reduceat(scores[rows], np.flatnonzero(is_first)))
            nodes += len(firsts)
        first_child.append(np.full(len(characters[-1]), nodes))  # the longest words have no children
        bests[0][:] = scores.max(initial=-np.inf)
        return cls(
            np.concatenate(first_child),
            np.concatenate(characters),
            np.concatenate(ends).astype(np.int32),
            np.concatenate(bests).astype(np.float32),
        )
