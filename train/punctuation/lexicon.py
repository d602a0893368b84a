"""Counts of words -> the numbers of the tagger's words, and the written forms of those with capitals inside."""

from collections import Counter

import numpy as np

from asr_core.text.word_features import LETTER_FEATURES, WordNumbers, letter_hashes, word_hash
from train.punctuation.texts import WordCounts

MIN_RARE = 4  # occurrences of a word outside the vocabulary whose class is kept
MIN_INSIDE = 2  # of them inside sentences, where a capital means something
CAPITAL_SHARES = (0.02, 0.1, 0.4, 0.8, 0.97)  # between the classes of rare words that are not acronyms
MIN_SPELLING = 5  # occurrences of a form with capitals inside
SPELLING_SHARE = 0.7  # of the occurrences of its word with any capital
MAX_LOWER_SHARE = 0.3  # of the occurrences of a word with such a form: DeLay is not how a delay is written


def number_words(counts: WordCounts, vocabulary: int, rare: int) -> WordNumbers:
    """The `vocabulary` most frequent words, and the classes of the `rare` next ones."""
    words = counts.words
    order = np.lexsort((np.array(words), -counts.shares))
    order = order[counts.occurrences[order] >= MIN_RARE]
    frequent = [words[place] for place in order[:vocabulary]]
    classes: dict[int, int] = {}
    for place in order[vocabulary:]:
        lower, first, upper = counts.inside[place]
        if len(classes) >= rare:
            break
        if lower + first + upper >= MIN_INSIDE:
            share = (first + upper) / (lower + first + upper)
            kind = 1 if upper > lower + first else 2 + int(np.searchsorted(CAPITAL_SHARES, share))
            classes.setdefault(word_hash(words[place]), kind)
    hashes = sorted(classes)
    return WordNumbers(frequent, np.array(hashes, np.uint32), np.array([classes[key] for key in hashes], np.uint8))


def encode_words(words: list[str], numbers: WordNumbers, buckets: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number int32 [words], letter hashes int32 [words, LETTER_FEATURES] and letters int32 [words] of words."""
    hashes = np.array([letter_hashes(word, buckets) for word in words], np.int32).reshape(-1, LETTER_FEATURES)
    return np.array([numbers(word) for word in words], np.int32), hashes, np.array([len(w) for w in words], np.int32)


def choose_spellings(forms: Counter, counts: WordCounts) -> dict[str, str]:
    """The forms with capitals inside that most occurrences of a word with a capital have.

    Args:
        forms: (word, form) -> occurrences.
    """
    lower, first, upper = counts.inside.T
    capitals = dict(zip(counts.words, first + upper, strict=True))
    lower = dict(zip(counts.words, lower, strict=True))
    best: dict[str, tuple[int, str]] = {}
    for (word, form), count in forms.items():
        best[word] = max(best.get(word, (0, "")), (count, form))
    return {
        word: form
        for word, (count, form) in sorted(best.items())
        if count >= max(MIN_SPELLING, SPELLING_SHARE * capitals.get(word, 0))
        and lower.get(word, 0) <= MAX_LOWER_SHARE * count
    }
