"""Decoding of emissions that arrive piece by piece: final words, partial words, and the emissions left to decode.

Words become final before a pause, or when they are PARTIAL_SECONDS old if nobody pauses. Streams and the preview of a
long file use it.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from asr_core.ctc import TokenSpan, best_path, runs
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import PrefixBeam
from asr_core.decoding.rescoring import rescore
from asr_core.decoding.segments import pauses
from asr_core.decoding.word_spans import WordSpan, split_words
from asr_core.decoding.word_times import words_of
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align

RIGHT_CONTEXT_SECONDS = 1.0  # of audio after a word before it is final: emissions at a window's edges are unreliable
PARTIAL_SECONDS = 7.0  # latest audio whose words are not final; earlier audio in the window is its left context
MAX_UNSEGMENTED_SECONDS = 2.0  # beyond PARTIAL_SECONDS without the end of a word; after these, a word is cut


class IncrementalDecoder:
    """Decodes a growing recording: returns words that are final, and the emissions that have to be decoded again.

    Within a sentence it keeps the states of the language model and of the hotwords after the final words.

    Attributes:
        next_start: start of the word after those that `finalize` has just made final, seconds; None if it is unknown.
    """

    def __init__(self, recognizer, options: DecoderOptions, hot_words: HotWords | None):
        self._vocabulary, self._language_model = recognizer.vocabulary, recognizer.language_model
        self._rescoring = recognizer.rescoring
        self._options, self._hot_words = options, hot_words
        self._partial_options = replace(options, similar_words=0)  # partial words change anyway; a quarter faster
        lengths = (RIGHT_CONTEXT_SECONDS, PARTIAL_SECONDS, MAX_UNSEGMENTED_SECONDS)
        self._right_context, self._partial, self._max_unsegmented = (
            int(seconds / recognizer.step_seconds) for seconds in lengths
        )  # steps
        self._space = self._vocabulary.space
        self._word_end = 0.0  # of the last final word, seconds
        self.next_start: float | None = None
        self._begin_sentence()

    def finalize(self, emissions: Emissions, ended: bool = False) -> tuple[list[WordSpan], Emissions]:
        """Makes words final.

        Args:
            emissions: of all audio after the words that are final already.
            ended: whether all words become final, as at the end of the recording or before a change of level.

        Returns:
            The words that have become final, and the emissions after them.
        """
        *closed, last = self._segments(emissions, len(emissions) - self._right_context)
        if ended:
            closed, last = [*closed, last], last.slice(len(last), len(last))
        words = []
        for segment in closed:
            words += self._final(segment, *self._decode(segment, self._options))
            self._begin_sentence()
        overdue, rest = self._overdue(last)
        return words + overdue, rest

    def partial(self, emissions: Emissions) -> list[WordSpan]:
        """The current words after the final ones; later audio may change them."""
        words, continues = [], True
        for segment in self._segments(emissions, len(emissions)):
            words += self._words(segment, *self._decode(segment, self._partial_options, continues))
            continues = False
        return words

    def _begin_sentence(self) -> None:
        self._language_model_state: int | None = None  # of the language model; None at the beginning of a sentence
        self._neural_state = None  # of the neural language model, likewise
        self._hot_state: int | None = None  # of the hotwords' automaton, likewise

    def _segments(self, emissions: Emissions, before: int) -> list[Emissions]:
        """The emissions cut in the middle of every pause that begins up to step `before`."""
        edges = [pause.middle for pause in pauses(emissions, self._space) if pause.start <= before]
        return [emissions.slice(start, end) for start, end in pairwise([0, *edges, len(emissions)])]

    def _overdue(self, emissions: Emissions) -> tuple[list[WordSpan], Emissions]:
        """The words that end PARTIAL_SECONDS or more before the end, and the emissions after them."""
        overdue = len(emissions) - self._partial
        if overdue <= 0:
            return [], emissions
        spans, posterior = self._decode(emissions, self._options)
        inside = [span for span in spans if span.end <= overdue]
        ends = [count for count in range(1, len(inside) + 1) if self._ends_word(spans, count)]
        if not ends and overdue <= self._max_unsegmented:
            return [], emissions
        count = ends[-1] if ends else len(inside)
        # The word after them bounds the last of them, unless a word is cut here.
        words = self._final(emissions, spans if ends else spans[:count], posterior, count)
        self._continue_sentence([word.text for word in words], [span.token for span in spans[:count]])
        cut = (spans[count - 1].end + spans[count].start) // 2 if ends and count < len(spans) else overdue
        return words, emissions.slice(cut, len(emissions))

    def _ends_word(self, spans: Sequence[TokenSpan], count: int) -> bool:
        """Whether the first `count` tokens end with a whole word."""
        begins = count < len(spans) and self._vocabulary.begins_word[spans[count].token]
        return begins or spans[count - 1].token == self._space

    def _continue_sentence(self, words: list[str], tokens: list[int]) -> None:
        """Moves the states of the language model and of the hotwords past final words of the sentence."""
        if self._language_model is not None:
            self._language_model_state = self._language_model.state_after(words, self._language_model_state)
        self._neural_state = self._rescoring.state_after(words, self._neural_state)
        if self._hot_words is not None:
            if self._space is not None:
                tokens = self._vocabulary.encode("".join(f"{word} " for word in words))
            self._hot_state = self._hot_words.state_after(tokens, self._hot_state)

    def _decode(
        self, emissions: Emissions, options: DecoderOptions, continues: bool = True
    ) -> tuple[list[TokenSpan], tuple[float, ...]]:
        """The tokens of the best hypothesis with their steps, and the n-best posteriors of its words.

        `continues`: the emissions continue the sentence of the final words, instead of beginning one.
        """
        if options.decoder == "greedy":
            return runs(best_path(emissions.log_probs)) if len(emissions) else [], ()
        states = (self._language_model_state, self._hot_state) if continues else (None, None)
        neural_state = self._neural_state if continues else None
        beam = PrefixBeam(self._vocabulary, options, self._language_model, self._hot_words, *states)
        beam.advance(emissions.log_probs)
        best = rescore(beam, emissions, self._vocabulary, options, self._rescoring, neural_state)[0]
        return forced_align(emissions.log_probs, best.tokens) if best.tokens else [], best.posterior

    def _final(
        self, emissions: Emissions, spans: list[TokenSpan], posterior: Sequence[float], count: int | None = None
    ) -> list[WordSpan]:
        """The words of the first `count` of these tokens, or of all, which are final from now on."""
        words = self._words(emissions, spans, posterior)
        end = len(split_words(spans[:count], self._vocabulary))
        self.next_start = words[end].start if end < len(words) else None
        if end:
            self._word_end = words[end - 1].end
        return words[:end]

    def _words(self, emissions: Emissions, spans: list[TokenSpan], posterior: Sequence[float]) -> list[WordSpan]:
        """The words of these tokens; none of them begins before the end of the last final word."""
        groups = split_words(spans, self._vocabulary)
        texts = [self._vocabulary.decode(span.token for span in group).strip() for group in groups]
        end = self._word_end
        words = words_of(texts, groups, emissions, posterior[: len(groups)])
        return [replace(word, start=max(word.start, end), end=max(word.end, end)) for word in words]
