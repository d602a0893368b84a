"""Rescoring of the n-best list of a segment: by phones, and by a neural language model.

The beam search ranks the texts of a segment by their letters and by an n-gram model. What is too slow for every prefix
of a search can still rank the few texts that it finds: the probability of their pronunciations (see
`asr_core.decoding.lexicon`) and that of their words by a recurrent network (see
`asr_core.decoding.neural_language_model`). Texts that the search has pruned join them where a word of the lexicon fits
the signal better (see `asr_core.decoding.similar_words`). Afterwards the n-best posteriors of the words are computed.
Texts that were found in noise are dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.special import softmax

from asr_core.ctc import IMPOSSIBLE, finite
from asr_core.decoding.confidence import frame_entropy
from asr_core.decoding.lexicon import Pronunciations
from asr_core.decoding.neural_language_model import NeuralLanguageModel, State
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.prefix_beam import BeamResult, PrefixBeam
from asr_core.decoding.similar_words import texts_with_similar_words
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import BLANK, Vocabulary

N_BEST_COMPARED = 12  # hypotheses of a segment for rescoring and posteriors; more do not lower the error rate
MAX_ROUNDS = 4  # of similar words; a round that finds no better text is the last

# In noise, a word is recognised now and then; in speech, some words a second. So the entropy up to which a text counts
# as speech rises with the rate of its words: this many nats per unit of log(words a second).
ENTROPY_PER_LOG_RATE = 0.3
EDGE_SECONDS = 1.0  # time that a text is given before its first and behind its last token, in all, to compute its rate


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
        """The state of the neural language model behind more words of a sentence; None without such a model."""
        return self.language_model.score([words], state, ended=False).states if self.language_model else None


NO_RESCORING = Rescoring()


def best_texts(
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
        state: of the neural language model in the middle of a sentence (see `Rescoring.state_after`), or None where a
            sentence begins.
        ended: whether the sentence ends here.

    Returns:
        At most `options.n_best` texts that differ in their words, best first. Noise has one text, which is empty.
    """
    different: dict[str, BeamResult] = {}
    for text in beam.texts(ended):
        if len(different) == max(options.n_best, N_BEST_COMPARED):
            break
        different.setdefault(vocabulary.text(text.tokens), text)
    by_phones = bool(options.phone_weight) and rescoring.pronunciations is not None and emissions.phones is not None
    new, ranked = list(different.values()), []
    if by_phones:
        new = _rescore_by_phones(new, list(different), emissions, options, rescoring.pronunciations)
        new.sort(key=lambda text: -text.score)
    for _ in range(MAX_ROUNDS):
        best = (ranked or new)[0]
        if by_phones and options.similar_words and vocabulary.separator and vocabulary.words(best.tokens):
            lexicon = rescoring.pronunciations
            others = texts_with_similar_words(best, emissions, beam, vocabulary, options, lexicon, ended)
            new += [text for text in others if vocabulary.text(text.tokens) not in different]
            different |= {vocabulary.text(text.tokens): text for text in new}
        if new and options.neural_weight and rescoring.language_model is not None:
            new = _rescore_by_words(new, vocabulary, options, rescoring.language_model, state, ended)
        ranked, new = sorted([*ranked, *new], key=lambda text: -text.score), []
        if ranked[0].tokens == best.tokens:
            break
    words = [vocabulary.words(text.tokens) for text in ranked]
    found = next(text for text in ranked if len(text.steps) == len(text.tokens))  # by the search
    if options.doubt_threshold and is_noise(found, vocabulary, emissions, options.doubt_threshold):
        blanks = float((emissions.log_probs[:, BLANK] - options.blank_penalty).sum(dtype=float))
        return [BeamResult((), (), blanks, 0.0, 0.0)]
    shares = softmax([text.score for text in ranked[:N_BEST_COMPARED]])
    return [
        replace(text, posterior=_word_posteriors(own, words[:N_BEST_COMPARED], shares))
        for text, own in zip(ranked[: options.n_best], words, strict=False)
    ]


def _rescore_by_phones(
    texts: list[BeamResult],
    words: list[str],
    emissions: Emissions,
    options: DecoderOptions,
    pronunciations: Pronunciations,
) -> list[BeamResult]:
    """The texts with the weighted scores of both letters and phones. `words` are those of each text."""
    weight = options.phone_weight
    log_probs = finite(emissions.phones.at_own_rate())
    log_probs[:, BLANK] -= options.blank_penalty
    scores = np.maximum(pronunciations.log_probabilities(log_probs, words), IMPOSSIBLE).tolist()
    return [
        replace(text, acoustic_score=(1 - weight) * text.acoustic_score, phone_score=weight * score)
        for text, score in zip(texts, scores, strict=True)
    ]


def _rescore_by_words(
    texts: list[BeamResult],
    vocabulary: Vocabulary,
    options: DecoderOptions,
    language_model: NeuralLanguageModel,
    state: State | None,
    ended: bool,
) -> list[BeamResult]:
    """The texts with the weighted scores of both language models, and the whole bonus for each word."""
    weight = options.neural_weight
    words = [vocabulary.words(text.tokens) for text in texts]
    scores = options.language_model_weight * language_model.score(words, state, ended).log_probs
    scores += options.word_bonus * np.array([len(own) for own in words])
    return [
        replace(text, language_model_score=(1 - weight) * text.language_model_score + weight * score)
        for text, score in zip(texts, scores.tolist(), strict=True)
    ]


def _word_posteriors(words: list[str], others: list[list[str]], shares: np.ndarray) -> tuple[float, ...]:
    """N-best posterior of each word of a text: the summed probability of the hypotheses that have it in the same place.

    These are word posteriors as computed from a lattice, but from an n-best list (Wessel et al., 2001, "Confidence
    measures for large vocabulary continuous speech recognition").

    Args:
        words: those of the text.
        others: the words of each hypothesis of the n-best list.
        shares: float [hypotheses], their probabilities, which sum to 1.
    """
    posterior = np.zeros(len(words))
    for other, share in zip(others, shares, strict=True):
        for block in Levenshtein.editops(words, other).as_matching_blocks():
            posterior[block.a : block.a + block.size] += share
    return tuple(np.minimum(posterior, 1.0).tolist())


def is_noise(text: BeamResult, vocabulary: Vocabulary, emissions: Emissions, threshold: float) -> bool:
    """Whether a text was recognised in a signal that is no speech.

    Networks that are trained on speech alone emit letters for barks and drums too, but with many alternatives. The
    entropy of the frames around the letters (see `asr_core.decoding.confidence.frame_entropy`) shows this.

    Args:
        text: the best one that the search has found.
        vocabulary: the characters of its tokens.
        emissions: the steps that were searched.
        threshold: the highest entropy of speech, in nats, for one word a second; it rises with the logarithm of words a
            second.
    """
    words = len(vocabulary.words(text.tokens))
    if not words:
        return False
    entropy = frame_entropy(emissions, [(step, step) for step in text.steps]).mean()
    seconds = (text.steps[-1] - text.steps[0]) * emissions.step_seconds + EDGE_SECONDS
    return entropy > threshold + ENTROPY_PER_LOG_RATE * np.log(words / seconds)
