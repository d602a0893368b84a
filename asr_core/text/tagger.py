"""Punctuation and capitals of spoken words, by a small convolutional network in NumPy.

The tagger stands between recognition and the written form of a transcript: for every spoken word it predicts the
punctuation mark that follows the word and the case of its letters. Its inputs are the words themselves and, where
known, the pauses around them, their pace and their confidence. It is trained by `train.punctuation`.

A tag depends on LEFT_CONTEXT_WORDS words before and RIGHT_CONTEXT_WORDS words after its word and on nothing else, so
that a stream of words is tagged at constant cost and a tag with enough words after it is final.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from asr_core.blas import one_thread
from asr_core.errors import BundleError, reason
from asr_core.storage import read_tensors
from asr_core.text.word_features import (
    LETTER_FEATURES,
    RARE_CLASSES,
    TIMING_FEATURES,
    WordNumbers,
    columns_of,
    letter_hashes,
    timing_features,
)

PUNCTUATION = ("", ",", ".", "?")  # classes of the network, in its order
CAPITALS = ("lower", "first", "upper")
STOPS = (".", "?")  # end a sentence

# Words whose features each layer combines, relative to the word itself; their sums are the context of a tag.
LAYER_OFFSETS = ((-2, -1, 0, 1, 2), (-4, -2, 0, 1, 2), (-8, -4, 0, 1, 2), (-14, -7, 0, 1, 2))
LEFT_CONTEXT_WORDS = -sum(min(offsets) for offsets in LAYER_OFFSETS) + 1  # and the word before that, for its pause
RIGHT_CONTEXT_WORDS = sum(max(offsets) for offsets in LAYER_OFFSETS) + 1  # likewise

FORMAT = "tagger"
FORMAT_VERSION = "1"
MAX_FILE_BYTES = 32 << 20
CHUNK_WORDS = 1024  # of a long text in one run of the network: bounds its memory
SCALE = ".scale"  # suffix of the name of the scale of a quantised matrix: one factor for each column


@dataclass(frozen=True)
class Tag:
    """How a spoken word is written.

    Attributes:
        punctuation: the mark that follows the word: "", ",", "." or "?".
        capital: "lower", "first" (letter in upper case), or "upper" (all letters, as in acronyms).
    """

    punctuation: str
    capital: str


class Tagger:
    """Tags spoken words; safe to use from many threads.

    Args:
        numbers: of the words.
        weights: by name; float32. "words" [numbers, width], "letters" [buckets, width of letters], "input/kernel",
            "input/bias", for each layer "layer0/kernel", "layer0/bias", ..., and "output/kernel", "output/bias".
        language: of the texts that it was trained on, such as "en".
        spellings: written forms of words with capitals inside, such as "mcdonald" -> "McDonald".
    """

    def __init__(self, numbers: WordNumbers, weights: dict[str, np.ndarray], language: str, spellings: dict[str, str]):
        _check_shapes(weights, len(numbers))
        self.language = language
        self._numbers, self._weights, self._spellings = numbers, weights, spellings
        self._known: dict[str, tuple] = {}  # word -> its features: words of a text repeat

    @classmethod
    def load(cls, path: str | PathLike) -> "Tagger":
        """Reads a `tagger.safetensors`.

        Raises:
            BundleError: the file is missing, damaged, or no tagger.
        """
        from safetensors import SafetensorError

        try:
            tensors, metadata = read_tensors(path, FORMAT, FORMAT_VERSION, MAX_FILE_BYTES)
            numbers = _read_numbers(tensors)
            spellings = _read_spellings(metadata.get("spellings", "{}"))
            return cls(numbers, _dequantised(tensors), metadata.get("language", ""), spellings)
        except (OSError, ValueError, KeyError, RecursionError, SafetensorError) as error:
            raise BundleError(f"{Path(path).name} holds no tagger ({reason(error)}).") from None

    def __call__(self, words: Sequence, finished: bool = True) -> list[Tag]:
        """The tags of a text.

        Args:
            words: spoken words in order, each with `text` (a-z and apostrophes), `start` and `end` (seconds) and
                `confidence` (0 to 1). Start, end and confidence may be None.
            finished: whether the text ends here, so that its last word is followed by a full stop or question mark.
                If not, what follows the last word is not known, and no mark does.

        Returns:
            One tag for each word.
        """
        tags = self.tags(self.log_probabilities(words), finished=finished)
        return tags if finished else _unmarked(tags)

    def log_probabilities(self, words: Sequence) -> np.ndarray:
        """Log-probabilities of the tags, without the rules of `tags`.

        Returns:
            float32 [words, 7]: those of PUNCTUATION, then those of CAPITALS for a word inside a sentence.
        """
        numbers, letters = self._word_columns(words)
        timing = timing_features(*columns_of(words))
        parts = []
        for first in range(0, len(words), CHUNK_WORDS):
            last = min(first + CHUNK_WORDS, len(words))
            begin, end = max(0, first - LEFT_CONTEXT_WORDS), min(len(words), last + RIGHT_CONTEXT_WORDS)
            with one_thread():
                logits = self.logits(numbers[begin:end], letters[begin:end], timing[begin:end])
            parts.append(logits[first - begin : last - begin])
        logits = np.concatenate(parts) if parts else np.zeros((0, len(PUNCTUATION) + len(CAPITALS)), np.float32)
        marks = len(PUNCTUATION)
        return np.concatenate([_log_softmax(logits[:, :marks]), _log_softmax(logits[:, marks:])], axis=1)

    def tags(self, log_probs: np.ndarray, after: str = ".", finished: bool = True) -> list[Tag]:
        """The most probable tags: a sentence begins with a capital, and a finished text ends with a stop.

        Args:
            log_probs: as `log_probabilities` gives them.
            after: the punctuation before the first word; "." at the start of a text.
            finished: as for `__call__`.
        """
        marks = log_probs[:, : len(PUNCTUATION)]
        punctuation = [PUNCTUATION[best] for best in choose_marks(marks).tolist()]
        if finished and punctuation and punctuation[-1] not in STOPS:
            punctuation[-1] = max(STOPS, key=lambda mark: marks[-1, PUNCTUATION.index(mark)])
        capitals = [CAPITALS[best] for best in log_probs[:, len(PUNCTUATION) :].argmax(axis=1).tolist()]
        tags = []
        for mark, capital in zip(punctuation, capitals, strict=True):
            if after in STOPS and capital == "lower":
                capital = "first"
            tags.append(Tag(mark, capital))
            after = mark
        return tags

    def stream(self) -> "TagStream":
        """A new stream of words whose tags become final as words follow."""
        return TagStream(self)

    def write(self, text: str, tag: Tag) -> str:
        """A spoken word with its capitals and without its punctuation, such as "McDonald" for "mcdonald"."""
        if tag.capital == "lower":
            return text
        if tag.capital == "upper":
            return text[:-2].upper() + "'s" if text.endswith("'s") else text.upper()
        word, possessive = (text[:-2], "'s") if text.endswith("'s") else (text, "")
        if word in self._spellings:
            return self._spellings[word] + possessive
        first = len(text) - len(text.lstrip("'"))
        return text[: first + 1].upper() + text[first + 1 :]

    def _word_columns(self, words: Sequence) -> tuple[np.ndarray, np.ndarray]:
        """Numbers [words] and letter hashes [words, LETTER_FEATURES] of words."""
        if len(self._known) > 100_000:
            self._known = {}
        known, buckets = self._known, len(self._weights["letters"])
        rows = []
        for word in words:
            row = known.get(word.text)
            if row is None:
                row = known[word.text] = (self._numbers(word.text), *letter_hashes(word.text, buckets))
            rows.append(row)
        table = np.array(rows, np.int64).reshape(-1, 1 + LETTER_FEATURES)
        return table[:, 0], table[:, 1:]

    def logits(self, numbers: np.ndarray, letters: np.ndarray, timing: np.ndarray) -> np.ndarray:
        """The network.

        Args:
            numbers: of the words: [words].
            letters: their letter hashes: [words, LETTER_FEATURES].
            timing: their timing features: float32 [words, TIMING_FEATURES].

        Returns:
            Logits float32 [words, 7].
        """
        weights = self._weights
        inputs = [weights["words"][numbers], weights["letters"][letters].sum(axis=1), timing]
        x = np.concatenate(inputs, axis=1) @ weights["input/kernel"] + weights["input/bias"]
        for layer, offsets in enumerate(LAYER_OFFSETS):
            gated = _beside(x, offsets) @ weights[f"layer{layer}/kernel"] + weights[f"layer{layer}/bias"]
            values, gates = np.split(gated, 2, axis=1)
            x += values * (0.5 + 0.5 * np.tanh(0.5 * gates))  # sigmoid without overflow
        return x @ weights["output/kernel"] + weights["output/bias"]


class TagStream:
    """Tags words that arrive one after the other. Each call costs the same, however long the stream is.

    Args:
        tagger: of the words.
    """

    def __init__(self, tagger: Tagger):
        self._tagger = tagger
        self._words: list = []  # the context of the words whose tags are to come, then these words
        self._tagged = 0  # of `_words`
        self._after = "."  # punctuation before the first word whose tag is to come

    def add(self, words: Sequence) -> list[Tag]:
        """Appends words that will not change; returns the tags that are final by now, in order.

        A tag is final when RIGHT_CONTEXT_WORDS words follow its word. Over the whole stream `add` and `finish`
        return one tag for each word, the same as `Tagger.__call__` for all words at once.
        """
        self._words += words
        return self._release(len(self._words) - RIGHT_CONTEXT_WORDS, finished=False)

    def preview(self, words: Sequence = ()) -> list[Tag]:
        """Tags that are not final: of the words added whose tags are still to come, then of `words`.

        Args:
            words: a partial hypothesis that follows the added words. It is not kept.
        """
        log_probs = self._tagger.log_probabilities([*self._words, *words])[self._tagged :]
        return _unmarked(self._tagger.tags(log_probs, self._after, finished=False))

    def finish(self) -> list[Tag]:
        """The tags still to come: the text ends here. The stream is then empty and starts a new text."""
        tags = self._release(len(self._words), finished=True)
        self._words, self._tagged, self._after = [], 0, "."
        return tags

    def _release(self, end: int, finished: bool) -> list[Tag]:
        """The tags of the words before `end` that have not been returned."""
        if end <= self._tagged:
            return []
        log_probs = self._tagger.log_probabilities(self._words)[self._tagged : end]
        tags = self._tagger.tags(log_probs, self._after, finished)
        self._after, self._tagged = tags[-1].punctuation, end
        surplus = max(0, end - LEFT_CONTEXT_WORDS)
        del self._words[:surplus]
        self._tagged -= surplus
        return tags


def choose_marks(scores: np.ndarray) -> np.ndarray:
    """The mark of each word: first whether a sentence ends, since both stops together say so, then which stop.

    Args:
        scores: log-probabilities of PUNCTUATION, or logits: [words, 4].

    Returns:
        Places in PUNCTUATION: int64 [words].
    """
    stop = PUNCTUATION.index(STOPS[0])
    ends = np.logaddexp(scores[:, stop], scores[:, stop + 1])
    best = np.column_stack([scores[:, :stop], ends]).argmax(axis=1)
    return best + ((best == stop) & (scores[:, stop + 1] > scores[:, stop]))


def _unmarked(tags: list[Tag]) -> list[Tag]:
    """The tags without the mark after the last word."""
    return [*tags[:-1], *(Tag("", tag.capital) for tag in tags[-1:])]


def _beside(x: np.ndarray, offsets: Sequence[int]) -> np.ndarray:
    """The features of the words at `offsets` from each word, zeros outside the text: [words, offsets * width]."""
    count, width = x.shape
    out = np.zeros((count, len(offsets), width), np.float32)
    for place, offset in enumerate(offsets):
        first, last = max(0, -offset), max(0, count - max(0, offset))
        if first < last:
            out[first:last, place] = x[first + offset : last + offset]
    return out.reshape(count, -1)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def weight_shapes(numbers: int, width: int, letter_width: int, buckets: int, channels: int) -> dict[str, tuple]:
    """The shapes of the weights of a tagger by name. Arguments are the sizes as `Tagger` names them."""
    shapes = {
        "words": (numbers, width),
        "letters": (buckets, letter_width),
        "input/kernel": (width + letter_width + TIMING_FEATURES, channels),
        "input/bias": (channels,),
        "output/kernel": (channels, len(PUNCTUATION) + len(CAPITALS)),
        "output/bias": (len(PUNCTUATION) + len(CAPITALS),),
    }
    for layer, offsets in enumerate(LAYER_OFFSETS):
        shapes[f"layer{layer}/kernel"] = (len(offsets) * channels, 2 * channels)
        shapes[f"layer{layer}/bias"] = (2 * channels,)
    return shapes


def _check_shapes(weights: dict[str, np.ndarray], numbers: int) -> None:
    """Raises ValueError unless the weights are those of one network, finite everywhere."""
    for name in ("words", "letters", "input/kernel"):
        if name not in weights or weights[name].ndim != 2 or not weights[name].size:
            raise ValueError(f"its weight {name} is missing or no matrix")
    (buckets, letter_width), width = weights["letters"].shape, weights["words"].shape[1]
    shapes = weight_shapes(numbers, width, letter_width, buckets, weights["input/kernel"].shape[1])
    if weights.keys() != shapes.keys():
        raise ValueError(f"its weights are not those of a tagger, {sorted(weights.keys() ^ shapes.keys())[0]} for one")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(f"its weight {name} has shape {weights[name].shape} instead of {shape}")
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"its weight {name} is not finite everywhere")


def _read_numbers(tensors: dict[str, np.ndarray]) -> WordNumbers:
    """Takes the words out of the tensors of a file. Raises ValueError or KeyError for damaged ones."""
    text, hashes, classes = (tensors.pop(name) for name in ("vocabulary", "rare/hashes", "rare/classes"))
    if (text.dtype, hashes.dtype, classes.dtype) != (np.uint8, np.uint32, np.uint8) or text.ndim != 1:
        raise ValueError("its words are stored in an unknown way")
    if hashes.ndim != 1 or hashes.shape != classes.shape or (np.diff(hashes.astype(np.int64)) <= 0).any():
        raise ValueError("its rare words are not in order")
    if len(classes) and not 1 <= classes.min() <= classes.max() < RARE_CLASSES:
        raise ValueError(f"the classes of its rare words are not from 1 to {RARE_CLASSES - 1}")
    return WordNumbers(text.tobytes().decode().split("\n"), hashes, classes)


def _read_spellings(text: str) -> dict[str, str]:
    spellings = json.loads(text)
    good = isinstance(spellings, dict) and all(
        isinstance(form, str) and form.lower() == word for word, form in spellings.items()
    )
    if not good:
        raise ValueError("its spellings are not words with other capitals")
    return spellings


def _dequantised(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as float32. Raises ValueError where a matrix and its scale do not fit."""
    weights = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        scale = tensors.get(name + SCALE)
        if tensor.dtype == np.int8 and scale is not None and scale.shape == tensor.shape[-1:]:
            weights[name] = tensor.astype(np.float32) * scale.astype(np.float32)
        elif tensor.dtype in (np.float16, np.float32) and scale is None:
            weights[name] = tensor.astype(np.float32)
        else:
            raise ValueError(f"its weight {name} is stored in an unknown way")
    return weights
