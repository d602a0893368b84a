"""Writers of transcripts, one class for each file format: txt, srt, vtt and json."""

import json
import re
from abc import ABC, abstractmethod

from asr_core.transcript.subtitles import MAX_CHARACTERS, MAX_LINES, MAX_SECONDS, cues
from asr_core.transcript.words import Transcript


class Writer(ABC):
    """Writes a transcript in one format."""

    extension: str

    @abstractmethod
    def write(self, transcript: Transcript, **options) -> str:
        """The content of the file, which ends with a line feed unless it is empty."""


class TextWriter(Writer):
    """Plain text: the words in one line."""

    extension = "txt"

    def write(self, transcript: Transcript) -> str:
        return transcript.text + "\n"


class SubtitleWriter(Writer):
    """The common part of SubRip and WebVTT; `asr_core.transcript.subtitles.cues` explains the limits."""

    header = ""
    decimal_mark: str

    def write(
        self,
        transcript: Transcript,
        *,
        max_characters: int = MAX_CHARACTERS,
        max_lines: int = MAX_LINES,
        max_seconds: float = MAX_SECONDS,
    ) -> str:
        shown = cues(
            transcript.words,
            transcript.seconds,
            max_characters=max_characters,
            max_lines=max_lines,
            max_seconds=max_seconds,
            separator=transcript.separator,
        )
        blocks = [
            f"{number}\n{self.time(cue.start)} --> {self.time(cue.end)}\n"
            + "".join(f"{self.escaped(line)}\n" for line in cue.lines)
            for number, cue in enumerate(shown, start=1)
        ]
        return self.header + "\n".join(blocks)

    def time(self, milliseconds: int) -> str:
        seconds, milliseconds = divmod(milliseconds, 1000)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours:02}:{minutes:02}:{seconds:02}{self.decimal_mark}{milliseconds:03}"

    @abstractmethod
    def escaped(self, line: str) -> str:
        """The line with all characters escaped that have a meaning in the format."""


class SrtWriter(SubtitleWriter):
    """SubRip, which every player reads. It has no escapes, so an arrow like the one between times is shortened."""

    extension = "srt"
    decimal_mark = ","

    def escaped(self, line: str) -> str:
        return re.sub("-{2,}>", "->", line)


class VttWriter(SubtitleWriter):
    """WebVTT, the subtitles of web pages (W3C, https://www.w3.org/TR/webvtt1/)."""

    extension = "vtt"
    header = "WEBVTT\n\n"
    decimal_mark = "."

    def escaped(self, line: str) -> str:
        return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class JsonWriter(Writer):
    """One JSON object in one line of ASCII, with words, times in seconds, confidences and notes."""

    extension = "json"

    def write(self, transcript: Transcript, *, file: str | None = None) -> str:
        """`file` is the name of the recording."""
        content = {
            "file": file,
            "text": transcript.text,
            "seconds": round(transcript.seconds, 3),
            "confidence": round(transcript.confidence, 4),
            "words": [
                {
                    "word": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": round(word.confidence, 4),
                }
                for word in transcript.words
            ],
            "model": transcript.model,
            "notes": list(transcript.notes),
        }
        return json.dumps(content) + "\n"


WRITERS: dict[str, type[Writer]] = {
    writer.extension: writer for writer in (TextWriter, SrtWriter, VttWriter, JsonWriter)
}
