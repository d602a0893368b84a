"""How words sound, and how well a text fits the sounds that the network hears.

A Conformer with an inner head for phones (see `asr_core.models.conformer`) says at every step which letter it hears,
and which sound. English letters are a poor guide to sounds: "know" and "no" are far apart in one alphabet and the same
in the other. So a beam search over letters first finds the likeliest texts, and each of these is then weighed by the
probability of its sounds, too: that of all paths through the phones that collapse to its pronunciation.
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
from asr_core.storage import unpacked

FORMAT = "pronunciations"
FORMAT_VERSION = "1"
PHONES_A_LETTER = 0.85  # in words whose sound is not known
ANY_PHONE = 0.3  # the likeliest phone times this is the probability of one that is not known


@dataclass(frozen=True, eq=False)
class Pronunciations:
    """The phones of words, numbered from 1: 0 is the blank of the head that names them.

    Attributes:
        words: in any order; those of a language model.
        lengths: uint8 [words], number of phones of each; 0 where it is not known how the word sounds.
        phones: uint8 [sum of lengths], word after word.
    """

    words: Sequence[str]
    lengths: np.ndarray
    phones: np.ndarray

    def __post_init__(self):
        ends = np.cumsum(self.lengths, dtype=np.int64)
        known = np.flatnonzero(self.lengths)
        of = {self.words[i]: self.phones[ends[i] - self.lengths[i] : ends[i]].tolist() for i in known.tolist()}
        object.__setattr__(self, "_of", of)

    @classmethod
    def build(cls, words: Sequence[str], phones_of: dict[str, Sequence[int]], known: set[str]) -> "Pronunciations":
        """Of a dictionary, those of `words` that are in `known`."""
        listed = [phones_of.get(word, ()) if word in known else () for word in words]
        lengths = np.array([len(phones) for phones in listed], np.uint8)
        return cls(words, lengths, np.array([phone for phones in listed for phone in phones], np.uint8))

    def spell(self, text: str, unknown: int) -> list[int]:
        """The phones of a normalised text; `unknown` for each phone of a word whose sound is not known."""
        phones: list[int] = []
        for word in text.split():
            phones += self._of.get(word) or [unknown] * max(1, round(PHONES_A_LETTER * len(word.replace("'", ""))))
        return phones

    def log_probabilities(self, heard: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """How probable the sounds of each text are, in nats: float64 [texts].

        Args:
            heard: log-probabilities of the phones, the blank first: float [steps, phones].
            texts: normalised.
        """
        heard = heard.astype(np.float32)
        any_phone = heard[:, 1:].max(axis=1, keepdims=True) + np.log(ANY_PHONE)
        unknown = heard.shape[1]
        heard = np.concatenate([heard, any_phone], axis=1)
        return log_probabilities(heard, [self.spell(text, unknown) for text in texts], wildcard=unknown)

    def save(self, path: str | PathLike) -> None:
        """Writes one safetensors file; the words themselves stay in the language model."""
        metadata = {"format": FORMAT, "version": FORMAT_VERSION, "words": _fingerprint(self.words)}
        Path(path).write_bytes(save({"lengths": self.lengths, "phones": self.phones}, metadata))

    @classmethod
    def load(cls, path: str | PathLike, words: Sequence[str], phones: int) -> "Pronunciations":
        """Reads what `save` wrote.

        Args:
            path: the file.
            words: of the language model that it was written for.
            phones: how many there are, the blank included.

        Raises:
            BundleError: it is missing, damaged, or made for other words.
        """
        try:
            with unpacked(Path(path)) as plain, safe_open(plain, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT or metadata.get("version") != FORMAT_VERSION:
                    raise ValueError("it says that it is something else")
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


def _check(words: Sequence[str], lengths: np.ndarray, of_words: np.ndarray, phones: int) -> None:
    """Raises ValueError unless lengths and phones belong to each other, to the words, and to the network."""
    if any(array.dtype != np.uint8 or array.ndim != 1 for array in (lengths, of_words)):
        raise ValueError("its numbers are stored in an unknown way")
    if len(lengths) != len(words) or int(lengths.sum(dtype=np.int64)) != len(of_words):
        raise ValueError("its parts do not have the lengths that they announce")
    if len(of_words) and not 1 <= of_words.min() <= of_words.max() < phones:
        raise ValueError(f"its phones are not from 1 to {phones - 1}")
