"""The written form of words that arrive one after the other, at a cost that does not grow with their number."""

from collections.abc import Sequence

from asr_core.text.punctuation import STOPS
from asr_core.text.written_form import marks_of, written_form
from asr_core.transcript.words import Word, WrittenToken

MAX_PENDING_WORDS = 80  # without a punctuation mark; then the first of them become final anyway
KEPT_WORDS = 20  # of those, at the end, stay pending: a number may continue


class WrittenStream:
    """Writes words as they become final. What has been returned as final stays.

    Words become final up to the last punctuation mark, across which no number continues.

    Args:
        tagger: see `asr_core.text.tagger.Tagger`.
    """

    def __init__(self, tagger):
        self._tagger = tagger
        self._stream = tagger.stream()
        self._words: list[Word] = []  # not yet written
        self._tags: list = []  # of the first of these words
        self._count = 0  # of written words
        self._starts = True  # whether the first of `_words` begins a sentence

    def add(self, words: Sequence[Word]) -> tuple[WrittenToken, ...]:
        """Appends words that will not change; returns the tokens that are final by now.

        The indices of tokens count the words of the whole stream.
        """
        self._tags += self._stream.add(words)
        self._words += words
        marks = marks_of([word.text for word in self._words], self._tags)
        end = next((index + 1 for index in reversed(range(len(marks))) if marks[index]), 0)
        final = self._release(end, marks) if end else ()
        if len(self._tags) > MAX_PENDING_WORDS:
            final += self._release(len(self._tags) - KEPT_WORDS, marks[end:])
        return final

    def preview(self, words: Sequence[Word] = ()) -> tuple[WrittenToken, ...]:
        """Tokens that are not final: of the words added that are not written yet, then of a partial hypothesis."""
        pending = [*self._words, *words]
        return self._written(pending, [*self._tags, *self._stream.preview(words)])

    def finish(self) -> tuple[WrittenToken, ...]:
        """The tokens still to come: the words end here."""
        self._tags += self._stream.finish()
        return self._release(len(self._words), [tag.punctuation for tag in self._tags])

    def _release(self, end: int, marks: Sequence[str]) -> tuple[WrittenToken, ...]:
        """The tokens of the pending words before `end`; where no mark stands there, a number across it stays whole."""
        if not self._words[:end]:
            return ()
        known = end if marks[end - 1] else len(self._tags)
        tokens = self._written(self._words[:known], self._tags[:known])
        final = tuple(token for token in tokens if token.end - self._count <= end)
        if not final:  # one number goes on and on
            return ()
        end = final[-1].end - self._count
        self._starts = marks[end - 1] in STOPS
        self._count += end
        del self._words[:end], self._tags[:end]
        return final

    def _written(self, words: Sequence[Word], tags: Sequence) -> tuple[WrittenToken, ...]:
        texts = [word.text for word in words]
        spans = written_form(texts, tags, self._tagger.write, starts=self._starts)
        return tuple(WrittenToken(text, self._count + first, self._count + end) for first, end, text in spans)
