"""The path, live: sound in pieces of any size, words that may still change and words that never will.

The network looks both ways and wants to hear some seconds around what it names. So it hears a window of the latest
sound again and again, each time the same amount of work, and what it said of the older part of the window is kept.

Which words are final
    1. Every COMMIT_SECONDS of sound a window that ends there is heard. What it says of the steps that have at least
       FUTURE_SECONDS of sound behind them is *committed*: those log-probabilities never change again. The cut lies
       where the network is surest of blank, so that no letter is torn.
    2. The committed part alone is decoded, from pause to pause as in `asr_core.decoder`. All words before a pause are
       final. After the last one, a word is final when a space follows it and when all texts that the beam still weighs
       agree on everything up to that space (greedy decoding has one text).
    3. Where the beam does not agree for UNDECIDED_SECONDS, its best text wins.
    4. What led to final words is dropped; the decoder goes on behind them, with the language model where it was, or
       after a pause at the beginning of a sentence.

Windows that commit end at fixed places in the sound, not where chunks happen to end: the final words do not depend
on how the sound was cut up. Between those places a window is heard every HOP_SECONDS, or once a chunk if chunks are
longer, for the partial words only; what it says is forgotten with the next.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_core.alignment import WordSpan, space_token, split_words, words_of
from asr_core.audio import RATES, Audio, Resampler, to_mono
from asr_core.beam import DecoderOptions, PrefixBeam
from asr_core.ctc import BLANK, IMPOSSIBLE, Emissions, TokenSpan, best_path, forced_align, runs
from asr_core.decoder import PAUSE_SECONDS, pauses, quiet_steps
from asr_core.errors import AudioError
from asr_core.hot_words import HotWords
from asr_core.transcript import Word
from asr_core.windows import ALIGNED_STEPS

WINDOW_SECONDS = 12.0  # about the longest clips of training; the network's work for each hop is that of so much sound
FUTURE_SECONDS = 2.5  # as around the seams of long files: more changes few letters
COMMIT_SECONDS = 2.0  # between windows that commit; a stream that is behind hears these alone and catches up
HOP_SECONDS = 0.5  # between partials: half of what may pass from a word to its appearance
CUT_SECONDS = 1.0  # how far before the latest step that could be committed the cut may lie
UNDECIDED_SECONDS = 8.0  # bounds the work of the decoder and its memory
CONTEXT_WORDS = 3  # what a language model of four words sees
LEAD_SECONDS = 0.5  # kept before the first letter that is not final, for the beginning of its word


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

    Holds WINDOW_SECONDS + COMMIT_SECONDS of sound and at most as many seconds of log-probabilities, however long
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
        self._window = self._whole(WINDOW_SECONDS) * self._step_samples  # samples, as all that follow
        self._between = self._whole(COMMIT_SECONDS) * self._step_samples
        self._latest = np.zeros(self._window + self._between, np.float32)
        self._filled = 0  # of those
        self._end = 0  # so far
        self._commit_at = self._between
        self._heard = 0  # the end of what was heard last
        self._read = 0  # the end of what the partial words were read from
        self._tail: Emissions | None = None  # what was said of the steps that are not committed
        self._unsettled = Unsettled(self._recognizer, self._options, self._hot_words)
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
            self._hear()
        self._look()
        return self._update(final)

    def finish(self) -> Update:
        """Ends the recording: all its words are final."""
        final = [word for piece in self._incoming.last() for word in self._take(piece)]
        if not self._finished and self._end:
            self._commit(len(self._hear() if self._heard < self._end else self._tail))
            final += self._words(self._unsettled.settle(ended=True))
        self._finished, self._partial, self._tail = True, (), None
        return self._update(final)

    def _whole(self, seconds: float) -> int:
        return int(seconds * self._rate / self._step_samples)

    def _take(self, piece: np.ndarray) -> list[Word]:
        """Appends float32 [n], hears every window that commits, and returns what became final."""
        final: list[Word] = []
        while len(piece):
            part, piece = np.split(piece, [self._commit_at - self._end])
            self._latest[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            self._end += len(part)
            if self._end == self._commit_at:
                final += self._hear_and_commit()
        return final

    def _hear_and_commit(self) -> list[Word]:
        tail = self._hear()
        self._commit(self._cut(tail))
        final = self._words(self._unsettled.settle())
        kept = min(self._filled, self._window)
        self._latest[:kept] = self._latest[self._filled - kept : self._filled].copy()
        self._filled = kept
        self._commit_at += self._between
        return final

    def _hear(self) -> Emissions:
        """What the latest window says of the steps that are not committed; becomes the tail."""
        unit = ALIGNED_STEPS * self._step_samples
        start = -(-max(self._end - self._window, 0) // unit) * unit
        window = self._latest[self._filled - (self._end - start) : self._filled]
        said = self._recognizer.emissions(Audio(window.copy(), self._rate))
        said = replace(said, start=start / self._rate)
        self._tail = _part(said, self._unsettled.next_step - start // self._step_samples, len(said))
        self._heard = self._end
        return self._tail

    def _look(self) -> None:
        """Reads the partial words, if anything was heard since they were read."""
        if self._read < self._heard:
            self._partial = self._words(self._unsettled.look(self._tail))
            self._read = self._heard

    def _cut(self, tail: Emissions) -> int:
        """How many steps of the tail to commit: to the one between surest blanks, the latest if all are alike."""
        latest = len(tail) - self._whole(FUTURE_SECONDS)
        earliest = max(latest - self._whole(CUT_SECONDS), 1)
        if latest < earliest:
            return 0
        blank = tail.log_probs[: latest + 2, BLANK]
        around = np.convolve(blank, np.ones(4), "valid")  # of the cut before step i: the steps i - 2 to i + 1
        places = np.arange(max(earliest, 2), latest + 1)
        return int(places[np.argmax(around[places - 2] - 1e-4 * (latest - places))]) if len(places) else 0

    def _commit(self, steps: int) -> None:
        self._unsettled.append(_part(self._tail, 0, steps))
        self._tail = _part(self._tail, steps, len(self._tail))

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


class Unsettled:
    """Committed log-probabilities behind the last final word, and the decoder that reads them.

    Serves whoever has log-probabilities piece by piece, also those of a long file.
    """

    def __init__(self, recognizer, options: DecoderOptions, hot_words: HotWords | None):
        self._vocabulary, self._model = recognizer.vocabulary, recognizer.language_model
        self._options, self._hot_words = options, hot_words
        lengths = (PAUSE_SECONDS, UNDECIDED_SECONDS, LEAD_SECONDS)
        self._pause, self._undecided, self._lead = (int(s / recognizer.step_seconds) for s in lengths)  # steps
        self._space = space_token(self._vocabulary)
        self._emissions: Emissions | None = None
        self._latest: list[str] = []  # final words, for the language model
        self._word_end = 0.0  # of the last final word, seconds
        self.next_step = 0  # the first one that is not committed

    def append(self, emissions: Emissions) -> None:
        """Takes the steps that follow."""
        self._emissions = _joined(self._emissions, emissions)
        self.next_step += len(emissions)

    def settle(self, ended: bool = False) -> list[WordSpan]:
        """The words that are final now; forgets what led to them."""
        if self._emissions is None or not len(self._emissions):
            return []
        *closed, last = self._stretches(self._emissions)
        words = [word for said in closed for word in self._settle(said, ended=True)]
        quiet = quiet_steps(last, self._space)
        pausing = len(quiet) >= self._pause and bool(quiet[-self._pause :].all())
        return words + self._settle(last, ended or pausing)

    def look(self, tail: Emissions) -> list[WordSpan]:
        """The words behind the final ones, those that are not committed included."""
        words, latest = [], self._latest
        for said in self._stretches(_joined(self._emissions, tail)):
            words += self._spoken(said, self._place(said, self._texts(said, latest)))
            latest = []
        return words

    def _stretches(self, said: Emissions) -> list[Emissions]:
        """What is said from pause to pause."""
        edges = [0, *pauses(said, self._space), len(said)]
        return [_part(said, start, end) for start, end in pairwise(edges)]

    def _settle(self, said: Emissions, ended: bool) -> list[WordSpan]:
        """The words of a stretch that are final now, all of them where it has ended; the rest of it is kept."""
        texts = self._texts(said, self._latest)
        spans = self._place(said, texts)
        count = len(spans) if ended else self._certain(said, spans, texts)
        final = len(split_words(spans[:count], self._vocabulary))
        words = self._spoken(said, spans)[:final]
        if words:
            self._word_end = words[-1].end
        self._latest = [] if ended else (self._latest + [word.text for word in words])[-CONTEXT_WORDS:]
        self._forget(said, spans, count)
        return words

    def _texts(self, said: Emissions, latest: list[str]) -> list[tuple[int, ...]]:
        """The texts that the beam weighs, best first; none for greedy decoding.

        The beam is told the words before as if it had just heard them.
        """
        if self._options.decoder == "greedy":
            return []
        beam = PrefixBeam(self._vocabulary, self._options, self._model, self._hot_words)
        before = self._vocabulary.encode("".join(f"{word} " for word in latest)) if self._space else []
        beam.advance(_spelled(before, len(self._vocabulary)))
        beam.advance(said.log_probs)
        return [text.tokens[len(before) :] for text in beam.texts()]

    def _place(self, said: Emissions, texts: list[tuple[int, ...]]) -> list[TokenSpan]:
        """The tokens of the best text where they lie in the emissions."""
        if not texts:
            return runs(best_path(said.log_probs)) if len(said) else []
        return forced_align(said.log_probs, texts[0])[0] if texts[0] else []

    def _spoken(self, said: Emissions, spans: list[TokenSpan]) -> list[WordSpan]:
        """The words of these tokens; none begins before the last final one has ended."""
        groups = split_words(spans, self._vocabulary)
        texts = [self._vocabulary.decode(span.token for span in group) for group in groups]
        end = self._word_end
        words = words_of(texts, groups, said)
        return [replace(word, start=max(word.start, end), end=max(word.end, end)) for word in words]

    def _certain(self, said: Emissions, spans: list[TokenSpan], texts: list[tuple[int, ...]]) -> int:
        """How many tokens of the best text are final, where the sound goes on."""
        if not spans:
            return 0
        tokens = [span.token for span in spans]
        overdue = len(said) - spans[0].start >= self._undecided
        agreed = len(tokens) if overdue else min((_agreed(tokens, text) for text in texts), default=len(tokens))
        spaces = [i + 1 for i, token in enumerate(tokens[:agreed]) if token == self._space]
        return spaces[-1] if spaces else len(tokens) if overdue else 0

    def _forget(self, said: Emissions, spans: list[TokenSpan], count: int) -> None:
        """Drops the final tokens, and the silence in front of what is left."""
        cut = len(said) if count == len(spans) else spans[count].start
        cut -= min(self._lead, cut - spans[count - 1].end if count else cut)
        self._emissions = _part(said, cut, len(said))


def _agreed(tokens: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts have in common at their beginning."""
    different = (i for i, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b)
    return next(different, min(len(tokens), len(other)))


def _spelled(tokens: Sequence[int], size: int) -> np.ndarray:
    """Log-probabilities that say a text beyond doubt: float32 [steps, size], a blank behind every token."""
    path = [step for token in tokens for step in (token, BLANK)]
    log_probs = np.full((len(path), size), IMPOSSIBLE, np.float32)
    log_probs[np.arange(len(path)), path] = 0.0
    return log_probs


def _part(emissions: Emissions, start: int, end: int) -> Emissions:
    """The steps from `start` to before `end`, with their times."""
    energy = emissions.energy
    if energy is not None:
        fine = len(energy) // max(1, len(emissions))
        energy = energy[start * fine : end * fine]
    return Emissions(emissions.log_probs[start:end], emissions.step_seconds, emissions.time(start), energy)


def _joined(first: Emissions | None, second: Emissions) -> Emissions:
    if first is None or not len(first):
        return second
    if not len(second):
        return first
    energy = None if second.energy is None else np.concatenate([first.energy, second.energy])
    return Emissions(np.concatenate([first.log_probs, second.log_probs]), first.step_seconds, first.start, energy)
