"""Tokens grouped into words: the type that carries a word from the decoder to its transcript."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from asr_core.ctc import TokenSpan
from asr_core.text.vocabulary import Vocabulary, space_token

CHECK_WORDS = 500  # between two looks at whether the work is cancelled: some hundredths of a second


@dataclass(frozen=True)
class WordSpan:
    """A word, or a character of one, with its place in the recording, and what speaks for it.

    Attributes:
        text: what is said there.
        start, end: seconds from the start of the recording.
        confidence: how probable the network found its letters, in [0, 1]; see Calibration. Of a word of a given text
            that the alphabet cannot write it is UNCHECKED, and of no other one.
        doubt: how undecided the network was around it, in nats (see `doubts`).
        agreement: the share, by probability, of the best texts that have it there, in [0, 1]; None where no other text
            was looked for.
    """

    text: str
    start: float
    end: float
    confidence: float
    doubt: float = 0.0
    posterior: float | None = None


def split_words(spans: Sequence[TokenSpan], vocabulary: Vocabulary) -> list[list[TokenSpan]]:
    """The spans of each word, the spaces between them left out."""
    space = space_token(vocabulary)
    words: list[list[TokenSpan]] = [[]]
    for span in spans:
        if span.token == space:
            words.append([])
        else:
            words[-1].append(span)
    return [word for word in words if word]


def _checked(items: Iterable, check: Callable[[], None] | None) -> Iterator:
    """The items; `check` is called before every CHECK_WORDS-th."""
    for i, item in enumerate(items):
        if check is not None and i % CHECK_WORDS == 0:
            check()
        yield item
