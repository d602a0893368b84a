"""Decides where the command line writes transcripts: the paths mirror the folders of the recordings.

Obstacles to writing a file are found before anything is transcribed.
"""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_core.errors import printable, reason
from asr_core.storage import replace_file
from asr_core.transcript.writers import WRITERS

STDIN = "-"
MAX_NAME_BYTES = 255  # of a file name on every common file system
MAX_SUFFIX_BYTES = max(len(extension) + 1 for extension in WRITERS)  # with the dot


@dataclass(frozen=True)
class InputFile:
    """One recording.

    Attributes:
        path: as the user named it, or as found in a folder that the user named; "-" is standard input.
        name: its path below the common parent of all inputs.
        place: path of its transcript below --out, without the suffix of the format.
    """

    path: str
    name: str
    place: str

    def __str__(self) -> str:
        return "standard input" if self.path == STDIN else printable(self.path)


def placed(paths: Sequence[str], roots: Sequence[str], formats: Sequence[str]) -> list[InputFile]:
    """Gives each recording a place of its own. The places depend on the names of all inputs, but not on the shard.

    The folders below the common parent of all inputs are mirrored: `1/talk.wav` and `2/talk.wav` get `1/talk` and
    `2/talk`. The suffix is kept where two recordings differ in nothing else, such as `a.mp3` and `a.wav`, and where the
    transcript would replace the recording. Names that differ only in case get a number.

    Args:
        paths: of the recordings.
        roots: the folders that the user named, and the parents of the files that the user named.
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
        place, number = _shortened(stem), 1
        while place.casefold() in taken:
            number += 1
            place = _shortened(f"{stem}-{number}")
        taken.add(place.casefold())
        recordings.append(InputFile(path, name, place))
    return recordings


def _parts(path: str) -> list[str]:
    """The components of the absolute path, beginning with the drive if there is one."""
    drive, rest = os.path.splitdrive(os.path.abspath(path))
    return [part for part in (drive.strip(":\\/"), *rest.split(os.sep)) if part]


def _shortened(place: str) -> str:
    """The place, its name cut if it is too long for a file system; a digest then keeps it unique."""
    folder, name = os.path.split(place)
    encoded = os.fsencode(name)
    if len(encoded) + MAX_SUFFIX_BYTES <= MAX_NAME_BYTES:
        return place
    digest = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
    kept = encoded[: MAX_NAME_BYTES - MAX_SUFFIX_BYTES - len(digest)].decode(errors="ignore")
    return os.path.join(folder, kept + digest)


def obstacle(path: str, inputs: Collection[str], overwrite: bool) -> str | None:
    """The reason why a file cannot be written, as a sentence without a full stop; None if it can be written.

    Args:
        path: of the file.
        inputs: real paths of all recordings, which are never overwritten.
        overwrite: whether other files may be overwritten.
    """
    shown = printable(path)
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return _blocked(path)
    except OSError as error:  # the name is too long, or a parent is not a folder
        return f"its transcript cannot be written to {shown} ({reason(error)})"
    if stat.S_ISDIR(kind):
        return f"its transcript cannot be written to {shown}, which is a folder"
    if os.path.realpath(path) in inputs:
        return f"its transcript would be written over the recording {shown}: choose another --out"
    if not overwrite:
        return f"{shown} exists already: add --overwrite to replace it or --skip-existing to keep it"
    return _blocked(path)


def _blocked(path: str) -> str | None:
    """The reason why a file and its missing parent folders cannot be created; None if they can."""
    folder, name = os.path.split(path)
    names = [name]
    while folder and not os.path.lexists(folder):
        folder, name = os.path.split(folder)
        names.append(name)
    folder = folder or os.curdir
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"its transcript cannot be written into {printable(folder)} (Permission denied)"
    for name in names:  # in the folder that exists: below a missing one, lstat does not report a name that is too long
        try:
            os.lstat(os.path.join(folder, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"its transcript cannot be written to {printable(path)} ({reason(error)})"
    return None


def write_whole(path: str, content: str) -> None:
    """Writes a file, all of it or nothing, and creates missing parent folders. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    replace_file(Path(path), content)
