"""Work for a visitor: the current request, the flags that cancel it, and a thread whose progress is reported."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from ui.service.client import ClientGone

PROGRESS_SECONDS = 0.3  # between two reports of progress


class CancelFlag:
    """Cancels a request: the stop button sets it, and the recogniser checks it several times a second.

    Unlike a `threading.Event` it can be copied, as `gr.State` requires.
    """

    def __init__(self):
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


class CurrentRequest:
    """The latest request of a visitor, the only one whose result is shown. It is part of the visitor's `gr.State`.

    Attributes:
        flag: cancels the request.
        name: of the recording; "" if none is open.
        controls: values of the controls that the visitor has changed since it began; None if there are none.
    """

    def __init__(self):
        self.flag, self.name, self.controls = CancelFlag(), "", None
        self._outcome: tuple[CancelFlag, list] | None = None

    def begin(self, name: str = "") -> CancelFlag:
        """Begins a new request: cancels the previous one and returns the flag of the new one."""
        self.flag.set()
        self.flag, self.name, self.controls = CancelFlag(), name, None
        return self.flag

    def superseded(self) -> "Superseded":
        """The flag that cancels work beside the request, for the recording that is open now."""
        return Superseded(self)

    def put(self, flag: CancelFlag, updates: list) -> None:
        """Keeps the result of the request with this flag, for the event that shows it."""
        self._outcome = flag, updates

    def take(self) -> list | None:
        """Removes and returns the result of the latest request; None if it has none, or a newer request has begun."""
        outcome, self._outcome = self._outcome, None
        return outcome[1] if outcome is not None and outcome[0] is self.flag else None


class Superseded:
    """A cancel flag that is set once the visitor has begun a newer request (see CurrentRequest), or has left."""

    def __init__(self, running: CurrentRequest):
        self._running, self._flag, self._client = running, running.flag, ClientGone()

    def is_set(self) -> bool:
        return self._running.flag is not self._flag or self._client.is_set()


class BackgroundJob:
    """Work in a thread of its own, whose progress a generator of Gradio's reports.

    Iterating starts the work, and yields the fraction done whenever it has grown, at most every PROGRESS_SECONDS, until
    the work ends; `result` then returns its result or raises its error. If the iteration is closed before, because the
    visitor has left, the work is cancelled.

    Args:
        work: is called with a progress callback.
        cancel: the flag that cancels `work`.
    """

    def __init__(self, work: Callable, cancel: CancelFlag):
        self._work, self._cancel = work, cancel
        self._future: Future = Future()

    def __iter__(self):
        progress = [0.0]
        threading.Thread(target=self._run, args=(lambda done: progress.__setitem__(0, done),), daemon=True).start()
        reported = -1.0
        try:
            while not wait([self._future], timeout=PROGRESS_SECONDS).done:
                if progress[0] - reported >= 0.01:
                    reported = progress[0]
                    yield reported
        except GeneratorExit:
            self._cancel.set()
            raise

    def _run(self, progress) -> None:
        try:
            self._future.set_result(self._work(progress))
        except Exception as error:
            self._future.set_exception(error)
        except BaseException as error:  # such as SystemExit, which `result` must not raise in the server
            self._future.set_exception(RuntimeError(f"the work was ended by {type(error).__name__}"))

    @property
    def result(self):
        return self._future.result()
