"""What the tagger of punctuation and capitals knows of a word: its number, its letters, its place in time.

Shared by the tagger (`asr_core.text.tagger`) and its training (`train.punctuation`).
"""

import zlib
from collections.abc import Iterable, Sequence

import numpy as np

LETTER_FEATURES = 5  # hashed: first 3 and 4 letters, last 2, 3 and 4 letters
TIMING_FEATURES = 14
RARE_CLASSES = 8  # of words outside the vocabulary: 0 for words never seen, others by how often they have a capital
PAUSE_SCALES = (0.1, 0.3, 0.8, 2.5)  # seconds at which each feature of a pause saturates
LETTER_SECONDS = 0.065  # of a letter in fluent speech
WORD_SECONDS = 0.08  # on top of its letters
MAX_WORD_LETTERS = 40  # more are cut off before hashing


def word_hash(word: str) -> int:
    """A number of 32 bits that stands for a rare word."""
    return zlib.crc32(word.encode())


def letter_hashes(word: str, buckets: int) -> tuple[int, ...]:
    """LETTER_FEATURES numbers below `buckets` for the letters at both ends of a word."""
    word = word[:MAX_WORD_LETTERS]
    parts = (f"^{word[:3]}", f"^{word[:4]}", f"{word[-2:]}$", f"{word[-3:]}$", f"{word[-4:]}$")
    return tuple(zlib.crc32(part.encode()) % buckets for part in parts)


class WordNumbers:
    """Numbers words: those of the vocabulary from 0 on, then RARE_CLASSES classes of all others.

    Args:
        vocabulary: frequent words.
        rare_hashes: uint32 [rare], ascending, `word_hash` of words that are not frequent.
        rare_classes: uint8 [rare], the class of each, from 1 to RARE_CLASSES - 1.
    """

    def __init__(self, vocabulary: Sequence[str], rare_hashes: np.ndarray, rare_classes: np.ndarray):
        self.vocabulary = vocabulary
        self.rare_hashes, self.rare_classes = rare_hashes, rare_classes
        self._number = {word: number for number, word in enumerate(vocabulary)}

    def __len__(self) -> int:
        return len(self.vocabulary) + RARE_CLASSES

    def __call__(self, word: str) -> int:
        """The number of a word. A possessive that is unknown has the number of its noun."""
        number = self._find(word)
        if number is None and word.endswith("'s"):
            number = self._find(word[:-2])
        return len(self.vocabulary) if number is None else number

    def _find(self, word: str) -> int | None:
        number = self._number.get(word)
        if number is not None:
            return number
        hashed = word_hash(word)
        place = int(np.searchsorted(self.rare_hashes, np.uint32(hashed)))
        if place < len(self.rare_hashes) and self.rare_hashes[place] == hashed:
            return len(self.vocabulary) + int(self.rare_classes[place])
        return None


def columns_of(words: Iterable) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Letters, start, end and confidence of words: float32 [words] each, NaN for None."""
    rows = [(len(word.text), word.start, word.end, word.confidence) for word in words]
    table = np.array(rows, np.float64).reshape(-1, 4)  # NumPy reads None as NaN
    return tuple(table.T)


def timing_features(letters: np.ndarray, start: np.ndarray, end: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Pauses before and after each word, its pace and its confidence.

    Args:
        letters: number of letters of each word: [..., words].
        start, end: in seconds, NaN where not known: [..., words].
        confidence: in [0, 1], NaN where not known: [..., words].

    Returns:
        float32 [..., words, TIMING_FEATURES]; all zeros for a word of which nothing is known.
    """
    after = np.full(start.shape, np.nan)
    after[..., :-1] = start[..., 1:] - end[..., :-1]
    before = np.full(start.shape, np.nan)
    before[..., 1:] = after[..., :-1]
    features = []
    for pause in (before, after):
        known = np.isfinite(pause)
        pause = np.where(known, np.maximum(pause, 0), 0)
        features += [known, *(np.minimum(pause / scale, 1) for scale in PAUSE_SCALES)]
    known = np.isfinite(start) & np.isfinite(end)
    expected = LETTER_SECONDS * letters + WORD_SECONDS
    pace = np.log(np.maximum(np.where(known, end - start, 1), 0.01) / expected)
    features += [known, np.where(known, np.clip(pace, -1.5, 1.5), 0)]
    known = np.isfinite(confidence)
    features += [known, np.where(known, 1 - np.clip(confidence, 0, 1), 0)]
    return np.stack(features, axis=-1).astype(np.float32)
