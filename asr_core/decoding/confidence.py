"""How probable it is that a word is right: evidence from the network and the beam, and its calibration.

The evidence is the posterior of the word's tokens, the entropy of the frames around it, and the share of the n-best
list that has the word there. `Calibration` maps it to a probability; `train.evaluate` fits that.

"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import entr, expit, logit

from asr_core.ctc import TokenSpan
from asr_core.decoding.word_spans import WordSpan
from asr_core.emissions import Emissions
from asr_core.text.vocabulary import BLANK, WILDCARD

CONTEXT_SECONDS = 0.5  # before and after a word: what is looked at to tell how undecided the network is there

UNCHECKED = 0.0  # the confidence of a word that the alphabet cannot write: the emissions say nothing about it
NOT_SPOKEN = 1e-4  # the least confidence of any other word


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


def frame_entropy(emissions: Emissions, places: Sequence[tuple[int, int]]) -> np.ndarray:
    """How undecided the network is around places, from step to before step: float [places], in nats.

    The entropy of a step, on average from CONTEXT_SECONDS before a place to as long after it. A step counts as much as
    it is not blank: of blanks a network is sure, be there silence or a dog. Where it hears speech it mostly is between
    0.2 and 0.6 nats in doubt, where it hears letters in noise about 1.2.
    """
    if not len(places):
        return np.zeros(0)
    probs = np.exp(emissions.log_probs)
    letters = 1 - probs[:, BLANK]
    sums = np.zeros((len(probs) + 1, 2))
    np.cumsum(np.column_stack([entr(probs).sum(axis=1) * letters, letters]), axis=0, out=sums[1:])
    around = round(CONTEXT_SECONDS / emissions.step_seconds)
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
    posterior: float = 0.0
    doubt: float = 0.0

    def __call__(self, word: WordSpan) -> float:
        confidence, posterior, doubt = evidence(word)
        return float(expit(self.scale * confidence + self.posterior * posterior + self.doubt * doubt + self.offset))


def evidence(word: WordSpan) -> tuple[float, float, float]:
    """What speaks for a word: log-odds of its confidence and of its agreement (0 if none is known), its doubt."""
    confidence, posterior = np.clip([word.confidence, 0.5 if word.posterior is None else word.posterior], 1e-3, 0.999)
    return float(logit(confidence)), float(logit(posterior)), word.doubt
