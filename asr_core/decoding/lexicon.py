"""The lexicon: pronunciations of words, and rescoring of hypotheses by the probability of their phones.

A Conformer with a second CTC head for phones (see `asr_core.models.conformer`) predicts letters and phones. English
spelling is a poor guide to pronunciation: "know" and "no" differ in their letters and agree in their phones. So a beam
search over letters finds the n-best list, which is then rescored with the CTC probability of each pronunciation: the
sum over all paths through the phones that collapse to it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from asr_core.ctc import log_probabilities
from asr_core.decoding.prefix_tree import MAX_WORD_CHARACTERS, NO_WORD, PrefixTree
from asr_core.errors import BundleError, reason
from asr_core.jit import compiled
from asr_core.text.vocabulary import BLANK

FORMAT = "pronunciations"
FORMAT_VERSION = "1"
PHONES_PER_LETTER = 0.85  # in words that are not in the lexicon
MAX_SCORE_DROP = 10.0  # nats by which the score of a similar word may be lower than that of the words in its place
MIN_SCORE = -35.0  # of a similar word, in nats; the best path of all phones has 0
UNKNOWN_FREQUENCY = -15.0  # weighted log-probability of a word without one
TINY = 1e-300  # a positive probability for texts that have none, so that it has a logarithm
FREQUENCY_WEIGHT = 0.9  # of the log-probability of a word, beside the log-probabilities of its phones
UNKNOWN_PHONE = 0.3  # probability of an unknown phone, as a fraction of that of the most probable phone


@dataclass(frozen=True, eq=False)
class Pronunciations:
    """The phones of words, numbered from 1: 0 is the blank of the network's head for phones.

    Attributes:
        words: those of a language model, in any order.
        lengths: uint8 [words], number of phones of each word; 0 where its pronunciation is unknown.
        phones: uint8 [sum of lengths], word after word.
        log_probs: float32 [words], log-probability of each word, in nats; None where all count as equally frequent.
    """

    words: Sequence[str]
    lengths: np.ndarray
    phones: np.ndarray
    log_probs: np.ndarray | None = None

    def __post_init__(self):
        ends = np.cumsum(self.lengths, dtype=np.int64)
        known = np.flatnonzero(self.lengths)
        phones_of = {self.words[i]: self.phones[ends[i] - self.lengths[i] : ends[i]].tolist() for i in known.tolist()}
        object.__setattr__(self, "_phones_of", phones_of)

    @classmethod
    def build(cls, words: Sequence[str], phones_of: dict[str, Sequence[int]], known: set[str]) -> "Pronunciations":
        """The pronunciations of `words` in a dictionary, for those that are in `known`."""
        listed = [phones_of.get(word, ()) if word in known else () for word in words]
        lengths = np.array([len(phones) for phones in listed], np.uint8)
        return cls(words, lengths, np.array([phone for phones in listed for phone in phones], np.uint8))

    def spell(self, text: str, unknown: int) -> list[int]:
        """The phones of a normalised text; `unknown` for each phone of a word that is not in the lexicon."""
        phones: list[int] = []
        for word in text.split():
            count = max(1, round(PHONES_PER_LETTER * len(word.replace("'", ""))))
            phones += self._phones_of.get(word) or [unknown] * count
        return phones

    def log_probabilities(self, log_probs: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """The CTC log-probability of each text's pronunciation, in nats: float64 [texts].

        Args:
            log_probs: of the phones, the blank first: float [steps, phones].
            texts: normalised.
        """
        unknown = log_probs.shape[1]
        phones = [self.spell(text, unknown) for text in texts]
        return log_probabilities(self.with_unknown(log_probs), phones, wildcard=unknown)

    @staticmethod
    def with_unknown(log_probs: np.ndarray) -> np.ndarray:
        """Log-probabilities of the phones with one column more, for an unknown phone: float32 [steps, phones + 1]."""
        any_phone = log_probs[:, 1:].max(axis=1, keepdims=True) + np.log(UNKNOWN_PHONE)
        return np.concatenate([log_probs, any_phone], axis=1, dtype=np.float32)

    def similar(self, probabilities: np.ndarray, words: Sequence[str], count: int) -> list[str]:
        """The words that fit some steps best, by the best path of their phones and by their frequency.

        Args:
            probabilities: of the phones, the blank first and the unknown one last, divided by that of the most probable
                phone of each step: float64 [steps, phones + 1].
            words: the words that are there now. A word whose score is more than MAX_SCORE_DROP lower is not returned.
            count: the largest number of pronunciations; homophones share one.
        """
        unknown = probabilities.shape[1] - 1
        phones = np.array(self.spell(" ".join(words), unknown), np.int64)
        present = np.log(max(sum_over_paths(probabilities, phones, unknown), TINY))
        present += sum(self._frequencies.get(word, UNKNOWN_FREQUENCY) for word in words)
        tree, scores, words_of = self._tree
        columns = tree.first_child, tree.character, tree.word, tree.best, scores
        log_probs = np.log(probabilities[:, :unknown]).astype(np.float32)
        found = best_entries(log_probs, *columns, max(present - MAX_SCORE_DROP, MIN_SCORE), count)
        return [word for number in found[found != NO_WORD].tolist() for word in words_of[number]]

    @cached_property
    def _frequencies(self) -> dict[str, float]:
        """The weighted log-probability of each word."""
        log_probs = np.zeros(len(self.words)) if self.log_probs is None else self.log_probs
        return dict(zip(self.words, (FREQUENCY_WEIGHT * log_probs).tolist(), strict=True))

    @cached_property
    def _tree(self) -> tuple[PrefixTree, np.ndarray, list[list[str]]]:
        """All pronunciations as a tree of phones; the score of the most frequent word of each, and its words."""
        words_of: dict[str, list[str]] = {}
        for word, phones in self._phones_of.items():
            words_of.setdefault("".join(map(chr, phones)), []).append(word)
        listed = sorted(words_of)
        scores = np.array([max(map(self._frequencies.__getitem__, words_of[phones])) for phones in listed], np.float32)
        return PrefixTree.build(listed, scores), scores, [words_of[phones] for phones in listed]

    def save(self, path: str | PathLike) -> None:
        """Writes one safetensors file; the words themselves stay in the language model."""
        metadata = {"format": FORMAT, "version": FORMAT_VERSION, "words": _fingerprint(self.words)}
        Path(path).write_bytes(save({"lengths": self.lengths, "phones": self.phones}, metadata))

    @classmethod
    def load(
        cls, path: str | PathLike, words: Sequence[str], phones: int, log_probs: np.ndarray | None = None
    ) -> "Pronunciations":
        """Reads what `save` wrote.

        Args:
            path: the file.
            words: of the language model that the file was written for.
            phones: number of phones, the blank included.
            log_probs: of the words.

        Raises:
            BundleError: the file is missing, damaged, or was written for other words.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT or metadata.get("version") != FORMAT_VERSION:
                    raise ValueError("its metadata describes something else")
                if metadata.get("words") != _fingerprint(words):
                    raise ValueError("it was made for another language model")
                arrays = file.get_tensor("lengths"), file.get_tensor("phones")
            _check(words, *arrays, phones)
            found = cls(words, *arrays, log_probs)
        except (OSError, ValueError, SafetensorError) as error:
            raise BundleError(f"{Path(path).name} holds no pronunciations for this model ({reason(error)}).") from None
        return found


