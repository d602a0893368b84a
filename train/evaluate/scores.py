"""References and hypotheses -> word and character error rates, with confidence intervals.

The error rate of a set of clips is the number of all edits divided by the length of all references. Bootstrap intervals
resample speakers, since the errors in clips of one speaker are correlated.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jiwer
import numpy as np
from scipy.stats import bootstrap

from asr_core.decoding.word_spans import WordSpan
from asr_core.text.alphabet import normalised_words, units
from asr_core.text.vocabulary import Vocabulary
from asr_core.transcript.words import Word

if TYPE_CHECKING:  # its import takes Keras, which scores do not need
    from train.data.manifest import ManifestClip


NORMALISATION = "lower case, figures and abbreviations spelled out, no punctuation but the apostrophe"
ENGLISH = Vocabulary()
RESAMPLES = 2000  # of a bootstrap
MIN_SPEAKERS = 5  # with fewer, clips are resampled: so few speakers give no meaningful interval


@dataclass(frozen=True)
class Edits:
    """The edits that turn a reference into a hypothesis, counted in words or in characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: "Edits") -> "Edits":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Edits(*(mine + theirs for mine, theirs in pairs))

    @property
    def length(self) -> int:
        """Length of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def count(self) -> int:
        """Number of errors."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors divided by the length of the reference; NaN if the reference is empty."""
        return self.count / self.length if self.length else math.nan


@dataclass(frozen=True)
class Score:
    """The errors in the transcript of one clip.

    Attributes:
        clip: the clip.
        reference, hypothesis: both normalised.
        words, characters: edits between the two.
        raw_words, raw_characters: edits between the texts without normalisation, case and punctuation included.
        judged: (word, whether it is correct) for every word of the hypothesis.
    """

    clip: "ManifestClip"
    reference: str
    hypothesis: str
    words: Edits
    characters: Edits
    raw_words: Edits
    raw_characters: Edits
    judged: tuple[tuple[WordSpan, bool], ...]


def score(
    clip: "ManifestClip",
    spans: Sequence[WordSpan],
    vocabulary: Vocabulary = ENGLISH,
    words: Sequence[Word] | None = None,
) -> Score:
    """Compares the words that a recogniser has found in a clip with the clip's text, both in the model's spelling.

    Where the vocabulary writes no spaces, its characters count as words.

    Args:
        clip: with its text.
        spans: the words of the hypothesis, which are judged.
        vocabulary: of the model.
        words: of the transcript, which lacks isolated words of very low confidence; by default `spans`.
    """
    words = spans if words is None else words
    both = normalised_words(clip.text, vocabulary), [text for _, text in _spoken(words, vocabulary)]
    reference, hypothesis = map(" ".join, both)
    aligned = jiwer.process_words(reference, hypothesis)
    found = _spoken(spans, vocabulary)
    left_out = len(found) > len(both[1])
    raw = units(clip.text, vocabulary), [word.text for word in words]
    join = vocabulary.separator.join
    return Score(
        clip,
        reference,
        hypothesis,
        _edits(aligned),
        _edits(jiwer.process_characters(*map(join, both))),
        _edits(jiwer.process_words(*map(" ".join, raw))),
        _edits(jiwer.process_characters(*map(join, raw))),
        _judged(found, jiwer.process_words(reference, " ".join(text for _, text in found)) if left_out else aligned),
    )


def _spoken(words: Sequence, vocabulary: Vocabulary) -> list[tuple]:
    """(word, normalised text) of words; a word of several normalised ones has as many entries."""
    return [(word, text) for word in words for text in normalised_words(word.text, vocabulary)]


def _judged(spoken: list[tuple], aligned) -> tuple[tuple[WordSpan, bool], ...]:
    """Every word of a hypothesis, and whether it is correct in its alignment with the reference."""
    correct = np.zeros(len(spoken), bool)
    for chunk in aligned.alignments[0]:
        correct[chunk.hyp_start_idx : chunk.hyp_end_idx] = chunk.type == "equal"
    return tuple((word, bool(right)) for (word, _), right in zip(spoken, correct, strict=True))


def _edits(aligned) -> Edits:
    return Edits(aligned.hits, aligned.substitutions, aligned.deletions, aligned.insertions)


@dataclass(frozen=True)
class Figures:
    """Error rates over a set of clips.

    Attributes:
        clips, speakers, seconds: size of the set.
        words, characters, raw_words, raw_characters: edits, summed over the set.
        interval: 95 % confidence interval of the word error rate; None if all references are empty.
        resampled: "speakers", or "clips" if there are fewer than MIN_SPEAKERS speakers.
    """

    clips: int
    speakers: int
    seconds: float
    words: Edits
    characters: Edits
    raw_words: Edits
    raw_characters: Edits
    interval: tuple[float, float] | None
    resampled: str

    def as_json(self) -> dict:
        """Error rates as fractions, None where the references are empty."""
        low, high = self.interval or (None, None)
        return {
            "clips": self.clips,
            "speakers": self.speakers,
            "seconds": round(self.seconds, 1),
            "words": self.words.length,
            "wer": _rounded(self.words.rate),
            "wer_low": _rounded(low),
            "wer_high": _rounded(high),
            "resampled": self.resampled,
            "cer": _rounded(self.characters.rate),
            "substitutions": self.words.substitutions,
            "deletions": self.words.deletions,
            "insertions": self.words.insertions,
            "raw_wer": _rounded(self.raw_words.rate),
            "raw_cer": _rounded(self.raw_characters.rate),
        }


def figures(scores: Sequence[Score]) -> Figures:
    """The error rates of a set of clips, each computed over the whole set."""
    by_speaker: dict[tuple[str, str], Edits] = defaultdict(Edits)
    for one in scores:
        by_speaker[one.clip.corpus, one.clip.speaker] += one.words
    enough = len(by_speaker) >= MIN_SPEAKERS
    total = {
        name: sum((getattr(one, name) for one in scores), Edits())
        for name in ("words", "characters", "raw_words", "raw_characters")
    }
    return Figures(
        clips=len(scores),
        speakers=len(by_speaker),
        seconds=sum(one.clip.seconds for one in scores),
        interval=interval(list(by_speaker.values()) if enough else [one.words for one in scores]),
        resampled="speakers" if enough else "clips",
        **total,
    )


def interval(groups: Sequence[Edits]) -> tuple[float, float] | None:
    """95 % bootstrap interval (percentile method) of the error rate, groups drawn with replacement.

    Returns:
        (low, high), or None if all references are empty or there is only one group.
    """
    if len(groups) < 2 or not any(group.length for group in groups):
        return None
    counts = np.array([group.count for group in groups]), np.array([group.length for group in groups])
    drawn = bootstrap(counts, _rate, paired=True, vectorized=True, method="percentile", n_resamples=RESAMPLES, rng=0)
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def _rate(counts, lengths, axis=-1):
    return counts.sum(axis) / np.maximum(lengths.sum(axis), 1)


def _rounded(rate: float | None) -> float | None:
    return None if rate is None or math.isnan(rate) else round(rate, 4)
