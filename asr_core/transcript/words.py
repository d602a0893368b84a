"""`Word` and `Transcript`: the result of recognition, with times and confidences.

Both are validated when they are made, so that all later code can rely on their times and confidences.
"""

import math
from dataclasses import dataclass

SLACK_SECONDS = 0.001  # how far a word may end after the recording: times are rounded to milliseconds


@dataclass(frozen=True)
class Word:
    """A word and its place in the recording.

    Attributes:
        text: without white space.
        start, end: seconds from the start of the recording; 0 <= start <= end.
        confidence: in [0, 1]; 0 marks a word of a given text that cannot be checked, because the model has no letters
            for it.
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
        """Whether the confidence is meaningful: the model has letters for the word."""
        return self.confidence > 0


@dataclass(frozen=True)
class Transcript:
    """What was recognised in a recording. No words at all is a valid answer.

    Attributes:
        words: in order of their start, inside the recording.
        seconds: length of the recording.
        model: name of the model that recognised them.
        separator: what stands between two words in the text: a space, or nothing in languages that are written without.
        notes: sentences for people about the recording, such as that it is damaged (see
            `asr_core.audio.loading.Audio`), or about a given text that does not fit it.
    """

    words: tuple[Word, ...]
    seconds: float
    model: str = ""
    notes: tuple[str, ...] = ()
    separator: str = " "

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
        """The words with single separators between them."""
        return self.separator.join(word.text for word in self.words)

    @property
    def confidence(self) -> float:
        """Mean confidence of the checked words, weighted by their characters; 0 if there are none.

        Long words weigh more: they carry more of the meaning, and an error in one of them matters more.
        """
        checked = [word for word in self.words if word.checked]
        characters = sum(len(word.text) for word in checked)
        return sum(len(word.text) * word.confidence for word in checked) / max(characters, 1)
