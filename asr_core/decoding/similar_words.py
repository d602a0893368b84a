"""Similar words: hypotheses that the beam search has pruned, whose words are pronounced nearly like the best one's.

The search follows letters. A word whose letters the network gets wrong never enters the beam, however well its phones
fit the signal. So the lexicon is searched for words whose phones fit the steps of every word of a hypothesis, of two or
three words in a row, and of every gap between two words. The hypotheses with such a word join the n-best list, and
rescoring ranks them all (see `asr_core.decoding.rescoring`). If one of them is the new best, the same is done for it.
This is hill climbing (Rastrow et al., 2011, "Hill climbing on speech lattices: a new rescoring framework").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_core.ctc import finite
from asr_core.decoding.lexicon import TINY, Pronunciations, sum_over_paths
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam, ranked_by_score
from asr_core.emissions import Emissions
from asr_core.errors import AlignmentError
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import BLANK, WILDCARD, Vocabulary

MAX_REPLACED = 3  # words in a row that one word replaces
MAX_REPLACED_SECONDS = 1.0  # duration of the replaced words
MAX_PRONUNCIATIONS = 12  # that the lexicon proposes for a place
MAX_HYPOTHESES = 3  # that are kept for a place: many words are nearly as good, and would displace those of other places
MAX_SCORE_DROP = 10.0  # nats: a hypothesis whose score is lower than the given one's by more is dropped


def similar_hypotheses(
    hypothesis: BeamResult,
    emissions: Emissions,
    beam: PrefixBeam,
    vocabulary: Vocabulary,
    options: DecoderOptions,
    pronunciations: Pronunciations,
    ended: bool = True,
) -> list[BeamResult]:
    """Hypotheses that differ by one word of the lexicon, which is inserted or replaces up to MAX_REPLACED words.

    Args:
        hypothesis: one that was rescored by phones, with at least one word.
        emissions: the steps that were searched, with phones.
        beam: the search that has found the hypothesis; it scores new ones by language model and hotwords.
        vocabulary: one that separates words.
        options: weights, and `similar_words`, the largest number of hypotheses to return.
        pronunciations: the lexicon.
        ended: whether the sentence ends at the last step.

    Returns:
        The new hypotheses with the highest scores, best first. The neural language model has no part in these scores,
        and `steps` is empty.
    """
    words = vocabulary.words(hypothesis.tokens)
    letters = _letters(words, emissions, vocabulary, options)
    phones = _phones(words, emissions, pronunciations, options)
    if phones is None:
        return []
    longest = MAX_REPLACED_SECONDS / emissions.step_seconds / emissions.phones.ratio
    old = replace(hypothesis, **beam.fusion_scores(hypothesis.tokens, ended))
    found: dict[tuple[int, ...], BeamResult] = {}
    for place in _places(len(words)):
        start, end = phones.gap(place)
        if end <= start or phones.duration(place) > longest:
            continue
        candidates = []
        old_letters, old_phones = letters.fit(place, words[place]), phones.fit(place, words[place])
        for word in pronunciations.similar(phones.probabilities[start:end], words[place], MAX_PRONUNCIATIONS):
            if [word] == words[place] or not vocabulary.alphabet.issuperset(word):
                continue
            letter_gain = (1 - options.phone_weight) * (letters.fit(place, [word]) - old_letters)
            phone_gain = options.phone_weight * (phones.fit(place, [word]) - old_phones)
            if letter_gain + phone_gain < -MAX_SCORE_DROP:
                continue
            tokens = tuple(vocabulary.encode(" ".join([*words[: place.start], word, *words[place.stop :]])))
            scores = {"acoustic_score": old.acoustic_score + letter_gain, "phone_score": old.phone_score + phone_gain}
            new = BeamResult(tokens, steps=(), **scores, **beam.fusion_scores(tokens, ended))
            if new.score > old.score - MAX_SCORE_DROP:
                candidates.append(new)
        found |= {new.tokens: new for new in ranked_by_score(candidates)[:MAX_HYPOTHESES]}
    return ranked_by_score(found.values())[: options.similar_words]


def _places(words: int) -> list[slice]:
    """The words that one word may replace, of so many: up to MAX_REPLACED in a row, or none, where it is inserted."""
    counts = range(MAX_REPLACED + 1)
    return [slice(first, first + count) for count in counts for first in range(words - count + 1)]


@dataclass(frozen=True, eq=False)
class _Output:
    """One output of the network, letters or phones, with the words of a hypothesis aligned to its steps.

    Attributes:
        probabilities: of every label at every step, divided by that of the most probable one: float64 [steps, labels].
        words: of the hypothesis.
        spans: for each word, its first step and the step after its last.
        spell: returns the labels of a list of words.
        wildcard: the label of an unknown phone, or WILDCARD where there is none.
    """

    probabilities: np.ndarray
    words: list[str]
    spans: list[tuple[int, int]]
    spell: Callable[[Sequence[str]], Sequence[int]]
    wildcard: int = WILDCARD

    def gap(self, place: slice) -> tuple[int, int]:
        """The steps between the word before and the word after `place`: the first step, and the one after the last."""
        start = self.spans[place.start - 1][1] if place.start else 0
        end = self.spans[place.stop][0] if place.stop < len(self.spans) else len(self.probabilities)
        return start, end

    def duration(self, place: slice) -> int:
        """The number of steps of the words at `place`."""
        return self.spans[place.stop - 1][1] - self.spans[place.start][0] if self.words[place] else 0

    def fit(self, place: slice, words: list[str]) -> float:
        """How well `words` fit in place of those at `place`, in nats.

        Only the difference between two results for the same place has a meaning. A result is the log of the summed
        probability of all paths of `words` and of one neighbouring word on each side, over the steps from the beginning
        of the first to the end of the last of these words.
        """
        first, last = max(0, place.start - 1), place.stop + 1
        start = self.spans[first][0] if place.start else 0
        end = self.spans[place.stop][1] if place.stop < len(self.spans) else len(self.probabilities)
        labels = self.spell([*self.words[first : place.start], *words, *self.words[place.stop : last]])
        labels = np.array(labels, np.int64)
        return float(np.log(max(sum_over_paths(self.probabilities[start:end], labels, self.wildcard), TINY)))


def _letters(words: list[str], emissions: Emissions, vocabulary: Vocabulary, options: DecoderOptions) -> _Output:
    tokens = vocabulary.encode(" ".join(words))
    spans = forced_align(emissions.log_probs, tokens)
    word_spans = [(spans[first].start, spans[last - 1].end) for first, last in vocabulary.split(tokens)]
    probabilities = _relative(finite(emissions.log_probs), options.blank_penalty)
    return _Output(probabilities, words, word_spans, lambda words: vocabulary.encode(" ".join(words)))


def _phones(
    words: list[str], emissions: Emissions, pronunciations: Pronunciations, options: DecoderOptions
) -> _Output | None:
    """The phones, with a column more for an unknown one; None if the words have more phones than there are steps."""
    log_probs = finite(emissions.phones.at_own_rate())
    phones = [pronunciations.spell(word, WILDCARD) for word in words]
    try:
        spans = forced_align(log_probs, [phone for word in phones for phone in word])
    except AlignmentError:
        return None
    ends = np.cumsum([0, *map(len, phones)]).tolist()
    word_spans = [(spans[first].start, spans[last - 1].end) for first, last in pairwise(ends)]
    probabilities = _relative(pronunciations.with_unknown(log_probs), options.blank_penalty)
    unknown = log_probs.shape[1]

    def spell(words: Sequence[str]) -> list[int]:
        return pronunciations.spell(" ".join(words), unknown)

    return _Output(probabilities, words, word_spans, spell, unknown)


def _relative(log_probs: np.ndarray, blank_penalty: float) -> np.ndarray:
    """Probabilities after the blank penalty, divided by the highest of each step: float64 [steps, labels]."""
    log_probs = log_probs - blank_penalty * (np.arange(log_probs.shape[1]) == BLANK)
    return np.maximum(np.exp(log_probs - log_probs.max(axis=1, keepdims=True)), TINY)
