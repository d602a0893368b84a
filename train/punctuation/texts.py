"""Labelled texts in files: read once, kept as arrays, divided into what is trained on and what is held out.

Held out are the last HELD_OUT_END of every file, so that whole books are unseen, and one block of lines in
BLOCKS_PER_HELD_OUT elsewhere, so that every part of a mixed file is represented.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_core.bundle.description import fingerprint
from train.data.sentences import lines_of
from train.punctuation.labels import FIRST, LOWER, STOP, UPPER, LabelledText, label

HELD_OUT_END = 0.02  # of the lines of a file
BLOCK_LINES = 200
BLOCKS_PER_HELD_OUT = 50
SORTED_SENTENCES = 50  # in a row that are looked at to find alphabetical lists
SORTED_SHARE = 0.9  # of neighbours in alphabetical order from which on they are a list; chance gives about a half
LABELS_VERSION = 1  # of the files in the work folder: raised when labels change


@dataclass(frozen=True, eq=False)
class Text:
    """A labelled file.

    Attributes:
        path: of the published text.
        weight: of its words in training.
        labelled: all of its words.
        train, blocks, end: bool [n] each, the words of either part; every word is in one of them.
    """

    path: Path
    weight: float
    labelled: LabelledText
    train: np.ndarray
    blocks: np.ndarray
    end: np.ndarray


def read_text(path: Path, weight: float, folder: Path, report: Callable[[str], None] = print) -> Text:
    """Labels a file, or reads its labels from `folder`, where they are kept.

    Raises:
        TextError: the file cannot be read.
    """
    kept = folder / f"{path.name}.{fingerprint(path)['sha256'][:12]}.{LABELS_VERSION}.npz" if path.is_file() else None
    if kept is not None and kept.is_file():
        text, count = _read(kept)
    else:
        lines = list(lines_of(path))
        text, count = label(lines), len(lines)
        if kept is not None:
            _write(kept, text, count)
    held_end = text.lines >= int(count * (1 - HELD_OUT_END))
    blocks = ((text.lines // BLOCK_LINES) % BLOCKS_PER_HELD_OUT == BLOCKS_PER_HELD_OUT - 1) & ~held_end
    train = ~(held_end | blocks)
    report(
        f"{path.name}: {len(text.numbers):,} words, {len(text.words):,} different, "
        f"{blocks.sum() + held_end.sum():,} words held out"
    )
    return Text(path, weight, text, train, blocks, held_end)


def running_order(text: LabelledText, at: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places of a text with the sentences of alphabetical lists shuffled.

    In such a list, as collections of single sentences often are, sentence after sentence begins with the same word. A
    tagger would learn to end a sentence before a repeated word.

    Args:
        text: labelled.
        at: int64 [words], places of a part of it.
        seed: of the order.
    """
    ends = np.flatnonzero(text.marks[at] >= STOP) + 1
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    rank = np.empty(len(text.words), np.int64)
    rank[np.argsort(np.array(text.words))] = np.arange(len(rank))
    first = rank[text.numbers[at[starts[: len(ends)]]]]
    count = len(ends) // SORTED_SENTENCES * SORTED_SENTENCES
    rising = np.append(first[1:] >= first[:-1], True)[:count].reshape(-1, SORTED_SENTENCES).mean(axis=1)
    listed = np.flatnonzero(np.repeat(rising >= SORTED_SHARE, SORTED_SENTENCES))
    if not len(listed):
        return at
    order = np.arange(len(ends))
    order[listed] = np.random.default_rng(seed).permutation(listed)
    return np.concatenate([*(at[starts[place] : ends[place]] for place in order), at[ends[-1] :]])


def _write(path: Path, text: LabelledText, count: int) -> None:
    rows = [f"{word} {form} {times}" for (word, form), times in text.forms.items()]
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial, words=np.frombuffer("\n".join(text.words).encode(), np.uint8), numbers=text.numbers,
        marks=text.marks, capitals=text.capitals, lines=text.lines, count=count,
        forms=np.frombuffer("\n".join(rows).encode(), np.uint8),
    )  # fmt: skip
    partial.replace(path)


def _read(path: Path) -> tuple[LabelledText, int]:
    with np.load(path) as arrays:
        words = arrays["words"].tobytes().decode().split("\n")
        forms: Counter = Counter()
        for row in arrays["forms"].tobytes().decode().splitlines():
            word, form, times = row.split()
            forms[word, form] = int(times)
        text = LabelledText(words, arrays["numbers"], arrays["marks"], arrays["capitals"], arrays["lines"], forms)
        return text, int(arrays["count"])


@dataclass(frozen=True, eq=False)
class WordCounts:
    """Occurrences of words in the training parts of texts.

    Attributes:
        words: the distinct words of all texts.
        shares: float64 [words], share of each word in a text times the weight of the text, summed over the texts.
        occurrences: float64 [words].
        inside: float64 [words, 3], occurrences inside sentences: in lower case, with a capital, in capitals.
    """

    words: list[str]
    shares: np.ndarray
    occurrences: np.ndarray
    inside: np.ndarray


def count_words(texts: Sequence[Text]) -> tuple[WordCounts, list[np.ndarray]]:
    """Counts the words of texts.

    Returns:
        The counts, and for every text int32 [distinct words of the text], their places among the distinct words of all.
    """
    place: dict[str, int] = {}
    places = [
        np.array([place.setdefault(word, len(place)) for word in text.labelled.words], np.int32) for text in texts
    ]
    counts = WordCounts(list(place), np.zeros(len(place)), np.zeros(len(place)), np.zeros((len(place), 3)))
    for text, at in zip(texts, places, strict=True):
        words = at[text.labelled.numbers]
        inside = np.ones(len(words), bool)
        inside[1:] = text.labelled.marks[:-1] < STOP
        inside[:1] = False
        occurrences = np.bincount(words[text.train], minlength=len(place))
        counts.shares[:] += text.weight * occurrences / max(1, occurrences.sum())
        counts.occurrences[:] += occurrences
        for capital in (LOWER, FIRST, UPPER):
            chosen = text.train & inside & (text.labelled.capitals == capital)
            counts.inside[:, capital] += np.bincount(words[chosen], minlength=len(place))
    return counts, places
