"""Live recognition: chunks of audio of any length come in, final words and partial words go out.

The network uses context on both sides, and it recognises a word better with more of the sentence before and after it.
It therefore runs again and again on a window of the latest audio, with the same amount of work each time. Each run
replaces the emissions of everything that is not final yet.

Which words are final
    Every FINALIZE_SECONDS of audio, the emissions of the window that ends there are decoded.
    1. All words before a pause (see `asr_core.decoding.segments.pauses`) become final once RIGHT_CONTEXT_SECONDS
       have passed since the last of them, so that a sentence is complete before it is decided.
    2. All words before a change of level (see `asr_core.audio.speech_activity.level_changes`) become final: another
       person is speaking, and later windows begin at the change.
    3. Where nobody pauses, words become final when they are PARTIAL_SECONDS old; more context would hardly change
       them.
    Audio whose words are final is only used as left context. The decoder continues with the state of the language
    model after the final words, or starts a new sentence after a pause.

Words become final at fixed positions in the audio, not at the ends of chunks, so that they do not depend on how the
audio was cut into chunks. Between these positions the network runs every HOP_SECONDS, or once a chunk if chunks are
longer, for the partial words only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from asr_core.audio.loading import Audio
from asr_core.audio.resampling import ChunkResampler
from asr_core.audio.speech_activity import WINDOW_SECONDS, level_changes
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.incremental import IncrementalDecoder
from asr_core.decoding.options import DecoderOptions, checked_options
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.inference.windows import ALIGNED_STEPS
from asr_core.transcript.words import Word

FINALIZE_SECONDS = 2.0  # between windows that make words final; a stream that cannot keep up runs no others
HOP_SECONDS = 0.5  # between partial results: half of the latency that is acceptable for a new word
CHANGE_SECONDS = 0.5  # of audio after a change of level, before it is trusted


@dataclass(frozen=True)
class Update:
    """What has changed with a chunk of audio.

    Attributes:
        final: words that have become final, to be appended to those of earlier updates.
        partial: the current words after the final ones; they replace those of the previous update.
        seconds: duration of the audio so far.
    """

    final: tuple[Word, ...]
    partial: tuple[Word, ...]
    seconds: float


class Stream:
    """One live recording. Streams share nothing but the recogniser; a stream belongs to one thread at a time.

    A stream holds WINDOW_SECONDS + FINALIZE_SECONDS of audio and at most as many seconds of log-probabilities, however
    long it runs.

    Args:
        recognizer: an `asr_core.recognizer.Recognizer`.
        options: of the decoder; the bundle's defaults if None, with the beam search if there are hotwords.
        hot_words: phrases that the beam favours (see `asr_core.decoding.beam_search.beam_search`).
    """

    def __init__(self, recognizer, options: DecoderOptions | None = None, hot_words: Iterable[str] | None = None):
        self._recognizer = recognizer
        self._hot_words = HotWords.of(hot_words, recognizer.vocabulary)
        self._options = checked_options(options, recognizer.bundle.decoder_options(), self._hot_words)
        self.sample_rate = recognizer.sample_rate
        self._step_samples = round(recognizer.step_seconds * self.sample_rate)
        self._aligned_samples = ALIGNED_STEPS * self._step_samples  # windows begin at multiples of this
        self._window_samples, self._finalize_samples = (
            int(seconds * self.sample_rate / self._step_samples) * self._step_samples
            for seconds in (WINDOW_SECONDS, FINALIZE_SECONDS)
        )
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next chunk begins a new recording. Positions are samples since its start."""
        self._resampler = ChunkResampler(self.sample_rate)
        self._buffer = np.zeros(self._window_samples + self._finalize_samples, np.float32)  # the latest audio
        self._buffered = 0  # samples in the buffer
        self._end = 0  # end of the audio so far
        self._finalize_at = self._finalize_samples  # end of the next window that makes words final
        self._level_start = 0  # the latest change of level: no window begins before it
        self._pending_start = 0  # end of the audio whose words are final
        self._predicted_end = 0  # end of the latest window that the network ran on
        self._decoded_end = 0  # end of the audio that the partial words were decoded from
        self._pending: Emissions | None = None  # emissions of the audio whose words are not final
        self._decoder = IncrementalDecoder(self._recognizer, self._options, self._hot_words)
        self._partial: tuple[Word, ...] = ()
        self._final_end: float | None = None  # of the last final word, seconds
        self._finished = False

    @property
    def seconds(self) -> float:
        """Duration of the audio so far."""
        return self._end / self.sample_rate

    def feed(self, samples: np.ndarray, source_rate: int) -> Update:
        """Recognises one more chunk of audio.

        Args:
            samples: [n] or [n, channels] of any length, none included; integers over their full range, or floats in
                [-1, 1], as `asr_core.audio.loading.audio_from_array` takes them.
            source_rate: Hz; may change from chunk to chunk.

        Raises:
            AudioError: samples that are not audio; the chunk is left out and the stream can continue.
            TypeError, ValueError: samples of another type or shape; a finished stream.
        """
        if self._finished:
            raise ValueError("This stream is finished: reset it, or make another.")
        final: list[Word] = []
        for piece in self._resampler(samples, source_rate):
            final += self._append(piece)
        if self._end - self._predicted_end >= HOP_SECONDS * self.sample_rate:
            self._pending, self._predicted_end = self._predict(self._end), self._end
        if self._decoded_end < self._predicted_end:
            self._partial = self._calibrated(self._decoder.partial(self._pending))
            self._decoded_end = self._predicted_end
        return self._update(final)

    def finish(self) -> Update:
        """Ends the recording: all its words are final."""
        final = [word for piece in self._resampler.last() for word in self._append(piece)]
        if not self._finished and self._end:
            emissions = self._predict(self._end) if self._predicted_end < self._end else self._pending
            final += self._finalize(emissions, ended=True)
        self._finished, self._partial, self._pending = True, (), None
        return self._update(final)

    def _append(self, samples: np.ndarray) -> list[Word]:
        """Appends float32 [n], decodes every window that makes words final, and returns these words."""
        final: list[Word] = []
        while len(samples):
            piece, samples = np.split(samples, [self._finalize_at - self._end])
            self._buffer[self._buffered : self._buffered + len(piece)] = piece
            self._buffered += len(piece)
            self._end += len(piece)
            if self._end == self._finalize_at:
                final += self._finalize_window()
        return final

    def _finalize_window(self) -> list[Word]:
        """Decodes the window that ends here, returns its final words, and drops audio that no window needs again."""
        final: list[Word] = []
        while (change := self._level_change()) is not None:
            if change > self._pending_start:
                final += self._finalize(self._predict(change), ended=True)
            self._level_start, self._pending_start = change, max(self._pending_start, change)
        final += self._finalize(self._predict(self._end))
        self._predicted_end = self._end
        kept = min(self._buffered, self._window_samples)
        self._buffer[:kept] = self._buffer[self._buffered - kept : self._buffered].copy()
        self._buffered = kept
        self._finalize_at += self._finalize_samples
        return final

    def _level_change(self) -> int | None:
        """The first change of level in the latest window, if there is enough audio after it."""
        start = self._window_start(self._end)
        changes = level_changes(self._samples(start, self._end), self.sample_rate)
        change = start + changes[0] // self._aligned_samples * self._aligned_samples if changes else start
        return change if start < change <= self._end - CHANGE_SECONDS * self.sample_rate else None

    def _finalize(self, emissions: Emissions, ended: bool = False) -> tuple[Word, ...]:
        words, self._pending = self._decoder.finalize(emissions, ended)
        self._pending_start += (len(emissions) - len(self._pending)) * self._step_samples
        final = self._calibrated(words, self._decoder.next_start)
        if final:
            self._final_end = final[-1].end
        return final

    def _predict(self, end: int) -> Emissions:
        """Runs the network on the window up to `end`, and returns the emissions of what is not final."""
        start = self._window_start(end)
        emissions = self._recognizer.emissions(Audio(self._samples(start, end).copy(), self.sample_rate))
        emissions = replace(emissions, start=start / self.sample_rate)
        return emissions.slice(max(self._pending_start - start, 0) // self._step_samples, len(emissions))

    def _window_start(self, end: int) -> int:
        """Where the window up to `end` begins: at an aligned position, not before the latest change of level.

        Where `end` is a change that was found late, the buffer has less than a window of the audio before it.
        """
        aligned = self._aligned_samples
        earliest = max(end - self._window_samples, self._end - self._buffered)
        return max(-(-earliest // aligned) * aligned, self._level_start)

    def _samples(self, start: int, end: int) -> np.ndarray:
        """The buffered audio from position `start` to before `end`."""
        offset = self._buffered - self._end
        return self._buffer[start + offset : end + offset]

    def _calibrated(self, spans: list[WordSpan], next_start: float | None = None) -> tuple[Word, ...]:
        return self._recognizer.calibrated(spans, self.seconds, neighbours=(self._final_end, next_start))

    def _update(self, final: list[Word]) -> Update:
        return Update(tuple(final), self._partial, self.seconds)
