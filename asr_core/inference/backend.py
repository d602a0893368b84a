"""Imports TensorFlow and Keras without optional dependencies that nothing here uses, and without their messages."""

import contextlib
import os
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import BinaryIO

from asr_core import process
from asr_core.errors import AsrError

# TensorFlow and Keras import these for wrappers of scikit-learn and JAX where they are installed, and work without
# them. Nothing in the app uses them, and importing them takes nearly a third of the time.
LEFT_OUT = {"sklearn", "jax"}
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's environment variable; at 3 it logs fatal errors only


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras, unless they have been imported.

    The modules in LEFT_OUT can be imported afterwards, but not by another thread while this one imports TensorFlow.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # takes precedence over the user's keras.json
    if "tensorflow" in sys.modules and "keras" in sys.modules:
        return
    needed = {"jax"} if os.environ.get("KERAS_BACKEND") == "jax" else set()
    names = LEFT_OUT - needed - sys.modules.keys()
    sys.modules |= dict.fromkeys(names)
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    finally:
        for name in names:
            del sys.modules[name]


@contextlib.contextmanager
def quiet_libraries(printed: Callable[[], BinaryIO] = tempfile.TemporaryFile) -> Iterator[None]:
    """Keeps the messages that TensorFlow 2.21 prints at its start, whatever its log level, off standard error.

    The libraries write to the file descriptor directly, which therefore points to a file inside the block. If the block
    raises an exception other than AsrError, the content of that file is written to standard error. With
    TF_CPP_MIN_LOG_LEVEL=0 in the environment nothing is redirected.

    Args:
        printed: opens that file.
    """
    if os.environ.setdefault(LOG_LEVEL, "3") == "0":
        yield
        return
    with printed() as file:
        if sys.stderr is not None:
            sys.stderr.flush()
        screen = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        except AsrError:
            raise
        except Exception:
            file.seek(0)
            os.write(screen, file.read())
            raise
        finally:
            if not process.interrupted():
                os.dup2(screen, 2)
            os.close(screen)


class PrintedAtStart:
    """A file for the standard error of a child process while it starts, readable here if the child is aborted.

    The parent makes the object and passes it to the child.
    """

    def __init__(self):
        number, self._path = tempfile.mkstemp(prefix="asr-")
        self._file = open(number, encoding="utf-8", errors="replace")
        weakref.finalize(self, _remove, self._path)

    def __getstate__(self):
        return {"_path": self._path}

    def open(self) -> BinaryIO:
        """The file, for the child process to write to."""
        file = open(self._path, "ab+", buffering=0)
        _remove(self._path)  # POSIX deletes it when the last process closes it
        return file

    def taken(self) -> str:
        """What the child has printed so far; later calls return nothing."""
        if self._file.closed:
            return ""
        with self._file:
            return self._file.read().strip()


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # removed already, or still open on Windows
        os.remove(path)
