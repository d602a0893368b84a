"""Precision, recall and F1 of punctuation and capitals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.text.tagger import CAPITALS, PUNCTUATION, Tag
from train.punctuation.labels import LOWER, NOT_SCORED, STOP

NAMES = {",": "comma", ".": "stop", "?": "question"}


@dataclass(frozen=True)
class Measure:
    """Precision, recall and F1 of one class, and its occurrences in the reference."""

    precision: float
    recall: float
    f1: float
    count: int

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray) -> "Measure":
        """Arguments: bool [words] each."""
        right = int((truth & predicted).sum())
        precision, recall = right / max(1, int(predicted.sum())), right / max(1, int(truth.sum()))
        return cls(precision, recall, 2 * precision * recall / max(1e-9, precision + recall), int(truth.sum()))


@dataclass(frozen=True)
class Scores:
    """Figures of one set.

    Attributes:
        words: scored.
        marks: by name of the class, "comma", "stop", "question", and "end" for stop or question.
        capitals: of words with a capital.
        inside: the same, of words that do not begin a sentence of the reference.
        capitals_right: share of the words whose case is right.
    """

    words: int
    marks: dict[str, Measure]
    capitals: Measure
    inside: Measure
    capitals_right: float

    def __str__(self) -> str:
        parts = [f"{name} {m.precision:.3f}/{m.recall:.3f}/{m.f1:.3f}" for name, m in self.marks.items()]
        parts.append(f"capitals {self.capitals.precision:.3f}/{self.capitals.recall:.3f}/{self.capitals.f1:.3f}")
        parts.append(f"inside {self.inside.precision:.3f}/{self.inside.recall:.3f}/{self.inside.f1:.3f}")
        return f"{self.words:>7,} words  " + "  ".join(parts) + f"  case right {self.capitals_right:.2%}"


def score(marks: np.ndarray, capitals: np.ndarray, tags: Sequence[Tag]) -> Scores:
    """Scores tags against classes.

    Args:
        marks, capitals: of the reference: [words] each; NOT_SCORED capitals are left out.
        tags: of the same words.
    """
    predicted = np.array([PUNCTUATION.index(tag.punctuation) for tag in tags], np.int64)
    measures = {
        NAMES[mark]: Measure.of(marks == number, predicted == number) for number, mark in enumerate(PUNCTUATION) if mark
    }
    measures["end"] = Measure.of(marks >= STOP, predicted >= STOP)
    case = np.array([CAPITALS.index(tag.capital) for tag in tags], np.int64)
    begins = np.concatenate([[True], marks[:-1] >= STOP])
    scored = capitals != NOT_SCORED
    inside = scored & ~begins
    single = capitals != case
    return Scores(
        len(tags), measures,
        Measure.of(capitals[scored] != LOWER, case[scored] != LOWER),
        Measure.of(capitals[inside] != LOWER, case[inside] != LOWER),
        float(1 - single[scored].mean()) if scored.any() else 1.0,
    )  # fmt: skip
