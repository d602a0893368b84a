"""The words of a recording with their times and confidence.

A transcript is checked where it is made, so that every later step may trust its times and confidences.

"""

import json
import math
from dataclasses import dataclass

from asr_core.errors import TranscriptError, reason

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
        notes: sentences for people about the recording, such as that it is damaged (see
        `asr_core.audio.loading.Audio`), or
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
