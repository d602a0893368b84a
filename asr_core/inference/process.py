"""A compiled network in a process of its own.

The app uses it: importing TensorFlow and tracing the first graph take as long as the rest of its start, and happen
beside the page instead of before it.

"""

import logging
import multiprocessing
import signal
import traceback
from contextlib import suppress

import numpy as np

from asr_core.bundle.bundle import Bundle
from asr_core.errors import AsrError, ProcessEnded
from asr_core.inference.backend import PrintedAtStart, quiet_libraries
from asr_core.inference.compiled import CompiledModel, FrameGeometry
from asr_core.process import without_interrupts

log = logging.getLogger("asr.network")

ENDED = "The network's process has ended again and again, perhaps for want of memory: please try later."


class InferenceProcess:
    """A `CompiledModel` in a process of its own; this one then needs no TensorFlow. For one thread.

    The process ends with the object, and with this process, however that ends. If it is ended itself, a new one hears
    the batch; only what ends that one, too, is told.
    """

    def __init__(self, bundle: Bundle):
        self._bundle = bundle
        self._begin()

    @property
    def geometry(self) -> FrameGeometry:
        """The model's, as soon as the process has built and compiled its network.

        Raises:
            BundleError: as `CompiledModel`.
            ProcessEnded: it was ended.
        """
        return self._ready()

    def __call__(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """As `CompiledModel`. Raises what that raises, and ProcessEnded."""
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
        self._geometry: FrameGeometry | None = None
        self._ended = False
        self._printed = PrintedAtStart()
        network = spawn.Process(target=_serve, args=(self._bundle, theirs, self._printed), name="network", daemon=True)
        with without_interrupts():
            network.start()
        theirs.close()  # it is the process's alone, so that its end is noticed

    def _ready(self) -> FrameGeometry:
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
    """The process of a `InferenceProcess`: tells its geometry, then answers batches, until nobody is there to be
    told.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks: it finishes its requests
    with suppress(EOFError, OSError):
        try:
            with quiet_libraries(printed.open):
                step = CompiledModel(bundle)
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
