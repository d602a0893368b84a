"""Where the command line writes transcripts: places that mirror the folders of the recordings.

Whatever would keep a file from being written is found before anything is transcribed.
"""

import contextlib
import hashlib
import os
import stat
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from asr_core.errors import printable, reason
from asr_core.transcript.writers import WRITERS

STDIN = "-"
MAX_NAME_BYTES = 255  # of a file name, on every common file system
MAX_SUFFIX_BYTES = max(len(extension) + 1 for extension in WRITERS)


@dataclass(frozen=True)
class InputFile:
    """One input.

    Attributes:
        path: as the user named it, or found in a folder that the user named; "-" is standard input.
        name: its path below the common parent of all inputs.
        place: where its transcript belongs under --out, without the suffix of the format.
    """

    path: str
    name: str
    place: str

    def __str__(self) -> str:
        return "standard input" if self.path == STDIN else printable(self.path)


def placed(paths: Sequence[str], roots: Sequence[str], formats: Sequence[str]) -> list[InputFile]:
    """Recordings with a place of their own each, which depends on all names, not on the shard.

    The folders below the common parent of all inputs are mirrored: `1/talk.wav` and `2/talk.wav` get `1/talk` and
    `2/talk`. Beside an `a.mp3` an `a.wav` gets `a.wav`, and never a place whose file would be the recording. Names
    that differ in nothing but case get a number.

    Args:
        paths: of the recordings.
        roots: the folders that were named, and those of the files that were named.
        formats: extensions of the files to write.
    """
    depth = len(os.path.commonprefix([_parts(root) for root in roots]))
    names = ["stdin" if path == STDIN else os.path.join(*_parts(path)[depth:]) for path in paths]
    stems = Counter(os.path.splitext(name)[0].casefold() for name in names)
    taken: set[str] = set()
    recordings = []
    for path, name in zip(paths, names, strict=True):
        stem, suffix = os.path.splitext(name)
        if stems[stem.casefold()] > 1 or suffix[1:] in formats:
            stem = name
        place, number = _fitting(stem), 1
        while place.casefold() in taken:
            number += 1
            place = _fitting(f"{stem}-{number}")
        taken.add(place.casefold())
        recordings.append(InputFile(path, name, place))
    return recordings


def _parts(path: str) -> list[str]:
    """The folders of an absolute path and its name; a drive is one of them."""
    drive, rest = os.path.splitdrive(os.path.abspath(path))
    return [part for part in (drive.strip(":\\/"), *rest.split(os.sep)) if part]


def _fitting(place: str) -> str:
    """A place whose name is cut where it is too long for a file system; a digest keeps it unlike all others."""
    folder, name = os.path.split(place)
    encoded = os.fsencode(name)
    if len(encoded) + MAX_SUFFIX_BYTES <= MAX_NAME_BYTES:
        return place
    digest = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
    kept = encoded[: MAX_NAME_BYTES - MAX_SUFFIX_BYTES - len(digest)].decode(errors="ignore")
    return os.path.join(folder, kept + digest)


def obstacle(path: str, inputs: Collection[str], overwrite: bool) -> str | None:
    """The reason why no file can be written there, as a sentence with its end left open; None if there is none.

    Args:
        path: of the file.
        inputs: real paths of all recordings, which are never written over.
        overwrite: whether other files may be.
    """
    shown = printable(path)
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return _blocked(path)
    except OSError as error:  # a name too long, or a file where a folder belongs
        return f"its transcript cannot be written to {shown} ({reason(error)})"
    if stat.S_ISDIR(kind):
        return f"its transcript cannot be written to {shown}, which is a folder"
    if os.path.realpath(path) in inputs:
        return f"its transcript would be written over the recording {shown}: choose another --out"
    if not overwrite:
        return f"{shown} exists already: add --overwrite to replace it or --skip-existing to keep it"
    return _blocked(path)


def _blocked(path: str) -> str | None:
    """The reason why a file, and the folders above it that are missing, cannot be made."""
    folder, name = os.path.split(path)
    names = [name]
    while folder and not os.path.lexists(folder):
        folder, name = os.path.split(folder)
        names.append(name)
    folder = folder or os.curdir
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"its transcript cannot be written into {printable(folder)} (Permission denied)"
    for name in names:  # where there is a folder: below one that is missing no name counts as too long
        try:
            os.lstat(os.path.join(folder, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"its transcript cannot be written to {printable(path)} ({reason(error)})"
    return None


def write_whole(path: str, content: str) -> None:
    """Write a file whole or not at all, and the folders above it. Raises OSError."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    part = os.path.join(folder, f".{uuid.uuid4().hex}.part")
    try:
        with open(part, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