def _fingerprint(words: Sequence[str]) -> str:
    return f"{zlib.crc32(chr(10).join(words).encode()):08x}"


def _check(words: Sequence[str], lengths: np.ndarray, phones: np.ndarray, phone_count: int) -> None:
    """Raises ValueError unless lengths and phones fit each other, the words, and the network's number of phones."""
    if any(array.dtype != np.uint8 or array.ndim != 1 for array in (lengths, phones)):
        raise ValueError("its numbers are stored in an unknown way")
    if len(lengths) != len(words) or int(lengths.sum(dtype=np.int64)) != len(phones):
        raise ValueError("its parts do not have the lengths that they announce")
    if len(phones) and not 1 <= phones.min() <= phones.max() < phone_count:
        raise ValueError(f"its phones are not from 1 to {phone_count - 1}")


@compiled
def best_entries(log_probs, first_child, phone, entry, highest_score, score, min_score, count):
    """The entries of a tree of pronunciations that fit some steps best: int64 [count], best first, then NO_WORD.

    The Viterbi algorithm of CTC (see `asr_core.forced_alignment`) visits the tree depth first, so that pronunciations
    share the work for their common first phones. A branch is pruned if its score would be too low even with the best
    path of all for the remaining steps, which has 0, and with the most frequent word of the branch.

    Args:
        log_probs: of the phones, the blank first, less that of the most probable phone: float32 [steps, phones].
        first_child, phone, entry: the tree (see `asr_core.decoding.prefix_tree.PrefixTree`).
        highest_score: of the entries at or below each node.
        score: of each entry.
        min_score: the lowest score of an entry to return, that of its phones included.
        count: the largest number of entries.
    """
    steps = len(log_probs)
    # For the node at each depth: log-probability of the best path, up to each step, that ends in blank or in its phone.
    blank = np.full((MAX_WORD_CHARACTERS + 1, steps + 1), -inf)
    spoken = np.full((MAX_WORD_CHARACTERS + 1, steps + 1), -inf)
    blank[0, 0] = 0.0
    for step in range(steps):
        blank[0, step + 1] = blank[0, step] + log_probs[step, BLANK]
    nodes = np.zeros(MAX_WORD_CHARACTERS + 1, np.int64)
    following = np.zeros(MAX_WORD_CHARACTERS + 1, np.int64)  # the next child to visit
    following[0] = first_child[0]
    scores, found = np.full(count, -inf), np.full(count, NO_WORD)
    depth = 0
    while depth >= 0:
        node, child = nodes[depth], following[depth]
        if child == first_child[node + 1]:
            depth -= 1
            continue
        following[depth] += 1
        token = np.int64(phone[child])
        repeats = depth > 0 and token == np.int64(phone[node])
        last_blank = last_spoken = highest = -inf
        for step in range(steps):
            before = blank[depth, step] if repeats else max(blank[depth, step], spoken[depth, step])
            last_blank = max(last_blank, last_spoken) + log_probs[step, BLANK]
            last_spoken = max(last_spoken, before) + log_probs[step, token]
            blank[depth + 1, step + 1], spoken[depth + 1, step + 1] = last_blank, last_spoken
            highest = max(highest, last_spoken)
        if highest + highest_score[child] < min_score:
            continue
        if entry[child] != NO_WORD:
            total = max(last_blank, last_spoken) + score[entry[child]]
            if total >= min_score and total > scores[count - 1]:
                at = count - 1
                while at > 0 and scores[at - 1] < total:
                    scores[at], found[at] = scores[at - 1], found[at - 1]
                    at -= 1
                scores[at], found[at] = total, entry[child]
                min_score = max(min_score, scores[count - 1])
        if first_child[child] < first_child[child + 1]:
            depth += 1
            nodes[depth], following[depth] = child, first_child[child]
    return found


@compiled
def sum_over_paths(probabilities, labels, wildcard):
    """The sum of the probabilities of all paths of a text: `asr_core.ctc.log_probabilities`, without logarithms.

    Args:
        probabilities: float64 [steps, labels], the blank first; so few steps that their product does not underflow.
        labels: int64 [n], those of the text.
        wildcard: the label that stands for any other; two of it in a row need no blank between them.
    """
    alpha = np.zeros(2 * len(labels) + 1)
    alpha[0] = 1.0  # before the first step, every path is in the first blank
    for step in range(len(probabilities)):
        for state in range(len(alpha) - 1, -1, -1):
            label = labels[state // 2] if state % 2 else BLANK
            total = alpha[state]
            if state > 0:
                total += alpha[state - 1]
            if state > 1 and label != BLANK and (label != labels[state // 2 - 1] or label == wildcard):
                total += alpha[state - 2]
            alpha[state] = total * probabilities[step, label]
    return alpha[-1] + (alpha[-2] if len(labels) else 0.0)
