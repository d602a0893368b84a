"""A compiled network in a process of its own.

The app uses it: its page starts while the other process imports TensorFlow and compiles the network, which takes as
long as the rest of the start.
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

ENDED = "The process that runs the network has ended, perhaps because memory ran out: please try again later."


class InferenceProcess:
    """A `CompiledModel` in a child process; this process then needs no TensorFlow. For one thread at a time.

    The child process ends when the object is collected or this process ends, in whatever way. If the child process
    itself was ended, a new one is started and runs the batch again.
    """

    def __init__(self, bundle: Bundle):
        self._bundle = bundle
        self._begin()

    @property
    def geometry(self) -> FrameGeometry:
        """The model's geometry; waits until the child process has built and compiled the network.

        Raises:
            BundleError: as for `CompiledModel`.
            ProcessEnded: the child process was ended.
        """
        return self._ready()

    def __call__(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        """Runs a batch, as `CompiledModel` does.

        Raises:
            AsrError, RuntimeError: the model failed; a RuntimeError holds the traceback of the child process.
            ProcessEnded: the child process was ended, and so was the one started in its place.
        """
        try:
            return self._run(samples, lengths)
        except ProcessEnded:
            return self._run(samples, lengths)

    def _run(self, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
        self._ready()
        return self._exchange((samples, lengths))

    def _begin(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit the locks of other threads
        self._connection, theirs = spawn.Pipe()
        self._geometry: FrameGeometry | None = None
        self._ended = False
        self._printed = PrintedAtStart()
        network = spawn.Process(target=_serve, args=(self._bundle, theirs, self._printed), name="network", daemon=True)
        with without_interrupts():
            network.start()
        theirs.close()  # the child alone then holds it, and its end is noticed here

    def _ready(self) -> FrameGeometry:
        if self._ended:
            log.warning("The network's process had ended; another begins")
            self._begin()
        if self._geometry is None:
            self._geometry = self._exchange()
        return self._geometry

    def _exchange(self, batch: tuple | None = None):
        """Sends a batch and returns the outputs; without a batch, returns the geometry that the child sends first."""
        self._ended = True  # reset below: the exchange after an aborted one would receive the outputs of that
        try:
            if batch is not None:
                self._connection.send(batch)
            reply = self._connection.recv()
        except (EOFError, OSError) as error:
            if last_words := self._printed.taken():
                log.error("The network's process ended while it started; it printed:\n%s", last_words)
            raise ProcessEnded(ENDED) from error
        self._printed.taken()
        self._ended = False
        if isinstance(reply, Exception):
            self._ended = batch is None  # the child has returned: it could not build the network
            raise reply
        return reply


def _serve(bundle: Bundle, connection, printed: PrintedAtStart) -> None:
    """The child of an `InferenceProcess`: sends its geometry, then outputs for batches, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which first finishes its requests
    with suppress(EOFError, OSError):
        try:
            with quiet_libraries(printed.open):
                model = CompiledModel(bundle)
                count = 50 * model.geometry.step_samples
                model(np.zeros((1, count), np.float32), np.array([count], np.int32))  # the first call compiles it
        except Exception as error:
            connection.send(_portable(error))
            return
        connection.send(model.geometry)
        while True:
            batch = connection.recv()
            try:
                reply = model(*batch)
            except Exception as error:
                reply = _portable(error)
            connection.send(reply)


def _portable(error: Exception) -> Exception:
    """The error in a form that a process without TensorFlow can unpickle."""
    return error if isinstance(error, AsrError) else RuntimeError("".join(traceback.format_exception(error)))
