"""Handles Ctrl-C, closed standard streams, and the end of the process for the command line.

The module imports little, so that Ctrl-C is handled before anything heavy is imported. `leave` ends the process
without the shutdown of the interpreter, during which TensorFlow's threads would abort the process.
"""

import _signal as signal  # without the enumerations of `signal`, which take longer to import
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT, as in a shell
CLEAN_UP_SECONDS = 3.0  # after an interrupt, to remove unfinished files; then the process ends in any case

_cleaning_up = False  # whether an interrupt raises KeyboardInterrupt, so that `finally` clauses run
_interrupted = False


def catch_interrupts() -> None:
    """Makes Ctrl-C end the process with exit code INTERRUPTED and without a message.

    A process that was started with Ctrl-C ignored, as by nohup, continues to ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


@contextlib.contextmanager
def cleaning_up() -> Iterator[None]:
    """Inside the block Ctrl-C raises KeyboardInterrupt, so that `finally` clauses run; a second Ctrl-C ends at once."""
    global _cleaning_up
    import threading  # noqa: F401  the signal handler needs it and cannot import it safely

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
        os.write(2, b"\n")  # moves below a progress bar that stays on the screen
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # hides what libraries print on a KeyboardInterrupt
    timer = sys.modules["threading"].Timer(CLEAN_UP_SECONDS, os._exit, [INTERRUPTED])
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def interrupted() -> bool:
    """Whether Ctrl-C was pressed inside `cleaning_up`."""
    return _interrupted


def leave_after(main: Callable[[], int]) -> None:
    """Runs a command and ends the process with its exit code, as `leave` does."""
    try:
        code = main()
    except SystemExit as stopped:
        code = stopped.code
    leave(code)


def leave(code: int) -> None:
    """Ends the process with this exit code, or with INTERRUPTED if Ctrl-C was pressed inside `cleaning_up`."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # full disk or closed stream
            stream.flush()
    os._exit(INTERRUPTED if _interrupted else code)


def open_closed_streams() -> None:
    """Opens the null device in place of closed standard streams.

    Otherwise a file opened later would get the descriptor of such a stream and receive what libraries print. Closed
    `sys.stdin` and `sys.stdout` remain None; a closed `sys.stderr` is replaced.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, which is this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """A block for starting child processes that ignore Ctrl-C; only the parent handles it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # if started inside the block, it would unblock interrupts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
