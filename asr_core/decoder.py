"""From log-probabilities to words: greedy decoding, and the beam search that finds more probable texts.

Greedy decoding takes the most probable token of every step: one path. The probability of a text is the sum
over all its paths, and a language model has its say, too; `beam_search` weighs both. A long recording is searched
from pause to pause: a beam holds some hundred texts, which after a minute would differ in their latest words alone, and
the language model gets to know where sentences end.
"""

from bisect import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.special import softmax

from asr_core.alignment import WordSpan, doubts, space_token, split_words, words_of
from asr_core.beam import DecoderOptions, PrefixBeam, Text
from asr_core.ctc import IMPOSSIBLE, Emissions, TokenSpan, best_path, forced_align, runs
from asr_core.hot_words import HotWords
from asr_core.language_model import NGramModel
from asr_core.phones import Pronunciations
from asr_core.vocabulary import BLANK, Vocabulary

PAUSE_SECONDS = 0.7  # in which nothing is said: the search ends, and begins anew
WHOLE_SECONDS = 12.0  # what is no longer is one sentence, however haltingly it is read
COMPARED = 20  # texts of each search, weighed by phones and with each other: a hundred leave no fewer errors

# Noise sounds like a word now and then, speech like some words a second. So the slower words come, the less doubt is
# allowed: so many nats less per unit of log(words a second).
DOUBT_OF_RATE = 0.3
EDGES_SECONDS = 1.0  # what a text lasts beyond its first and its last token, both together
PIECE_STEPS = 1000  # long texts are aligned in pieces of one to two times so many steps, 40 to 80 seconds

__all__ = ["DecoderOptions", "Hypothesis", "beam_search", "greedy"]


@dataclass(frozen=True)
class Hypothesis:
    """A text that the recording may hold. Where its words lie is found out once it is asked for.

    Attributes:
        tokens: the text, blanks and repeats collapsed.
        acoustic_score: log-probability of its letters given the sound (greedy: of their best path alone), less what
            blanks are fined; weighted where its sounds have a say, too.
        language_model_score: weighted log-probability of its words, and their bonus.
        hot_word_score: what the hot-words in it have earned.
        phone_score: weighted log-probability of its sounds.
        agreement: for each word, the share of the best texts that have it there, too; empty if none were compared.
        emissions, vocabulary: what it was read from, and by.
        place: the spans of the tokens, which take time to find.
    """

    tokens: tuple[int, ...]
    acoustic_score: float
    language_model_score: float
    hot_word_score: float
    phone_score: float
    agreement: tuple[float, ...] = field(compare=False)
    emissions: Emissions = field(repr=False, compare=False)
    vocabulary: Vocabulary = field(repr=False, compare=False)
    place: Callable[[], list[TokenSpan]] = field(repr=False, compare=False)

    @property
    def score(self) -> float:
        """What hypotheses are ranked by, the sum of the four parts, in nats."""
        return self.acoustic_score + self.language_model_score + self.hot_word_score + self.phone_score

    @property
    def text(self) -> str:
        return " ".join(self.vocabulary.decode(self.tokens).split())

    @cached_property
    def spans(self) -> tuple[TokenSpan, ...]:
        """The steps of each token."""
        return tuple(self.place())

    @cached_property
    def words(self) -> tuple[WordSpan, ...]:
        """Its words with times and confidence."""
        groups = split_words(self.spans, self.vocabulary)
        texts = [self.vocabulary.decode(span.token for span in group) for group in groups]
        return words_of(texts, groups, self.emissions, self.agreement)


def greedy(emissions: Emissions, vocabulary: Vocabulary) -> Hypothesis:
    """The text of the most probable path, with the times and confidence of its words.

    Its score is the log-probability of that path.
    """
    spans = runs(best_path(emissions.log_probs))
    score = float(emissions.log_probs.max(axis=1).sum(dtype=float)) if len(emissions) else 0.0
    tokens = tuple(span.token for span in spans)
    return Hypothesis(tokens, score, 0.0, 0.0, 0.0, (), emissions, vocabulary, place=lambda: spans)


