"""Labelled texts -> windows of words as a recogniser may write them, for training.

A window is a passage of text that begins with a sentence. Some words are deleted or replaced by others, some are
unknown, and most windows get times by `train.punctuation.pauses`. Everything depends on the seed and the training step
only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.text.tagger import RIGHT_CONTEXT_WORDS
from asr_core.text.word_features import timing_features
from train.punctuation.labels import FIRST, NONE, NOT_SCORED, STOP, UPPER
from train.punctuation.pauses import Pauses

WITH_TIMES = 0.65  # share of the windows
WITH_CONFIDENCE = 0.8  # of those with times
SHORT = 0.12  # share of the windows that hold one to three sentences, like a dictated line
FINISHED = 0.5  # share of the others that end with a sentence
CLEAN = 0.4  # share of the windows without errors
MAX_ERRORS = 0.12  # largest share of substituted words in a window; a third as many words are deleted
UNKNOWN = 0.03  # share of the words that lose their number
SPARE_WORDS = 24  # beyond a window, for those that are lost


@dataclass(frozen=True, eq=False)
class Source:
    """The training part of a text in the numbers of all texts.

    Attributes:
        share: of the windows.
        words: int32 [n], places in the list of distinct words.
        marks, capitals: uint8 [n].
    """

    share: float
    words: np.ndarray
    marks: np.ndarray
    capitals: np.ndarray


@dataclass(frozen=True, eq=False)
class Batch:
    """The windows of one training step: arrays [windows, words], and the inputs of `network.loss_and_gradients`.

    Attributes:
        inputs: numbers, letter hashes, timing features, mask.
        marks, capitals: classes, int32.
        mark_weights, capital_weights: 1 where a class is learned, else 0; float32.
    """

    inputs: list[np.ndarray]
    marks: np.ndarray
    capitals: np.ndarray
    mark_weights: np.ndarray
    capital_weights: np.ndarray


class Windows:
    """Draws the batches of training steps.

    Args:
        sources: the texts.
        encoded: number, letter hashes and letters of every distinct word (`lexicon.encode_words`).
        unknown: number of words never seen.
        words: in each window.
        windows: in each batch.
        seed: of everything drawn.
        pauses: measured.
    """

    def __init__(
        self, sources: Sequence[Source], encoded, unknown: int, words: int, windows: int, seed: int, pauses: Pauses
    ):
        self._sources = [source for source in sources if len(source.words) > words + SPARE_WORDS + 1]
        if not self._sources:
            raise ValueError(f"a text must have more than {words + SPARE_WORDS} words with case and punctuation")
        self._starts = [_sentence_starts(source.marks) for source in self._sources]
        shares = np.array([source.share for source in self._sources])
        self._shares = shares / shares.sum()
        self._numbers, self._hashes, self._letters = encoded
        self._unknown, self._words, self._windows, self._seed, self._pauses = unknown, words, windows, seed, pauses

    def batch(self, step: int) -> Batch:
        """The batch of a training step."""
        generator = np.random.default_rng((self._seed, step))
        count, words = self._windows, self._words
        place = np.zeros((count, words), np.int32)
        marks, capitals = np.zeros((2, count, words), np.int32)
        start, end, confidence = np.full((3, count, words), np.nan)
        mask, mark_weights = np.zeros((2, count, words), np.float32)
        for row, source in enumerate(generator.choice(len(self._sources), count, p=self._shares)):
            window, wrong = self._draw(int(source), generator)
            length, finished = self._length(window[1], generator)
            place[row, :length], marks[row, :length], capitals[row, :length] = window[:, :length]
            mask[row, :length] = 1
            mark_weights[row, : length if finished else length - RIGHT_CONTEXT_WORDS] = 1
            if generator.random() < WITH_TIMES:
                times = self._pauses.draw(marks[row, :length], self._letters[place[row, :length]], generator)
                start[row, :length], end[row, :length] = times
                if generator.random() < WITH_CONFIDENCE:
                    confidence[row, :length] = _confidence(wrong[:length], generator)
        numbers = np.where(generator.random(place.shape) < UNKNOWN, self._unknown, self._numbers[place])
        timing = timing_features(self._letters[place], start, end, confidence) * mask[..., None]
        before = np.concatenate([np.full((count, 1), STOP), marks[:, :-1]], axis=1)
        begins = (before >= STOP) & (capitals == FIRST)  # says nothing about the word
        capital_weights = mark_weights * (capitals != NOT_SCORED) * ~begins
        return Batch(
            [numbers.astype(np.int32), self._hashes[place], timing, mask],
            marks, np.minimum(capitals, UPPER), mark_weights, capital_weights.astype(np.float32),
        )  # fmt: skip

    def _draw(self, number: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Words, marks and capitals of a passage with errors: int32 [3, words]; bool [words], which are wrong."""
        source, span = self._sources[number], self._words + SPARE_WORDS
        starts = self._starts[number]
        first = min(int(starts[generator.integers(len(starts))]), len(source.words) - span)
        window = np.stack([part[first : first + span] for part in (source.words, source.marks, source.capitals)])
        window = window.astype(np.int32)
        rate = 0.0 if generator.random() < CLEAN else generator.uniform(0, MAX_ERRORS)
        wrong = generator.random(span) < rate
        window[0, wrong] = source.words[generator.integers(len(source.words), size=int(wrong.sum()))]
        lost = generator.random(span) < rate / 3
        lost[0] = False
        for at in np.flatnonzero(lost[: self._words]):
            if window[1, at - 1] == NONE:
                window[1, at - 1] = window[1, at]  # the mark stays where the word was
        kept = np.flatnonzero(~lost)[: self._words]
        return window[:, kept], wrong[kept]

    def _length(self, marks: np.ndarray, generator: np.random.Generator) -> tuple[int, bool]:
        """Words of the window that are used, and whether they end with a sentence."""
        ends = np.flatnonzero(marks >= STOP) + 1
        drawn = generator.random()
        if len(ends) and drawn < SHORT:
            return int(ends[min(int(generator.integers(3)), len(ends) - 1)]), True
        if len(ends) and drawn < SHORT + FINISHED and ends[-1] > self._words // 2:
            return int(ends[-1]), True
        return len(marks), False


def _sentence_starts(marks: np.ndarray) -> np.ndarray:
    starts = np.flatnonzero(marks[:-1] >= STOP) + 1
    return starts if len(starts) else np.zeros(1, np.int64)


def _confidence(wrong: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    right = 1 - generator.beta(0.5, 3, len(wrong))
    return np.where(wrong, generator.beta(1.6, 2, len(wrong)), right)
