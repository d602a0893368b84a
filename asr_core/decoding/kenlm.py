"""Language models in KenLM's binary format "probing", queried where they lie, through a memory map.

The file holds a header, a hash table of the words, the unigrams, a hash table for every further order, and the words as
text (Heafield, 2011, "KenLM: faster and smaller language model queries"). An n-gram is found by a hash of its words,
the last of them first. All numbers lie at multiples of four bytes, so that the compiled search reads the file as
arrays of uint32 and float32 without a copy (see `asr_core.decoding.beam_kernel.score_hashed`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asr_core.decoding import beam_kernel as kernel
from asr_core.decoding.arpa import LN_10
from asr_core.decoding.language_model import SPECIAL_WORDS, UNKNOWN
from asr_core.decoding.prefix_tree import PrefixTree
from asr_core.decoding.word_tables import NO_CONTEXTS, NO_TRIE, WordTables
from asr_core.errors import LanguageModelError, reason

MAGIC = b"mmap lm http://kheafield.com/code format version "
VERSION = b"5\n\0"
SANITY_BYTES = 88  # magic and test values
HEADER = np.dtype(  # after them, and before the number of n-grams of each order as uint64
    [("order", "u1"), ("", "V3"), ("multiplier", "<f4"), ("kind", "<u4"), ("has_words", "u1"), ("", "V3"),
     ("version", "<u4")]
)  # fmt: skip
PROBING = 0  # the kind that can be read here; 1 has further scores, 2 to 5 are tries
ORDERS = (2, 6)  # KenLM itself is compiled for at most 6
WORD_BYTES, UNIGRAM_BYTES, MIDDLE_BYTES, LONGEST_BYTES = 12, 8, 16, 12  # of an entry of each table
MAX_CONTEXTS = 1 << 17  # of one search; further ones count as no context

State = tuple[int, ...]  # of the model: KenLM's numbers of the last words, the latest first


@dataclass(frozen=True, eq=False)
class KenlmModel:
    """A back-off n-gram model in a file. Where `NGramModel` has nodes for states, this has the last words.

    Attributes:
        words: SPECIAL_WORDS, then the others in order of code points; their places are the numbers of the search.
        ids: uint32 [words], KenLM's number of each word.
        order: of the longest n-grams.
        ints, floats: the file as uint32 and as float32 [n], both on the same memory.
        places: int64 [order, 2]: for each order, where its table begins in these arrays, and its number of buckets.
    """

    words: list[str]
    ids: np.ndarray
    order: int
    ints: np.ndarray
    floats: np.ndarray
    places: np.ndarray

    @classmethod
    def load(cls, path: Path, fit: Callable[[list[str]], list[str]] = list, known: Iterable[str] = ()) -> "KenlmModel":
        """Maps a file into memory and checks that it is complete.

        Args:
            path: the file.
            fit: puts the words into the spelling of a vocabulary.
            known: if there are any, all other words count as unknown.

        Raises:
            LanguageModelError: the file is missing, damaged, or of a kind that cannot be read.
        """
        try:
            data = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise LanguageModelError(f"{path.name} cannot be read as a language model ({reason(error)}).") from None
        order, places, end, bound = _layout(data, path.name)
        texts = bytes(data[end:]).split(b"\0")[:-1]
        if len(texts) != bound or texts[:1] != [b"<unk>"]:
            raise LanguageModelError(f"{path.name} is damaged: its words are not at its end; fetch it again.")
        try:
            spelled = fit([text.decode() for text in texts])
        except UnicodeDecodeError:
            raise LanguageModelError(f"{path.name} is damaged: its words are not in UTF-8.") from None
        id_of = {word: number for number, word in enumerate(spelled)}
        if missing := [word for word in SPECIAL_WORDS if word not in id_of]:
            raise LanguageModelError(f"{path.name} lacks the word {missing[0]}.")
        listed = id_of.keys() & set(known) if known else id_of.keys()
        words = [*SPECIAL_WORDS, *sorted(set(listed) - set(SPECIAL_WORDS))]
        ids = np.array([id_of[word] for word in words], np.uint32)
        mapped = data[: end // 4 * 4]
        return cls(words, ids, order, mapped.view("<u4"), mapped.view("<f4"), places)

    @property
    def begin(self) -> State:
        """The state at the beginning of a sentence."""
        return (int(self.ids[SPECIAL_WORDS.index("<s>")]),)

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def word_number(self, word: str) -> int:
        """The number of a word, or UNKNOWN if it is not in the vocabulary."""
        return self._number_of.get(word, UNKNOWN)

    def score(self, state: State, word: int) -> tuple[float, State]:
        """Log-probability of a word in a state, in nats, and the state after the word."""
        tables, start = self.search(state)
        log_prob, after = kernel.score_word(tables, start, word)
        return float(log_prob), _state(tables, after)

    def state_after(self, words: Iterable[str], state: State | None = None) -> State:
        """The state after some more words, from `state` on, or from the beginning of a sentence if it is None."""
        tables, place = self.search(state)
        for word in words:
            _, place = kernel.score_word(tables, place, self.word_number(word))
        return _state(tables, place)

    def search(self, state: State | None = None) -> tuple[WordTables, int]:
        """The tables for one search, which keep the contexts that it meets, and the place of its first state."""
        contexts = np.zeros((MAX_CONTEXTS, self.order - 1), np.int64)
        context = self.begin if state is None else state
        contexts[kernel.FIRST_CONTEXT, : len(context)] = np.array(context, np.int64) + 1
        index = np.full(2 * MAX_CONTEXTS, kernel.NONE, np.int32)
        count = np.array([kernel.FIRST_CONTEXT + 1], np.int32)
        tables = self._tables._replace(contexts=contexts, context_index=index, context_count=count)
        return tables, kernel.FIRST_CONTEXT

    @cached_property
    def _tables(self) -> WordTables:
        log_probs = -np.abs(self.floats[self.places[0, 0] + 2 * self.ids.astype(np.int64)]) * LN_10
        tree = PrefixTree.build(
            self.words[len(SPECIAL_WORDS) :], log_probs[len(SPECIAL_WORDS) :], first_number=len(SPECIAL_WORDS)
        )
        letters = (tree.first_child, tree.character, tree.word)
        return WordTables(
            *NO_TRIE,
            *(np.array(column, np.int32) for column in letters),
            np.array(tree.best, np.float32),
            self.ids, self.ints, self.floats, self.places, *NO_CONTEXTS,
        )  # fmt: skip


def _state(tables: WordTables, place: int) -> State:
    context = tables.contexts[place]
    return tuple((context[context > 0] - 1).tolist())


def is_kenlm(path: Path) -> bool:
    """Whether a file begins as KenLM's binaries do. Raises LanguageModelError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise LanguageModelError(f"{path.name} cannot be read ({reason(error)}).") from error


