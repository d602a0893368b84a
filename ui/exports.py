"""Files to take away: txt, srt, vtt and json of a clip, with the subtitle limits that the visitor set."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from ui.clip import Clip
from ui.decoding import moved

FORMATS = ("txt", "srt", "vtt", "json")
SUBTITLE_FORMATS = ("srt", "vtt")
RANGES = ((20, 80), (1, 3), (1.0, 15.0))  # of SubtitleLimits


@dataclass(frozen=True)
class SubtitleLimits:
    """How much one subtitle may hold; the defaults are the broadcasters' usual ones (BBC, Netflix)."""

    characters: int = 42
    lines: int = 2
    seconds: float = 7.0

    @classmethod
    def of(cls, characters: float, lines: float, seconds: float) -> "SubtitleLimits":
        """Of a request; what is out of range is moved into it."""
        asked = zip((characters, lines, seconds), RANGES, strict=True)
        characters, lines, seconds = (min(max(value, least), most) for value, (least, most) in asked)
        return cls(int(characters), int(lines), float(seconds))


class Subtitles:
    """The three controls of the subtitle limits."""

    def __init__(self):
        limits = SubtitleLimits()
        with gr.Row():
            self.characters = gr.Slider(*RANGES[0], value=limits.characters, step=1, label="Characters a line")
            self.lines = gr.Slider(*RANGES[1], value=limits.lines, step=1, label="Lines")
            self.seconds = gr.Slider(*RANGES[2], value=limits.seconds, step=0.5, label="Seconds at most")

    @property
    def components(self) -> list:
        return [self.characters, self.lines, self.seconds]

    def events(self) -> list[Callable]:
        """Moved, by keys, or typed; and reset."""
        return [event for slider in self.components for event in moved(slider)]

    def read(self, values: Sequence) -> SubtitleLimits:
        characters, lines, seconds = values[:3]
        return SubtitleLimits.of(characters, lines, seconds)


def written(transcript, extension: str, limits: SubtitleLimits | None = None, file: str | None = None) -> str:
    """The transcript in one of FORMATS."""
    from asr_core.transcript import WRITERS

    limits = limits or SubtitleLimits()
    writer = WRITERS[extension]()
    if extension in SUBTITLE_FORMATS:
        return writer.write(
            transcript,
            max_characters=limits.characters,
            max_lines=limits.lines,
            max_seconds=limits.seconds,
        )
    if extension == "json":
        return writer.write(transcript, file=file)
    return writer.write(transcript)


def write_exports(clip: Clip, limits: SubtitleLimits) -> list[Path]:
    """One file per format beside the sound of the clip, named after the recording."""
    stem = safe_stem(clip.name)
    paths = []
    for extension in FORMATS:
        path = clip.sound.folder / f"{stem}.{extension}"
        path.write_text(written(clip.transcript, extension, limits, clip.name), encoding="utf-8")
        paths.append(path)
    return paths


def safe_stem(name: str) -> str:
    """A file name that is the same on every system: letters, digits, dot, dash and underscore."""
    stem = re.sub(r"[^\w.-]+", "-", Path(name.replace("\\", "/")).name.rsplit(".", 1)[0]).strip("-._")
    return stem[:80] or "recording"
