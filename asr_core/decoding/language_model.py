"""A back-off n-gram model of words, for the beam search: the probability of the next word after the words before it.

An n-gram model lists the probabilities of some words after some contexts and backs off for the rest: the probability
of a word that is not listed after "of the" is its probability after "the" times a back-off weight, and so on down to
the unigram. The n-grams form one trie, in which the parent of an n-gram is its first n - 1 words. The node of the
longest known context is the *state* that the beam carries from word to word. The file holds the arrays of the trie,
which are mapped into memory.
"""

import json
import shutil
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from asr_core.decoding.arpa import NGrams, read_arpa
from asr_core.decoding.prefix_tree import PrefixTree
from asr_core.decoding.word_tables import NO_CONTEXTS, NO_FILE, WordTables
from asr_core.errors import LanguageModelError, reason
from asr_core.storage import replacing

FORMAT = "word-ngrams"
FORMAT_VERSION = "1"
DTYPES = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "F32": np.float32}
ARRAYS = ("word", "log_prob", "backoff", "children", "log_prob_values", "backoff_values")

UNKNOWN, SENTENCE_START, SENTENCE_END = range(3)
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")  # have the first word numbers; the others follow in order of code points
ROOT = 0  # the state without any context

MIN_LOG_PROB = -30.0  # nats; quantisation raises anything below, such as log10 p = -99, to this value
FILE_BYTES = 9_500_000  # of a saved file: the Hub requires Git LFS beyond 10 MB
LEVELS = 256  # values of a quantised column, which takes one byte an entry


