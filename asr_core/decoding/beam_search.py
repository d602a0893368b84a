"""From emissions to hypotheses by prefix beam search, with rescoring of the n-best list.

Greedy decoding takes the most probable token of every step, and so one path. The probability of a text is the sum over
all its paths, and a language model can add its own: `beam_search` ranks texts by both. It searches a long recording
segment by segment (see `asr_core.decoding.segments`), so that time and memory grow linearly with its length.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from asr_core.ctc import TokenSpan
from asr_core.decoding.hotwords import HotWords
from asr_core.decoding.hypotheses import Hypothesis
from asr_core.decoding.language_model import NGramModel
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam
from asr_core.decoding.rescoring import NO_RESCORING, Rescoring, rescore
from asr_core.decoding.segments import Segment, segments
from asr_core.emissions import Emissions
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import Vocabulary

CHECK_STEPS = 50  # between two calls of `progress`: one or two seconds of signal, far less than a second of work


@dataclass(frozen=True, eq=False)
class Chain:
    """A hypothesis for the segments so far: the result for the last of them, and a link to the chain before it.

    Attributes:
        score: sum of the scores of all results, in nats.
        words_hash: hash of all words, wherever segments end between them.
        before: the chain for the earlier segments; None for the chain of no segment.
        segment: the last segment.
        result: the hypothesis for that segment.
    """

    score: float = 0.0
    words_hash: int = 0
    before: "Chain | None" = None
    segment: Segment | None = None
    result: BeamResult | None = None

    def extended(self, segment: Segment, result: BeamResult, vocabulary: Vocabulary) -> "Chain":
        """The chain with the next segment."""
        words_hash = self.words_hash
        for word in vocabulary.words(result.tokens):
            words_hash = hash((words_hash, word))
        return Chain(self.score + result.score, words_hash, self, segment, result)

    @property
    def parts(self) -> list[tuple[Segment, BeamResult]]:
        """All segments in order, each with its result."""
        parts, chain = [], self
        while chain.before is not None:
            parts.append((chain.segment, chain.result))
            chain = chain.before
        return parts[::-1]


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

    In each segment, the text of the greedy path stays in the beam, so that before rescoring the best text never has a
    lower score than this one. A segment of noise (see `asr_core.decoding.rescoring.is_noise`) has one text, which is
    empty. Where a sentence continues from one segment to the next, language models and hotwords keep their states after
    the best text so far.

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
    best = [Chain()]
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
        best = _different(chain.extended(segment, result, vocabulary) for chain in best for result in n_best)
        best = best[: options.n_best]
        tokens = best[0].result.tokens
        words = vocabulary.words(tokens)
        if language_model is not None:
            state = None if ended else language_model.state_after(words, state)
        neural_state = None if ended else rescoring.state_after(words, neural_state)
        if hot_words is not None:
            cut = [] if space is None else [space]
            hot_state = None if ended else hot_words.state_after([*tokens, *cut], hot_state)
        if progress is not None:
            progress(segment.end / max(len(emissions), 1))
    return [_hypothesis(chain.parts, emissions, vocabulary) for chain in best]


def _different(chains: Iterable[Chain]) -> list[Chain]:
    """The chains, best first; of those with the same words, only the best."""
    different: dict[int, Chain] = {}
    for chain in sorted(chains, key=lambda chain: -chain.score):
        different.setdefault(chain.words_hash, chain)
    return list(different.values())


def _hypothesis(parts: list[tuple[Segment, BeamResult]], emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """The hypothesis for the whole recording from the results of its segments."""
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
    find_spans = partial(_aligned, pieces, emissions)
    return Hypothesis(tokens, *scores, posterior, emissions, vocabulary, find_spans)


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


def _aligned(
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
