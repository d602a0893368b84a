"""The process of a program: Ctrl-C at any moment, standard streams that are closed, and its end.

Imports little, so that Ctrl-C is handled before anything heavy is imported. TensorFlow's threads do not survive the
end of the interpreter (they abort the process), so `leave` ends the process without it.
"""

import _signal as signal  # without the enumerations of `signal`, which take longer to import
import contextlib
import os
import sys
from collections.abc import Iterator

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT, as in a shell
CLEAN_UP_SECONDS = 3.0  # for files half written and temporary folders; then the process ends without

_cleaning_up = False  # whether an interrupt unwinds the stack first
_interrupted = False


def catch_interrupts() -> None:
    """From now on Ctrl-C ends the process with exit code INTERRUPTED and without a message.

    A process that was started to ignore it, as by nohup, goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


@contextlib.contextmanager
def cleaning_up() -> Iterator[None]:
    """A block whose `finally` clauses run on Ctrl-C, by KeyboardInterrupt. A second Ctrl-C does not wait for them."""
    global _cleaning_up
    import threading  # noqa: F401  not in the handler, which may come while it is imported

    _cleaning_up = True
    try:
        yield
    finally:
        _cleaning_up = False


def _interrupt(number, frame) -> None:
    global _cleaning_up, _interrupted
    if not _cleaning_up:
        os._exit(INTERRUPTED)
    _cleaning_up, _interrupted = False, True
    if os.isatty(2):
        os.write(2, b"\n")  # below a progress bar that is not taken away any more
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # whatever libraries make of a KeyboardInterrupt
    timer = sys.modules["threading"].Timer(CLEAN_UP_SECONDS, os._exit, [INTERRUPTED])
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether Ctrl-C came inside `cleaning_up`."""
    return _interrupted


def leave(code: int) -> None:
    """End the process with this exit code; INTERRUPTED if Ctrl-C came, whatever became of its KeyboardInterrupt."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # full, closed, or None: was reported
            stream.flush()
    os._exit(INTERRUPTED if _interrupted else code)


def open_closed_streams() -> None:
    """Open the null device in place of closed standard streams.

    A file opened later would take their numbers, and what libraries print would go into it. `sys.stdin` and
    `sys.stdout` stay None where they were closed; `sys.stderr` does not.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """A block in which processes are begun that Ctrl-C does not reach: it is for the program that began them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # or it is begun inside the block, and lets interrupts through when it is
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
