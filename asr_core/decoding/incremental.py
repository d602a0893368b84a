"""Decoding of log-probabilities that arrive piece by piece: final words, partial words, and what is left to decode.

Words become final before a pause, or `PARTIAL_SECONDS` behind the latest step where nobody pauses.

"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from asr_core.ctc import BLANK, IMPOSSIBLE, TokenSpan, best_path, runs
from asr_core.decoding.beam_search import best_texts, pauses
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.word_spans import WordSpan, split_words
from asr_core.decoding.word_times import words_of
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import space_token

# of sound behind a word that becomes final, if only silence: at its edge a window hears badly
RIGHT_CONTEXT_SECONDS = 1.0
PARTIAL_SECONDS = 7.0  # of sound whose words are not final; the rest of the window lies before it, to be heard along
MAX_UNSEGMENTED_SECONDS = 2.0  # what takes longer and is still no word is cut
CONTEXT_WORDS = 3  # what a language model of four words sees


class IncrementalDecoder:
    """The words of sound that goes on: which of them are final, and what is left to be read again.

    Serves whoever has log-probabilities piece by piece, also those of a long file.
    """

    def __init__(self, recognizer, options: DecoderOptions, hot_words: HotWords | None):
        self._vocabulary, self._model = recognizer.vocabulary, recognizer.language_model
        self._pronunciations = recognizer.pronunciations
        self._options, self._hot_words = options, hot_words
        lengths = (RIGHT_CONTEXT_SECONDS, PARTIAL_SECONDS, MAX_UNSEGMENTED_SECONDS)
        self._sure, self._open, self._endless = (int(seconds / recognizer.step_seconds) for seconds in lengths)  # steps
        self._space = space_token(self._vocabulary)
        self._latest: list[str] = []  # final words of this sentence, for the language model
        self._word_end = 0.0  # of the last final word, seconds

    def finalize(self, said: Emissions, ended: bool = False) -> tuple[list[WordSpan], Emissions]:
        """Decides on words.

        Args:
            said: of all sound behind the words that are final.
            ended: nothing follows.

        Returns:
            The words that are final now, and what was said behind them.
        """
        *closed, last = self._stretches(said, len(said) - self._sure)
        if ended:
            closed, last = [*closed, last], last.slice(len(last), len(last))
        words = []
        for stretch in closed:
            words += self._final(stretch, *self._read(stretch, self._latest))
            self._latest = []
        overdue, rest = self._overdue(last)
        return words + overdue, rest

    def partial(self, said: Emissions) -> list[WordSpan]:
        """The words behind the final ones, as they look now."""
        words, latest = [], self._latest
        for stretch in self._stretches(said, len(said)):
            words += self._spoken(stretch, *self._read(stretch, latest))
            latest = []
        return words

    def _stretches(self, said: Emissions, before: int) -> list[Emissions]:
        """What is said from pause to pause, as far as pauses begin up to step `before`."""
        edges = [pause.middle for pause in pauses(said, self._space) if pause.start <= before]
        return [said.slice(start, end) for start, end in pairwise([0, *edges, len(said)])]

    def _overdue(self, said: Emissions) -> tuple[list[WordSpan], Emissions]:
        """The words that lie PARTIAL_SECONDS and more before the end, and what follows them."""
        overdue = len(said) - self._open
        if overdue <= 0:
            return [], said
        spans, posterior = self._read(said, self._latest)
        inside = [span for span in spans if span.end <= overdue]
        spaces = [count for count, span in enumerate(inside, 1) if span.token == self._space]
        if not spaces and overdue <= self._endless:
            return [], said
        count = spaces[-1] if spaces else len(inside)
        words = self._final(said, spans[:count], posterior)
        self._latest = [*self._latest, *(word.text for word in words)][-CONTEXT_WORDS:]
        cut = (spans[count - 1].end + spans[count].start) // 2 if spaces and count < len(spans) else overdue
        return words, said.slice(cut, len(said))

    def _read(self, said: Emissions, latest: list[str]) -> tuple[list[TokenSpan], tuple[float, ...]]:
        """The tokens of the best text where they lie in the emissions, and the agreement on its words.

        The beam is told the words before as if it had just heard them.
        """
        if self._options.decoder == "greedy":
            return runs(best_path(said.log_probs)) if len(said) else [], ()
        beam = PrefixBeam(self._vocabulary, self._options, self._model, self._hot_words)
        before = self._vocabulary.encode("".join(f"{word} " for word in latest)) if self._space else []
        spelled = _spelled(before, len(self._vocabulary))
        beam.advance(spelled)
        beam.advance(said.log_probs)
        texts = (
            replace(
                text,
                tokens=text.tokens[len(before) :],
                steps=tuple(step - len(spelled) for step in text.steps[len(before) :]),
            )
            for text in beam.texts()
        )
        best = best_texts(texts, said, self._vocabulary, self._options, self._pronunciations)[0]
        return forced_align(said.log_probs, best.tokens)[0] if best.tokens else [], best.posterior

    def _final(self, said: Emissions, spans: list[TokenSpan], posterior: Sequence[float]) -> list[WordSpan]:
        """The words of these tokens, from now on final."""
        words = self._spoken(said, spans, posterior)
        if words:
            self._word_end = words[-1].end
        return words

    def _spoken(self, said: Emissions, spans: list[TokenSpan], posterior: Sequence[float]) -> list[WordSpan]:
        """The words of these tokens; none begins before the last final one has ended."""
        groups = split_words(spans, self._vocabulary)
        texts = [self._vocabulary.decode(span.token for span in group) for group in groups]
        end = self._word_end
        words = words_of(texts, groups, said, posterior[: len(groups)])
        return [replace(word, start=max(word.start, end), end=max(word.end, end)) for word in words]


def _spelled(tokens: Sequence[int], size: int) -> np.ndarray:
    """Log-probabilities that say a text beyond doubt: float32 [steps, size], a blank behind every token."""
    path = [step for token in tokens for step in (token, BLANK)]
    log_probs = np.full((len(path), size), IMPOSSIBLE, np.float32)
    log_probs[np.arange(len(path)), path] = 0.0
    return log_probs
