"""The worker thread that runs the network: it takes windows from a queue and runs them in batches.

The network itself is a `CompiledModel` in this process or an `InferenceProcess`; the worker calls both alike.
"""

import threading
from collections import deque
from concurrent.futures import Future

import numpy as np

from asr_core.inference.process import log


class InferenceWorker:
    """A worker thread with a queue of windows, which it runs through the network in batches.

    Windows that wait at the same time share a batch, as long as padding takes less than half of it; a window that
    waits alone runs at once. An exception fails the requests of its batch only. The thread keeps no reference to the
    recogniser, so that one that is dropped can be collected.

    Args:
        model: the network, such as `CompiledModel` or `InferenceProcess`. It takes samples, float32 [batch, samples],
            and lengths, int32 [batch]; it returns one or more outputs [batch, steps, units], of which the first has the
            rate of the tokens and others that rate or a lower one, and, last, the valid steps, int32 [batch].
        max_samples: largest size of a batch, padding included.
    """

    def __init__(self, model, max_samples: int):
        self._model, self._max_samples = model, max_samples
        self._queue: deque[tuple[np.ndarray, Future]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._serve, name="network", daemon=True).start()

    def submit(self, samples: np.ndarray) -> Future:
        """Queues a window, float32 [n]; returns a future of the network's outputs for it, [steps, units] each.

        An output of a lower rate than that of the tokens may end with rows of padding.
        """
        future = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("this recogniser has been closed")
            self._queue.append((samples, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Ends the thread once its queue is empty. A later `submit` raises RuntimeError."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _serve(self) -> None:
        batch, is_open = [], True
        while is_open:
            try:
                batch = self._next_batch()
                is_open = bool(batch)
                running = [(s, future) for s, future in batch if future.set_running_or_notify_cancel()]
                if running:
                    self._run([samples for samples, _ in running], [future for _, future in running])
            except BaseException as error:  # raised outside the model: out of memory, or an exception set from outside
                log.exception("An error outside the network interrupted its thread; the thread continues")
                _fail([future for _, future in batch], error)

    def _next_batch(self) -> list[tuple[np.ndarray, Future]]:
        """The window that has waited longest, and those of similar length; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return []
            batch, left = [self._queue.popleft()], deque()
            longest = shortest = len(batch[0][0])
            for request in self._queue:
                long, short = max(longest, len(request[0])), min(shortest, len(request[0]))
                if long <= 2 * short and long * (len(batch) + 1) <= self._max_samples:
                    longest, shortest = long, short
                    batch.append(request)
                else:
                    left.append(request)
            self._queue = left
            return batch

    def _run(self, windows: list[np.ndarray], futures: list[Future]) -> None:
        """Runs one batch and sets the result or the exception of its futures."""
        try:
            lengths = np.array([len(window) for window in windows], np.int32)
            samples = np.zeros((len(windows), lengths.max()), np.float32)
            for row, window in zip(samples, windows, strict=True):
                row[: len(window)] = window
            *outputs, steps = self._model(samples, lengths)
            for future, count, *rows in zip(futures, steps, *outputs, strict=True):
                future.set_result([row[:count].copy() for row in rows])  # views would keep the whole batch alive
        except Exception as error:
            _fail(futures, error)


def _fail(futures: list[Future], error: BaseException) -> None:
    """Sets the exception of all unfinished futures.

    SystemExit and the like are wrapped in a RuntimeError, for they would end the thread that waits for the future.
    """
    if not isinstance(error, Exception):
        wrapped = RuntimeError(f"the network's thread was ended by {type(error).__name__}")
        wrapped.__cause__ = error
        error = wrapped
    for future in futures:
        if not future.done():
            future.set_exception(error)
