"""Replacement of words by words that sound alike: hypotheses that the beam search has pruned.

The search follows letters. A word whose letters the network gets wrong never enters the beam, however well its phones
fit the signal. So for every word of a text, for two or three in a row, and for every gap between two words, the lexicon
is searched for words whose phones fit the steps between the words around that place. Rescoring ranks the texts with
such a word among those of the n-best list (see `asr_core.decoding.rescoring`). The best text may be changed again. This
is hill climbing (Rastrow et al., 2011, "Hill climbing on speech lattices: a new rescoring framework").
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from asr_core.ctc import finite
from asr_core.decoding.lexicon import TINY, Pronunciations, sum_over_paths
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam
from asr_core.emissions import Emissions
from asr_core.errors import AlignmentError
from asr_core.forced_alignment import forced_align
from asr_core.text.vocabulary import BLANK, WILDCARD, Vocabulary

MOST_REPLACED = 3  # words in a row that one word replaces
MAX_WORD_SECONDS = 1.0  # that the replaced words take
WORDS_A_PLACE = 12  # pronunciations that the lexicon proposes for a place
TEXTS_A_PLACE = 3  # that are kept for a place, since one place has many words that are nearly as good
WORST = 10.0  # nats below the text at which one with another word is not worth more work


def texts_with_similar_words(
    text: BeamResult,
    emissions: Emissions,
    beam: PrefixBeam,
    vocabulary: Vocabulary,
    options: DecoderOptions,
    pronunciations: Pronunciations,
    ended: bool = True,
) -> list[BeamResult]:
    """The texts that differ from `text` by one word of the lexicon, which is inserted or replaces one word or a few.

    Args:
        text: one that was rescored by phones, with at least one word.
        emissions: the steps that were searched, with phones.
        beam: the search that has found the text; it scores the new texts by language model and hot-words.
        vocabulary: one that separates words.
        options: weights, and `similar_words`, the number of texts to return at most.
        pronunciations: the lexicon.
        ended: whether the sentence ends here.

    Returns:
        The best texts, by all but the neural language model, best first. They have no steps yet.
    """
    words = vocabulary.words(text.tokens)
    letters = _letters(words, emissions, vocabulary, options)
    phones = _phones(words, emissions, pronunciations, options)
    if phones is None:
        return []
    longest = MAX_WORD_SECONDS / emissions.step_seconds / emissions.phones.ratio
    own = replace(text, **beam.fusion_scores(text.tokens, ended))
    found: dict[tuple[int, ...], BeamResult] = {}
    for place in _places(len(words)):
        start, end = phones.gap(place)
        if end <= start or phones.duration(place) > longest:
            continue
        here = []
        present = letters.fit(place, words[place]), phones.fit(place, words[place])
        for word in pronunciations.similar(phones.probabilities[start:end], words[place], WORDS_A_PLACE):
            if [word] == words[place] or not vocabulary.alphabet.issuperset(word):
                continue
            letter_gain = (1 - options.phone_weight) * (letters.fit(place, [word]) - present[0])
            phone_gain = options.phone_weight * (phones.fit(place, [word]) - present[1])
            if letter_gain + phone_gain < -WORST:
                continue
            tokens = tuple(vocabulary.encode(" ".join([*words[: place.start], word, *words[place.stop :]])))
            scores = {"acoustic_score": own.acoustic_score + letter_gain, "phone_score": own.phone_score + phone_gain}
            new = BeamResult(tokens, steps=(), **scores, **beam.fusion_scores(tokens, ended))
            if new.score > own.score - WORST:
                here.append(new)
        found |= {new.tokens: new for new in _best(here, TEXTS_A_PLACE)}
    return _best(found.values(), options.similar_words)


def _best(texts: Iterable[BeamResult], count: int) -> list[BeamResult]:
    return sorted(texts, key=lambda text: -text.score)[:count]


def _places(words: int) -> list[slice]:
    """The places in a text of so many words where a word may stand: between two words, and instead of some in a row."""
    counts = range(MOST_REPLACED + 1)
    return [slice(first, first + count) for count in counts for first in range(words - count + 1)]


@dataclass(frozen=True, eq=False)
class _Output:
    """An output of the network, the letters or the phones, and where it has the words of a text.

    Attributes:
        probabilities: of every label at every step, relative to the most probable one: float64 [steps, labels].
        words: of the text.
        spans: first step of each word, and the step behind its last.
        spell: gives the labels of some words.
        wildcard: label of an unknown phone, or WILDCARD where there is none.
    """

    probabilities: np.ndarray
    words: list[str]
    spans: list[tuple[int, int]]
    spell: Callable[[Sequence[str]], Sequence[int]]
    wildcard: int = WILDCARD

    def gap(self, place: slice) -> tuple[int, int]:
        """The steps between the words before and behind those at `place`: the first, and the one behind the last."""
        start = self.spans[place.start - 1][1] if place.start else 0
        end = self.spans[place.stop][0] if place.stop < len(self.spans) else len(self.probabilities)
        return start, end

    def duration(self, place: slice) -> int:
        """The number of steps from the first to the last label of the words at `place`."""
        return self.spans[place.stop - 1][1] - self.spans[place.start][0] if self.words[place] else 0

    def fit(self, place: slice, words: list[str]) -> float:
        """How well `words` fit instead of those at `place`, in nats: only differences between two results count.

        It is the log of the summed probability of all paths of these words and one more to each side, over the steps
        from the beginning of the one to the end of the other.
        """
        first, last = max(0, place.start - 1), place.stop + 1
        start = self.spans[first][0] if place.start else 0
        end = self.spans[place.stop][1] if place.stop < len(self.spans) else len(self.probabilities)
        near = [*self.words[first : place.start], *words, *self.words[place.stop : last]]
        labels = np.array(self.spell(near), np.int64)
        return float(np.log(max(sum_over_paths(self.probabilities[start:end], labels, self.wildcard), TINY)))


def _letters(words: list[str], emissions: Emissions, vocabulary: Vocabulary, options: DecoderOptions) -> _Output:
    tokens = vocabulary.encode(" ".join(words))
    spans, _ = forced_align(emissions.log_probs, tokens)
    places = [(spans[first].start, spans[last - 1].end) for first, last in vocabulary.split(tokens)]
    probabilities = _relative(finite(emissions.log_probs), options.blank_penalty)
    return _Output(probabilities, words, places, lambda near: vocabulary.encode(" ".join(near)))


def _phones(
    words: list[str], emissions: Emissions, pronunciations: Pronunciations, options: DecoderOptions
) -> _Output | None:
    """The phones, the unknown one included; None where there are fewer steps than phones."""
    log_probs = finite(emissions.phones.at_own_rate())
    phones = [pronunciations.spell(word, WILDCARD) for word in words]
    try:
        spans, _ = forced_align(log_probs, [phone for word in phones for phone in word])
    except AlignmentError:
        return None
    ends = np.cumsum([0, *map(len, phones)]).tolist()
    places = [(spans[first].start, spans[last - 1].end) for first, last in pairwise(ends)]
    probabilities = _relative(pronunciations.with_unknown(log_probs), options.blank_penalty)
    unknown = log_probs.shape[1]
    return _Output(probabilities, words, places, lambda near: pronunciations.spell(" ".join(near), unknown), unknown)


def _relative(log_probs: np.ndarray, blank_penalty: float) -> np.ndarray:
    """Probabilities relative to the most probable label of each step, less the penalty: float64 [steps, labels]."""
    penalties = blank_penalty * (np.arange(log_probs.shape[1]) == BLANK)
    log_probs = log_probs - penalties
    return np.maximum(np.exp(log_probs - log_probs.max(axis=1, keepdims=True)), TINY)
