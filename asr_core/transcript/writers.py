"""Writers of transcripts, one class for each file format: txt, srt, vtt and json."""

import json
import re
from abc import ABC, abstractmethod

from asr_core.transcript.subtitles import MAX_CHARACTERS, MAX_LINES, MAX_SECONDS, cues
from asr_core.transcript.words import Transcript, Word

SPOKEN, WRITTEN = TEXTS = ("spoken", "written")  # forms of a transcript


class Writer(ABC):
    """Writes a transcript in one format."""

    extension: str

    @abstractmethod
    def write(self, transcript: Transcript, *, text: str = WRITTEN, **options) -> str:
        """The content of the file, which ends with a line feed unless it is empty.

        Args:
            transcript: what to write.
            text: "written" for the written form where the transcript has one, "spoken" for the words as spoken.
        """


class TextWriter(Writer):
    """Plain text: the words in one line, or in paragraphs with empty lines between them."""

    extension = "txt"

    def write(self, transcript: Transcript, *, text: str = WRITTEN) -> str:
        return (transcript.text if text == SPOKEN else transcript.written_text) + "\n"


class SubtitleWriter(Writer):
    """The common part of SubRip and WebVTT; `asr_core.transcript.subtitles.cues` explains the limits."""

    header = ""
    decimal_mark: str

    def write(
        self,
        transcript: Transcript,
        *,
        text: str = WRITTEN,
        max_characters: int = MAX_CHARACTERS,
        max_lines: int = MAX_LINES,
        max_seconds: float = MAX_SECONDS,
    ) -> str:
        shown = cues(
            transcript.words if text == SPOKEN else transcript.written_words,
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
    """One JSON object in one line of ASCII, with words, times in seconds, confidences and notes.

    `text` and `words` are as spoken. Where there is a written form, `written` has its text and its tokens; the
    `words` of a token are the indices of its first spoken word and of the one after its last.
    """

    extension = "json"

    def write(self, transcript: Transcript, *, text: str = WRITTEN, file: str | None = None) -> str:
        """`file` is the name of the recording. With `text` "spoken" the written form is left out."""
        content = {
            "file": file,
            "text": transcript.text,
            "seconds": round(transcript.seconds, 3),
            "confidence": round(transcript.confidence, 4),
            "words": [{"word": word.text, **_timing(word)} for word in transcript.words],
            "model": transcript.model,
            "notes": list(transcript.notes),
        }
        if transcript.written and text == WRITTEN:
            tokens = zip(transcript.written, transcript.written_words, strict=True)
            content["written"] = {
                "text": transcript.written_text,
                "tokens": [
                    {
                        "token": token.text,
                        **_timing(word),
                        "words": [token.first, token.end],
                        "paragraph": token.paragraph,
                    }
                    for token, word in tokens
                ],
            }
        return json.dumps(content) + "\n"


def _timing(word: Word) -> dict[str, float]:
    return {"start": round(word.start, 3), "end": round(word.end, 3), "confidence": round(word.confidence, 4)}


WRITERS: dict[str, type[Writer]] = {
    writer.extension: writer for writer in (TextWriter, SrtWriter, VttWriter, JsonWriter)
}
