"""Shared by the commands of this package: argument types with limits, output folders, messages of errors."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from asr_core.errors import AsrError

MAX_SEED = 2**32 - 1  # limit of NumPy's global generator, which Keras seeds


class OutputError(AsrError, OSError):
    """An output folder or file cannot be written."""


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
        OutputError: the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder} cannot be made ({error.strerror}): name another with {flag}"
        raise OutputError(f"The folder {reason}.") from error


def make_room(file: Path) -> None:
    """Makes the folder of an output file before the work starts.

    Raises:
        OutputError: the folder cannot be made, or `file` is a folder.
    """
    make_folder(file.parent)
    if file.is_dir():
        raise OutputError(f"{file} is a folder: name a file with --out.")


def in_words(error: Exception) -> str:
    """The message of an error for users; that of an OSError is its file and reason, without the error number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)