@dataclass(frozen=True, eq=False)
class NGramModel:
    """A back-off n-gram model as a trie in flat arrays.

    Node 0 is the root, its children are the unigrams, their children the bigrams, and so on, order by order. The
    children of a node are adjacent, sorted by word. All nodes but those of the highest order are contexts.

    Attributes:
        words: the vocabulary, SPECIAL_WORDS first.
        counts: number of n-grams of each order.
        word: unsigned [nodes], the last word of each node; the root has 0.
        log_prob: natural logarithm of the probability of each node's last word after the others, float32
            [nodes], or uint8 indices into `log_prob_values`.
        backoff: natural logarithm of the back-off weight of each context, float32 [contexts], or uint8 indices
            into `backoff_values`.
        children: unsigned [contexts], number of children.
        log_prob_values, backoff_values: float32 [LEVELS], the values of a quantised column; None for one that is not
            quantised.
    """

    words: list[str]
    counts: tuple[int, ...]
    word: np.ndarray
    log_prob: np.ndarray
    backoff: np.ndarray
    children: np.ndarray
    log_prob_values: np.ndarray | None = None
    backoff_values: np.ndarray | None = None

    def __post_init__(self):
        _check(self)
        first_child = np.concatenate([[1], 1 + np.cumsum(self.children, dtype=np.int64)])
        object.__setattr__(self, "_first_child", first_child)
        object.__setattr__(self, "_shorter", self._shorter_contexts())

    @property
    def order(self) -> int:
        return len(self.counts)

    @property
    def begin(self) -> int:
        """The state at the beginning of a sentence."""
        return 1 + SENTENCE_START if self.order > 1 else ROOT

    def word_number(self, word: str) -> int:
        """The number of a word, or UNKNOWN if it is not in the vocabulary."""
        number = bisect_left(self.words, word, lo=len(SPECIAL_WORDS))
        return number if number < len(self.words) and self.words[number] == word else UNKNOWN

    def score(self, state: int, word: int) -> tuple[float, int]:
        """Log-probability of a word in a state, in nats, and the state after the word."""
        log_prob = 0.0
        while (node := self._child(state, word)) < 0:
            log_prob += _value(self.backoff, self.backoff_values, state)
            state = int(self._shorter[state])
        log_prob += _value(self.log_prob, self.log_prob_values, node)
        while not 0 <= node < len(self._shorter):  # not a context: drop its first words until it is one
            shorter = int(self._shorter[state])
            state, node = shorter, self._child(shorter, word) if state else ROOT
        return log_prob, node

    def state_after(self, words: Iterable[str], state: int | None = None) -> int:
        """The state after some more words, from `state` on, or from the beginning of a sentence if it is None."""
        state = self.begin if state is None else state
        for word in words:
            _, state = self.score(state, self.word_number(word))
        return state

    def most_frequent(self, count: int) -> list[str]:
        """The `count` words with the highest unigram probabilities, in descending order."""
        order = np.argsort(-self.unigram_log_probs[len(SPECIAL_WORDS) :], kind="stable")[:count]
        return [self.words[len(SPECIAL_WORDS) + index] for index in order]

    @cached_property
    def prefixes(self) -> PrefixTree:
        """The prefixes of all words, each with the log-probability of the most frequent word that begins with it."""
        first = len(SPECIAL_WORDS)
        return PrefixTree.build(self.words[first:], self.unigram_log_probs[first:], first_number=first)

    @cached_property
    def tables(self) -> WordTables:
        """The model for the beam: a copy without quantisation, made at first use."""
        tree = self.prefixes
        values = {"log_prob": self.log_prob_values, "backoff": self.backoff_values}
        log_prob, backoff = (
            getattr(self, name) if values[name] is None else values[name][getattr(self, name)] for name in values
        )
        columns = (self._first_child, self.word, log_prob, backoff, self._shorter)
        columns += (tree.first_child, tree.character, tree.word, tree.best)
        kinds = [np.float32 if np.asarray(column).dtype.kind == "f" else np.int32 for column in columns]
        arrays = (np.array(column, kind) for column, kind in zip(columns, kinds, strict=True))
        return WordTables(*arrays, *NO_FILE, *NO_CONTEXTS)

    def search(self, state: int | None = None) -> tuple[WordTables, int]:
        """The tables for one search and its first state, which is that of the beginning of a sentence if it is None."""
        return self.tables, self.begin if state is None else state

    @property
    def unigram_log_probs(self) -> np.ndarray:
        """Log-probability of each word without any context, in nats: float32 [words]."""
        column = self.log_prob[1 : 1 + len(self.words)]
        return column if self.log_prob_values is None else self.log_prob_values[column]

    def _child(self, state: int, word: int) -> int:
        """The node of a word below a state, or -1."""
        first, last = int(self._first_child[state]), int(self._first_child[state + 1])
        node = first + word if state == ROOT else bisect_left(self.word, word, first, last)
        return node if node < last and self.word[node] == word else -1

    def _shorter_contexts(self) -> np.ndarray:
        """For every context, the longest known context without its first word: int64 [contexts]."""
        contexts = len(self.children)
        shorter = np.zeros(contexts, np.int64)
        parents = np.repeat(np.arange(contexts), self.children)  # of the nodes from 1 on
        keys = parents * len(self.words) + self.word[1:]  # ascending: the tree is sorted
        start = 1 + self.counts[0]
        for count in self.counts[1:-1]:
            nodes = np.arange(start, start + count)
            candidates = shorter[parents[nodes - 1]]  # contexts that may have a node's last word as a child
            shorter[nodes] = 1 + self.word[nodes]  # the unigram, which is right where the candidate is the root
            pending = candidates != ROOT
            while pending.any():
                wanted = candidates[pending] * len(self.words) + self.word[nodes[pending]]
                found = np.searchsorted(keys, wanted)
                hit = np.append(keys, -1)[found] == wanted
                shorter[nodes[pending][hit]] = found[hit] + 1
                candidates = shorter[candidates]
                pending[pending] = ~hit
                pending &= candidates != ROOT
            start += count
        return shorter

    @classmethod
    def from_ngrams(cls, words: list[str], orders: list[NGrams]) -> "NGramModel":
        """Builds the trie from one table of n-grams for each order, whose words are indices into `words`.

        Raises:
            LanguageModelError: an n-gram is listed twice, or without the n-gram of its first words.
        """
        while len(orders) > 1 and not len(orders[-1].words):
            orders = orders[:-1]
        listed = [*SPECIAL_WORDS, *sorted(set(words) - set(SPECIAL_WORDS))]
        number = {word: index for index, word in enumerate(listed)}
        renumber = np.array([number[word] for word in words], np.int64)

        unigrams = NGrams(
            np.arange(len(listed))[:, None],
            np.full(len(listed), MIN_LOG_PROB, np.float32),
            np.zeros(len(listed), np.float32),
        )
        unigrams.log_probs[renumber[orders[0].words[:, 0]]] = orders[0].log_probs
        unigrams.backoffs[renumber[orders[0].words[:, 0]]] = orders[0].backoffs
        keys = [np.arange(len(listed))]  # of each order, ascending: index of the context, then the last word
        levels = [unigrams]
        children = [np.array([len(listed)])]
        for order, table in enumerate(orders[1:], 2):
            numbers = renumber[table.words]
            contexts = _indices(keys, numbers[:, :-1], listed)
            key = contexts * len(listed) + numbers[:, -1]
            ranks = np.argsort(key, kind="stable")
            keys.append(key[ranks])
            if (np.diff(keys[-1]) == 0).any():
                raise LanguageModelError(f"The language model has a {order}-gram twice.")
            levels.append(NGrams(numbers[ranks], table.log_probs[ranks], table.backoffs[ranks]))
            children.append(np.bincount(contexts, minlength=len(keys[-2])))
        return cls(
            listed,
            tuple(len(level.words) for level in levels),
            _compact(np.concatenate([[0], *(level.words[:, -1] for level in levels)])),
            np.concatenate([[0], *(level.log_probs for level in levels)], dtype=np.float32),
            np.concatenate([[0], *(level.backoffs for level in levels[:-1])], dtype=np.float32),
            _compact(np.concatenate(children)),
        )

    @classmethod
    def from_arpa(cls, path: str | PathLike) -> "NGramModel":
        """Reads an ARPA file, plain or gzipped; words become lower case unless that makes two of them equal.

        Raises:
            LanguageModelError: the file is missing or damaged.
        """
        words, orders = read_arpa(Path(path))
        lower = [word if word in SPECIAL_WORDS else word.lower() for word in words]
        return cls.from_ngrams(lower if len(set(lower)) == len(words) else words, orders)

    def quantised(self, levels: int = LEVELS) -> "NGramModel":
        """The same model with one byte for each probability and back-off weight."""
        if self.log_prob_values is not None:
            return self
        log_prob, log_prob_values = _quantise(np.maximum(self.log_prob, MIN_LOG_PROB), levels)
        backoff, backoff_values = _quantise(self.backoff, levels)
        return replace(
            self,
            log_prob=log_prob,
            backoff=backoff,
            log_prob_values=log_prob_values,
            backoff_values=backoff_values,
        )

    def save(self, path: str | PathLike) -> list[Path]:
        """Writes the model, words included, as one safetensors file, or as several of at most FILE_BYTES each.

        An array is never divided; one that is larger makes a larger file. Returns the paths: the second and further
        files have the name of the first and a number. Further files of an earlier model at this path are deleted.
        """
        arrays = {field: getattr(self, field) for field in ARRAYS if getattr(self, field) is not None}
        arrays["words"] = np.frombuffer("\n".join(self.words).encode(), np.uint8)
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        counts = " ".join(map(str, self.counts))
        metadata = {"format": FORMAT, "version": FORMAT_VERSION, "counts": counts}
        parts: list[dict[str, np.ndarray]] = [{}]
        for name, array in sorted(arrays.items(), key=lambda entry: -entry[1].nbytes):
            roomy = (part for part in parts if _bytes(part) + array.nbytes <= FILE_BYTES)
            part = next(roomy, None) if _bytes(parts[0]) else parts[0]
            if part is None:
                parts.append(part := {})
            part[name] = array
        paths = [Path(path), *(_part(Path(path), number) for number in range(2, len(parts) + 1))]
        for file, part in zip(paths, parts, strict=True):
            with replacing(file) as partial:
                partial.write_bytes(save(part, metadata))
        for stale in files_of(paths[0])[len(paths) :]:
            stale.unlink()
        return paths

    @classmethod
    def load(cls, path: str | PathLike) -> "NGramModel":
        """Maps a saved model into memory, all its files, and checks that it is complete.

        Raises:
            LanguageModelError: a file is missing, damaged, or not written by `save`.
        """
        path = Path(path)
        try:
            arrays, metadata = {}, {}
            for file in files_of(path):
                part, metadata = _tensors(file)
                arrays |= part
            if metadata.get("format") != FORMAT or metadata.get("version") != FORMAT_VERSION:
                raise ValueError("its metadata describes something else")
            words = bytes(arrays.pop("words")).decode().split("\n")
            counts = tuple(map(int, metadata["counts"].split()))
            model = cls(words, counts, **arrays)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise LanguageModelError(
                f"{path.name} is not a language model of this program ({reason(error)})."
            ) from None
        return model


