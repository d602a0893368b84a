"""What hears: sound to log-probabilities, by a compiled step that one thread runs for all who ask.

The step lies in this process or in one of its own. The app takes the latter: TensorFlow, whose import and first graph
take as long as all the rest of the app's start, then comes up beside the page and not after it.
"""

import logging
import multiprocessing
import signal
import threading
import traceback
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from asr_core.backend import PrintedAtStart, import_tensorflow, quiet_libraries
from asr_core.bundle import Bundle
from asr_core.errors import AsrError, ProcessEnded
from asr_core.process import without_interrupts

log = logging.getLogger("asr.network")

ENDED = "The network's process has ended again and again, perhaps for want of memory: please try later."


@dataclass(frozen=True)
class Geometry:
    """How a model cuts sound, in samples and feature frames."""

    frame_samples: int
    hop_samples: int
    subsampling: int  # frames to a step

    @property
    def step_samples(self) -> int:
        return self.hop_samples * self.subsampling

    def steps(self, samples: int) -> int:
        """Steps that so many samples give; at least one."""
        frames = max((samples - self.frame_samples) // self.hop_samples + 1, 1)
        return -(-frames // self.subsampling)


class Step:
    """A bundle's network, compiled, in this process. Building it takes seconds, the first call some more.

    Raises:
        BundleError: the bundle's weights are not those of its network.
    """

    def __init__(self, bundle: Bundle):
        import_tensorflow()
        model, featurizer = bundle.build(), bundle.featurizer()
        self.geometry = Geometry(featurizer.frame_samples, featurizer.hop_samples, model.subsampling)
        self.compiled = compiled_step(featurizer, model, phones=bundle.phones > 0)

    def __call__(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """As `compiled_step` has it, in NumPy's arrays."""
        return [output.numpy() for output in self.compiled(samples, lengths)]


class StepProcess:
    """A `Step` in a process of its own; this one then needs no TensorFlow. For one thread.

    The process ends with the object, and with this process, however that ends. If it is ended itself, a new one hears
    the batch; only what ends that one, too, is told.
    """

    def __init__(self, bundle: Bundle):
        self._bundle = bundle
        self._begin()

    @property
    def geometry(self) -> Geometry:
        """The model's, as soon as the process has built and compiled its network.

        Raises:
            BundleError: as `Step`.
            ProcessEnded: it was ended.
        """
        return self._ready()

    def __call__(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """As `Step`. Raises what that raises, and ProcessEnded."""
        try:
            return self._heard(samples, lengths)
        except ProcessEnded:
            return self._heard(samples, lengths)

    def _heard(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        self._ready()
        return self._told((samples, lengths))

    def _begin(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit the locks of other threads
        self._connection, theirs = spawn.Pipe()
        self._geometry: Geometry | None = None
        self._ended = False
        self._printed = PrintedAtStart()
        network = spawn.Process(target=_serve, args=(self._bundle, theirs, self._printed), name="network", daemon=True)
        with without_interrupts():
            network.start()
        theirs.close()  # it is the process's alone, so that its end is noticed

    def _ready(self) -> Geometry:
        if self._ended:
            log.warning("The network's process had ended; another begins")
            self._begin()
        if self._geometry is None:
            self._geometry = self._told()
        return self._geometry

    def _told(self, batch: tuple | None = None):
        """What the process answers to a batch, or says unasked when it is ready."""
        self._ended = True  # unless all goes well: after half an exchange, the next would be given this one's answer
        try:
            if batch is not None:
                self._connection.send(batch)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            if last_words := self._printed.taken():
                log.error("The network's process ended while it started; it printed:\n%s", last_words)
            raise ProcessEnded(ENDED) from error
        self._printed.taken()
        self._ended = False
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(bundle: Bundle, connection, printed: PrintedAtStart) -> None:
    """The process of a `StepProcess`: tells its geometry, then answers batches, until nobody is there to be told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks: it finishes its requests
    with suppress(EOFError, OSError):
        try:
            with quiet_libraries(printed.open):
                step = Step(bundle)
                second = 50 * step.geometry.step_samples
                step(np.zeros((1, second), np.float32), np.array([second], np.int32))  # compiles it
        except Exception as error:
            connection.send(_portable(error))
            return
        connection.send(step.geometry)
        while True:
            batch = connection.recv()
            try:
                answer = step(*batch)
            except Exception as error:
                answer = _portable(error)
            connection.send(answer)


def _portable(error: Exception) -> Exception:
    """The error as it can be told to a process without TensorFlow."""
    return error if isinstance(error, AsrError) else RuntimeError("".join(traceback.format_exception(error)))


class Network:
    """One thread that runs a compiled step over whatever waits in its queue.

    Windows that wait together are run in one batch, as long as padding does not waste half of it; a lone one
    goes at once. The thread knows nothing of the recogniser, so that one that is dropped can be collected. What would
    end the thread fails the batch that it ran; the rest of the queue is answered.

    Args:
        step: (float32 [batch, samples], int32 [batch]) -> what is said, float [batch, steps, tokens] each, and the
            valid steps, int32 [batch], all of them NumPy's; such as `Step` or `StepProcess`.
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
            *said, steps = self._step(samples, lengths)
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
    shared = samples is None and hasattr(model, "blocks")  # LiteRT mixes up the calls of one graph
    hear = (_with_one_block if shared else _as_it_is)(model)

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