def beam_search(
    emissions: Emissions,
    vocabulary: Vocabulary,
    options: DecoderOptions | None = None,
    language_model: NGramModel | None = None,
    hot_words: HotWords | Iterable[str] | None = None,
    pronunciations: Pronunciations | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Hypothesis]:
    """The most probable texts, best first, by prefix beam search (see asr_core.beam).

    What is longer than WHOLE_SECONDS is searched from pause to pause. Between two pauses the text of the greedy path
    is always among those compared, fines for blanks left out of account, so the best one never scores less. Stretches
    that are noise have one text, the empty one.

    Args:
        emissions: what the network heard.
        vocabulary: what its tokens write; words are parted by its space.
        options: widths and weights.
        language_model: word n-grams; without them every word is as good as any other.
        hot_words: phrases to favour, or the automaton built of them. Build it once for many recordings.
        pronunciations: how words sound; without them, what the network says of phones is not asked.
        progress: called with the fraction done, from 0 to 1, at every pause; what it raises ends the search.

    Returns:
        At most `options.n_best` hypotheses that differ in their words. Their acoustic score is the summed
        probability of all paths that the search has followed.
    """
    options = options or DecoderOptions()
    if hot_words is not None and not isinstance(hot_words, HotWords):
        hot_words = HotWords.build(hot_words, vocabulary)
    space = space_token(vocabulary)
    best: list[tuple[float, int, tuple | None]] = [(0.0, 0, None)]  # sums of scores, hashes of the words, the parts
    inner = [pause for pause in pauses(emissions, space) if 0 < pause.start < pause.end < len(emissions)]
    edges = [pause.middle for pause in inner] if emissions.seconds > WHOLE_SECONDS else []
    for start, end in pairwise([0, *edges, len(emissions)]):
        beam = PrefixBeam(vocabulary, options, language_model, hot_words)
        said = emissions.part(start, end)
        beam.advance(said.log_probs)
        texts = best_texts(beam.texts(), said, vocabulary, options, pronunciations)
        sums = [
            (total + text.score, _said_after(said_before, text, vocabulary), (before, start, text))
            for total, said_before, before in best
            for text in texts
        ]
        different: dict[int, tuple] = {}
        for entry in sorted(sums, key=lambda entry: -entry[0]):
            different.setdefault(entry[1], entry)
        best = list(different.values())[: options.n_best]
        if progress is not None:
            progress(end / max(len(emissions), 1))
    return [
        Hypothesis(
            text.tokens,
            *text.scores,
            text.agreement,
            emissions,
            vocabulary,
            place=partial(_place, text, emissions, space),
        )
        for text in (_whole(chosen, space) for _, _, chosen in best)
    ]


def pauses(emissions: Emissions, space: int | None) -> list[TokenSpan]:
    """Every stretch of PAUSE_SECONDS or more in which the network hears no letter."""
    quiet = np.isin(best_path(emissions.log_probs), [BLANK, BLANK if space is None else space])
    shortest = PAUSE_SECONDS / emissions.step_seconds
    return [pause for pause in runs(quiet) if pause.end - pause.start >= shortest]


def best_texts(
    texts: Iterable[Text],
    said: Emissions,
    vocabulary: Vocabulary,
    options: DecoderOptions,
    pronunciations: Pronunciations | None,
) -> list[Text]:
    """Of the texts that a search found, best first, `options.n_best` that differ in their words; phones have a say.

    What is noise has one text, which is empty.
    """
    different: dict[str, Text] = {}
    for text in texts:
        if len(different) == max(options.n_best, COMPARED):
            break
        different.setdefault(" ".join(vocabulary.decode(text.tokens).split()), text)
    if options.phone_weight and pronunciations is not None and said.phones is not None:
        different = _weighed_by_phones(different, said, options, pronunciations)
    words, ranked = [text.split() for text in different], list(different.values())
    if options.doubt_threshold and is_noise(ranked[0], len(words[0]), said, options.doubt_threshold):
        return [Text((), (), float((said.log_probs[:, BLANK] - options.blank_penalty).sum(dtype=float)), 0.0, 0.0)]
    shares = softmax([text.score for text in ranked[:COMPARED]])
    return [
        replace(text, agreement=_agreement(own, words[:COMPARED], shares))
        for text, own in zip(ranked[: options.n_best], words, strict=False)
    ]


