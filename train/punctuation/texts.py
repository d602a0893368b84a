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
from train.language_model import lines_of
from train.punctuation.labels import STOP, LabelledText, label

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
        text: all of it.
        train, blocks, end: bool [n] each, the words of either part; every word is in one of them.
    """

    path: Path
    weight: float
    text: LabelledText
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


def count_words(texts: Sequence[Text]) -> tuple[list[str], np.ndarray, list[np.ndarray]]:
    """Occurrences of the words in the training parts.

    Returns:
        The distinct words of all texts; float64 [words, 5]: the weighted share of each word in permille of the texts,
        its occurrences, and inside sentences its occurrences in lower case, with a capital, and in capitals; for every
        text int32 [distinct words of the text], their places in the list.
    """
    place: dict[str, int] = {}
    places = [np.array([place.setdefault(word, len(place)) for word in text.text.words], np.int32) for text in texts]
    table = np.zeros((len(place), 5))
    for text, at in zip(texts, places, strict=True):
        words = at[text.text.numbers]
        inside = np.ones(len(words), bool)
        inside[1:] = text.text.marks[:-1] < 2
        inside[:1] = False
        counts = np.bincount(words[text.train], minlength=len(place))
        table[:, 0] += text.weight * counts / max(1, counts.sum())
        table[:, 1] += counts
        for capital in range(3):
            chosen = text.train & inside & (text.text.capitals == capital)
            table[:, 2 + capital] += np.bincount(words[chosen], minlength=len(place))
    return list(place), table, places
