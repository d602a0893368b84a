"""The path, live: sound in pieces of any size, words that may still change and words that never will.

The network looks both ways and names what it hears the better, the more of the sentence it has heard. So it hears a
window of the latest sound again and again, each time the same amount of work, and what it says now of all that is not
final takes the place of what it said before.

Which words are final
    Every FINALIZE_SECONDS of sound a window that ends there is heard, and what it says is decoded.
    1. All words before a pause are final (see `asr_core.decoding.beam_search.pauses`), once RIGHT_CONTEXT_SECONDS have
    passed since the last
       of them: it hears a sentence to its end before it decides.
    2. So are all words before a change of level (see `asr_core.audio.speech_activity.level_changes`): somebody else
    speaks, and
       further windows begin there.
    3. Where nobody pauses, words are final PARTIAL_SECONDS behind the latest sound: more would hardly change them.
    Sound that led to final words is not heard again, but as what comes before. The decoder goes on with the language
    model where it was, or after a pause at the beginning of a sentence.

Words become final at fixed places in the sound, not where chunks happen to end: they do not depend on how the sound
was cut up. Between those places a window is heard every HOP_SECONDS, or once a chunk if chunks are longer, for the
partial words only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from asr_core.audio.loading import Audio
from asr_core.audio.resampling import ChunkResampler
from asr_core.audio.speech_activity import level_changes
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.incremental import IncrementalDecoder
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.inference.windows import ALIGNED_STEPS
from asr_core.transcript.words import Word

WINDOW_SECONDS = 12.0  # about the longest clips of training; the network's work for each hop is that of so much sound
FINALIZE_SECONDS = 2.0  # between windows that settle words; a stream that is behind hears these alone and catches up
HOP_SECONDS = 0.5  # between partials: half of what may pass from a word to its appearance
CHANGE_SECONDS = 0.5  # of sound at another level, for a window to begin with it


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

    Holds WINDOW_SECONDS + FINALIZE_SECONDS of sound and at most as many seconds of log-probabilities, however long
    it runs.

    Args:
        recognizer: an `asr_core.recognizer.Recognizer`.
        options: how to decode; the bundle's defaults if None.
        hot_words: phrases that the beam favours (see `asr_core.decoding.beam_search.beam_search`).
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
        self._incoming = ChunkResampler(self._rate)
        self._unit = ALIGNED_STEPS * self._step_samples  # samples, as all that follow
        self._window, self._between = (
            int(seconds * self._rate / self._step_samples) * self._step_samples
            for seconds in (WINDOW_SECONDS, FINALIZE_SECONDS)
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
        self._text = IncrementalDecoder(self._recognizer, self._options, self._hot_words)
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
                [-1, 1], as `asr_core.audio.loading.audio_from_array` takes them.
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
            self._partial, self._read = self._words(self._text.partial(self._said)), self._heard
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
        words, self._said = self._text.finalize(said, ended)
        self._open += (len(said) - len(self._said)) * self._step_samples
        return self._words(words)

    def _hear(self, end: int) -> Emissions:
        """What the window up to `end` says of what is not final."""
        start = self._window_start(end)
        said = self._recognizer.emissions(Audio(self._sound(start, end).copy(), self._rate))
        said = replace(said, start=start / self._rate)
        return said.slice(max(self._open - start, 0) // self._step_samples, len(said))

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
