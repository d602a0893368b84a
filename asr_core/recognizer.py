"""The whole path from a recording to its words: decode, cut, batch, run the network, join, decode.

A Recognizer holds one model and one thread that runs it (see `asr_core.inference.worker`). Whoever has sound to be
heard, from
any thread, puts windows into its queue; what waits there together is run together. Log-probabilities are kept, so that
another decoder costs no second pass.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import replace
from functools import partial

import numpy as np

from asr_core.audio.energy import signal_energy
from asr_core.audio.loading import Audio, audio_from_array, load_audio
from asr_core.audio.speech_activity import WINDOW_SECONDS
from asr_core.bundle.bundle import Bundle
from asr_core.decoding.beam_search import DecoderOptions, beam_search
from asr_core.decoding.confidence import NOT_SPOKEN, UNCHECKED, Calibration
from asr_core.decoding.hypotheses import Hypothesis, greedy
from asr_core.decoding.text_alignment import align_text
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.errors import Cancelled
from asr_core.inference.compiled import CompiledModel
from asr_core.inference.process import InferenceProcess
from asr_core.inference.stitching import SEAM_SECONDS, EmissionStitcher
from asr_core.inference.windows import silent_steps, windows_of
from asr_core.inference.worker import InferenceWorker
from asr_core.text.pasted import words_alone
from asr_core.text.vocabulary import space_token
from asr_core.transcript.words import Transcript, Word

BATCH_SECONDS = 6 * WINDOW_SECONDS  # of sound in one run, padding included: more is hardly faster, but larger
WINDOWS_AHEAD = 12  # of one recording in the queue: two batches, and others get their turn in between
POLL_SECONDS = 0.1  # how soon a cancelled request notices
UNCALIBRATED = Calibration()
MIN_CONFIDENCE = 0.1  # of words that stand alone: of such words one in ten is right, and in noise none
LONE_SECONDS = 1.0  # from any other word, longer than the pauses within a sentence
NETWORK_SHARE = 0.6  # of the work is done once the network has heard all, about; the rest is decoding


class Recognizer:
    """Hears recordings with one model. Safe to use from many threads.

    Args:
        bundle: the model (see `asr_core.bundle.loading.load_bundle`). Building it takes seconds, the first run some
            more for compilation: see `warm_up`.
        step: that model's network, if not in this process.

    Raises:
        BundleError: the bundle's weights are not those of its network.
        LanguageModelError: its language model is damaged.
    """

    def __init__(self, bundle: Bundle, step: InferenceProcess | None = None):
        self.bundle = bundle
        self.name = bundle.name
        self.sample_rate = bundle.sample_rate
        self.vocabulary = bundle.vocabulary
        self.language_model = bundle.language_model()
        self.pronunciations = bundle.pronunciations(self.language_model)
        self._defaults = bundle.decoder_options()
        self._calibrations = {
            origin: Calibration(**numbers) for origin, numbers in bundle.config.get("confidence", {}).items()
        }
        self._phones = bundle.phones
        step = step or CompiledModel(bundle)
        self._geometry = step.geometry
        self.step_seconds = self._geometry.step_samples / self.sample_rate
        self._network = InferenceWorker(step, round(BATCH_SECONDS * self.sample_rate))
        weakref.finalize(self, self._network.close)  # a recogniser that is dropped leaves no thread behind

    def warm_up(self) -> None:
        """Compiles the network's step and the beam, which takes seconds: so no request has to wait for it."""
        sound = Audio(np.full(self.sample_rate, 0.1, np.float32), self.sample_rate)  # silence is not even run
        self.decode(self.emissions(sound), sound.seconds)

    def close(self) -> None:
        """Ends the thread behind it; what waits is answered first. A later request raises RuntimeError."""
        self._network.close()

    def load(self, source, max_seconds: float | None = None, track: int | None = None) -> Audio:
        """Any recording as this model hears it.

        Args:
            source: a path, the bytes of a file, a binary file, an Audio, or (rate, samples) as Gradio has it.
            max_seconds: longer files are refused while they are decoded.
            track: which audio track of a file, from 1 (see `asr_core.audio.loading.load_audio`).

        Raises:
            AudioError: it cannot be read, holds no sound, or is too long.
        """
        if isinstance(source, tuple):
            return audio_from_array(source[1], source[0], self.sample_rate)
        if not isinstance(source, Audio):
            return load_audio(source, self.sample_rate, max_seconds=max_seconds, track=track)
        if source.sample_rate != self.sample_rate:
            resampled = audio_from_array(source.samples, source.sample_rate, self.sample_rate)
            return replace(resampled, notes=source.notes)
        return source

    def emissions(
        self,
        audio: Audio,
        progress: Callable[[float], None] | None = None,
        cancel=None,
        heard: Callable[[Emissions], None] | None = None,
    ) -> Emissions:
        """What the network hears.

        Recordings beyond WINDOW_SECONDS go through in overlapping windows. Each window is normalised on its
        own, as the clips of training were, whatever else the recording holds.

        Args:
            audio: at this model's sample rate (see `load`).
            progress: called with the fraction done, from 0 to 1, after every window.
            cancel: anything with `is_set()`, looked at several times a second.
            heard: called after every window with what has been heard since and will not change any more.

        Raises:
            Cancelled: `cancel` was set.
        """
        if audio.sample_rate != self.sample_rate:
            raise ValueError(f"{self.name} hears {self.sample_rate} Hz, not {audio.sample_rate}: use load().")
        samples, steps = audio.samples, self._geometry.steps(len(audio.samples))
        windows = windows_of(samples, self.sample_rate, self._geometry.step_samples)
        stitcher = EmissionStitcher(steps, len(self.vocabulary), self._whole_steps(SEAM_SECONDS), self._phones)
        if (space := space_token(self.vocabulary)) is not None:
            stitcher.part(silent_steps(windows, self._geometry.step_samples), space)
        settled = [min(window.start_step, steps) for window in windows[1:]] + [steps]  # where the next can change it
        told = 0
        waiting: deque[tuple[int, Future]] = deque()
        try:
            for number, window in enumerate(windows, 1):
                waiting.append((window.start_step, self._network.submit(samples[window.start : window.end])))
                while len(waiting) > (WINDOWS_AHEAD if number < len(windows) else 0):
                    start, future = waiting[0]
                    stitcher.add(start, *_wait(future, cancel))
                    waiting.popleft()
                    done = number - len(waiting)
                    if heard is not None:
                        heard(self._part(stitcher, samples, told, settled[done - 1]))
                        told = settled[done - 1]
                    if progress is not None:
                        progress(done / len(windows))
        finally:
            for _, future in waiting:
                future.cancel()
        return Emissions(stitcher.log_probs, self.step_seconds, 0.0, self._energy(samples, steps), stitcher.phones)

    def hypotheses(
        self, emissions: Emissions, options: DecoderOptions | None = None, hot_words=None, progress=None, cancel=None
    ) -> list[Hypothesis]:
        """The texts that the emissions may hold, best first (one if greedy). Arguments as for `decode`.

        The words of the best one have been located.
        """

        def report(done: float) -> None:
            if progress is not None:
                progress(done)
            raise_if_cancelled(cancel)

        options = options or self._defaults
        if options.decoder == "greedy":
            found = [greedy(emissions, self.vocabulary)]
        else:
            found = beam_search(
                emissions, self.vocabulary, options, self.language_model, hot_words, self.pronunciations, report
            )
        found[0].locate(partial(raise_if_cancelled, cancel))
        return found

    def decode(
        self,
        emissions: Emissions,
        seconds: float,
        options: DecoderOptions | None = None,
        hot_words=None,
        progress: Callable[[float], None] | None = None,
        cancel=None,
    ) -> Transcript:
        """The most probable words, by another decoder at will: the network does not run again.

        Args:
            emissions: from `emissions`.
            seconds: length of the recording.
            options: how to decode; the bundle's defaults if None.
            hot_words: phrases that the beam favours (see `asr_core.decoding.beam_search.beam_search`).
            progress, cancel: as for `emissions`, both several times a second.

        Raises:
            Cancelled: `cancel` was set.
        """
        return self.transcript(self.hypotheses(emissions, options, hot_words, progress, cancel)[0].words, seconds)

    def align(self, emissions: Emissions, seconds: float, text: str) -> Transcript:
        """A given text laid along the recording; its notes say if it does not fit as a whole.

        Args:
            text: as people paste it: of subtitles, the words alone are taken (see `asr_core.text.pasted`).

        Raises:
            AlignmentError: a text without letters, or too long for the recording.
        """
        alignment = align_text(emissions, words_alone(text), self.vocabulary)
        return replace(self.transcript(alignment.words, seconds, given=True), notes=alignment.notes)

    def transcribe(
        self,
        source,
        options: DecoderOptions | None = None,
        progress: Callable[[float], None] | None = None,
        cancel=None,
        *,
        hot_words=None,
        max_seconds: float | None = None,
        track: int | None = None,
    ) -> Transcript:
        """The words of a recording; none if it is silent. Arguments as for `load`, `emissions` and `decode`.

        Raises:
            AudioError: the recording cannot be read.
            Cancelled: `cancel` was set.
        """
        audio = self.load(source, max_seconds, track)
        emissions = self.emissions(audio, sub_progress(progress, 0, NETWORK_SHARE), cancel)
        rest = sub_progress(progress, NETWORK_SHARE, 1)
        transcript = self.decode(emissions, audio.seconds, options, hot_words, rest, cancel)
        return replace(transcript, notes=audio.notes)

    def calibrated(self, spans: Iterable[WordSpan], seconds: float, given: bool = False) -> tuple[Word, ...]:
        """Words with their confidence as this model's calibration has it, inside `seconds` of sound.

        Words of the beam search that the model all but rules out are left out where no others stand (see
        `without_noise`), if their confidence is calibrated: else it does not say how often such words are right.
        Greedy decoding gives what the network says as it is.

        Args:
            given: they were not decoded, but are those of a given text.
        """
        spans = list(spans)
        origin = "aligned" if given else "greedy" if spans and spans[0].agreement is None else "beam"
        calibration = self._calibrations.get(origin)

        def confidence(span: WordSpan) -> float:
            if span.confidence == UNCHECKED:
                return UNCHECKED
            return max(NOT_SPOKEN, (calibration or UNCALIBRATED)(span))

        words = tuple(
            Word("".join(span.text.split()), min(span.start, seconds), min(span.end, seconds), confidence(span))
            for span in spans
        )
        return without_noise(words) if origin == "beam" and calibration is not None else words

    def transcript(self, words: Iterable[WordSpan], seconds: float, given: bool = False) -> Transcript:
        """Words of a recording of so many seconds, `given` or decoded (see `calibrated`)."""
        return Transcript(self.calibrated(words, seconds, given), seconds, self.name)

    def _whole_steps(self, seconds: float) -> int:
        return int(seconds / self.step_seconds)

    def _part(self, stitcher: EmissionStitcher, samples: np.ndarray, start: int, end: int) -> Emissions:
        """The steps from `start` to before `end` of a recording."""
        energy = self._energy(samples[start * self._geometry.step_samples :], end - start)
        return Emissions(stitcher.log_probs[start:end].copy(), self.step_seconds, start * self.step_seconds, energy)

    def _energy(self, samples: np.ndarray, steps: int) -> np.ndarray:
        """Loudness beside the steps, a minute at a time: the sums behind it are 20 times its size."""
        minute = self._whole_steps(60)
        parts = []
        for first in range(0, steps, minute):
            part = samples[first * self._geometry.step_samples :][: minute * self._geometry.step_samples]
            count = min(minute, steps - first)
            parts.append(signal_energy(part, self.sample_rate, self.step_seconds, count))
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def without_noise(words: Sequence[Word]) -> tuple[Word, ...]:
    """The words without those that stand alone, LONE_SECONDS or more from any other, all below MIN_CONFIDENCE.

    A word or two are found in noise now and then. In the midst of speech words as uncertain as these are kept: they
    say that something was said there.
    """
    groups: list[list[Word]] = []
    for word in words:
        if groups and word.start - groups[-1][-1].end < LONE_SECONDS:
            groups[-1].append(word)
        else:
            groups.append([word])
    return tuple(word for group in groups if max(w.confidence for w in group) >= MIN_CONFIDENCE for word in group)


def sub_progress(progress: Callable[[float], None] | None, start: float, end: float) -> Callable[[float], None] | None:
    """What is told of a part of some work, from 0 to 1, as the share done of all of it."""
    return None if progress is None else lambda done: progress(start + (end - start) * done)


def raise_if_cancelled(cancel) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled()


def _wait(future: Future, cancel):
    while True:
        raise_if_cancelled(cancel)
        try:
            return future.result(timeout=POLL_SECONDS)
        except NotYet:
            if future.done():  # the network itself raised a timeout
                raise
