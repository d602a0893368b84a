"""The models of this process, loaded once and shared by all visitors.

The default model loads in the background while the page starts, its network in a process of its own. Visitors may load
others. A `Recognizer` is thread-safe, so all visitors use the same object.
"""

import contextlib
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

MAX_MODELS = 3  # in memory, with the default one: each has a process with TensorFlow, which takes 700 MB
LOAD_TIMEOUT_SECONDS = 300  # compiling the network for all lengths takes a minute on two busy cores
LANGUAGE_MARK = "#"  # between the name of a model of several languages and one of them


def load_recognizer(model: str, progress: Callable[[int, int], None] | None = None, language_model: str | None = None):
    """Loads a model and starts the process of its network.

    Args:
        model: path or Hub repository, and for a model of several languages perhaps "#" and one of them, as in
            "facebook/mms-1b-all#deu".
        progress: as `asr_core.bundle.loading.load_bundle` takes it.
        language_model: as `asr_core.bundle.language_models.with_language_model` takes it; None for the model's own.

    Raises:
        BundleError: there is no such model, or it cannot be used.
        LanguageModelError: there is no such language model, or it does not fit.
    """
    from asr_core.bundle.language_models import with_language_model
    from asr_core.bundle.loading import load_bundle
    from asr_core.inference.process import InferenceProcess

    source, _, language = model.partition(LANGUAGE_MARK)
    bundle = load_bundle(source, language or None, progress)
    if language_model is not None:
        bundle = with_language_model(bundle, language_model)
    for note in bundle.notes:
        log.info("%s", note)
    inference = InferenceProcess(bundle)  # first, because it takes longest; meanwhile this process imports
    from asr_core.recognizer import Recognizer

    return Recognizer(bundle, inference)


class Engine:
    """Recognisers by the name of their model.

    At most MAX_MODELS are kept: the least recently used is dropped, but never the default.

    Args:
        default: the model that ships with the app ("default"), or another one, named as `load_recognizer` takes it.
        load: makes a recogniser from the name of a model; tests replace it.
        language_model: for the default model, as `load_recognizer` takes it.
    """

    def __init__(self, default: str = "default", load: Callable | None = None, language_model: str | None = None):
        self.default = default
        self._language_model = language_model
        self._load = load or self._load_with_progress
        self._lock = threading.Lock()
        self._loading = threading.Lock()  # held while a model other than the default one is loaded
        self._recognizers: OrderedDict[str, Future] = OrderedDict()
        self._downloads: dict[str, tuple[int, int]] = {}  # bytes that are there and bytes in all, by model

    def start(self) -> "Engine":
        """Starts to load the default model; returns at once."""
        self.begin()
        return self

    def state(self, model: str | None = None) -> str:
        """The state of a model: "absent", "loading", "ready" or "failed"."""
        with self._lock:
            future = self._recognizers.get(model or self.default)
        if future is None:
            return "absent"
        if not future.done():
            return "loading"
        return "failed" if future.exception() else "ready"

    def begin(self, model: str | None = None) -> Future:
        """Starts to load a model, unless that has begun; returns its recogniser's Future at once.

        A model that could not be loaded is tried again; the default one only if the process of its network has ended.
        """
        model = model or self.default
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

    def progress(self, model: str | None = None) -> tuple[int, int] | None:
        """(bytes that are there, bytes in all) of a model that is being downloaded; None otherwise."""
        done, total = self._downloads.get(model or self.default, (0, 0))
        return (done, total) if done < total else None

    def recognizer(self, model: str | None = None, timeout: float = LOAD_TIMEOUT_SECONDS):
        """The recogniser of a model; waits until it is loaded.

        Raises:
            BundleError: it cannot be loaded, or took longer than `timeout` seconds.
        """
        try:
            return self.begin(model).result(timeout)
        except FutureTimeout:
            raise BundleError(f"The model is still loading after {timeout:.0f} s; try again in a minute.") from None

    def _drop_surplus(self) -> None:
        others = [name for name, future in self._recognizers.items() if name != self.default and future.done()]
        for name in others[: max(0, len(self._recognizers) - MAX_MODELS)]:
            del self._recognizers[name]

    def _load_with_progress(self, model: str):
        def report(done: int, total: int) -> None:
            self._downloads[model] = done, total

        try:
            return load_recognizer(model, report, self._language_model if model == self.default else None)
        finally:
            self._downloads.pop(model, None)

    def _run(self, model: str, future: Future) -> None:
        started = time.monotonic()
        try:
            # One at a time, since each asks how much memory is free; the default one need not wait.
            with contextlib.nullcontext() if model == self.default else self._loading:
                recognizer = self._load(model)
        except BaseException as error:
            unexpected = not isinstance(error, AsrError)  # only then is a traceback of use
            log.error("The model %r could not be loaded: %s", model, error, exc_info=unexpected)
            traceback.clear_frames(error.__traceback__)  # else the frames would keep the process of the network alive
            future.set_exception(error)
        else:
            log.info("The model %r is ready after %.1f s", model, time.monotonic() - started)
            future.set_result(recognizer)
            try:
                recognizer.warm_up()  # after the result is set: visitors need not wait for the beam search to compile
            except Exception:
                log.exception("The model %r could not be warmed up", model)
