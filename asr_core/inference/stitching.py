"""Joins the log-probabilities of overlapping windows to those of the whole recording.

The seam between two windows lies near the middle of their overlap, where blank is most probable in both, so that a
token is hardly ever split, doubled or lost. Steps that no window covers are silence.
"""

from collections.abc import Iterable

import numpy as np

from asr_core.emissions import PhoneEmissions
from asr_core.text.vocabulary import BLANK

SEAM_SECONDS = 1.0  # how far from the middle of an overlap the seam may lie
SEAM_DISTANCE_PENALTY = 1e-4  # nats a step of distance from the middle: decides between steps that are equally blank
NON_BLANK_PROBABILITY = 1e-4  # total probability of all tokens but blank at a silent step


def _silence(steps: int, tokens: int, dtype) -> np.ndarray:
    """Log-probabilities of steps that are blank with near certainty: [steps, tokens]."""
    log_probs = np.full((steps, tokens), np.log(NON_BLANK_PROBABILITY / (tokens - 1)), dtype)
    log_probs[:, BLANK] = np.log(1 - NON_BLANK_PROBABILITY)
    return log_probs


class EmissionStitcher:
    """The log-probabilities of a recording, filled in window by window. The windows are added in order of time.

    Args:
        steps: output steps of the recording.
        tokens: size of the vocabulary.
        seam_steps: how far from the middle of an overlap the seam may lie.
        phones: number of phones, blank included; 0 for a network without a phone head.
        ratio: steps for each phone step.

    Attributes:
        log_probs: float32 [steps, tokens].
    """

    def __init__(self, steps: int, tokens: int, seam_steps: int, phones: int = 0, ratio: int = 1):
        self.log_probs = _silence(steps, tokens, np.float32)
        self.seam_steps, self.ratio = seam_steps, ratio
        self._phones = [_silence(1, phones, np.float16)] if phones else []
        self._phone_rows = np.zeros(steps if phones else 0, np.int32)  # row 0 is silence
        self.end = 0  # the step after the latest window

    def insert_word_boundaries(self, steps: Iterable[int], space: int) -> None:
        """Makes the space token certain at these silent steps: a silence this long ends the word before it."""
        for step in steps:
            self.log_probs[step, [BLANK, space]] = self.log_probs[step, [space, BLANK]]

    def add(self, start: int, log_probs: np.ndarray, phones: np.ndarray | None = None) -> None:
        """Adds a window that begins at step `start`: float32 [steps, tokens] and float16 [phone steps, phones]."""
        seam = self._seam(start, log_probs)
        self.end = min(start + len(log_probs), len(self.log_probs))
        self.log_probs[seam : self.end] = log_probs[seam - start : self.end - start]
        if phones is not None:
            earlier = sum(map(len, self._phones))
            self._phone_rows[seam : self.end] = earlier + np.arange(seam - start, self.end - start) // self.ratio
            self._phones.append(phones)

    @property
    def phones(self) -> PhoneEmissions | None:
        """The phones of the recording; None for a network without a phone head."""
        return PhoneEmissions(np.concatenate(self._phones), self._phone_rows, self.ratio) if self._phones else None

    def _seam(self, start: int, log_probs: np.ndarray) -> int:
        """The step near the middle of the overlap at which blank is most probable in both windows."""
        overlap = min(self.end - start, len(log_probs))
        if overlap <= 0:
            return start
        middle = overlap // 2
        reach = min(self.seam_steps, overlap // 4)
        near = slice(middle - reach, middle + reach + 1)
        blank = self.log_probs[start:][:overlap][near, BLANK] + log_probs[:overlap][near, BLANK]
        distance = np.abs(np.arange(len(blank)) - reach)
        return start + middle - reach + int(np.argmax(blank - SEAM_DISTANCE_PENALTY * distance))
