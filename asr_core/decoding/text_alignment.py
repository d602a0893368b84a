"""A given text aligned with a recording: word times and confidence for words that are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr_core.decoding.confidence import UNCHECKED, confidence
from asr_core.decoding.word_spans import WordSpan
from asr_core.decoding.word_times import words_of
from asr_core.emissions import Emissions
from asr_core.partial_alignment import PartialAlignment, align_words
from asr_core.text.pasted import NOT_CHECKED, NOT_THIS_TEXT
from asr_core.text.spelling import SpelledWord, spell
from asr_core.text.vocabulary import Vocabulary, space_token

MIN_MATCH_SCORE = 0.25  # texts of other recordings score below this, correct ones and excerpts of them above


@dataclass(frozen=True)
class Alignment:
    """A given text laid along a recording.

    Attributes:
        words: the words of the text as written, punctuation attached.
        characters: their sounding characters; a group that the alphabet cannot write, such as 1989, is one.
        score: how well the text fits the recording, in [0, 1]: the mean confidence of the words that can be checked,
            weighted by their letters. What the recording holds besides does not count, so that an excerpt fits.
    """

    words: tuple[WordSpan, ...]
    characters: tuple[WordSpan, ...]
    score: float

    @property
    def belongs(self) -> bool:
        """Whether this is a text of this recording at all."""
        return self.score >= MIN_MATCH_SCORE

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the text as a whole: sentences for people, see `Transcript.notes`."""
        if all(word.confidence == UNCHECKED for word in self.words):
            return (NOT_CHECKED,)
        return () if self.belongs else (NOT_THIS_TEXT,)


def align_text(emissions: Emissions, text: str, vocabulary: Vocabulary) -> Alignment:
    """Lay a text along a recording: the most probable alignment (see `partial_alignment.align_words`).

    Words are spelled as they are spoken (see `spelling.spell`); punctuation makes no sound and stays with its word.
    Speech that the text lacks is passed over. A word that was not spoken has no length and stands where it would be.

    Raises:
        AlignmentError: a text without a sounding character, or one too long for the recording.
    """
    words = spell(text, vocabulary)
    found = align_words(emissions.log_probs, [word.tokens for word in words], space_token(vocabulary))
    spans = _with_places(words, found, emissions)
    return Alignment(
        spans,
        tuple(
            WordSpan(
                character,
                emissions.time(group[place][0].start),
                emissions.time(group[place][-1].end),
                confidence(emissions.log_probs, group[place]),
            )
            for word, group in zip(words, found.words, strict=True)
            for character, place in word.characters
            if character != " "
        ),
        _score(spans, [len(word.tokens) for word in words]),
    )


def _with_places(words: Sequence[SpelledWord], found: PartialAlignment, emissions: Emissions) -> tuple[WordSpan, ...]:
    """The words with their times. Speech between them that the text lacks bounds them as a word would."""
    spoken = [(place, group) for place, group in enumerate(found.words) if group[0].start < group[-1].end]
    passed = [(place - 0.5, spans) for place, spans in found.passed]
    places, groups = zip(*sorted([*spoken, *passed], key=lambda entry: entry[0]), strict=True)
    texts = [words[int(place)].text if place == int(place) else "" for place in places]
    placed = dict(zip(places, words_of(texts, groups, emissions), strict=True))
    at = placed[spoken[0][0]].start if spoken else emissions.start
    result = []
    for place, word in enumerate(words):
        skipped = WordSpan(word.text, at, at, confidence(emissions.log_probs, found.words[place]))
        result.append(placed.get(place) or skipped)
        at = result[-1].end
    return tuple(result)


def _score(words: Sequence[WordSpan], letters: Sequence[int]) -> float:
    """Mean confidence of the words that can be checked, weighted by their letters; 0 if there are none."""
    weights = np.array([count * (word.confidence > UNCHECKED) for word, count in zip(words, letters, strict=True)])
    return float(weights @ [word.confidence for word in words] / max(1, weights.sum()))
