"""Texts as an endless stream of word numbers, mixed by weight, for the recurrent language model.

Every block of the stream holds sentences of each text by its weight, in random order. It depends on its number and
the seed only, so that a run that was killed continues with the same words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.decoding.neural_language_model import SENTENCE_END, UNKNOWN
from train.data.sentences import TextSource
from train.neural_language_model.network import Batch

DRAWING_POWER = 0.75  # of the frequencies by which words are drawn: rare ones are drawn more often than they occur


@dataclass(frozen=True, eq=False)
class EncodedText:
    """The sentences of a text in random order.

    Attributes:
        weight: share of the words of a block.
        numbers: int32 [words], each sentence with SENTENCE_END after it.
        ends: int64 [sentences], the place after each sentence.
    """

    weight: float
    numbers: np.ndarray
    ends: np.ndarray

    def take(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Sentences with some `count` words, from the `first` word of the endlessly repeated text on.

        Returns:
            (numbers, lengths of the sentences).
        """
        total = len(self.numbers)
        parts, lengths = [], []
        while count > 0:
            begin = first % total
            end = min(begin + count, total)
            low, high = np.searchsorted(self.ends, (begin, end), side="right")
            ends = self.ends[low:high]
            if len(ends):
                start = int(self.ends[low - 1]) if low else 0
                parts.append(self.numbers[start : ends[-1]])
                lengths.append(np.diff(ends, prepend=start))
            first, count = first + end - begin, count - (end - begin)
        if not parts:
            return np.zeros(0, np.int32), np.zeros(0, np.int64)
        return np.concatenate(parts), np.concatenate(lengths)


def encode_text(source: TextSource, words: Sequence[str], weight: float, seed: int) -> EncodedText:
    """A text in word numbers, its sentences in random order. `words` are those of the model in its order."""
    number = {word: place for place, word in enumerate(words)}
    sentences = source.sentences
    order = np.random.default_rng(seed).permutation(len(sentences))
    encoded = []
    for place in order.tolist():
        encoded.extend(number.get(word, UNKNOWN) for word in sentences[place].split())
        encoded.append(SENTENCE_END)
    numbers = np.array(encoded, np.int32)
    return EncodedText(weight, numbers, np.flatnonzero(numbers == SENTENCE_END) + 1)


class Stream:
    """Batches of mixed texts.

    Args:
        texts: their weights sum to one.
        vocabulary: number of words.
        rows, words: of a batch.
        draws: words drawn at random for each batch.
        batches: of a block.
        seed: of everything random.

    Attributes:
        frequencies: float64 [vocabulary], of each word in the mixed texts.
    """

    def __init__(
        self, texts: Sequence[EncodedText], vocabulary: int, rows: int, words: int, draws: int, batches: int, seed: int
    ):
        self._texts, self._rows, self._words, self._draws = texts, rows, words, draws
        self._batches, self._seed = batches, seed
        counts = [np.bincount(text.numbers, minlength=vocabulary) + 1e-3 for text in texts]
        self.frequencies = sum(text.weight * count / count.sum() for text, count in zip(texts, counts, strict=True))
        drawing = self.frequencies**DRAWING_POWER
        self._drawing = np.cumsum(drawing / drawing.sum())
        self._expected = (draws * drawing / drawing.sum()).astype(np.float32)
        self._block = (-1, np.zeros((rows, 0), np.int32))

    def batch(self, step: int) -> tuple[Batch, bool]:
        """The batch of a training step, and whether its rows begin with a sentence, not where the last one ended."""
        number, place = divmod(step, self._batches)
        if self._block[0] != number:
            self._block = number, self._make_block(number)
        rows = self._block[1][:, place * self._words : (place + 1) * self._words + 1].T.astype(np.int64)
        generator = np.random.default_rng((self._seed, step, 1))
        drawn = np.searchsorted(self._drawing, generator.random(self._draws) * self._drawing[-1], side="right")
        drawn = np.minimum(drawn, len(self._drawing) - 1)
        return Batch(rows[:-1], rows[1:], drawn, self._expected[drawn]), place == 0

    def _make_block(self, number: int) -> np.ndarray:
        """Word numbers of a block: int32 [rows, batches * words + 1]. A row begins with a sentence."""
        row = self._batches * self._words
        needed = self._rows * row
        numbers, lengths = [], []
        for text in self._texts:
            count = round(text.weight * needed * 1.02) + 1
            some, their_lengths = text.take(number * count, count)
            numbers.append(some)
            lengths.append(their_lengths)
        numbers, lengths = np.concatenate(numbers), np.concatenate(lengths)
        starts = np.cumsum(lengths) - lengths
        order = np.random.default_rng((self._seed, number, 2)).permutation(len(lengths))
        picked = np.repeat(starts[order] - (np.cumsum(lengths[order]) - lengths[order]), lengths[order])
        numbers = numbers[picked + np.arange(len(numbers))]
        numbers = np.resize(numbers, needed).reshape(self._rows, row)
        return np.concatenate([np.full((self._rows, 1), SENTENCE_END, np.int32), numbers], axis=1)
