"""A word with its times and confidence features: the type that the decoders return."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from asr_core.ctc import TokenSpan
from asr_core.text.vocabulary import Vocabulary

CHECK_WORDS = 500  # between two checks for cancellation; they take some hundredths of a second


@dataclass(frozen=True)
class WordSpan:
    """A word, or a character of one, with its times and the features that its confidence is computed from.

    Attributes:
        text: as the vocabulary writes it, or as written in a given text.
        start, end: seconds from the start of the recording.
        confidence: geometric mean of its tokens' peak probabilities, not calibrated (see `confidence.confidence`).
            UNCHECKED for a word of a given text that the alphabet cannot write, and for no other word.
        entropy: mean entropy of the steps around it, in nats (see `confidence.step_entropy`).
        posterior: total probability of the hypotheses in the n-best list that have the word there, in [0, 1]; None
            without an n-best list.
    """

    text: str
    start: float
    end: float
    confidence: float
    entropy: float = 0.0
    posterior: float | None = None


def split_words(spans: Sequence[TokenSpan], vocabulary: Vocabulary) -> list[list[TokenSpan]]:
    """The token spans of each word (see `Vocabulary.split`), without the spaces between words."""
    return [list(spans[start:end]) for start, end in vocabulary.split([span.token for span in spans])]


def checked(items: Iterable, check: Callable[[], None] | None) -> Iterator:
    """Yields the items, and calls `check` before every CHECK_WORDS-th."""
    for i, item in enumerate(items):
        if check is not None and i % CHECK_WORDS == 0:
            check()
        yield item
