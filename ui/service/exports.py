"""The files that visitors download, and the limits of their subtitles."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_core.transcript.subtitles import MAX_CHARACTERS, MAX_LINES, MAX_SECONDS
from ui.service.clip import WRITTEN, Clip

FORMATS = ("txt", "srt", "vtt", "json")
SUBTITLE_FORMATS = ("srt", "vtt")
RANGES = ((20, 80), (1, 3), (1.0, 15.0))  # of the fields of SubtitleLimits


@dataclass(frozen=True)
class SubtitleLimits:
    """The limits of one subtitle: characters in a line, lines, and seconds that it is shown."""

    characters: int = MAX_CHARACTERS
    lines: int = MAX_LINES
    seconds: float = MAX_SECONDS


def content(
    transcript, extension: str, limits: SubtitleLimits | None = None, file: str | None = None, text: str = WRITTEN
) -> str:
    """The content of a file in one of FORMATS; `text` is "written" or "spoken" (see `asr_core.transcript.writers`)."""
    from asr_core.transcript.writers import WRITERS

    limits = limits or SubtitleLimits()
    writer = WRITERS[extension]()
    if extension in SUBTITLE_FORMATS:
        return writer.write(
            transcript,
            text=text,
            max_characters=limits.characters,
            max_lines=limits.lines,
            max_seconds=limits.seconds,
        )
    if extension == "json":
        return writer.write(transcript, text=text, file=file)
    return writer.write(transcript, text=text)


def write_exports(clip: Clip, limits: SubtitleLimits) -> list[Path]:
    """Writes one file per format beside the audio of the clip, named after the recording."""
    return write_files(clip.transcript, clip.audio.folder / safe_stem(clip.name), clip.name, clip.form, limits)


def write_files(
    transcript,
    target: Path,
    name: str,
    text: str = WRITTEN,
    limits: SubtitleLimits | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Writes a transcript in several formats.

    Args:
        target: path of the files without their extensions.
        name: of the recording.
        text, limits: as for `content`.
        formats: some of FORMATS.

    Returns:
        The paths of the files, in the order of the formats.
    """
    paths = []
    for extension in formats:
        path = target.with_name(f"{target.name}.{extension}")
        path.write_text(content(transcript, extension, limits, name, text), encoding="utf-8")
        paths.append(path)
    return paths


def safe_stem(name: str) -> str:
    """A file name without suffix that every system accepts: letters, digits, dot, dash and underscore."""
    stem = re.sub(r"[^\w.-]+", "-", Path(name.replace("\\", "/")).name.rsplit(".", 1)[0]).strip("-._")
    return stem[:80] or "recording"
