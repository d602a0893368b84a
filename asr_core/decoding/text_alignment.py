"""Alignment of a given text with a recording: times and confidence of its words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.decoding.confidence import UNCHECKED, confidence
from asr_core.decoding.word_spans import WordSpan
from asr_core.decoding.word_times import words_of
from asr_core.emissions import Emissions
from asr_core.errors import AlignmentError
from asr_core.partial_alignment import PartialAlignment, align_words
from asr_core.text.pasted import NOT_CHECKED, NOT_THIS_TEXT
from asr_core.text.spelling import SpelledWord, spell
from asr_core.text.vocabulary import Vocabulary

MIN_MATCH_SCORE = 0.25  # texts of other recordings score lower; correct texts and excerpts of them score higher


@dataclass(frozen=True)
class Alignment:
    """A given text aligned with a recording.

    Attributes:
        words: the words of the text as written, punctuation attached.
        characters: the characters that are pronounced; a group that is not pronounced character by character, such as
            1989, is one.
        score: how well the text matches the recording, in [0, 1]: the mean confidence of the words that the alphabet
            can write, weighted by their letters. Speech that the text lacks does not count, so that an excerpt matches.
    """

    words: tuple[WordSpan, ...]
    characters: tuple[WordSpan, ...]
    score: float

    @property
    def matches(self) -> bool:
        """Whether the text belongs to the recording."""
        return self.score >= MIN_MATCH_SCORE

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the text as a whole, as sentences for users (see `Transcript.notes`)."""
        if all(word.confidence == UNCHECKED for word in self.words):
            return (NOT_CHECKED,)
        return () if self.matches else (NOT_THIS_TEXT,)


def align_text(
    emissions: Emissions, text: str, vocabulary: Vocabulary, check: Callable[[], None] | None = None
) -> Alignment:
    """Finds the most probable alignment of a text with a recording (see `partial_alignment.align_words`).

    Words are spelled as they are spoken (see `spelling.spell`); punctuation stays with its word. Speech that the text
    lacks is passed over. A word that was not spoken has no duration and stands at the end of the word before it.

    Args:
        emissions: of the recording.
        text: as a user gives it, without subtitle markup.
        vocabulary: what the tokens write.
        check: called several times a second, or None; an exception from it ends the work.

    Raises:
        AlignmentError: the text has no character that is pronounced, or is too long for the recording.
    """
    count = len(text.split())
    if count > len(emissions):  # `spell` needs memory in proportion to the square of their number
        raise AlignmentError(
            f"The text has {count:,} words and the recording {len(emissions):,} output steps: give a "
            "shorter text, or the recording it belongs to."
        )
    words = spell(text, vocabulary)
    found = align_words(emissions.log_probs, [word.tokens for word in words], vocabulary.space, check)
    spans = _with_times(words, found, emissions, check)
    return Alignment(
        spans,
        tuple(
            WordSpan(
                character,
                emissions.time(group[part][0].start),
                emissions.time(group[part][-1].end),
                confidence(emissions.log_probs, group[part]),
            )
            for word, group in zip(words, found.words, strict=True)
            for character, part in word.characters
            if character != " "
        ),
        _score(spans, [len(word.tokens) for word in words]),
    )


def _with_times(
    words: Sequence[SpelledWord], found: PartialAlignment, emissions: Emissions, check: Callable[[], None] | None
) -> tuple[WordSpan, ...]:
    """The words with their times. Speech that was passed over between two words limits their times as a word would.

    An index is that of a word in the text; speech that was passed over before word i has the index i - 0.5.
    """
    spoken = [(index, group) for index, group in enumerate(found.words) if group[0].start < group[-1].end]
    passed = [(index - 0.5, spans) for index, spans in found.passed]
    placed = sorted([*spoken, *passed], key=lambda entry: entry[0])
    indices, groups = zip(*placed, strict=True) if placed else ((), ())
    texts = [words[int(index)].text if index == int(index) else "" for index in indices]
    timed = dict(zip(indices, words_of(texts, groups, emissions, check=check), strict=True))
    time = timed[spoken[0][0]].start if spoken else emissions.start
    result = []
    for index, word in enumerate(words):
        unspoken = WordSpan(word.text, time, time, confidence(emissions.log_probs, found.words[index]))
        result.append(timed.get(index) or unspoken)
        time = result[-1].end
    return tuple(result)


def _score(words: Sequence[WordSpan], letters: Sequence[int]) -> float:
    """Mean confidence of the words that the alphabet can write, weighted by their letters; 0 if there are none."""
    weights = np.array([count * (word.confidence > UNCHECKED) for word, count in zip(words, letters, strict=True)])
    return float(weights @ [word.confidence for word in words] / max(1, weights.sum()))
