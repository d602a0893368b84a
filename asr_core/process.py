"""The process of a program: Ctrl-C at any moment, standard streams that are closed, quiet libraries, and its end.

Imports little, so that Ctrl-C is handled before anything heavy is imported. TensorFlow's threads do not survive the
end of the interpreter (they abort the process), so `leave` ends the process without it.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

INTERRUPTED = 130  # exit code after Ctrl-C: 128 + SIGINT, as in a shell
CLEAN_UP_SECONDS = 3.0  # for files half written and temporary folders; then the process ends without
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # of TensorFlow; 3 leaves out all but fatal errors

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
    timer = threading.Timer(CLEAN_UP_SECONDS, os._exit, [INTERRUPTED])
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


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
def quiet_libraries() -> Iterator[None]:
    """Keep standard error clear of what TensorFlow 2.21 prints when it starts, whatever its log level.

    Its libraries write to the file descriptor itself. What they wrote is shown after all where the block raises
    an exception that is no AsrError. With TF_CPP_MIN_LOG_LEVEL=0 in the environment everything is shown at once.
    """
    if os.environ.setdefault(LOG_LEVEL, "3") == "0":
        yield
        return
    import tempfile

    from asr_core.errors import AsrError

    with tempfile.TemporaryFile() as printed:
        if sys.stderr is not None:
            sys.stderr.flush()
        screen = os.dup(2)
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except AsrError:
            raise
        except Exception:
            printed.seek(0)
            os.write(screen, printed.read())
            raise
        finally:
            if not _interrupted:
                os.dup2(screen, 2)
            os.close(screen)
