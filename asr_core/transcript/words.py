"""`Word`, `WrittenToken` and `Transcript`: the result of recognition, with times and confidences.

All are validated when they are made, so that all later code can rely on their times and confidences.
"""

import math
from collections.abc import Sequence
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
class WrittenToken:
    """A word of the written form of a transcript, such as "Smith," or "25".

    Attributes:
        text: with its punctuation, without white space.
        first, end: the spoken words that it is written for are those from index `first` to before `end`.
        paragraph: whether a new paragraph begins with it.
    """

    text: str
    first: int
    end: int
    paragraph: bool = False

    def __post_init__(self):
        if not isinstance(self.text, str) or not self.text or self.text.split() != [self.text]:
            raise ValueError(f"A written word is text without white space, got {self.text!r}.")
        if not 0 <= self.first < self.end:
            raise ValueError(f"{self.text!r} cannot be written for the words from {self.first} to before {self.end}.")


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
        written: the written form, which spans all spoken words in order (see `asr_core.transcript.written`); a spoken
            word may share its written one with others, or have several. Empty if there is none.
    """

    words: tuple[Word, ...]
    seconds: float
    model: str = ""
    notes: tuple[str, ...] = ()
    separator: str = " "
    written: tuple[WrittenToken, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "written", tuple(self.written))
        object.__setattr__(self, "seconds", float(self.seconds))
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"A recording cannot last {self.seconds} s.")
        earlier = 0.0
        for word in self.words:
            if word.start < earlier:
                raise ValueError(f"{word.text!r} starts at {word.start} s, before the word in front of it.")
            if word.end > self.seconds + SLACK_SECONDS:
                raise ValueError(f"{word.text!r} ends at {word.end} s, after the recording ({self.seconds} s).")
            earlier = word.start
        self._check_written()

    def _check_written(self) -> None:
        first = end = 0
        for token in self.written:
            if token.first != end and (token.first, token.end) != (first, end):
                raise ValueError(f"{token.text!r} is written for word {token.first}, and word {end} comes next.")
            first, end = token.first, token.end
        if self.written and end != len(self.words):
            raise ValueError(f"The written form has {end} of {len(self.words)} words.")

    @property
    def text(self) -> str:
        """The words with single separators between them."""
        return self.separator.join(word.text for word in self.words)

    @property
    def written_text(self) -> str:
        """The written form, with an empty line between paragraphs; the spoken words if there is no written form."""
        if not self.written:
            return self.text
        parts = [("\n\n" if token.paragraph else self.separator) + token.text for token in self.written]
        return "".join(parts).lstrip()

    @property
    def written_words(self) -> tuple[Word, ...]:
        """The written form as words, with the times of the spoken ones and the lowest confidence among them.

        The spoken words if there is no written form.
        """
        if not self.written:
            return self.words
        return tuple(written_word(token, self.words) for token in self.written)

    @property
    def confidence(self) -> float:
        """Mean confidence of the checked words, weighted by their characters; 0 if there are none.

        Long words weigh more: they carry more of the meaning, and an error in one of them matters more.
        """
        checked = [word for word in self.words if word.checked]
        characters = sum(len(word.text) for word in checked)
        return sum(len(word.text) * word.confidence for word in checked) / max(characters, 1)


def written_word(token, words: Sequence[Word]) -> Word:
    """A written word with the times of the spoken ones that it spans, and the lowest confidence among them.

    Args:
        token: has `text`, and the indices `first` and `end` of its spoken words, as a `WrittenToken` has.
        words: the spoken words.
    """
    spoken = words[token.first : token.end]
    confidence = min(word.confidence for word in spoken)
    return Word(token.text, spoken[0].start, max(word.end for word in spoken), confidence)
