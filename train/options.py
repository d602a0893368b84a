"""What the commands of this package share: numbers within limits, places to write to, errors in words."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from asr_core.errors import AsrError

MAX_SEED = 2**32 - 1  # of NumPy's global generator, which Keras sets


class OutputError(AsrError, OSError):
    """A place to which nothing can be written."""


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for argparse: whole numbers of at least `least` and at most `most`."""

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
    """A type for argparse: finite numbers of at least `least` (or above it) and at most `most`."""

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
    """Makes a folder to write into, which a flag names, before the work whose result it gets.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder} cannot be made ({error.strerror}): name another with {flag}"
        raise OutputError(f"The folder {reason}.") from error


def make_room(file: Path) -> None:
    """Makes the folder of a file to write, before the work whose result it gets.

    Raises:
        OutputError: it cannot be made, or a folder has the name of the file.
    """
    make_folder(file.parent)
    if file.is_dir():
        raise OutputError(f"{file} is a folder: name a file with --out.")


def in_words(error: Exception) -> str:
    """The message of an error for people: of the system's errors the file first, and no numbers."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)
