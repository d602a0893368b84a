"""A language model as arrays of fixed types, as the compiled search takes it (`asr_core.decoding.beam_kernel`)."""

from typing import NamedTuple

import numpy as np


class WordTables(NamedTuple):
    """The n-grams of a model, and the tree of its words' prefixes, as arrays.

    The n-grams are either a trie (see `asr_core.decoding.language_model.NGramModel`) or in a file of KenLM (see
    `asr_core.decoding.kenlm.KenlmModel`), in which case `places` is not empty. The arrays of the other kind are
    placeholders.
    """

    first_child: np.ndarray  # int32 [contexts + 1]
    word: np.ndarray  # int32 [nodes]
    log_prob: np.ndarray  # float32 [nodes]
    backoff: np.ndarray  # float32 [contexts]
    shorter: np.ndarray  # int32 [contexts], the node of each context without its first word
    letter_first_child: np.ndarray  # int32 [letter nodes + 1], and the next three as in PrefixTree
    letter: np.ndarray  # int32 [letter nodes]
    letter_word: np.ndarray  # int32 [letter nodes]
    letter_best: np.ndarray  # float32 [letter nodes]
    ids: np.ndarray  # uint32 [words], and the rest as in KenlmModel
    ints: np.ndarray
    floats: np.ndarray
    places: np.ndarray
    contexts: np.ndarray  # int64 [most, order - 1], the words of each state of a search plus 1, the latest first
    context_index: np.ndarray  # int32 [2 * most], hash table of the places in `contexts`, or -1
    context_count: np.ndarray  # int32 [1], how many of them are in use


def _no_file() -> tuple[np.ndarray, ...]:
    """Placeholders for the arrays of a file of KenLM."""
    kinds = np.uint32, np.uint32, np.float32
    columns = [np.zeros(0, kind) for kind in kinds]
    for column in columns[1:]:
        column.flags.writeable = False  # as a mapped file, so that the search is compiled once
    return *columns, np.zeros((0, 2), np.int64)


# Placeholders for the other groups of arrays, and for all of them.
NO_TRIE = (*(np.zeros(1, kind) for kind in (np.int32, np.int32, np.float32, np.float32, np.int32)),)
NO_LETTERS = (*(np.zeros(1, np.int32) for _ in range(3)), np.zeros(1, np.float32))
NO_FILE = _no_file()
NO_CONTEXTS = (np.zeros((0, 1), np.int64), np.zeros(0, np.int32), np.zeros(1, np.int32))
NO_WORDS = WordTables(*NO_TRIE, *NO_LETTERS, *NO_FILE, *NO_CONTEXTS)
