"""The words of a recording, and the files that people take away: txt, srt, vtt and json.

A transcript is checked where it is made, so that every later step may trust its times and confidences.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from asr_core.errors import TranscriptError, reason
from asr_core.subtitles import MAX_CHARACTERS, MAX_LINES, MAX_SECONDS, cues

SLACK_SECONDS = 0.001  # times are written in milliseconds; rounding may carry a word this far past the end


@dataclass(frozen=True)
class Word:
    """A word and its place in the recording.

    Attributes:
        text: without white space.
        start, end: seconds from the start of the recording; 0 <= start <= end.
        confidence: in [0, 1]. 0 is that of a word of a given text that cannot be checked, because the model has no
            letters for it; it says nothing against the word.
    """

    text: str
    start: float
    end: float
    confidence: float

    def __post_init__(self):
        for name in ("start", "end", "confidence"):
            object.__setattr__(self, name, float(getattr(self, name)))  # NumPy's floats are not JSON's
        if not isinstance(self.text, str) or not self.text or self.text.split() != [self.text]:
            raise ValueError(f"A word is text without white space, got {self.text!r}.")
        if not (0 <= self.start <= self.end < math.inf):
            raise ValueError(f"{self.text!r} cannot last from {self.start} to {self.end} s.")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"The confidence of {self.text!r} must lie in [0, 1], got {self.confidence}.")

    @property
    def checked(self) -> bool:
        """Whether the confidence says anything."""
        return self.confidence > 0


@dataclass(frozen=True)
class Transcript:
    """What was recognised in a recording. No words at all is a valid answer.

    Attributes:
        words: in order of their start, inside the recording.
        seconds: length of the recording.
        model: name of the model that heard them.
        notes: sentences for people about the recording, such as that it is damaged (see `asr_core.audio.Audio`), or
            about a given text that does not fit it.
    """

    words: tuple[Word, ...]
    seconds: float
    model: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "seconds", float(self.seconds))
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"A recording cannot last {self.seconds} s.")
        earlier = 0.0
        for word in self.words:
            if word.start < earlier:
                raise ValueError(f"{word.text!r} starts at {word.start} s, before the word in front of it.")
            if word.end > self.seconds + SLACK_SECONDS:
                raise ValueError(
                    f"{word.text!r} ends at {word.end} s, after the recording ({self.seconds} s)."
                )
            earlier = word.start

    @property
    def text(self) -> str:
        """The words with single spaces between them."""
        return " ".join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """Mean confidence of the words that are checked, weighted by their characters; 0 without such words.

        Long words weigh more, for they say more and are the ones that are missed when they are wrong.
        """
        checked = [word for word in self.words if word.checked]
        characters = sum(len(word.text) for word in checked)
        return sum(len(word.text) * word.confidence for word in checked) / max(characters, 1)


class Writer(ABC):
    """Writes a transcript in one format."""

    extension: str

    @abstractmethod
    def write(self, transcript: Transcript, **options) -> str:
        """The content of a file, with a line feed at its end unless it is empty."""


class TextWriter(Writer):
    """The words alone, in one line."""

    extension = "txt"

    def write(self, transcript: Transcript) -> str:
        return transcript.text + "\n"


class SubtitleWriter(Writer):
    """What SubRip and WebVTT share. The limits are explained in asr_core.subtitles."""

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
        """A line of text that cannot be taken for anything else."""


class SrtWriter(SubtitleWriter):
    """SubRip, which every player reads. It has no escapes: an arrow as between times is made shorter."""

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
    """Everything, as one JSON object in one line of ASCII; times to the millisecond."""

    extension = "json"

    def write(self, transcript: Transcript, *, file: str | None = None) -> str:
        """`file` is what the recording was called."""
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


def read_json(content: str) -> Transcript:
    """The transcript that JsonWriter wrote.

    Raises:
        TranscriptError: not JSON, or not of that form.
    """
    try:
        fields = json.loads(content)
        words = [_word(entry) for entry in _typed(fields, "words", list)]
        return Transcript(words, _typed(fields, "seconds", float), _typed(fields, "model", str))
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise TranscriptError(
            f"This is no transcript in JSON ({reason(error)}): write it again with --format json."
        ) from None


def _word(entry) -> Word:
    times = (_typed(entry, name, float) for name in ("start", "end", "confidence"))
    return Word(_typed(entry, "word", str), *times)


def _typed(fields, name: str, kind: type):
    """A field of a JSON object; whole numbers pass as floats."""
    if not isinstance(fields, dict) or name not in fields:
        raise TypeError(f"{name!r} is missing")
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise TypeError(f"{name!r} is {value!r:.40}")
    return value
