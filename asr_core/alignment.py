"""Where words lie in a recording, how sure they are, and the alignment of a text that the user gives.

CTC says *which* token follows which and leaves *when* half open: a token is one short peak somewhere in its
sound, and between peaks there is blank, be it sound or silence. So the peaks only tell where to look for the
edge between two words; the energy of the signal tells where it is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr, expit, logit

from asr_core.ctc import WILDCARD, Emissions, TokenSpan
from asr_core.partial_alignment import PartialAlignment, align_words
from asr_core.pasted_text import NOT_CHECKED, NOT_THIS_TEXT
from asr_core.spelling import SpelledWord, spell
from asr_core.vocabulary import BLANK, Vocabulary

FRAMES_PER_STEP = 4  # energy is measured this much finer than the steps: 10 ms where a step is 40 ms

# A pause is quieter than this far up, in dB, from the quiet between two words to the level of the words.
PAUSE_LEVEL = 0.2
QUIET_PERCENTILE = 5  # of the frames between two words, smoothed; the lowest frame alone is chance
SMOOTHING_FRAMES = 3
NO_SOUND_DB = -95.0  # digital silence, which says nothing about how quiet the room is
DEEPEST_DB = 40.0  # quieter than this below the words tells nothing more
SHALLOWEST_DB = 6.0  # a dip less deep than this is no pause
REACH_SECONDS = 0.5  # how far before its first or after its last peak a word beside a pause can sound
CHECK_WORDS = 500  # between two looks at whether the work is cancelled: some hundredths of a second
PEAK_MARGIN_SECONDS = 0.04  # where no pause is found: how much longer than its peak a sound lasts, either side

AROUND_SECONDS = 0.5  # before and after a word: what is looked at to tell how undecided the network is there

BELONGS_SCORE = 0.25  # texts of other recordings score below this, correct ones and excerpts of them above

UNCHECKED = 0.0  # the confidence of a word that the alphabet cannot write: the emissions say nothing about it
NOT_SPOKEN = 1e-4  # the least confidence of any other word


@dataclass(frozen=True)
class WordSpan:
    """A word, or a character of one, with its place in the recording, and what speaks for it.

    Attributes:
        text: what is said there.
        start, end: seconds from the start of the recording.
        confidence: how probable the network found its letters, in [0, 1]; see Calibration. Of a word of a given text
            that the alphabet cannot write it is UNCHECKED, and of no other one.
        doubt: how undecided the network was around it, in nats (see `doubts`).
        agreement: the share, by probability, of the best texts that have it there, in [0, 1]; None where no other text
            was looked for.
    """

    text: str
    start: float
    end: float
    confidence: float
    doubt: float = 0.0
    agreement: float | None = None


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
        return self.score >= BELONGS_SCORE

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


def words_of(
    texts: Sequence[str],
    groups: Sequence[Sequence[TokenSpan]],
    emissions: Emissions,
    agreement: Sequence[float] | None = None,
    check: Callable[[], None] | None = None,
) -> tuple[WordSpan, ...]:
    """Words with their times and what speaks for them, from the spans of their tokens; `check` as for `word_times`."""
    places = [(group[0].start, group[-1].end) for group in groups]
    return tuple(
        WordSpan(text, start, end, confidence(emissions.log_probs, group), doubt, agreed)
        for text, group, (start, end), doubt, agreed in zip(
            texts,
            _checked(groups, check),
            word_times(emissions, groups, check),
            doubts(emissions, places).tolist(),
            agreement or [None] * len(groups),
            strict=True,
        )
    )


def space_token(vocabulary: Vocabulary) -> int | None:
    """The token that parts words, or None in a vocabulary without one."""
    return vocabulary.encode(" ")[0] if " " in vocabulary.characters else None


def split_words(spans: Sequence[TokenSpan], vocabulary: Vocabulary) -> list[list[TokenSpan]]:
    """The spans of each word, the spaces between them left out."""
    space = space_token(vocabulary)
    words: list[list[TokenSpan]] = [[]]
    for span in spans:
        if span.token == space:
            words.append([])
        else:
            words[-1].append(span)
    return [word for word in words if word]


def word_times(
    emissions: Emissions, words: Sequence[Sequence[TokenSpan]], check: Callable[[], None] | None = None
) -> list[tuple[float, float]]:
    """Start and end of each word in seconds, from the peaks of its tokens and the energy of the signal.

    The peaks alone, widened by PEAK_MARGIN_SECONDS but at most to the middle between two words, are right to
    some 50 ms. Where the energy dips between two words there is a pause, and the words end and begin at its
    two ends. A peak itself may lie in the pause, for a network may name a sound after it has ended; so the
    search begins at the far side of both peaks. Words that run into each other keep the times of their peaks.
    `check` is called before every CHECK_WORDS-th word; what it raises ends the work.
    """
    if not words:
        return []
    peaks = [(word[0].start, word[0].end, word[-1].start, word[-1].end) for word in words]
    starts, ends = _edges_of_peaks(emissions, peaks)
    if emissions.energy is not None:
        _move_to_pauses(emissions, peaks, starts, ends, check)
    in_order = np.maximum.accumulate(np.column_stack([starts, ends]).ravel()).reshape(-1, 2)
    return [(emissions.time(start), emissions.time(end)) for start, end in in_order.tolist()]


def _edges_of_peaks(emissions: Emissions, peaks) -> tuple[list[float], list[float]]:
    """Starts and ends in steps."""
    margin = PEAK_MARGIN_SECONDS / emissions.step_seconds
    starts = [max(0.0, first - margin) for first, _, _, _ in peaks]
    ends = [min(float(len(emissions)), last + margin) for _, _, _, last in peaks]
    for i in range(1, len(peaks)):
        middle = (peaks[i - 1][3] + peaks[i][0]) / 2
        ends[i - 1], starts[i] = min(ends[i - 1], middle), max(starts[i], middle)
    return starts, ends


def _move_to_pauses(emissions: Emissions, peaks, starts: list[float], ends: list[float], check) -> None:
    """Moves starts and ends, in steps, to the ends of the pauses in the gaps before, between and after words."""
    energy = emissions.energy
    per_step = len(energy) // len(emissions)
    reach = round(REACH_SECONDS / emissions.step_seconds)
    gap_starts = [max(0, peaks[0][0] - reach), *(last_start for _, _, last_start, _ in peaks)]
    gap_ends = [*(first_end for _, first_end, _, _ in peaks), min(len(emissions), peaks[-1][3] + reach)]
    levels = [
        float(np.median(energy[first * per_step : last * per_step])) for first, _, _, last in _checked(peaks, check)
    ]
    for i, (gap_start, gap_end) in enumerate(_checked(zip(gap_starts, gap_ends, strict=True), check)):
        neighbours = levels[max(i - 1, 0) : i + 1]
        pause = _pause(energy[gap_start * per_step : gap_end * per_step], min(neighbours))
        if pause is None:
            continue
        if i > 0:
            ends[i - 1] = gap_start + pause[0] / per_step
        if i < len(peaks):
            starts[i] = gap_start + pause[1] / per_step


def _checked(items: Iterable, check: Callable[[], None] | None) -> Iterator:
    """The items; `check` is called before every CHECK_WORDS-th."""
    for i, item in enumerate(items):
        if check is not None and i % CHECK_WORDS == 0:
            check()
        yield item


def _pause(gap: np.ndarray, level: float) -> tuple[int, int] | None:
    """The frames (from, before) of the pause in a gap between words of some level in dB, if there is one.

    It is the stretch that is quieter than the limit by most in all, so that a click does not break it.
    """
    padded = np.pad(gap, SMOOTHING_FRAMES // 2, mode="edge")
    smooth = np.convolve(padded, np.full(SMOOTHING_FRAMES, 1 / SMOOTHING_FRAMES), "valid")
    room = smooth[smooth > NO_SOUND_DB] if smooth.max() > NO_SOUND_DB else smooth
    quiet = max(float(np.percentile(room, QUIET_PERCENTILE)), level - DEEPEST_DB)
    depth = level - quiet
    if depth < SHALLOWEST_DB:
        return None
    limit = quiet + PAUSE_LEVEL * depth
    quieter = np.clip(limit - gap, -depth, PAUSE_LEVEL * depth)
    total = np.concatenate([[0.0], np.cumsum(quieter)])
    end = int(np.argmax(total - np.minimum.accumulate(total)))
    return int(np.argmin(total[: end + 1])), end


def signal_energy(samples: np.ndarray, sample_rate: int, step_seconds: float, steps: int) -> np.ndarray:
    """Loudness of a signal for Emissions.energy.

    Args:
        samples: float32 [n], mono.
        sample_rate: Hz.
        step_seconds: length of an emission step.
        steps: number of steps; samples beyond them are ignored, missing ones are as loud as the last.

    Returns:
        float32 [steps * FRAMES_PER_STEP], dB relative to full scale, without what is slower than a frame (hum).
    """
    edges = np.arange(steps * FRAMES_PER_STEP + 1) * (step_seconds * sample_rate / FRAMES_PER_STEP)
    edges = np.minimum(edges.round().astype(np.int64), len(samples))
    heard = samples[: edges[-1]].astype(np.float64)
    sums = np.diff(np.concatenate([[0.0], np.cumsum(heard)])[edges])
    squares = np.diff(np.concatenate([[0.0], np.cumsum(np.square(heard))])[edges])
    count = np.maximum(1, np.diff(edges))
    variance = np.maximum(squares / count - np.square(sums / count), 0.0)
    energy = (10 * np.log10(variance + 1e-10)).astype(np.float32)
    whole = int(len(samples) * FRAMES_PER_STEP / (step_seconds * sample_rate))
    if 0 < whole < len(energy):
        energy[whole:] = energy[whole - 1]
    return energy


def confidence(log_probs: np.ndarray, word: Sequence[TokenSpan]) -> float:
    """How probable the network found the letters of a word: the geometric mean of their peaks, in [0, 1].

    Letters that another text would have been written with, as when the language model overruled the network,
    count with the probability that the network gave them. Wildcards do not count: of a word of nothing else the
    confidence is UNCHECKED, and of any other it is more.
    """
    letters = [span for span in word if span.token != WILDCARD]
    if not letters:
        return UNCHECKED
    if any(span.start == span.end for span in letters):
        return NOT_SPOKEN
    peaks = [log_probs[span.start : span.end, span.token].max() for span in letters]
    return max(NOT_SPOKEN, float(np.exp(np.mean(peaks))))


def doubts(emissions: Emissions, places: Sequence[tuple[int, int]]) -> np.ndarray:
    """How undecided the network is around places, from step to before step: float [places], in nats.

    The entropy of a step, on average from AROUND_SECONDS before a place to as long after it. A step counts as much as
    it is not blank: of blanks a network is sure, be there silence or a dog. Where it hears speech it mostly is between
    0.2 and 0.6 nats in doubt, where it hears letters in noise about 1.2.
    """
    if not len(places):
        return np.zeros(0)
    probs = np.exp(emissions.log_probs)
    letters = 1 - probs[:, BLANK]
    sums = np.zeros((len(probs) + 1, 2))
    np.cumsum(np.column_stack([entr(probs).sum(axis=1) * letters, letters]), axis=0, out=sums[1:])
    around = round(AROUND_SECONDS / emissions.step_seconds)
    starts, ends = np.clip(np.array(places) + [-around, around], 0, len(probs)).T
    entropy, steps = (sums[ends] - sums[starts]).T
    return entropy / np.maximum(steps, 1e-9)


@dataclass(frozen=True)
class Calibration:
    """Maps what speaks for a word to the share of such words that are right (logistic regression; Platt, 1999).

    A bundle keeps its numbers, the weights of the log-odds of a word's confidence and agreement, and of its doubt, for
    words of the beam, of greedy decoding, and of a given text. Without them the confidence stays as it is.
    """

    scale: float = 1.0
    offset: float = 0.0
    agreement: float = 0.0
    doubt: float = 0.0

    def __call__(self, word: WordSpan) -> float:
        confidence, agreement, doubt = evidence(word)
        return float(expit(self.scale * confidence + self.agreement * agreement + self.doubt * doubt + self.offset))


def evidence(word: WordSpan) -> tuple[float, float, float]:
    """What speaks for a word: log-odds of its confidence and of its agreement (0 if none is known), its doubt."""
    confidence, agreement = np.clip([word.confidence, 0.5 if word.agreement is None else word.agreement], 1e-3, 0.999)
    return float(logit(confidence)), float(logit(agreement)), word.doubt


def _score(words: Sequence[WordSpan], letters: Sequence[int]) -> float:
    """Mean confidence of the words that can be checked, weighted by their letters; 0 if there are none."""
    weights = np.array([count * (word.confidence > UNCHECKED) for word, count in zip(words, letters, strict=True)])
    return float(weights @ [word.confidence for word in words] / max(1, weights.sum()))
