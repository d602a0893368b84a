"""One thread that runs a compiled network over the windows in its queue, in batches.

The network lies in this process (`asr_core.inference.compiled`) or in one of its own (`asr_core.inference.process`).

"""

import threading
from collections import deque
from concurrent.futures import Future

import numpy as np

from asr_core.inference.process import log


class InferenceWorker:
    """One thread that runs a compiled step over whatever waits in its queue.

    Windows that wait together are run in one batch, as long as padding does not waste half of it; a lone one
    goes at once. The thread knows nothing of the recogniser, so that one that is dropped can be collected. What would
    end the thread fails the batch that it ran; the rest of the queue is answered.

    Args:
        step: (float32 [batch, samples], int32 [batch]) -> what is said, float [batch, steps, tokens] each, and the
            valid steps, int32 [batch], all of them NumPy's; such as `CompiledModel` or `InferenceProcess`.
        most_samples: of one batch, padding included.
    """

    def __init__(self, step, most_samples: int):
        self._step, self._most_samples = step, most_samples
        self._queue: deque[tuple[np.ndarray, Future]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._serve, name="network", daemon=True).start()

    def submit(self, samples: np.ndarray) -> Future:
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
