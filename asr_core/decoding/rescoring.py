"""Rescoring of the n-best list of a segment: by phones, and by a neural language model.

The beam search ranks hypotheses by their letters and by an n-gram model. Two more scores are too slow for every prefix
of a search, but not for the few hypotheses that it returns: the probability of the pronunciation (see
`asr_core.decoding.lexicon`) and the probability of the words by a recurrent network (see
`asr_core.decoding.neural_language_model`). Hypotheses that the search has pruned join the list where a word of the
lexicon fits the signal (see `asr_core.decoding.similar_words`). Then the n-best posteriors of the words are computed.
What was recognised in noise is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.special import softmax

from asr_core.ctc import IMPOSSIBLE, finite
from asr_core.decoding.confidence import step_entropy
from asr_core.decoding.lexicon import Pronunciations
from asr_core.decoding.neural_language_model import NeuralLanguageModel, State
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam, ranked_by_score
from asr_core.decoding.similar_words import similar_hypotheses
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import BLANK, Vocabulary

N_BEST_COMPARED = 12  # hypotheses of a segment for rescoring and posteriors; more do not lower the error rate
MAX_ROUNDS = 4  # of similar words; a round that finds no better hypothesis is the last

# In noise, a word is recognised now and then; in speech, some words a second. So the highest entropy that counts as
# speech rises with the number of words a second: by this many nats per unit of its logarithm.
ENTROPY_PER_LOG_RATE = 0.3
SEPARATION_SECONDS = 3.0  # noises of one kind, such as barks, follow each other sooner
EDGE_SECONDS = 1.0  # added to the time from the first to the last token when words a second are computed


@dataclass(frozen=True, eq=False)
class Rescoring:
    """The models that rescore; either may be missing.

    Attributes:
        pronunciations: the lexicon for rescoring by phones.
        language_model: the neural language model.
    """

    pronunciations: Pronunciations | None = None
    language_model: NeuralLanguageModel | None = None

    def state_after(self, words: Sequence[str], state: State | None) -> State | None:
        """The state of the neural language model after more words of a sentence; None without such a model."""
        return self.language_model.score([words], state, ended=False).states if self.language_model else None


NO_RESCORING = Rescoring()


def rescore(
    beam: PrefixBeam,
    emissions: Emissions,
    vocabulary: Vocabulary,
    options: DecoderOptions,
    rescoring: Rescoring = NO_RESCORING,
    state: State | None = None,
    ended: bool = True,
) -> list[BeamResult]:
    """The n-best list of a search after rescoring, with n-best posteriors of the words.

    Args:
        beam: the search, at its end.
        emissions: the steps that were searched.
        vocabulary: the characters of the tokens.
        options: the number of hypotheses, `n_best`, the weights of rescoring, and the threshold for noise.
        rescoring: the models for it.
        state: of the neural language model in the middle of a sentence (see `Rescoring.state_after`), or None at the
            beginning of a sentence.
        ended: whether the sentence ends at the last step.

    Returns:
        At most `options.n_best` hypotheses that differ in their words, best first. Noise has one, which is empty.
    """
    different: dict[str, BeamResult] = {}
    for hypothesis in beam.hypotheses(ended):
        if len(different) == max(options.n_best, N_BEST_COMPARED):
            break
        different.setdefault(vocabulary.text(hypothesis.tokens), hypothesis)
    by_phones = bool(options.phone_weight) and rescoring.pronunciations is not None and emissions.phones is not None
    new, ranked = list(different.values()), []
    if by_phones:
        new = ranked_by_score(_rescore_by_phones(new, list(different), emissions, options, rescoring.pronunciations))
    for _ in range(MAX_ROUNDS):
        best = (ranked or new)[0]
        if by_phones and options.similar_words and vocabulary.separator and vocabulary.words(best.tokens):
            lexicon = rescoring.pronunciations
            similar = similar_hypotheses(best, emissions, beam, vocabulary, options, lexicon, ended)
            new += [hypothesis for hypothesis in similar if vocabulary.text(hypothesis.tokens) not in different]
            different |= {vocabulary.text(hypothesis.tokens): hypothesis for hypothesis in new}
        if new and options.neural_weight and rescoring.language_model is not None:
            new = _rescore_by_words(new, vocabulary, options, rescoring.language_model, state, ended)
        ranked, new = ranked_by_score([*ranked, *new]), []
        if ranked[0].tokens == best.tokens:
            break
    # The best one of the search itself: those with similar words have no steps.
    searched = next(hypothesis for hypothesis in ranked if len(hypothesis.steps) == len(hypothesis.tokens))
    if options.doubt_threshold and is_noise(searched, vocabulary, emissions, options.doubt_threshold):
        blanks = float((emissions.log_probs[:, BLANK] - options.blank_penalty).sum(dtype=float))
        return [BeamResult((), (), blanks, 0.0, 0.0)]
    words = [vocabulary.words(hypothesis.tokens) for hypothesis in ranked]
    probabilities = softmax([hypothesis.score for hypothesis in ranked[:N_BEST_COMPARED]])
    return [
        replace(hypothesis, posterior=_word_posteriors(own, words[:N_BEST_COMPARED], probabilities))
        for hypothesis, own in zip(ranked[: options.n_best], words, strict=False)
    ]


def _rescore_by_phones(
    hypotheses: list[BeamResult],
    texts: list[str],
    emissions: Emissions,
    options: DecoderOptions,
    pronunciations: Pronunciations,
) -> list[BeamResult]:
    """The hypotheses, of which `texts` are the texts, with the weighted scores of both letters and phones."""
    weight = options.phone_weight
    log_probs = finite(emissions.phones.at_own_rate())
    log_probs[:, BLANK] -= options.blank_penalty
    scores = np.maximum(pronunciations.log_probabilities(log_probs, texts), IMPOSSIBLE).tolist()
    return [
        replace(hypothesis, acoustic_score=(1 - weight) * hypothesis.acoustic_score, phone_score=weight * score)
        for hypothesis, score in zip(hypotheses, scores, strict=True)
    ]


def _rescore_by_words(
    hypotheses: list[BeamResult],
    vocabulary: Vocabulary,
    options: DecoderOptions,
    language_model: NeuralLanguageModel,
    state: State | None,
    ended: bool,
) -> list[BeamResult]:
    """The hypotheses with the weighted scores of both language models, and the whole bonus for each word."""
    weight = options.neural_weight
    words = [vocabulary.words(hypothesis.tokens) for hypothesis in hypotheses]
    scores = options.language_model_weight * language_model.score(words, state, ended).log_probs
    scores += options.word_bonus * np.array([len(own) for own in words])
    return [
        replace(one, language_model_score=(1 - weight) * one.language_model_score + weight * score)
        for one, score in zip(hypotheses, scores.tolist(), strict=True)
    ]


def _word_posteriors(words: list[str], others: list[list[str]], probabilities: np.ndarray) -> tuple[float, ...]:
    """N-best posterior of each word: the summed probability of the hypotheses that have it in the same place.

    These are word posteriors as computed from a lattice, but from an n-best list (Wessel et al., 2001, "Confidence
    measures for large vocabulary continuous speech recognition").

    Args:
        words: those of one hypothesis.
        others: the words of each hypothesis of the n-best list, that one included.
        probabilities: float [hypotheses], which sum to 1.
    """
    posterior = np.zeros(len(words))
    for other, probability in zip(others, probabilities, strict=True):
        for block in Levenshtein.editops(words, other).as_matching_blocks():
            posterior[block.a : block.a + block.size] += probability
    return tuple(np.minimum(posterior, 1.0).tolist())


def is_noise(hypothesis: BeamResult, vocabulary: Vocabulary, emissions: Emissions, threshold: float) -> bool:
    """Whether a hypothesis was recognised in a signal that is not speech.

    Networks that are trained on speech alone emit letters for barks and drums too, but with many alternatives. The
    entropy of the steps around the letters (see `asr_core.decoding.confidence.step_entropy`) shows this. Groups of
    words that are SEPARATION_SECONDS or more apart are judged by themselves, so that a word in the noise before a
    sentence does not cost the sentence. The hypothesis is noise if all groups are.

    Args:
        hypothesis: the best one of the search, with its steps.
        vocabulary: the characters of its tokens.
        emissions: the steps that were searched.
        threshold: the highest entropy of speech, in nats, for one word a second; it rises with the logarithm of words a
            second.
    """
    words = vocabulary.split(hypothesis.tokens)
    if not words:
        return False
    steps = np.array(hypothesis.steps)
    starts, ends = steps[[first for first, _ in words]], steps[[last - 1 for _, last in words]]
    gaps = (starts[1:] - ends[:-1]) * emissions.step_seconds
    entropies = step_entropy(emissions, [(step, step) for step in hypothesis.steps])
    for group in np.split(np.arange(len(words)), np.flatnonzero(gaps >= SEPARATION_SECONDS) + 1):
        first, last = words[group[0]][0], words[group[-1]][1]
        entropy = entropies[first:last].mean()
        seconds = (ends[group[-1]] - starts[group[0]]) * emissions.step_seconds + EDGE_SECONDS
        if entropy <= threshold + ENTROPY_PER_LOG_RATE * np.log(len(group) / seconds):
            return False
    return True
