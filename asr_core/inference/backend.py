"""TensorFlow and Keras, imported without what only other people's programs need, and without their greetings."""

import contextlib
import os
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import BinaryIO

from asr_core import process
from asr_core.errors import AsrError

# Both try to import these where they are installed, and go without where they are not: for estimators of scikit-learn
# and models of JAX: 1.2 and 0.7 of 6.7 seconds (python -X importtime -c "import tensorflow"). Nobody else in the app
# asks for them; matplotlib, which Keras imports, too, Gradio looks for at every request.
LEFT_OUT = {"sklearn", "jax"}
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # of TensorFlow; 3 leaves out all but fatal errors


def import_tensorflow() -> None:
    """Imports both, unless they are there.

    A later import of what is left out works as ever; in another thread meanwhile it does not.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # whatever the user's keras.json says
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
    """Keep standard error clear of what TensorFlow 2.21 prints when it starts, whatever its log level.

    Its libraries write to the file descriptor itself. What they wrote is shown after all where the block raises
    an exception that is no AsrError. With TF_CPP_MIN_LOG_LEVEL=0 in the environment everything is shown at once.

    Args:
        printed: opens the file for it.
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
    """What another process prints while it starts, so that its last words are not lost if it is aborted.

    Made by the process that begins the other one, and handed to it.
    """

    def __init__(self):
        number, self._path = tempfile.mkstemp(prefix="asr-")
        self._file = open(number, encoding="utf-8", errors="replace")
        weakref.finalize(self, _remove, self._path)

    def __getstate__(self):
        return {"_path": self._path}

    def open(self) -> BinaryIO:
        """The file, for the other process."""
        file = open(self._path, "ab+", buffering=0)
        _remove(self._path)  # it goes with the last process that has it open
        return file

    def taken(self) -> str:
        """What was printed until now; nothing when called again."""
        if self._file.closed:
            return ""
        with self._file:
            return self._file.read().strip()


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # gone already, or open on Windows
        os.remove(path)
