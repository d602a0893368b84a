"""Confidence: the probability that a word is right, from features of the network's output and of the n-best list.

The features are the probability of the word's tokens, the entropy of the steps around it, and its n-best posterior.
`Calibration` maps them to a probability; `train.evaluate` fits its weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr, expit, logit

from asr_core.ctc import TokenSpan
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import BLANK, WILDCARD

BLOCK_STEPS = 4096  # whose entropy is computed at once: tokens of large vocabularies would fill the memory
CONTEXT_SECONDS = 0.5  # before and after a word, over which the entropy is averaged as well

UNCHECKED = 0.0  # confidence of a word that the alphabet cannot write: the emissions have no token for it
NOT_SPOKEN = 1e-4  # lowest confidence of any other word


def confidence(log_probs: np.ndarray, word: Sequence[TokenSpan]) -> float:
    """The geometric mean of the peak probabilities of a word's tokens, in [0, 1].

    Where the language model overruled the network, the tokens count with the low probability that the network gave
    them. Wildcards do not count: a word of wildcards alone has the confidence UNCHECKED, and any other word has more.
    """
    letters = [span for span in word if span.token != WILDCARD]
    if not letters:
        return UNCHECKED
    if any(span.start == span.end for span in letters):
        return NOT_SPOKEN
    peaks = [log_probs[span.start : span.end, span.token].max() for span in letters]
    return max(NOT_SPOKEN, float(np.exp(np.mean(peaks))))


def step_entropy(emissions: Emissions, ranges: Sequence[tuple[int, int]]) -> np.ndarray:
    """The mean entropy of the network's output around ranges of steps (start, end), in nats: float [ranges].

    The mean runs from CONTEXT_SECONDS before each range to CONTEXT_SECONDS after it. Each step is weighted with the
    probability that it is not blank, because blanks have a low entropy in noise as well as in silence. The entropy is
    higher where a network predicts letters in noise than where it predicts them in speech.
    """
    if not len(ranges):
        return np.zeros(0)
    weighted = []
    for first in range(0, len(emissions), BLOCK_STEPS):
        probs = np.exp(emissions.log_probs[first : first + BLOCK_STEPS])
        letters = 1 - probs[:, BLANK]
        weighted.append(np.column_stack([entr(probs).sum(axis=1) * letters, letters]))
    sums = np.zeros((len(emissions) + 1, 2))
    if weighted:
        np.cumsum(np.concatenate(weighted), axis=0, out=sums[1:])
    around = round(CONTEXT_SECONDS / emissions.step_seconds)
    starts, ends = np.clip(np.array(ranges) + [-around, around], 0, len(emissions)).T
    entropy, steps = (sums[ends] - sums[starts]).T
    return entropy / np.maximum(steps, 1e-9)


@dataclass(frozen=True)
class Calibration:
    """Maps the features of a word to the probability that it is right, by logistic regression (Platt, 1999).

    Its numbers are the weights of the log-odds of a word's confidence and n-best posterior, the weight of its entropy,
    and an offset. A bundle keeps them for words of the beam search, of greedy decoding, and of a given text; the
    defaults return the confidence, clipped to [0.001, 0.999].
    """

    scale: float = 1.0
    offset: float = 0.0
    agreement: float = 0.0  # weight of the n-best posterior, under its name in published bundles
    doubt: float = 0.0  # weight of the entropy, likewise

    def __call__(self, word: WordSpan) -> float:
        confidence, posterior, entropy = features(word)
        return float(expit(self.scale * confidence + self.agreement * posterior + self.doubt * entropy + self.offset))


def features(word: WordSpan) -> tuple[float, float, float]:
    """The features of a word: log-odds of its confidence and of its n-best posterior (0 if it has none), entropy."""
    confidence, posterior = np.clip([word.confidence, 0.5 if word.posterior is None else word.posterior], 1e-3, 0.999)
    return float(logit(confidence)), float(logit(posterior)), word.entropy
