"""The written form of words that arrive one after the other, for live recognition.

Final words become final written tokens, which do not change any more; the rest is a preview. The cost of an update does
not grow with the stream.
"""

from collections.abc import Sequence

from asr_core.text.number_words import WrittenSpan
from asr_core.text.replacements import Replacements
from asr_core.text.tagger import Tagger
from asr_core.text.written_form import written_form
from asr_core.transcript.words import Word, WrittenToken, written_word

MAX_PENDING_WORDS = 40  # with final tags: beyond them, tokens become final without a punctuation mark to end at
KEPT_WORDS = 12  # of these, that stay pending: a number or a replaced term may still go on


class WrittenStream:
    """One live transcript.

    Args:
        tagger: of the language of the words.
        replacements: how names and terms are written.
    """

    def __init__(self, tagger: Tagger, replacements: Replacements | None = None):
        self._tagger, self._replacements = tagger, replacements
        self._stream = tagger.stream()
        self._pending: list[Word] = []  # words whose written form is not final
        self._tags: list = []  # final tags of the first of them
        self._first = 0  # index of the first of them in the whole stream
        self._starts = True  # whether it begins a sentence

    def add(self, words: Sequence[Word]) -> list[WrittenToken]:
        """Appends final words; returns the tokens that are final by now, with indices of words in the whole stream."""
        self._pending += words
        self._tags += self._stream.add(words)
        return self._release(self._cut())

    def finish(self) -> list[WrittenToken]:
        """The rest of the tokens: the text ends here. Words that are added later begin a new sentence."""
        self._tags += self._stream.finish()
        return self._release(len(self._pending))

    def preview(self, words: Sequence[Word] = ()) -> list[Word]:
        """The written words that are not final: of the pending words, then of `words`, a partial hypothesis."""
        pending = [*self._pending, *words]
        spans = self._spans(pending, self._tags + self._stream.preview(words))
        return [written_word(span, pending) for span in spans]

    def _spans(self, words: Sequence[Word], tags: Sequence) -> list[WrittenSpan]:
        texts = [word.text for word in words]
        return written_form(texts, tags, self._tagger.write, self._replacements, starts=self._starts)

    def _cut(self) -> int:
        """How many pending words can be written for good: up to a punctuation mark, or up to a word on its own."""
        marks = [index + 1 for index, tag in enumerate(self._tags) if tag.punctuation]
        if marks:
            return marks[-1]
        if len(self._tags) <= MAX_PENDING_WORDS:
            return 0
        spans = self._spans(self._pending[: len(self._tags)], self._tags)
        ends = [span.end for span in spans if span.end - span.first == 1 and span.end <= len(self._tags) - KEPT_WORDS]
        return max(ends, default=0)

    def _release(self, count: int) -> list[WrittenToken]:
        """The tokens of the first `count` pending words, which are then no longer pending."""
        spans = self._spans(self._pending[:count], self._tags[:count])
        tokens = [WrittenToken(span.text, self._first + span.first, self._first + span.end) for span in spans]
        if count:
            self._starts = self._tags[count - 1].punctuation in (".", "?")
        del self._pending[:count], self._tags[:count]
        self._first += count
        return tokens