def _layout(data: np.ndarray, name: str) -> tuple[int, np.ndarray, int, int]:
    """The order, the places of the tables as in KenlmModel, the end of the last one in bytes, the number of words."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise LanguageModelError(f"{name} is not a binary of KenLM.")
    if bytes(data[len(MAGIC) :][: len(VERSION)]) != VERSION or len(data) < SANITY_BYTES + HEADER.itemsize + 8 * 6:
        raise LanguageModelError(f"{name} was written by another version of KenLM: build it again from its ARPA file.")
    header = data[SANITY_BYTES:][: HEADER.itemsize].view(HEADER)[0]
    if header["kind"] != PROBING:
        raise LanguageModelError(
            f"{name} is a KenLM model of another type than probing, which is the only one that can be read here: "
            "convert it with KenLM's `build_binary probing model.arpa model.bin`, or give the ARPA file."
        )
    order, multiplier = int(header["order"]), np.float32(header["multiplier"])
    if not ORDERS[0] <= order <= ORDERS[1] or not 1 <= multiplier <= 1000:
        raise LanguageModelError(f"{name} is damaged: its header announces n-grams of order {order}.")
    if not header["has_words"]:
        raise LanguageModelError(f"{name} holds no words: build it again with KenLM, without its flag -i.")
    start = SANITY_BYTES + HEADER.itemsize
    counts = [int(count) for count in data[start:][: 8 * order].view("<u8")]
    if sum(counts) * 8 > len(data):
        raise LanguageModelError(f"{name} is cut off: it announces {sum(counts)} n-grams; fetch it again.")
    buckets = [max(count + 1, int(multiplier * np.float32(count))) for count in counts]
    at = -(-(start + 8 * order) // 8) * 8
    bound = int(data[at + 4 :][:4].view("<u4")[0])
    at += 8 + WORD_BYTES * buckets[0]
    places = [(at // 4, counts[0] + 1)]
    at += UNIGRAM_BYTES * (counts[0] + 1)
    for n in range(1, order):
        places.append((at // 4, buckets[n]))
        at += (LONGEST_BYTES if n + 1 == order else MIDDLE_BYTES) * buckets[n]
    if at >= len(data):
        raise LanguageModelError(f"{name} is cut off: it has {len(data)} bytes and needs more than {at}.")
    if not 3 <= bound <= counts[0] + 1:
        raise LanguageModelError(f"{name} is damaged: it announces {bound} words and {counts[0]} unigrams.")
    return order, np.array(places, np.int64), at, bound
