"""The path, live: sound in pieces of any size, words that may still change and words that never will.

The network looks both ways and names what it hears the better, the more of the sentence it has heard. So it hears a
window of the latest sound again and again, each time the same amount of work, and what it says now of all that is not
final takes the place of what it said before.

Which words are final
    Every SETTLE_SECONDS of sound a window that ends there is heard, and what it says is decoded.
    1. All words before a pause are final (see `asr_core.decoder.pauses`), once SURE_SECONDS have passed since the last
       of them: it hears a sentence to its end before it decides.
    2. So are all words before a change of level (see `asr_core.windows.level_changes`): somebody else speaks, and
       further windows begin there.
    3. Where nobody pauses, words are final OPEN_SECONDS behind the latest sound: more would hardly change them.
    Sound that led to final words is not heard again, but as what comes before. The decoder goes on with the language
    model where it was, or after a pause at the beginning of a sentence.

Words become final at fixed places in the sound, not where chunks happen to end: they do not depend on how the sound
was cut up. Between those places a window is heard every HOP_SECONDS, or once a chunk if chunks are longer, for the
partial words only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_core.alignment import WordSpan, space_token, split_words, words_of
from asr_core.audio import RATES, Audio, Resampler, to_mono
from asr_core.beam import DecoderOptions, PrefixBeam
from asr_core.ctc import BLANK, IMPOSSIBLE, Emissions, TokenSpan, best_path, forced_align, runs
from asr_core.decoder import best_texts, pauses
from asr_core.errors import AudioError
from asr_core.hot_words import HotWords
from asr_core.transcript import Word
from asr_core.windows import ALIGNED_STEPS, level_changes

WINDOW_SECONDS = 12.0  # about the longest clips of training; the network's work for each hop is that of so much sound
SETTLE_SECONDS = 2.0  # between windows that settle words; a stream that is behind hears these alone and catches up
HOP_SECONDS = 0.5  # between partials: half of what may pass from a word to its appearance
SURE_SECONDS = 1.0  # of sound behind a word that becomes final, if only silence: at its edge a window hears badly
CHANGE_SECONDS = 0.5  # of sound at another level, for a window to begin with it
OPEN_SECONDS = 7.0  # of sound whose words are not final; the rest of the window lies before it, to be heard along
ENDLESS_SECONDS = 2.0  # what takes longer and is still no word is cut
CONTEXT_WORDS = 3  # what a language model of four words sees


@dataclass(frozen=True)
class Update:
    """What changed with a piece of sound.

    Attributes:
        final: words that have become final, to be appended to those of earlier updates.
        partial: the words after them as they look now; they replace those of the update before.
        seconds: of sound so far.
    """

    final: tuple[Word, ...]
    partial: tuple[Word, ...]
    seconds: float


class Stream:
    """One running recording. It shares nothing with other streams but the recogniser; one thread at a time.

    Holds WINDOW_SECONDS + SETTLE_SECONDS of sound and at most as many seconds of log-probabilities, however long
    it runs.

    Args:
        recognizer: an `asr_core.recognizer.Recognizer`.
        options: how to decode; the bundle's defaults if None.
        hot_words: phrases that the beam favours (see `asr_core.decoder.beam_search`).
    """

    def __init__(self, recognizer, options: DecoderOptions | None = None, hot_words: Iterable[str] | None = None):
        self._recognizer = recognizer
        self._options = options or recognizer.bundle.decoder_options()
        if hot_words is not None and not isinstance(hot_words, HotWords):
            hot_words = HotWords.build(hot_words, recognizer.vocabulary)
        self._hot_words = hot_words
        self.sample_rate = self._rate = recognizer.sample_rate
        self._step_samples = round(recognizer.step_seconds * self._rate)
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next chunk is the beginning of a new recording."""
        self._incoming = Incoming(self._rate)
        self._unit = ALIGNED_STEPS * self._step_samples  # samples, as all that follow
        self._window, self._between = (
            int(seconds * self._rate / self._step_samples) * self._step_samples
            for seconds in (WINDOW_SECONDS, SETTLE_SECONDS)
        )
        self._latest = np.zeros(self._window + self._between, np.float32)
        self._filled = 0  # of those
        self._end = 0  # so far
        self._settle_at = self._between
        self._begin = 0  # no window reaches back beyond
        self._open = 0  # the beginning of what is not final
        self._heard = 0  # the end of what was heard last
        self._read = 0  # the end of what the partial words were read from
        self._said: Emissions | None = None  # of what is not final
        self._text = RunningText(self._recognizer, self._options, self._hot_words)
        self._partial: tuple[Word, ...] = ()
        self._finished = False

    @property
    def seconds(self) -> float:
        """Of sound so far."""
        return self._end / self._rate

    def feed(self, samples: np.ndarray, source_rate: int) -> Update:
        """Hears some more sound.

        Args:
            samples: [n] or [n, channels] of any length, none included; integers over their full range, or floats in
                [-1, 1], as `asr_core.audio.audio_from_array` takes them.
            source_rate: Hz; may change from chunk to chunk.

        Raises:
            AudioError: samples that are no sound; the chunk is left out and the stream can go on.
            TypeError, ValueError: samples of another type or shape; a finished stream.
        """
        if self._finished:
            raise ValueError("This stream is finished: reset it, or make another.")
        final: list[Word] = []
        for piece in self._incoming(samples, source_rate):
            final += self._take(piece)
        if self._end - self._heard >= HOP_SECONDS * self._rate:
            self._said, self._heard = self._hear(self._end), self._end
        if self._read < self._heard:
            self._partial, self._read = self._words(self._text.look(self._said)), self._heard
        return self._update(final)

    def finish(self) -> Update:
        """Ends the recording: all its words are final."""
        final = [word for piece in self._incoming.last() for word in self._take(piece)]
        if not self._finished and self._end:
            final += self._settle(self._hear(self._end) if self._heard < self._end else self._said, ended=True)
        self._finished, self._partial, self._said = True, (), None
        return self._update(final)

    def _take(self, piece: np.ndarray) -> list[Word]:
        """Appends float32 [n], hears every window that settles words, and returns what became final."""
        final: list[Word] = []
        while len(piece):
            part, piece = np.split(piece, [self._settle_at - self._end])
            self._latest[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            self._end += len(part)
            if self._end == self._settle_at:
                final += self._hear_and_settle()
        return final

    def _hear_and_settle(self) -> list[Word]:
        final: list[Word] = []
        while (change := self._change()) is not None:
            if change > self._open:
                final += self._settle(self._hear(change), ended=True)
            self._begin, self._open = change, max(self._open, change)
        final += self._settle(self._hear(self._end))
        self._heard = self._end
        kept = min(self._filled, self._window)
        self._latest[:kept] = self._latest[self._filled - kept : self._filled].copy()
        self._filled = kept
        self._settle_at += self._between
        return final

    def _change(self) -> int | None:
        """The first change of level in the latest window, if enough was heard after it to be sure."""
        start = self._window_start(self._end)
        changes = level_changes(self._sound(start, self._end), self._rate)
        change = start + changes[0] // self._unit * self._unit if changes else start
        return change if start < change <= self._end - CHANGE_SECONDS * self._rate else None

    def _settle(self, said: Emissions, ended: bool = False) -> list[Word]:
        words, self._said = self._text.settle(said, ended)
        self._open += (len(said) - len(self._said)) * self._step_samples
        return self._words(words)

    def _hear(self, end: int) -> Emissions:
        """What the window up to `end` says of what is not final."""
        start = self._window_start(end)
        said = self._recognizer.emissions(Audio(self._sound(start, end).copy(), self._rate))
        said = replace(said, start=start / self._rate)
        return said.part(max(self._open - start, 0) // self._step_samples, len(said))

    def _window_start(self, end: int) -> int:
        """Where the window up to `end` begins, in whole units."""
        return max(-(-(end - self._window) // self._unit) * self._unit, self._begin)

    def _sound(self, start: int, end: int) -> np.ndarray:
        offset = self._filled - self._end
        return self._latest[start + offset : end + offset]

    def _words(self, spans: list[WordSpan]) -> tuple[Word, ...]:
        return self._recognizer.calibrated(spans, self.seconds)

    def _update(self, final: list[Word]) -> Update:
        return Update(tuple(final), self._partial, self.seconds)


class Incoming:
    """Chunks of any rate and type to mono float32 at one rate, in pieces of some seconds at most.

    Call it with samples and rate as for `Stream.feed`; it raises the same. `last` empties the resampler.
    """

    PIECE = 480_000  # source samples: 10 s at 48 kHz

    def __init__(self, sample_rate: int):
        self._sample_rate = sample_rate
        self._resampler: Resampler | None = None

    def __call__(self, samples: np.ndarray, source_rate: int) -> Iterator[np.ndarray]:
        samples = np.asarray(samples)
        if samples.ndim not in (1, 2):
            raise ValueError(f"Expected samples [n] or [n, channels], got shape {list(samples.shape)}.")
        if not RATES[0] <= source_rate <= RATES[1]:
            raise AudioError(
                f"The microphone claims {source_rate:,} samples a second; {RATES[0]:,} to {RATES[1]:,} can be heard."
            )
        if not samples.size:
            return
        mono = to_mono(samples, "The microphone's sound")  # before anything is kept: a bad chunk changes nothing
        if self._resampler is not None and self._resampler.rate != source_rate:
            yield from self.last()
        self._resampler = self._resampler or Resampler(source_rate, self._sample_rate)
        for start in range(0, len(mono), self.PIECE):
            yield self._resampler(mono[start : start + self.PIECE])

    def last(self) -> Iterator[np.ndarray]:
        """What the resampler still holds."""
        if self._resampler is not None:
            yield self._resampler.last()
        self._resampler = None


class RunningText:
    """The words of sound that goes on: which of them are final, and what is left to be read again.

    Serves whoever has log-probabilities piece by piece, also those of a long file.
    """

    def __init__(self, recognizer, options: DecoderOptions, hot_words: HotWords | None):
        self._vocabulary, self._model = recognizer.vocabulary, recognizer.language_model
        self._pronunciations = recognizer.pronunciations
        self._options, self._hot_words = options, hot_words
        lengths = (SURE_SECONDS, OPEN_SECONDS, ENDLESS_SECONDS)
        self._sure, self._open, self._endless = (int(seconds / recognizer.step_seconds) for seconds in lengths)  # steps
        self._space = space_token(self._vocabulary)
        self._latest: list[str] = []  # final words of this sentence, for the language model
        self._word_end = 0.0  # of the last final word, seconds

    def settle(self, said: Emissions, ended: bool = False) -> tuple[list[WordSpan], Emissions]:
        """Decides on words.

        Args:
            said: of all sound behind the words that are final.
            ended: nothing follows.

        Returns:
            The words that are final now, and what was said behind them.
        """
        *closed, last = self._stretches(said, len(said) - self._sure)
        if ended:
            closed, last = [*closed, last], last.part(len(last), len(last))
        words = []
        for stretch in closed:
            words += self._final(stretch, *self._read(stretch, self._latest))
            self._latest = []
        overdue, rest = self._overdue(last)
        return words + overdue, rest

    def look(self, said: Emissions) -> list[WordSpan]:
        """The words behind the final ones, as they look now."""
        words, latest = [], self._latest
        for stretch in self._stretches(said, len(said)):
            words += self._spoken(stretch, *self._read(stretch, latest))
            latest = []
        return words

    def _stretches(self, said: Emissions, before: int) -> list[Emissions]:
        """What is said from pause to pause, as far as pauses begin up to step `before`."""
        edges = [pause.middle for pause in pauses(said, self._space) if pause.start <= before]
        return [said.part(start, end) for start, end in pairwise([0, *edges, len(said)])]

    def _overdue(self, said: Emissions) -> tuple[list[WordSpan], Emissions]:
        """The words that lie OPEN_SECONDS and more before the end, and what follows them."""
        overdue = len(said) - self._open
        if overdue <= 0:
            return [], said
        spans, agreement = self._read(said, self._latest)
        inside = [span for span in spans if span.end <= overdue]
        spaces = [count for count, span in enumerate(inside, 1) if span.token == self._space]
        if not spaces and overdue <= self._endless:
            return [], said
        count = spaces[-1] if spaces else len(inside)
        words = self._final(said, spans[:count], agreement)
        self._latest = [*self._latest, *(word.text for word in words)][-CONTEXT_WORDS:]
        cut = (spans[count - 1].end + spans[count].start) // 2 if spaces and count < len(spans) else overdue
        return words, said.part(cut, len(said))

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
        return forced_align(said.log_probs, best.tokens)[0] if best.tokens else [], best.agreement

    def _final(self, said: Emissions, spans: list[TokenSpan], agreement: Sequence[float]) -> list[WordSpan]:
        """The words of these tokens, from now on final."""
        words = self._spoken(said, spans, agreement)
        if words:
            self._word_end = words[-1].end
        return words

    def _spoken(self, said: Emissions, spans: list[TokenSpan], agreement: Sequence[float]) -> list[WordSpan]:
        """The words of these tokens; none begins before the last final one has ended."""
        groups = split_words(spans, self._vocabulary)
        texts = [self._vocabulary.decode(span.token for span in group) for group in groups]
        end = self._word_end
        words = words_of(texts, groups, said, agreement[: len(groups)])
        return [replace(word, start=max(word.start, end), end=max(word.end, end)) for word in words]


def _spelled(tokens: Sequence[int], size: int) -> np.ndarray:
    """Log-probabilities that say a text beyond doubt: float32 [steps, size], a blank behind every token."""
    path = [step for token in tokens for step in (token, BLANK)]
    log_probs = np.full((len(path), size), IMPOSSIBLE, np.float32)
    log_probs[np.arange(len(path)), path] = 0.0
    return log_probs
