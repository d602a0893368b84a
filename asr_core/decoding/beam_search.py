"""From emissions to hypotheses by prefix beam search, with rescoring of the n-best list.

Greedy decoding takes the most probable token of every step, and so one path. The probability of a text is the sum over
all its paths, and a language model can add its own: `beam_search` ranks texts by both. It searches a long recording
segment by segment (see `segments`): all hypotheses in a beam soon share their earlier words, so that one beam for the
whole recording would find no alternatives for them. Time and memory grow linearly with the length of the recording.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from asr_core.ctc import TokenSpan, best_path, runs
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import Hypothesis
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam
from asr_core.decoding.rescoring import NO_RESCORING, Rescoring, rescore
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import BLANK, Vocabulary

MIN_PAUSE_SECONDS = 0.7  # the shortest run of steps without a letter at which a long recording is cut

# The longest segment that is searched as a whole. In a longer one, all hypotheses of a beam would share their first
# words, and rescoring by phones would take time that grows with the square of the length.
MAX_SEGMENT_SECONDS = 12.0
MIN_SEGMENT_SECONDS = 4.0  # at most a third of the longest, so that there is a choice of gaps to cut in
CHECK_STEPS = 50  # between two calls of `progress`: one or two seconds of signal, far less than a second of work


# A hypothesis for the segments so far: score, hash of the words, and links (earlier links or None, segment, result).
Chain = tuple[float, int, tuple | None]


def beam_search(
    emissions: Emissions,
    vocabulary: Vocabulary,
    options: DecoderOptions | None = None,
    language_model: NGramModel | None = None,
    hot_words: HotWords | Iterable[str] | None = None,
    rescoring: Rescoring = NO_RESCORING,
    progress: Callable[[float], None] | None = None,
) -> list[Hypothesis]:
    """The n-best list of a recording: its most probable texts, by prefix beam search.

    In each segment (see `segments`), the text of the greedy path stays in the beam, so that before rescoring the best
    text never has a lower score than this one. A segment of noise (see `asr_core.decoding.rescoring.is_noise`) has one
    text, which is empty. Where a sentence continues from one segment to the next, language models and hotwords keep
    their states after the best text so far.

    Args:
        emissions: output of the network.
        vocabulary: what the tokens write.
        options: beam width, thresholds for pruning, and weights.
        language_model: word n-grams; without them, all words are equally probable.
        hot_words: phrases to favour, or the automaton for them: build it once where there are many recordings.
        rescoring: models that rank the hypotheses of each segment again.
        progress: called with the fraction done, from 0 to 1, every CHECK_STEPS steps; an exception from it ends the
            search.

    Returns:
        At most `options.n_best` hypotheses, best first, which differ in their words. Their acoustic score is the log of
        the summed probability of all paths that the search has followed, less the blank penalties; rescoring by phones
        multiplies it by the weight of letters.
    """
    options = options or DecoderOptions()
    hot_words = HotWords.of(hot_words, vocabulary)
    space = vocabulary.space
    best: list[Chain] = [(0.0, 0, None)]
    state = neural_state = hot_state = None  # of language models and hotwords at the beginning of a segment
    for segment in segments(emissions, space, vocabulary.begins_word):
        beam = PrefixBeam(vocabulary, options, language_model, hot_words, state, hot_state)
        segment_emissions = emissions.slice(segment.start, segment.end)
        for first in range(0, len(segment_emissions), CHECK_STEPS):
            beam.advance(segment_emissions.log_probs[first : first + CHECK_STEPS])
            if progress is not None:
                progress((segment.start + first) / len(emissions))
        ended = not segment.goes_on
        n_best = rescore(beam, segment_emissions, vocabulary, options, rescoring, neural_state, ended)
        best = _extend_chains(best, segment, n_best, vocabulary)[: options.n_best]
        _, _, (_, _, result) = best[0]
        words = vocabulary.words(result.tokens)
        if language_model is not None:
            state = None if ended else language_model.state_after(words, state)
        neural_state = None if ended else rescoring.state_after(words, neural_state)
        if hot_words is not None:
            cut = [] if space is None else [space]
            hot_state = None if ended else hot_words.state_after([*result.tokens, *cut], hot_state)
        if progress is not None:
            progress(segment.end / max(len(emissions), 1))
    return [_hypothesis(links, emissions, vocabulary) for _, _, links in best]


def pauses(emissions: Emissions, space: int | None) -> list[TokenSpan]:
    """Every run of MIN_PAUSE_SECONDS or more in which the best path has no letter, only blanks and spaces."""
    silent = np.isin(best_path(emissions.log_probs), [BLANK, BLANK if space is None else space])
    shortest = MIN_PAUSE_SECONDS / emissions.step_seconds
    return [pause for pause in runs(silent) if pause.end - pause.start >= shortest]


@dataclass(frozen=True)
class Segment:
    """The steps from `start` to before `end`, which are searched together.

    `goes_on` is whether the sentence continues in the next segment.
    """

    start: int
    end: int
    goes_on: bool = False


def segments(emissions: Emissions, space: int | None, begins_word: Sequence[bool] | None = None) -> Iterator[Segment]:
    """The segments in which a recording is searched, in order.

    A recording of at most MAX_SEGMENT_SECONDS is one segment. A longer one is cut in the middle of every pause, where
    the sentence ends. Where more than MAX_SEGMENT_SECONDS lie between two pauses, another cut is made in the widest gap
    between two words that lies MIN_SEGMENT_SECONDS or more from either end. The step of such a cut is the space between
    the two words and belongs to no segment. The sentence continues there, unless the gap is as long as a pause.

    Args:
        emissions: output of the network for the whole recording.
        space: the token between words, or None.
        begins_word: for each token, whether a new word begins with it; used where `space` is None.
    """
    inner = [pause for pause in pauses(emissions, space) if 0 < pause.start < pause.end < len(emissions)]
    edges = [pause.middle for pause in inner] if emissions.seconds > MAX_SEGMENT_SECONDS else []
    shortest, longest = (
        max(1, round(seconds / emissions.step_seconds)) for seconds in (MIN_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS)
    )
    for start, end in pairwise([0, *edges, len(emissions)]):
        while end - start > longest:
            first, last = start + shortest, min(start + longest, end - shortest)
            step, width = _widest_gap(emissions.log_probs[first:last], space, begins_word)
            yield Segment(start, first + step, goes_on=width * emissions.step_seconds < MIN_PAUSE_SECONDS)
            start = first + step + 1
        yield Segment(start, end)


def _widest_gap(log_probs: np.ndarray, space: int | None, begins_word: Sequence[bool] | None = None) -> tuple[int, int]:
    """The step at which to cut, and the length of the gap around it in steps.

    The gap is the longest run of steps without a letter; where some runs have a space in the best path, it is the
    longest of those. The cut is made at the most probable space of the gap, or in its middle if the vocabulary has no
    space. Without a space, gaps before a token that begins a word are preferred. Where every step has a letter, the cut
    is made at the step in which letters are least probable.

    Args:
        log_probs: float32 [steps, tokens].
        space: the token between words, or None.
        begins_word: for each token, whether a new word begins with it.
    """
    best, no_letters = best_path(log_probs), [BLANK] if space is None else [BLANK, space]
    gaps = runs(np.isin(best, no_letters))
    if not gaps:
        return int(np.logaddexp.reduce(log_probs[:, no_letters], axis=1).argmax()), 1

    def is_between_words(gap: TokenSpan) -> bool:
        if space is None and begins_word is not None and gap.end < len(best):
            return begins_word[best[gap.end]]
        return bool((best[gap.start : gap.end] == space).any())

    gap = max(gaps, key=lambda gap: (is_between_words(gap), gap.end - gap.start))
    if space is None:
        return gap.middle, gap.end - gap.start
    return gap.start + int(log_probs[gap.start : gap.end, space].argmax()), gap.end - gap.start


def _extend_chains(
    chains: list[Chain], segment: Segment, results: list[BeamResult], vocabulary: Vocabulary
) -> list[Chain]:
    """Every chain with every result of the next segment, best first; of those with the same words, only the best."""
    extended = [
        (score + result.score, _hash_of_words(previous, result, vocabulary), (links, segment, result))
        for score, previous, links in chains
        for result in results
    ]
    different: dict[int, Chain] = {}
    for chain in sorted(extended, key=lambda chain: -chain[0]):
        different.setdefault(chain[1], chain)
    return list(different.values())


def _hash_of_words(previous: int, result: BeamResult, vocabulary: Vocabulary) -> int:
    """A hash of all words so far, wherever segments end between them; `previous` is the hash of the earlier words."""
    for word in vocabulary.words(result.tokens):
        previous = hash((previous, word))
    return previous


def _hypothesis(links: tuple | None, emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """The hypothesis for the whole recording from the links of its chain."""
    parts: list[tuple[Segment, BeamResult]] = []
    while links is not None:
        links, segment, result = links
        parts.append((segment, result))
    parts.reverse()
    space = vocabulary.space
    pieces: list[tuple[int, int, tuple[int, ...]]] = []
    last = space
    for segment, result in parts:
        if result.tokens:
            if last != space and space is not None:
                pieces.append((segment.start - 1, segment.start, (space,)))
            pieces.append((segment.start, segment.end, result.tokens))
            last = result.tokens[-1]
    scores = (sum(scores) for scores in zip(*(result.scores for _, result in parts), strict=True))
    tokens = tuple(token for _, _, tokens in pieces for token in tokens)
    posterior = _joined_posterior([result for _, result in parts], vocabulary)
    return Hypothesis(tokens, *scores, posterior, emissions, vocabulary, place=partial(_place, pieces, emissions))


def _joined_posterior(results: Sequence[BeamResult], vocabulary: Vocabulary) -> tuple[float, ...]:
    """The n-best posterior of each word of the results of consecutive segments.

    A word that continues from one segment into the next has the lower posterior of its two parts.
    """
    posterior: list[float] = []
    is_open = False  # whether the next token continues the last word, unless it begins one
    for result in filter(lambda result: result.tokens, results):
        own = list(result.posterior)
        if is_open and own and not vocabulary.begins_word[result.tokens[0]]:
            posterior[-1] = min(posterior[-1], own.pop(0))
        posterior += own
        words = vocabulary.split(result.tokens)
        is_open = vocabulary.space is None and bool(words) and words[-1][1] == len(result.tokens)
    return tuple(posterior)


def _place(
    pieces: list[tuple[int, int, tuple[int, ...]]], emissions: Emissions, check: Callable[[], None] | None
) -> list[TokenSpan]:
    """The spans of the tokens of a hypothesis, by forced alignment of each segment.

    Args:
        pieces: (first step, step after the last, tokens) of each segment, and of each space between two segments.
        emissions: those of the whole recording.
        check: called before each piece, or None; an exception from it ends the work.
    """
    spans: list[TokenSpan] = []
    for start, end, tokens in pieces:
        if check is not None:
            check()
        piece = forced_align(emissions.log_probs[start:end], tokens)
        spans += [TokenSpan(span.token, span.start + start, span.end + start) for span in piece]
    return spans
