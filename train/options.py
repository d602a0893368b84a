"""Shared by the commands of this package: arguments and their help, output folders, messages, and Ctrl-C."""

import functools
import math
import re
import shutil
import sys
import tempfile
from argparse import SUPPRESS, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_core.errors import AsrError
from asr_core.process import INTERRUPTED

DONE, FAILED = 0, 1  # exit statuses of the commands
MAX_SEED = 2**32 - 1  # limit of NumPy's global generator, which Keras seeds
LOCK = ".lock"  # a file in the folder of a run
UNFINISHED = ".*.part"  # names of the files that `asr_core.storage.replacing` is writing
BUNDLES = "best", "last"  # in the folder of a run; `asr_core.bundle.loading.save_bundle` writes one as .best.XXX
SYSTEM_ERROR = re.compile(r".*I/O error: (.*) \(os error \d+\)", re.S)  # message of safetensors


class OutputError(AsrError, OSError):
    """An output folder or file cannot be written."""


class Help(RawDescriptionHelpFormatter):
    """Help with the default of every option that has one."""

    def _get_help_string(self, action):
        if "default" in action.help or action.default in (None, SUPPRESS, []) or action.default is False:
            return action.help
        return f"{action.help} (default: %(default)s)"


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Type of an argparse argument: whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            limits = f"of {least:,} or more" if most is None else f"from {least:,} to {most:,}"
            raise ArgumentTypeError(f"{text!r} is not a whole number {limits}")
        return value

    return parse


def real(least: float, *, above: bool = False, most: float = math.inf) -> Callable[[str], float]:
    """Type of an argparse argument: finite numbers from `least` (or, with `above`, greater than it) to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (above and value == least):
            limits = f"above {least:g}" if above else f"of {least:g} or more"
            limits += "" if most == math.inf else f", at most {most:g}"
            raise ArgumentTypeError(f"{text!r} is not a number {limits}")
        return value

    return parse


def make_folder(folder: Path, flag: str = "--out") -> None:
    """Makes an output folder before the work starts. `flag` is the option that names it.

    Raises:
        OutputError: the folder cannot be made, or no file can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        fault = f"{'written to' if folder.is_dir() else 'made'} ({error.strerror})"
        raise OutputError(f"The folder {folder} cannot be {fault}: name another with {flag}.") from error


def make_room(file: Path) -> None:
    """Makes the folder of an output file before the work starts.

    Raises:
        OutputError: the folder cannot be made, or `file` is a folder.
    """
    make_folder(file.parent)
    if file.is_dir():
        raise OutputError(f"{file} is a folder: name a file with --out.")


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder inside the block, and removes what a run that was killed had not finished.

    The system releases the lock when the process ends in any way. Windows, and some network drives, have no such locks.

    Raises:
        OutputError: another run has locked the folder.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"Another run is training in {folder}: wait until it ends, or name another folder with --out."
            ) from error
        except OSError:  # a network drive without locks
            pass
        else:
            _remove_unfinished(folder)
        yield


def _remove_unfinished(folder: Path) -> None:
    """Removes the files and bundles that were being written; a bundle that was being replaced returns to its place."""
    for path in folder.glob(UNFINISHED):
        path.unlink(missing_ok=True)
    for name in BUNDLES:
        for path in folder.glob(f".{name}.*"):
            if (path / "bundle").is_dir() and not (folder / name).exists():
                (path / "bundle").rename(folder / name)
            shutil.rmtree(path)


def stoppable(main: Callable[..., int]) -> Callable[..., int]:
    """Decorates the `main` of a command: Ctrl-C ends it with one line and the exit status of a shell."""

    @functools.wraps(main)
    def run(*arguments, **named) -> int:
        try:
            return main(*arguments, **named)
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
            return INTERRUPTED

    return run


def in_words(error: Exception, place: Path | str = "") -> str:
    """The message of an error for users; of a system error, the file and the reason without the error number.

    Args:
        place: file or folder that is named if the error does not name one.
    """
    if isinstance(error, OSError) and error.strerror:
        place, fault = error.filename or place, error.strerror
    elif found := SYSTEM_ERROR.fullmatch(str(error)):
        fault = found[1]
    else:
        return str(error)
    if Path(str(place)).match(UNFINISHED):  # a name that the user has never seen
        place = Path(place).parent
    return f"{place}: {fault}." if place else f"{fault}."


def duration(seconds: float) -> str:
    """A duration in words, in the unit that suits its length."""
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 360 else f"{seconds / 3600:.2f} hours"
