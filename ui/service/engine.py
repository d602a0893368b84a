"""The models of this process, loaded once and shared by all visitors.

The default one loads in the background while the page comes up, its network in a process of its own; others that a
visitor asks for come through the same door. A `Recognizer` is thread-safe, so every visitor uses the same object.
"""

import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from asr_core.errors import AsrError, BundleError, ProcessEnded

log = logging.getLogger("asr.engine")

KEPT_MODELS = 3  # the default and two more; each has a process with TensorFlow, 700 MB
LOAD_TIMEOUT_SECONDS = 300  # compiling the step for all buckets on two busy cores takes a minute


def load_recognizer(model: str):
    """Read a bundle, by path or Hub repo id, and begin its network. Raises BundleError."""
    from asr_core.bundle.loading import load_bundle
    from asr_core.inference.process import InferenceProcess

    bundle = load_bundle(model)
    step = InferenceProcess(bundle)  # first, for it takes longest
    from asr_core.recognizer import Recognizer

    return Recognizer(bundle, step)


class Engine:
    """Recognisers by name. The default one is never dropped; of the others the least recently used goes first.

    Args:
        default: path, Hub repo id, or "default" for the bundle that ships with the app.
        load: function from a name to a recogniser; replaced in tests.
    """

    def __init__(self, default: str = "default", load: Callable = load_recognizer):
        self.default = default
        self._load = load
        self._lock = threading.Lock()
        self._recognizers: OrderedDict[str, Future] = OrderedDict()

    def start(self) -> "Engine":
        """Begin to load the default model; returns at once."""
        self._future(self.default)
        return self

    def state(self, model: str | None = None) -> str:
        """One of "absent", "loading", "ready", "failed"."""
        with self._lock:
            future = self._recognizers.get(model or self.default)
        if future is None:
            return "absent"
        if not future.done():
            return "loading"
        return "failed" if future.exception() else "ready"

    def recognizer(self, model: str | None = None, timeout: float = LOAD_TIMEOUT_SECONDS):
        """The recogniser of that name, waiting for it to load.

        Raises:
            BundleError: it cannot be loaded, or took longer than `timeout` seconds.
        """
        model = model or self.default
        try:
            return self._future(model).result(timeout)
        except FutureTimeout:
            raise BundleError(f"The model is still loading after {timeout:.0f} s; try again in a minute.") from None

    def _future(self, model: str) -> Future:
        with self._lock:
            future = self._recognizers.get(model)
            error = future.exception() if future is not None and future.done() else None
            if future is None or (error and (model != self.default or isinstance(error, ProcessEnded))):
                future = Future()
                self._recognizers[model] = future
                threading.Thread(target=self._run, args=(model, future), daemon=True, name="load-model").start()
            self._recognizers.move_to_end(model)
            self._drop_surplus()
            return future

    def _drop_surplus(self) -> None:
        others = [name for name, future in self._recognizers.items() if name != self.default and future.done()]
        for name in others[: max(0, len(self._recognizers) - KEPT_MODELS)]:
            del self._recognizers[name]

    def _run(self, model: str, future: Future) -> None:
        started = time.monotonic()
        try:
            recognizer = self._load(model)
        except BaseException as error:
            surprising = not isinstance(error, AsrError)  # which says what is wrong; others, where to look
            log.error("The model %r could not be loaded: %s", model, error, exc_info=surprising)
            traceback.clear_frames(error.__traceback__)  # or they would keep the network's process
            future.set_exception(error)
        else:
            log.info("The model %r is ready after %.1f s", model, time.monotonic() - started)
            future.set_result(recognizer)
            recognizer.warm_up()  # only now: the first visitor sees first words while the beam is compiled