def _weighed_by_phones(
    texts: dict[str, Text], said: Emissions, options: DecoderOptions, pronunciations: Pronunciations
) -> dict[str, Text]:
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


def _agreement(words: list[str], others: list[list[str]], shares: np.ndarray) -> tuple[float, ...]:
    """For each word of a text, the summed shares of the texts that have it in the same place.

    Posteriors of words from a list of texts instead of a lattice (Wessel et al., 2001, "Confidence measures for large
    vocabulary continuous speech recognition").
    """
    agreement = np.zeros(len(words))
    for other, share in zip(others, shares, strict=True):
        for block in Levenshtein.editops(words, other).as_matching_blocks():
            agreement[block.a : block.a + block.size] += share
    return tuple(np.minimum(agreement, 1.0).tolist())


def is_noise(text: Text, words: int, said: Emissions, threshold: float) -> bool:
    """Whether a text of so many words was read out of something that is no speech.

    The network was trained on speech alone and hears letters in barks and drums, too, but it cannot decide on them. The
    doubt around the letters (see `asr_core.alignment.doubts`) is compared with a threshold, in nats, that rises with
    the logarithm of words a second.
    """
    if not words:
        return False
    doubt = doubts(said, [(step, step) for step in text.steps]).mean()
    seconds = (text.steps[-1] - text.steps[0]) * said.step_seconds + EDGES_SECONDS
    return doubt > threshold + DOUBT_OF_RATE * np.log(words / seconds)


def _said_after(said: int, text: Text, vocabulary: Vocabulary) -> int:
    """A hash of all words so far, wherever the pauses between them are."""
    for word in vocabulary.decode(text.tokens).split():
        said = hash((said, word))
    return said


def _whole(chosen: tuple | None, space: int | None) -> Text:
    """One text for the whole recording, of the texts between its pauses: (those before, first step, text)."""
    parts: list[tuple[int, Text]] = []
    while chosen is not None:
        chosen, start, text = chosen
        parts.append((start, text))
    tokens: list[int] = []
    steps: list[int] = []
    for start, text in reversed(parts):
        if tokens and text.tokens and space not in (None, tokens[-1]):
            tokens.append(space)
            steps.append(start)
        tokens += text.tokens
        steps += [start + step for step in text.steps]
    scores = (sum(scores) for scores in zip(*(text.scores for _, text in parts), strict=True))
    # Without a space, all that is said is one word.
    agreement = tuple(share for _, text in reversed(parts) for share in text.agreement) if space is not None else ()
    return Text(tuple(tokens), tuple(steps), *scores, agreement)


def _place(text: Text, emissions: Emissions, space: int | None) -> list[TokenSpan]:
    """The spans of a text's tokens: all its paths gave it its score, the best one gives it its times.

    Alignment takes time as steps times tokens. Long texts are aligned in pieces, parted at the widest gap
    after a space that the search has seen in every PIECE_STEPS.
    """
    spans: list[TokenSpan] = []
    first, start = 0, 0
    while first < len(text.tokens):
        last, end = len(text.tokens), len(emissions)
        if end - start > 2 * PIECE_STEPS:
            inside = range(bisect(text.steps, start + PIECE_STEPS), bisect(text.steps, start + 2 * PIECE_STEPS))
            gaps = [(text.steps[i] - text.steps[i - 1], i) for i in inside if text.tokens[i - 1] == space and i > first]
            if gaps:
                width, last = max(gaps)
                end = text.steps[last] - width // 2
        piece, _ = forced_align(emissions.log_probs[start:end], text.tokens[first:last])
        spans += [TokenSpan(span.token, span.start + start, span.end + start) for span in piece]
        first, start = last, end
    return spans
