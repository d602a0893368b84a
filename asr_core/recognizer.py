"""The whole path from a recording to its words: decode, cut, batch, run the network, join, decode.

A Recognizer holds one model and one thread that runs it. Whoever has sound to be heard, from any thread, puts
windows into its queue; what waits there together is run together. Log-probabilities are kept, so that another
decoder costs no second pass.
"""

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet

import numpy as np

from asr_core.alignment import Calibration, WordSpan, align_text, signal_energy, space_token
from asr_core.audio import Audio, audio_from_array, load_audio
from asr_core.backend import import_tensorflow
from asr_core.bundle import Bundle
from asr_core.ctc import Emissions
from asr_core.decoder import DecoderOptions, Hypothesis, beam_search, greedy
from asr_core.errors import AsrError, Cancelled
from asr_core.transcript import Transcript, Word
from asr_core.windows import SEAM_SECONDS, WINDOW_SECONDS, Joined, silent_steps, windows_of

log = logging.getLogger("asr.network")

BATCH_SECONDS = 6 * WINDOW_SECONDS  # of sound in one run, padding included: more is hardly faster, but larger
WINDOWS_AHEAD = 12  # of one recording in the queue: two batches, and others get their turn in between
POLL_SECONDS = 0.1  # how soon a cancelled request notices


class Recognizer:
    """Hears recordings with one model. Safe to use from many threads.

    Args:
        bundle: the model (see `asr_core.bundle.load_bundle`). Building it takes seconds, the first run some
            more for compilation: see `warm_up`.

    Raises:
        BundleError: the bundle's weights are not those of its network, or its language model is damaged.
    """

    def __init__(self, bundle: Bundle):
        import_tensorflow()
        self.bundle = bundle
        self.name = bundle.name
        self.sample_rate = bundle.sample_rate
        self.vocabulary = bundle.vocabulary
        self.language_model = bundle.language_model()
        self.pronunciations = bundle.pronunciations(self.language_model)
        self._defaults = bundle.decoder_options()
        self._calibration = Calibration(**bundle.config.get("confidence", {}))
        model, self._featurizer = bundle.build(), bundle.featurizer()
        self._output_lengths = model.output_lengths
        self._step_samples = self._featurizer.hop_samples * model.subsampling
        self.step_seconds = self._step_samples / self.sample_rate
        self._phones = model.sizes["phones"] if self.pronunciations else 0
        step = compiled_step(self._featurizer, model, phones=self._phones > 0)
        self._network = _Network(step, round(BATCH_SECONDS * self.sample_rate))
        weakref.finalize(self, self._network.close)  # a recogniser that is dropped leaves no thread behind

    def warm_up(self) -> None:
        """Compiles the network's step and the beam, which takes seconds: so no request has to wait for it."""
        sound = Audio(np.full(self.sample_rate, 0.1, np.float32), self.sample_rate)  # silence is not even run
        self.decode(self.emissions(sound), sound.seconds)

    def close(self) -> None:
        """Ends the thread behind it; what waits is answered first. A later request raises RuntimeError."""
        self._network.close()

    def load(self, source, max_seconds: float | None = None) -> Audio:
        """Any recording as this model hears it.

        Args:
            source: a path, the bytes of a file, a binary file, an Audio, or (rate, samples) as Gradio has it.
            max_seconds: longer ones are refused while they are decoded.

        Raises:
            AudioError: it cannot be read, holds no sound, or is too long.
        """
        if isinstance(source, tuple):
            return audio_from_array(source[1], source[0], self.sample_rate)
        if not isinstance(source, Audio):
            return load_audio(source, self.sample_rate, max_seconds=max_seconds)
        if source.sample_rate != self.sample_rate:
            return audio_from_array(source.samples, source.sample_rate, self.sample_rate)
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
        samples, steps = audio.samples, self._steps(len(audio.samples))
        windows = windows_of(samples, self.sample_rate, self._step_samples)
        joined = Joined(steps, len(self.vocabulary), self._whole_steps(SEAM_SECONDS), self._phones)
        if (space := space_token(self.vocabulary)) is not None:
            joined.part(silent_steps(windows, self._step_samples), space)
        settled = [window.start_step for window in windows[1:]] + [steps]  # after each: where the next can change it
        told = 0
        waiting: deque[tuple[int, Future]] = deque()
        try:
            for number, window in enumerate(windows, 1):
                waiting.append((window.start_step, self._network.hear(samples[window.start : window.end])))
                while len(waiting) > (WINDOWS_AHEAD if number < len(windows) else 0):
                    start, future = waiting[0]
                    joined.add(start, *_wait(future, cancel))
                    waiting.popleft()
                    done = number - len(waiting)
                    if heard is not None:
                        heard(self._part(joined, samples, told, settled[done - 1]))
                        told = settled[done - 1]
                    if progress is not None:
                        progress(done / len(windows))
        finally:
            for _, future in waiting:
                future.cancel()
        return Emissions(joined.log_probs, self.step_seconds, 0.0, self._energy(samples, steps), joined.phones)

    def hypotheses(
        self, emissions: Emissions, options: DecoderOptions | None = None, hot_words=None
    ) -> list[Hypothesis]:
        """The texts that the emissions may hold, best first (one if greedy). Arguments as for `decode`."""
        options = options or self._defaults
        if options.decoder == "greedy":
            return [greedy(emissions, self.vocabulary)]
        return beam_search(
            emissions, self.vocabulary, options, self.language_model, hot_words, self.pronunciations
        )

    def decode(
        self, emissions: Emissions, seconds: float, options: DecoderOptions | None = None, hot_words=None
    ) -> Transcript:
        """The most probable words, by another decoder at will: the network does not run again.

        Args:
            emissions: from `emissions`.
            seconds: length of the recording.
            options: how to decode; the bundle's defaults if None.
            hot_words: phrases that the beam favours (see `asr_core.decoder.beam_search`).
        """
        return self.transcript(self.hypotheses(emissions, options, hot_words)[0].words, seconds)

    def align(self, emissions: Emissions, seconds: float, text: str) -> Transcript:
        """A given text laid along the recording.

        Raises:
            AlignmentError: a text without letters, or too long for the recording.
        """
        return self.transcript(align_text(emissions, text, self.vocabulary).words, seconds)

    def transcribe(
        self,
        source,
        options: DecoderOptions | None = None,
        progress: Callable[[float], None] | None = None,
        cancel=None,
        *,
        hot_words=None,
        max_seconds: float | None = None,
    ) -> Transcript:
        """The words of a recording; none if it is silent. Arguments as for `load`, `emissions` and `decode`.

        Raises:
            AudioError: the recording cannot be read.
            Cancelled: `cancel` was set.
        """
        audio = self.load(source, max_seconds)
        return self.decode(self.emissions(audio, progress, cancel), audio.seconds, options, hot_words)

    def calibrated(self, spans: Iterable[WordSpan], seconds: float) -> tuple[Word, ...]:
        """Decoded words with their confidence as this model's calibration has it, inside `seconds` of sound."""
        return tuple(
            Word(span.text, min(span.start, seconds), min(span.end, seconds), self._calibration(span.confidence))
            for span in spans
        )

    def transcript(self, words: Iterable[WordSpan], seconds: float) -> Transcript:
        """Words that were decoded or aligned, of a recording of so many seconds."""
        return Transcript(self.calibrated(words, seconds), seconds, self.name)

    def _steps(self, samples: int) -> int:
        return int(self._output_lengths(max(self._featurizer.frame_count(samples), 1)))

    def _whole_steps(self, seconds: float) -> int:
        return int(seconds / self.step_seconds)

    def _part(self, joined: Joined, samples: np.ndarray, start: int, end: int) -> Emissions:
        """The steps from `start` to before `end` of a recording."""
        energy = self._energy(samples[start * self._step_samples :], end - start)
        return Emissions(joined.log_probs[start:end].copy(), self.step_seconds, start * self.step_seconds, energy)

    def _energy(self, samples: np.ndarray, steps: int) -> np.ndarray:
        """Loudness beside the steps, a minute at a time: the sums behind it are 20 times its size."""
        minute = self._whole_steps(60)
        parts = []
        for first in range(0, steps, minute):
            part = samples[first * self._step_samples :][: minute * self._step_samples]
            count = min(minute, steps - first)
            parts.append(signal_energy(part, self.sample_rate, self.step_seconds, count))
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


