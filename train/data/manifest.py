"""Manifests: one JSON object a line for each clip, whose audio is a file or a member of a tar archive."""

import json
import math
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path

from asr_core.errors import AsrError, AudioError
from train.data.text_files import is_unicode, text_of

MAX_RECORDING_SECONDS = 24 * 3600  # a longer duration comes from a header whose length field is wrong
FIELDS = ("id", "audio", "seconds", "speaker", "text")  # required in every line of a manifest


class ManifestError(AsrError, ValueError):
    """A line of a manifest does not describe a clip."""


@dataclass(frozen=True)
class ManifestClip:
    """A line of a manifest. `audio` is a path or `archive.tar#member`; `seconds` is the stated duration."""

    id: str
    audio: str
    seconds: float
    speaker: str
    text: str
    corpus: str = ""
    accent: str = ""


def read_manifest(path) -> list[ManifestClip]:
    """The clips of a JSONL manifest, with `audio` resolved against the manifest's folder.

    Raises:
        CorpusError: the file cannot be read, or is not in UTF-8.
        ManifestError: a line is not a JSON object with the fields of a clip; the message has its number.
    """
    path = Path(path)
    clips = []
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if fault := _fault_of(row):
            raise ManifestError(
                f"{path}, line {number}: not a clip ({fault}): a line is a JSON object with id, audio, seconds, "
                "speaker and text, as python -m train.corpora writes it."
            )
        clips.append(
            ManifestClip(
                id=str(row["id"]),
                audio=str((path.parent / row["audio"]).resolve()),
                seconds=float(row["seconds"]),
                speaker=_string(row["speaker"]),
                text=str(row["text"]),
                corpus=_string(row.get("corpus")) or path.stem,
                accent=_string(row.get("accent")),
            )
        )
    return clips


def _fault_of(row) -> str:
    """Why a row of a manifest does not describe a clip; empty if it does."""
    if not isinstance(row, dict):
        return "it is not a JSON object"
    if missing := [name for name in FIELDS if name not in row]:
        return f"it has no {', '.join(missing)}"
    if not isinstance(row["audio"], str) or not row["audio"].strip() or "\0" in row["audio"]:
        return "its audio is not a path"
    if row["text"] is None:
        return "its text is null"
    for name in ("id", "audio", "text"):
        value = row[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not is_unicode(str(value)):
            return f"its {name} is not a string"
    try:
        seconds = float("nan" if isinstance(row["seconds"], bool) else row["seconds"])
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= MAX_RECORDING_SECONDS:
        limit = f"{MAX_RECORDING_SECONDS:,} ({MAX_RECORDING_SECONDS / 3600:g} hours)"
        return f"its seconds are {str(row['seconds'])[:40]}, and not from 0 to {limit}"
    return ""


def _string(value) -> str:
    return "" if value is None else str(value)


def read_bytes(audio: str) -> bytes:
    """The encoded file that a clip's `audio` names.

    Raises:
        AudioError: the archive has no such member, or is not a tar archive.
        OSError: the file cannot be read.
    """
    archive, _, member = audio.partition("#")
    if not member:
        return Path(archive).read_bytes()
    try:
        offset, size = _members(archive)[member]
    except KeyError:
        raise AudioError(f"{archive} holds no {member}.") from None
    except tarfile.TarError as error:
        raise AudioError(f"{archive} cannot be read as a tar archive ({error}).") from error
    with open(archive, "rb") as file:
        file.seek(offset)
        return file.read(size)


_ARCHIVES: dict[str, dict[str, tuple[int, int]]] = {}
_ARCHIVES_LOCK = threading.Lock()


def _members(archive: str) -> dict[str, tuple[int, int]]:
    """Name -> (offset, size) in bytes of the files in an uncompressed tar archive, read once per process."""
    with _ARCHIVES_LOCK:
        if archive not in _ARCHIVES:
            with tarfile.open(archive) as tar:
                _ARCHIVES[archive] = {m.name: (m.offset_data, m.size) for m in tar if m.isfile()}
        return _ARCHIVES[archive]
