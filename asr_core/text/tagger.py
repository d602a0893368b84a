"""Punctuation and capitals of spoken words, by a small convolutional network in NumPy.

The tagger stands between recognition and the written form of a transcript: for every spoken word it predicts the
punctuation mark that follows the word and the case of its letters. Its inputs are the words themselves and, where
known, the pauses around them, their pace and their confidence. It is trained by `train.punctuation`.

A tag depends on LEFT_CONTEXT_WORDS words before and RIGHT_CONTEXT_WORDS words after its word and on nothing else, so
that a stream of words is tagged at constant cost and a tag with enough words after it is final.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

PUNCTUATION = ("", ",", ".", "?")  # classes of the network, in its order
CAPITALS = ("lower", "first", "upper")
STOPS = (".", "?")  # end a sentence

LEFT_CONTEXT_WORDS = 28
RIGHT_CONTEXT_WORDS = 8


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
    """Tags spoken words; safe to use from many threads."""

    @classmethod
    def load(cls, path: str | PathLike) -> "Tagger":
        """Reads a `tagger.safetensors`.

        Raises:
            BundleError: the file is missing, damaged, or no tagger.
        """
        raise NotImplementedError

    language: str  # of the texts that it was trained on, such as "en"

    def __call__(self, words: Sequence, finished: bool = True) -> list[Tag]:
        """The tags of a text.

        Args:
            words: spoken words in order, each with `text` (a-z and apostrophes), `start` and `end` (seconds) and
                `confidence` (0 to 1). Start, end and confidence may be None.
            finished: whether the text ends here, so that its last word is followed by a full stop or question mark.

        Returns:
            One tag for each word.
        """
        raise NotImplementedError

    def stream(self) -> "TagStream":
        """A new stream of words whose tags become final as words follow."""
        raise NotImplementedError

    def write(self, text: str, tag: Tag) -> str:
        """A spoken word with its capitals and without its punctuation, such as "McDonald" for "mcdonald"."""
        raise NotImplementedError


class TagStream:
    """Tags words that arrive one after the other. Each call costs the same, however long the stream is."""

    def add(self, words: Sequence) -> list[Tag]:
        """Appends words that will not change; returns the tags that are final by now, in order.

        A tag is final when RIGHT_CONTEXT_WORDS words follow its word. Over the whole stream `add` and `finish`
        return one tag for each word, the same as `Tagger.__call__` for all words at once.
        """
        raise NotImplementedError

    def preview(self, words: Sequence = ()) -> list[Tag]:
        """Tags that are not final: of the words added whose tags are still to come, then of `words`.

        Args:
            words: a partial hypothesis that follows the added words. It is not kept.
        """
        raise NotImplementedError

    def finish(self) -> list[Tag]:
        """The tags still to come: the text ends here. The stream is then empty and starts a new text."""
        raise NotImplementedError