class _Network:
    """One thread that runs a compiled step over whatever waits in its queue.

    Windows that wait together are run in one batch, as long as padding does not waste half of it; a lone one
    goes at once. The thread knows nothing of the recogniser, so that one that is dropped can be collected. What would
    end the thread fails the batch that it ran; the rest of the queue is answered.

    Args:
        step: (float32 [batch, samples], int32 [batch]) -> what is said, float [batch, steps, tokens] each, and the
            valid steps, int32 [batch].
        most_samples: of one batch, padding included.
    """

    def __init__(self, step, most_samples: int):
        self._step, self._most_samples = step, most_samples
        self._queue: deque[tuple[np.ndarray, Future]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._serve, name="network", daemon=True).start()

    def hear(self, samples: np.ndarray) -> Future:
        """float32 [n] -> a future of what is said, float [steps, tokens] each."""
        future = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("this recogniser has been closed")
            self._queue.append((samples, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _serve(self) -> None:
        batch, open_ = [], True
        while open_:
            try:
                batch = self._next_batch()
                open_ = bool(batch)
                running = [(s, future) for s, future in batch if future.set_running_or_notify_cancel()]
                if running:
                    self._run([samples for samples, _ in running], [future for _, future in running])
            except BaseException as error:  # not of the step: no memory between two batches, or a thread killed
                log.exception("The network's thread was stopped and goes on")
                _fail([future for _, future in batch], error)

    def _next_batch(self) -> list[tuple[np.ndarray, Future]]:
        """The window that has waited longest, and those that go well with it; none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            batch, left = [self._queue.popleft()], deque()
            longest = shortest = len(batch[0][0])
            for waiting in self._queue:
                long, short = max(longest, len(waiting[0])), min(shortest, len(waiting[0]))
                if long <= 2 * short and long * (len(batch) + 1) <= self._most_samples:
                    longest, shortest = long, short
                    batch.append(waiting)
                else:
                    left.append(waiting)
            self._queue = left
            return batch

    def _run(self, parts: list[np.ndarray], futures: list[Future]) -> None:
        try:
            lengths = np.array([len(part) for part in parts], np.int32)
            samples = np.zeros((len(parts), lengths.max()), np.float32)
            for row, part in zip(samples, parts, strict=True):
                row[: len(part)] = part
            *said, steps = (output.numpy() for output in self._step(samples, lengths))
            for future, count, *rows in zip(futures, steps, *said, strict=True):
                future.set_result([row[:count].copy() for row in rows])  # views would keep the whole batch alive
        except Exception as error:
            _fail(futures, error)


def _fail(futures: list[Future], error: BaseException) -> None:
    """Tells those who wait. What would end a thread, or the program, becomes an error of theirs that does not."""
    if not isinstance(error, Exception):
        told = RuntimeError(f"the network's thread was ended by {type(error).__name__}")
        told.__cause__ = error
        error = told
    for future in futures:
        if not future.done():
            future.set_exception(error)


def compiled_step(featurizer, model, samples: int | None = None, phones: bool = False):
    """Sound to log-probabilities in one graph of TensorFlow, features included.

    The blocks of a Conformer are one function with their weights as arguments, traced once: the graph is there in a
    third of the time. TensorFlow's own rewriting of graphs is switched off for the whole process: it takes longer than
    it saves (8.3 s of processor from the network to the first words without both, 2.7 with; then 0.1 for 10 s either
    way). One graph serves every length. Measured on 2 cores with a Conformer of 8.8 M parameters, it is a tenth
    slower than graphs of fixed lengths, but nothing is padded to the next of those, and 5 s compile it where
    each of them takes 3; XLA takes 6 for each and runs no faster.

    Args:
        featurizer, model: of a bundle.
        samples: fixes the graph to one clip of this length, for runtimes that can do no other.
        phones: whether to tell what the inner head of a Conformer says, too.

    Returns:
        tf.function: samples float32 [batch, samples], lengths int32 [batch] -> log-probabilities float32
        [batch, steps, tokens], with `phones` those of `asr_core.ctc.Emissions.phones`, float16 [batch, steps, phones],
        and the valid ones among the steps, int32 [batch].
    """
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise AsrError("Recognition runs on TensorFlow: set KERAS_BACKEND=tensorflow.")
    batch = None if samples is None else 1
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    hear = (_with_one_block if hasattr(model, "blocks") else _as_it_is)(model)

    @tf.function(
        input_signature=[
            tf.TensorSpec([batch, samples], tf.float32, name="samples"),
            tf.TensorSpec([batch], tf.int32, name="lengths"),
        ],
        autograph=False,
    )
    def step(samples, lengths):
        # Room for one frame more: even the shortest clip has one, and the last frame of the longest clip of a
        # batch ends in zeros as those of the others do.
        samples = tf.pad(samples, [[0, 0], [0, featurizer.frame_samples]])
        features, frames = featurizer(samples, lengths)
        logits, sounds = hear(features, frames)
        log_probs, steps = tf.nn.log_softmax(tf.cast(logits, tf.float32)), model.output_lengths(frames)
        if not phones:
            return log_probs, steps
        sounds = tf.cast(tf.nn.log_softmax(tf.cast(sounds, tf.float32)), tf.float16)
        return log_probs, tf.repeat(sounds, model.parts, axis=1)[:, : tf.shape(log_probs)[1]], steps

    return step


def _as_it_is(model):
    """(features, lengths) -> logits of a network that names no phones, and None."""
    return lambda features, lengths: (model(features, lengths, training=False), None)


def _with_one_block(model):
    """(features, lengths) -> logits of a Conformer and of its phones, all blocks run by one graph of the first."""
    import tensorflow as tf

    first = model.blocks[0]

    @tf.function(autograph=False)
    def block_of(weights, state, *inputs):
        return first.stateless_call(weights, state, *inputs)[0]

    def run(block, *inputs):
        values = ([v.value for v in part] for part in (block.trainable_variables, block.non_trainable_variables))
        return block_of(*values, *inputs)

    return lambda features, lengths: model.logits(features, lengths, run=run)[::2]


def _wait(future: Future, cancel):
    while True:
        if cancel is not None and cancel.is_set():
            raise Cancelled()
        try:
            return future.result(timeout=POLL_SECONDS)
        except NotYet:
            if future.done():  # the network itself raised a timeout
                raise
