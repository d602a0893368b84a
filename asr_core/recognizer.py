"""The whole path from a recording to its words: load, cut into windows, run the network, stitch, decode.

A Recognizer holds one model and one worker thread that runs it (see `asr_core.inference.worker`). Requests of any
thread put their windows into the worker's queue, and windows that wait there together run in one batch. Emissions are
kept, so that decoding a recording again needs no second pass through the network.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from asr_core.audio.dereverberation import dereverberated
from asr_core.audio.energy import signal_energy
from asr_core.audio.loading import Audio, audio_from_array, load_audio
from asr_core.audio.speech_activity import WINDOW_SECONDS
from asr_core.bundle.bundle import Bundle
from asr_core.bundle.memory import refuse_too_long
from asr_core.ctc import IMPOSSIBLE
from asr_core.decoding.beam_search import beam_search
from asr_core.decoding.confidence import NOT_SPOKEN, UNCHECKED, Calibration
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import Hypothesis, greedy
from asr_core.decoding.options import DecoderOptions, checked_options
from asr_core.decoding.rescoring import Rescoring
from asr_core.decoding.text_alignment import align_text
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import LOG_PROB_BYTES, Emissions
from asr_core.errors import Cancelled
from asr_core.inference.compiled import CompiledModel
from asr_core.inference.process import InferenceProcess
from asr_core.inference.stitching import SEAM_SECONDS, EmissionStitcher
from asr_core.inference.windows import silent_steps, windows_of
from asr_core.inference.worker import InferenceWorker
from asr_core.text.pasted import without_subtitle_markup
from asr_core.text.vocabulary import BLANK
from asr_core.transcript.isolated_words import without_isolated_words
from asr_core.transcript.words import Transcript, Word
from asr_core.transcript.written import with_written_form

BATCH_SECONDS = 6 * WINDOW_SECONDS  # of audio in one batch, padding included; larger ones need memory and gain little
WINDOWS_AHEAD = 12  # queued windows of one recording: two batches, so that other requests get their turn in between
POLL_SECONDS = 0.1  # between two checks for cancellation
UNCALIBRATED = Calibration()
NETWORK_SHARE = 0.6  # of the time of a transcription is spent in the network, roughly; the rest in the decoder


@dataclass(frozen=True, eq=False)
class Recognition:
    """What a Recognizer returns for a recording.

    Attributes:
        transcript: the best hypothesis with calibrated confidence.
        hypotheses: best first, at least one; greedy decoding gives one.
        emissions: those that were decoded, to be decoded again or aligned without another run of the network.
    """

    transcript: Transcript
    hypotheses: tuple[Hypothesis, ...]
    emissions: Emissions


class Recognizer:
    """Transcribes recordings with one model. Safe to use from many threads.

    Args:
        bundle: the model (see `asr_core.bundle.loading.load_bundle`). Building its network takes seconds, and the
            first run some more for compilation: see `warm_up`.
        model: the bundle's network in a process of its own; by default it is compiled in this process.

    Raises:
        BundleError: the bundle's weights do not fit its network.
        LanguageModelError: a language model of the bundle is damaged.

    Attributes:
        tagger: of punctuation and capitals (`asr_core.text.tagger.Tagger`), or None if the bundle has none.
    """

    def __init__(self, bundle: Bundle, model: InferenceProcess | None = None):
        self.bundle = bundle
        self.name = bundle.name
        self.sample_rate = bundle.sample_rate
        self.vocabulary = bundle.vocabulary
        self.language_model = bundle.language_model()
        pronunciations = bundle.pronunciations(self.language_model)
        self.rescoring = Rescoring(pronunciations, bundle.neural_language_model())
        self.tagger = bundle.tagger()
        self._defaults = bundle.decoder_options()
        self._calibrations = {
            origin: Calibration(**numbers) for origin, numbers in bundle.config.get("confidence", {}).items()
        }
        self._phones = bundle.phones
        self._dereverberates = bundle.config.get("dereverberation", False)
        model = model or CompiledModel(bundle)
        self._geometry = model.geometry
        self._step_samples = self._geometry.step_samples
        self.step_seconds = self._step_samples / self.sample_rate
        self._worker = InferenceWorker(model, round(BATCH_SECONDS * self.sample_rate))
        weakref.finalize(self, self._worker.close)  # a recogniser that is dropped leaves no thread behind

    def warm_up(self) -> None:
        """Compiles the network and the decoder, which takes seconds, so that no request waits for it."""
        audio = Audio(np.full(self.sample_rate, 0.1, np.float32), self.sample_rate)  # silence would skip the network
        emissions = self.emissions(audio)
        letter = next(token for token, text in enumerate(self.vocabulary.tokens) if text.strip())
        one_letter = np.full_like(emissions.log_probs, IMPOSSIBLE)  # a text, for all that follows the search
        one_letter[:, BLANK] = 0.0
        one_letter[len(one_letter) // 2, [BLANK, letter]] = IMPOSSIBLE, 0.0
        self.decode(replace(emissions, log_probs=one_letter), audio.seconds)

    def close(self) -> None:
        """Ends the worker thread after the windows in its queue have been run.

        Later requests raise RuntimeError, except for silence, for which the network does not run.
        """
        self._worker.close()

    def load(self, source, max_seconds: float | None = None, track: int | None = None) -> Audio:
        """Any recording as mono samples at this model's sample rate.

        Args:
            source: a path, the bytes of a file, a binary file, or an Audio.
            max_seconds: longer files are refused while they are decoded; not for an Audio.
            track: which audio track of a file, from 1 (see `asr_core.audio.loading.load_audio`); not for an Audio.

        Raises:
            AudioError: the recording cannot be read, holds no audio, or is too long.
            TypeError: the source or the track is of another type.
        """
        if not isinstance(source, Audio):
            return load_audio(source, self.sample_rate, max_seconds=max_seconds, track=track)
        if source.sample_rate != self.sample_rate:
            resampled = audio_from_array(source.samples, source.sample_rate, self.sample_rate)
            return replace(resampled, notes=source.notes, track=source.track, tracks=source.tracks)
        return source

    def emissions(
        self,
        audio: Audio,
        progress: Callable[[float], None] | None = None,
        cancel=None,
        on_emissions: Callable[[Emissions], None] | None = None,
    ) -> Emissions:
        """The network's output for a recording.

        Recordings longer than WINDOW_SECONDS are run in overlapping windows. The features of each window are
        normalised over that window alone, as those of each training clip were.

        Args:
            audio: at this model's sample rate (see `load`).
            progress: called with the fraction done, from 0 to 1, after every window.
            cancel: anything with `is_set()`, checked several times a second.
            on_emissions: called after every window with the emissions that it made final, those since the last call;
                concatenated, they are the emissions of the recording without its phones. Not called for silence.

        Raises:
            AudioError: the output would not fit into the memory that is free.
            Cancelled: `cancel` was set.
            ValueError: the audio has another sample rate than this model.
        """
        if audio.sample_rate != self.sample_rate:
            raise ValueError(f"{self.name} expects {self.sample_rate} Hz, not {audio.sample_rate}: use load().")
        samples, steps = audio.samples, self._geometry.steps(len(audio.samples))
        refuse_too_long(audio.seconds, LOG_PROB_BYTES * steps * len(self.vocabulary))
        windows = windows_of(samples, self.sample_rate, self._step_samples)
        seam_steps, ratio = self._whole_steps(SEAM_SECONDS), self._geometry.steps_per_phone_step
        stitcher = EmissionStitcher(steps, len(self.vocabulary), seam_steps, self._phones, ratio)
        if (space := self.vocabulary.space) is not None:
            stitcher.insert_word_boundaries(silent_steps(windows, self._step_samples), space)
        final_steps = [min(window.start_step, steps) for window in windows[1:]] + [steps]  # after each window
        reported = 0
        pending: deque[tuple[int, Future]] = deque()
        try:
            for number, window in enumerate(windows, 1):
                inputs = self._input(samples[window.start : window.end])
                pending.append((window.start_step, self._worker.submit(inputs)))
                while len(pending) > (WINDOWS_AHEAD if number < len(windows) else 0):
                    start, future = pending[0]
                    stitcher.add(start, *_wait(future, cancel))
                    pending.popleft()
                    done = number - len(pending)
                    if on_emissions is not None:
                        on_emissions(self._slice(stitcher, samples, reported, final_steps[done - 1]))
                        reported = final_steps[done - 1]
                    if progress is not None:
                        progress(done / len(windows))
        finally:
            for _, future in pending:
                future.cancel()
        return Emissions(stitcher.log_probs, self.step_seconds, 0.0, self._energy(samples, steps), stitcher.phones)

    def decode(
        self,
        emissions: Emissions,
        seconds: float,
        options: DecoderOptions | None = None,
        hot_words=None,
        progress: Callable[[float], None] | None = None,
        cancel=None,
    ) -> Recognition:
        """The transcript of emissions, and its alternatives. The network does not run.

        Args:
            emissions: from `emissions`.
            seconds: length of the recording.
            options: of the decoder; the bundle's defaults if None, with the beam search if there are hotwords.
            hot_words: phrases that the beam search, and no other decoder, favours (see
                `asr_core.decoding.beam_search.beam_search`).
            progress, cancel: as for `emissions`, both several times a second.

        Raises:
            Cancelled: `cancel` was set.
            TypeError: the options or the hotwords are of another type.
        """

        def report(done: float) -> None:
            if progress is not None:
                progress(done)
            raise_if_cancelled(cancel)

        hot_words = HotWords.of(hot_words, self.vocabulary)
        options = checked_options(options, self._defaults, hot_words)
        if options.decoder == "greedy":
            n_best = [greedy(emissions, self.vocabulary)]
        else:
            n_best = beam_search(
                emissions, self.vocabulary, options, self.language_model, hot_words, self.rescoring, report
            )
        n_best[0].locate(partial(raise_if_cancelled, cancel))
        return Recognition(self.transcript(n_best[0].words, seconds), tuple(n_best), emissions)

    def align(self, emissions: Emissions, seconds: float, text: str, cancel=None) -> Transcript:
        """Forced alignment of a given text.

        The notes of the transcript state whether the text could not be checked or is probably of another recording.

        Args:
            emissions: from `emissions`.
            seconds: length of the recording.
            text: as people paste it; of subtitles only the words are used (see `asr_core.text.pasted`).
            cancel: as for `emissions`.

        Raises:
            AlignmentError: the text has no letters, or is too long for the recording.
            Cancelled: `cancel` was set.
        """
        alignment = align_text(
            emissions, without_subtitle_markup(text), self.vocabulary, partial(raise_if_cancelled, cancel)
        )
        return replace(self.transcript(alignment.words, seconds, given=True), notes=alignment.notes)

    def recognize(
        self,
        source,
        options: DecoderOptions | None = None,
        progress: Callable[[float], None] | None = None,
        cancel=None,
        *,
        hot_words=None,
        max_seconds: float | None = None,
        track: int | None = None,
        on_emissions: Callable[[Emissions], None] | None = None,
    ) -> Recognition:
        """The whole path: the words of a recording and their alternatives; no words if it is silent.

        Arguments as for `load`, `emissions` and `decode`.

        Raises:
            AudioError: the recording cannot be read.
            Cancelled: `cancel` was set.
            TypeError: the source, the options, the hotwords or the track are of another type.
        """
        hot_words = HotWords.of(hot_words, self.vocabulary)  # before the network, which may take minutes
        options = checked_options(options, self._defaults, hot_words)
        audio = self.load(source, max_seconds, track)
        emissions = self.emissions(audio, sub_progress(progress, 0, NETWORK_SHARE), cancel, on_emissions)
        rest = sub_progress(progress, NETWORK_SHARE, 1)
        found = self.decode(emissions, audio.seconds, options, hot_words, rest, cancel)
        return replace(found, transcript=replace(found.transcript, notes=audio.notes))

    def transcribe(self, source, *args, **kwargs) -> Transcript:
        """The transcript of a recording, without its alternatives. Arguments and errors as for `recognize`."""
        return self.recognize(source, *args, **kwargs).transcript

    def calibrated(
        self,
        spans: Iterable[WordSpan],
        seconds: float,
        given: bool = False,
        neighbours: tuple[float | None, float | None] = (None, None),
    ) -> tuple[Word, ...]:
        """Words with calibrated confidence, their times clipped to the length of the recording, `seconds`.

        Isolated words of very low confidence are left out (see `without_isolated_words`), but only after beam search
        and only if the bundle has a calibration for it: without one, confidence does not estimate how often a word is
        right. Greedy decoding keeps every word of the network.

        Args:
            spans: words with times and uncalibrated confidence.
            seconds: length of the recording.
            given: whether they are the words of a given text rather than decoded ones.
            neighbours: as for `without_isolated_words`, where these are not all words of the recording.
        """
        spans = list(spans)
        origin = "aligned" if given else "greedy" if spans and spans[0].posterior is None else "beam"
        calibration = self._calibrations.get(origin)

        def confidence(span: WordSpan) -> float:
            if span.confidence == UNCHECKED:
                return UNCHECKED
            return max(NOT_SPOKEN, (calibration or UNCALIBRATED)(span))

        words = tuple(
            Word("".join(span.text.split()), min(span.start, seconds), min(span.end, seconds), confidence(span))
            for span in spans
        )
        return without_isolated_words(words, neighbours) if origin == "beam" and calibration is not None else words

    def transcript(self, words: Iterable[WordSpan], seconds: float, given: bool = False) -> Transcript:
        """The transcript with these words; arguments as for `calibrated`.

        Recognised words get their written form where the bundle has a tagger; `with_written_form` of
        `asr_core.transcript.written` writes them again with replacements.
        """
        separator = self.vocabulary.separator
        transcript = Transcript(self.calibrated(words, seconds, given), seconds, self.name, separator=separator)
        return transcript if given else with_written_form(transcript, self.tagger)

    def _input(self, samples: np.ndarray) -> np.ndarray:
        """What the network gets of a window: float32 [n], as `samples`."""
        return dereverberated(samples, self.sample_rate) if self._dereverberates else samples

    def _whole_steps(self, seconds: float) -> int:
        return int(seconds / self.step_seconds)

    def _slice(self, stitcher: EmissionStitcher, samples: np.ndarray, start: int, end: int) -> Emissions:
        """Emissions of the steps from `start` to before `end` of a recording."""
        energy = self._energy(samples[start * self._step_samples :], end - start)
        return Emissions(stitcher.log_probs[start:end].copy(), self.step_seconds, start * self.step_seconds, energy)

    def _energy(self, samples: np.ndarray, steps: int) -> np.ndarray:
        """Energy of the signal for `Emissions.energy`, a minute at a time: its sums need 20 times the memory."""
        minute, energies = self._whole_steps(60), []
        for first in range(0, steps, minute):
            end = min(first + minute, steps)
            part = samples[first * self._step_samples : end * self._step_samples]
            energies.append(signal_energy(part, self._step_samples, end - first))
        return np.concatenate(energies) if energies else np.empty(0, np.float32)


def sub_progress(progress: Callable[[float], None] | None, start: float, end: float) -> Callable[[float], None] | None:
    """A progress callback for one stage of the work: its 0 to 1 becomes `start` to `end` of the whole."""
    return None if progress is None else lambda done: progress(start + (end - start) * done)


def raise_if_cancelled(cancel) -> None:
    """Raises Cancelled if `cancel`, anything with `is_set()` or None, is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled()


def _wait(future: Future, cancel):
    """The future's result. Raises Cancelled as soon as `cancel` is set."""
    while True:
        raise_if_cancelled(cancel)
        try:
            return future.result(timeout=POLL_SECONDS)
        except FutureTimeout:
            if future.done():  # meanwhile, or the model itself raised a timeout, which is raised again
                return future.result()
