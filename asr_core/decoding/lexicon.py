"""The lexicon: pronunciations of words, and rescoring of hypotheses by the probability of their phones.

A Conformer with an inner head for phones (see `asr_core.models.conformer`) predicts letters and phones. English
spelling is a poor guide to pronunciation: "know" and "no" differ in their letters and agree in their phones. So a beam
search over letters finds the n-best list, which is then rescored with the CTC probability of each pronunciation: the
sum over all paths through the phones that collapse to it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from asr_core.ctc import log_probabilities
from asr_core.errors import BundleError, reason

FORMAT = "pronunciations"
FORMAT_VERSION = "1"
PHONES_PER_LETTER = 0.85  # in words that are not in the lexicon
UNKNOWN_PHONE = 0.3  # probability of an unknown phone, as a fraction of that of the most probable phone


@dataclass(frozen=True, eq=False)
class Pronunciations:
    """The phones of words, numbered from 1: 0 is the blank of the network's head for phones.

    Attributes:
        words: those of a language model, in any order.
        lengths: uint8 [words], number of phones of each word; 0 where its pronunciation is unknown.
        phones: uint8 [sum of lengths], word after word.
    """

    words: Sequence[str]
    lengths: np.ndarray
    phones: np.ndarray

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
        log_probs = log_probs.astype(np.float32)
        any_phone = log_probs[:, 1:].max(axis=1, keepdims=True) + np.log(UNKNOWN_PHONE)
        unknown = log_probs.shape[1]
        log_probs = np.concatenate([log_probs, any_phone], axis=1)
        return log_probabilities(log_probs, [self.spell(text, unknown) for text in texts], wildcard=unknown)

    def save(self, path: str | PathLike) -> None:
        """Writes one safetensors file; the words themselves stay in the language model."""
        metadata = {"format": FORMAT, "version": FORMAT_VERSION, "words": _fingerprint(self.words)}
        Path(path).write_bytes(save({"lengths": self.lengths, "phones": self.phones}, metadata))

    @classmethod
    def load(cls, path: str | PathLike, words: Sequence[str], phones: int) -> "Pronunciations":
        """Reads what `save` wrote.

        Args:
            path: the file.
            words: of the language model that the file was written for.
            phones: number of phones, the blank included.

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
            found = cls(words, *arrays)
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
