"""From log-probabilities to words: greedy decoding, and the beam search that finds more probable texts.

Greedy decoding takes the most probable token of every step: one path. The probability of a text is the sum
over all its paths, and a language model has its say, too; `beam_search` weighs both. A long recording is searched
segment by segment (see `segments`): a beam holds some hundred texts, which after a minute would differ in their latest
words alone. Time and memory grow with the length of the recording, whether anybody pauses or not.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.special import softmax

from asr_core.ctc import IMPOSSIBLE, TokenSpan, best_path, runs
from asr_core.decoding.confidence import frame_entropy
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import Hypothesis
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.lexicon import Pronunciations
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import BLANK, Vocabulary, space_token

PAUSE_SECONDS = 0.7  # in which nothing is said: the search ends, and begins anew

# What is longer than this is not searched as a whole. The texts of a longer segment differ in their latest words alone,
# and the time for a segment grows with the square of its length, for the forward sum over phones does.
MAX_SEGMENT_SECONDS = 12.0
MIN_SEGMENT_SECONDS = 4.0  # at most a third of it, so that there is a choice of gaps to cut in
CHECK_STEPS = 50  # between two calls of `progress`: one or two seconds of signal, far less than a second of work

N_BEST_COMPARED = 20  # texts of each search, weighed by phones and with each other: a hundred leave no fewer errors

# Noise sounds like a word now and then, speech like some words a second. So the slower words come, the less doubt is
# allowed: so many nats less per unit of log(words a second).
ENTROPY_PER_LOG_RATE = 0.3
EDGE_SECONDS = 1.0  # what a text lasts beyond its first and its last token, both together


def beam_search(
    emissions: Emissions,
    vocabulary: Vocabulary,
    options: DecoderOptions | None = None,
    language_model: NGramModel | None = None,
    hot_words: HotWords | Iterable[str] | None = None,
    pronunciations: Pronunciations | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Hypothesis]:
    """The most probable texts, best first, by prefix beam search (see asr_core.decoding.prefix_beam).

    The recording is searched segment by segment (see `segments`). In each the text of the greedy path is always among
    those compared, blank penalties left out of account, so the best one never scores less. Segments that are noise have
    one text, the empty one. Where a sentence goes on from one segment to the next, the language model goes on from the
    best text so far.

    Args:
        emissions: what the network heard.
        vocabulary: what its tokens write; words are parted by its space.
        options: widths and weights.
        language_model: word n-grams; without them every word is as good as any other.
        hot_words: phrases to favour, or the automaton built of them. Build it once for many recordings.
        pronunciations: how words sound; without them, what the network says of phones is not asked.
        progress: called with the fraction done, from 0 to 1, every CHECK_STEPS steps; what it raises ends the search.

    Returns:
        At most `options.n_best` hypotheses that differ in their words. Their acoustic score is the summed
        probability of all paths that the search has followed.
    """
    options = options or DecoderOptions()
    if hot_words is not None and not isinstance(hot_words, HotWords):
        hot_words = HotWords.build(hot_words, vocabulary)
    space = space_token(vocabulary)
    best: list[tuple[float, int, tuple | None]] = [(0.0, 0, None)]  # sums of scores, hashes of the words, the parts
    state = None  # of the language model at the beginning of a segment
    for segment in segments(emissions, space):
        beam = PrefixBeam(vocabulary, options, language_model, hot_words, state)
        said = emissions.slice(segment.start, segment.end)
        for first in range(0, len(said), CHECK_STEPS):
            beam.advance(said.log_probs[first : first + CHECK_STEPS])
            if progress is not None:
                progress((segment.start + first) / len(emissions))
        found = beam.texts(ended=not segment.goes_on)
        texts = best_texts(found, said, vocabulary, options, pronunciations)
        sums = [
            (total + text.score, _said_after(said_before, text, vocabulary), (before, segment, text))
            for total, said_before, before in best
            for text in texts
        ]
        different: dict[int, tuple] = {}
        for entry in sorted(sums, key=lambda entry: -entry[0]):
            different.setdefault(entry[1], entry)
        best = list(different.values())[: options.n_best]
        if language_model is not None:
            _, _, (_, _, text) = best[0]
            words = vocabulary.decode(text.tokens).split()
            state = language_model.state_after(words, state) if segment.goes_on else None
        if progress is not None:
            progress(segment.end / max(len(emissions), 1))
    return [_hypothesis(chosen, emissions, vocabulary) for _, _, chosen in best]


def pauses(emissions: Emissions, space: int | None) -> list[TokenSpan]:
    """Every stretch of PAUSE_SECONDS or more in which the network hears no letter."""
    quiet = np.isin(best_path(emissions.log_probs), [BLANK, BLANK if space is None else space])
    shortest = PAUSE_SECONDS / emissions.step_seconds
    return [pause for pause in runs(quiet) if pause.end - pause.start >= shortest]


@dataclass(frozen=True)
class Segment:
    """Steps from `start` to before `end` that are searched together, and whether their sentence goes on behind them."""

    start: int
    end: int
    goes_on: bool = False


def segments(emissions: Emissions, space: int | None) -> Iterator[Segment]:
    """The segments that a recording is searched in, in order; sentences end where they do.

    What is not longer than MAX_SEGMENT_SECONDS is one segment, however haltingly it is read; what is longer is cut in
    the middle of every pause. What is still longer from pause to pause is cut again, in the widest gap between two
    words that lies MIN_SEGMENT_SECONDS and more from either end. The step of such a cut is the space between the two
    words and belongs to no segment. There the sentence goes on, unless the gap is a pause, a part of a longer silence.
    """
    inner = [pause for pause in pauses(emissions, space) if 0 < pause.start < pause.end < len(emissions)]
    edges = [pause.middle for pause in inner] if emissions.seconds > MAX_SEGMENT_SECONDS else []
    shortest, longest = (
        max(1, round(seconds / emissions.step_seconds)) for seconds in (MIN_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS)
    )
    for start, end in pairwise([0, *edges, len(emissions)]):
        while end - start > longest:
            first, last = start + shortest, min(start + longest, end - shortest)
            step, width = _widest_gap(emissions.log_probs[first:last], space)
            yield Segment(start, first + step, goes_on=width * emissions.step_seconds < PAUSE_SECONDS)
            start = first + step + 1
        yield Segment(start, end)


def _widest_gap(log_probs: np.ndarray, space: int | None) -> tuple[int, int]:
    """Where to cut: the most probable space in the longest run of steps without a letter, and the length of the run.

    Runs in which a space is the most probable token of some step come first. Where every step has a letter, it is the
    step in which a letter is least probable.
    """
    best, between = best_path(log_probs), [BLANK] if space is None else [BLANK, space]
    gaps = runs(np.isin(best, between))
    if not gaps:
        return int(np.logaddexp.reduce(log_probs[:, between], axis=1).argmax()), 1
    gap = max(gaps, key=lambda gap: (bool((best[gap.start : gap.end] == space).any()), gap.end - gap.start))
    if space is None:
        return gap.middle, gap.end - gap.start
    return gap.start + int(log_probs[gap.start : gap.end, space].argmax()), gap.end - gap.start


def best_texts(
    texts: Iterable[BeamResult],
    said: Emissions,
    vocabulary: Vocabulary,
    options: DecoderOptions,
    pronunciations: Pronunciations | None,
) -> list[BeamResult]:
    """Of the texts that a search found, best first, `options.n_best` that differ in their words; phones have a say.

    What is noise has one text, which is empty.
    """
    different: dict[str, BeamResult] = {}
    for text in texts:
        if len(different) == max(options.n_best, N_BEST_COMPARED):
            break
        different.setdefault(" ".join(vocabulary.decode(text.tokens).split()), text)
    if options.phone_weight and pronunciations is not None and said.phones is not None:
        different = _weighed_by_phones(different, said, options, pronunciations)
    words, ranked = [text.split() for text in different], list(different.values())
    if options.doubt_threshold and is_noise(ranked[0], len(words[0]), said, options.doubt_threshold):
        blanks = float((said.log_probs[:, BLANK] - options.blank_penalty).sum(dtype=float))
        return [BeamResult((), (), blanks, 0.0, 0.0)]
    shares = softmax([text.score for text in ranked[:N_BEST_COMPARED]])
    return [
        replace(text, posterior=_word_posteriors(own, words[:N_BEST_COMPARED], shares))
        for text, own in zip(ranked[: options.n_best], words, strict=False)
    ]


def _weighed_by_phones(
    texts: dict[str, BeamResult], said: Emissions, options: DecoderOptions, pronunciations: Pronunciations
) -> dict[str, BeamResult]:
    """The texts once more by their words, the best first now that phones have their share."""
    share = options.phone_weight
    heard = said.phones[::2].astype(np.float32)
    heard[:, BLANK] -= options.blank_penalty
    scores = np.maximum(pronunciations.log_probabilities(heard, list(texts)), IMPOSSIBLE).tolist()
    weighed = [
        (words, replace(text, acoustic_score=(1 - share) * text.acoustic_score, phone_score=share * score))
        for (words, text), score in zip(texts.items(), scores, strict=True)
    ]
    return dict(sorted(weighed, key=lambda pair: -pair[1].score))


def _word_posteriors(words: list[str], others: list[list[str]], shares: np.ndarray) -> tuple[float, ...]:
    """For each word of a text, the summed shares of the texts that have it in the same place.

    Posteriors of words from a list of texts instead of a lattice (Wessel et al., 2001, "Confidence measures for large
    vocabulary continuous speech recognition").
    """
    posterior = np.zeros(len(words))
    for other, share in zip(others, shares, strict=True):
        for block in Levenshtein.editops(words, other).as_matching_blocks():
            posterior[block.a : block.a + block.size] += share
    return tuple(np.minimum(posterior, 1.0).tolist())


def is_noise(text: BeamResult, words: int, said: Emissions, threshold: float) -> bool:
    """Whether a text of so many words was read out of something that is no speech.

    The network was trained on speech alone and hears letters in barks and drums, too, but it cannot decide on them. The
    doubt around the letters (see `asr_core.decoding.confidence.doubts`) is compared with a threshold, in nats, that
    rises with the logarithm of words a second.
    """
    if not words:
        return False
    doubt = frame_entropy(said, [(step, step) for step in text.steps]).mean()
    seconds = (text.steps[-1] - text.steps[0]) * said.step_seconds + EDGE_SECONDS
    return doubt > threshold + ENTROPY_PER_LOG_RATE * np.log(words / seconds)


def _said_after(said: int, text: BeamResult, vocabulary: Vocabulary) -> int:
    """A hash of all words so far, wherever the pauses between them are."""
    for word in vocabulary.decode(text.tokens).split():
        said = hash((said, word))
    return said


def _hypothesis(chosen: tuple | None, emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """One text for the whole recording, of the texts of its segments: (those before, segment, text)."""
    parts: list[tuple[Segment, BeamResult]] = []
    while chosen is not None:
        chosen, segment, text = chosen
        parts.append((segment, text))
    parts.reverse()
    space = space_token(vocabulary)
    pieces: list[tuple[int, int, tuple[int, ...]]] = []
    last = space
    for segment, text in parts:
        if text.tokens:
            if last != space and space is not None:
                pieces.append((segment.start - 1, segment.start, (space,)))
            pieces.append((segment.start, segment.end, text.tokens))
            last = text.tokens[-1]
    scores = (sum(scores) for scores in zip(*(text.scores for _, text in parts), strict=True))
    # Without a space, all that is said is one word.
    posterior = tuple(share for _, text in parts for share in text.posterior) if space is not None else ()
    tokens = tuple(token for _, _, tokens in pieces for token in tokens)
    return Hypothesis(tokens, *scores, posterior, emissions, vocabulary, place=partial(_place, pieces, emissions))


def _place(
    pieces: list[tuple[int, int, tuple[int, ...]]], emissions: Emissions, check: Callable[[], None] | None
) -> list[TokenSpan]:
    """The spans of tokens, given as (first step, step behind the last, tokens) of the segments and of spaces between.

    All paths of a text gave it its score, the best one gives it its times.
    """
    spans: list[TokenSpan] = []
    for start, end, tokens in pieces:
        if check is not None:
            check()
        piece, _ = forced_align(emissions.log_probs[start:end], tokens)
        spans += [TokenSpan(span.token, span.start + start, span.end + start) for span in piece]
    return spans