def files_of(path: Path) -> list[Path]:
    """All files of a model that `NGramModel.save` wrote: `path`, then the numbered files beside it."""
    files = [path]
    while (following := _part(path, len(files) + 1)).is_file():
        files.append(following)
    return files


def copy_model(source: Path, target: Path) -> list[Path]:
    """Copies all files of a saved model, byte for byte; returns the paths of the copies."""
    files = files_of(source)
    copies = [target, *(_part(target, number) for number in range(2, len(files) + 1))]
    for file, copy in zip(files, copies, strict=True):
        shutil.copyfile(file, copy)
    return copies


def _part(path: Path, number: int) -> Path:
    """The path of the second and further files of a model."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def _bytes(arrays: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays.values())


def _value(column: np.ndarray, values: np.ndarray | None, index: int) -> float:
    """An entry of a column, quantised or not."""
    return float(column[index] if values is None else values[column[index]])


def _indices(keys: list[np.ndarray], numbers: np.ndarray, words: list[str]) -> np.ndarray:
    """The indices of the n-grams `numbers` [count, n] among all n-grams of their order."""
    indices = numbers[:, 0]
    for depth in range(1, numbers.shape[1]):
        wanted = indices * len(words) + numbers[:, depth]
        indices = np.searchsorted(keys[depth], wanted)
        known = np.append(keys[depth], -1)[indices] == wanted
        if not known.all():
            missing = " ".join(words[number] for number in numbers[np.argmin(known)])
            raise LanguageModelError(
                f"The language model has n-grams that begin with {missing!r}, but not that n-gram."
            )
    return indices


def _compact(array: np.ndarray) -> np.ndarray:
    """The array in the smallest unsigned type that holds its values."""
    return array.astype(np.min_scalar_type(int(array.max(initial=0))))


def _quantise(column: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Uint8 indices, and the evenly spaced values that they stand for.

    One of the values is 0, so that contexts without a back-off weight keep none.
    """
    low, high = float(column.min()), float(max(column.max(), 0))
    step = max((high - low) / (levels - 2), 1e-6)
    values = ((np.arange(LEVELS) - np.ceil(-low / step)) * step).astype(np.float32)
    return np.searchsorted(values, column - step / 2).astype(np.uint8), values


def _tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file, as views of the mapped file, and its metadata."""
    with safe_open(path, framework="numpy") as file:  # checks the header against the file
        metadata = file.metadata() or {}
    with open(path, "rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    data = np.asarray(np.memmap(path, np.uint8, "r", offset=8 + header_bytes))
    header.pop("__metadata__", None)
    arrays = {}
    for name, tensor in header.items():
        if name not in ("words", *ARRAYS) or len(tensor["shape"]) != 1:
            raise ValueError(f"it holds {name[:40]!r}")
        start, end = tensor["data_offsets"]
        arrays[name] = data[start:end].view(DTYPES[tensor["dtype"]])
    return arrays, metadata


def _check(model: NGramModel) -> None:
    """Raises ValueError unless the arrays form a trie that can be searched without further checks."""
    counts, words = model.counts, model.words
    nodes, contexts = 1 + sum(counts), 1 + sum(counts[:-1])
    lengths = [len(words), len(model.word), len(model.log_prob), len(model.backoff), len(model.children)]
    if not counts or min(counts) < 1 or lengths != [counts[0], nodes, nodes, contexts, contexts]:
        raise ValueError("its parts do not have the lengths that it announces")
    if tuple(words[: len(SPECIAL_WORDS)]) != SPECIAL_WORDS:
        raise ValueError(f"its words do not begin with {' '.join(SPECIAL_WORDS)}")
    if any(a >= b for a, b in pairwise(words[len(SPECIAL_WORDS) :])):
        raise ValueError("its words are not in order")
    starts = np.cumsum([0, 1, *counts])[: len(counts)]  # of each order's contexts
    if np.add.reduceat(model.children, starts, dtype=np.int64).tolist() != list(counts):
        raise ValueError("its n-grams do not add up")
    if model.word.dtype.kind != "u" or model.children.dtype.kind != "u":
        raise ValueError("its n-grams are stored in an unknown way")
    parents = np.repeat(np.arange(contexts), model.children)
    if model.word.max() >= len(words) or (np.diff(parents * len(words) + model.word[1:]) <= 0).any():
        raise ValueError("its n-grams are not in order")
    for column, values in (model.log_prob, model.log_prob_values), (model.backoff, model.backoff_values):
        if (values is None) != (column.dtype == np.float32) or (values is not None and len(values) != LEVELS):
            raise ValueError("its probabilities are stored in an unknown way")
        if not np.isfinite(column if values is None else values).all():
            raise ValueError("its probabilities are not numbers")
