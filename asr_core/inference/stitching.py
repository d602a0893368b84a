"""The log-probabilities of overlapping windows, put together into those of the whole recording.

The seam between two windows lies where both are most certain of blank, so that no token is cut in two, written twice,
or lost. Segments that no window covers are silence.

"""

from collections.abc import Iterable

import numpy as np

from asr_core.ctc import BLANK

SEAM_SECONDS = 1.0  # how far around the middle of the overlap the seam may lie

NON_BLANK_PROBABILITY = 1e-4  # probability that silence leaves to all tokens but blank


def _silence(steps: int, tokens: int, kind) -> np.ndarray:
    """Log-probabilities of sure blanks: [steps, tokens]."""
    log_probs = np.full((steps, tokens), np.log(NON_BLANK_PROBABILITY / (tokens - 1)), kind)
    log_probs[:, BLANK] = np.log(1 - NON_BLANK_PROBABILITY)
    return log_probs


class EmissionStitcher:
    """The log-probabilities of a whole recording, as its windows arrive in order; silence where none is.

    Args:
        steps: output steps of the recording.
        tokens: size of the alphabet.
        seam_steps: how far around the middle of an overlap the seam may lie.
        phones: size of the alphabet of sounds; 0 where the windows name none.
    """

    def __init__(self, steps: int, tokens: int, seam_steps: int, phones: int = 0):
        self.log_probs = _silence(steps, tokens, np.float32)
        self.phones = _silence(steps, phones, np.float16) if phones else None
        self.seam_steps = seam_steps
        self.end = 0  # where the latest window ended

    def insert_word_boundaries(self, steps: Iterable[int], space: int) -> None:
        """Says a space at each of these silent steps: who was silent for so long has ended the word."""
        for step in steps:
            self.log_probs[step, [BLANK, space]] = self.log_probs[step, [space, BLANK]]

    def add(self, start: int, log_probs: np.ndarray, phones: np.ndarray | None = None) -> None:
        """Takes what a window says from step `start` on, float32 [steps, tokens] and float16 [steps, phones]."""
        seam = self._seam(start, log_probs)
        self.end = min(start + len(log_probs), len(self.log_probs))
        self.log_probs[seam : self.end] = log_probs[seam - start : self.end - start]
        if phones is not None:
            self.phones[seam : self.end] = phones[seam - start : self.end - start]

    def _seam(self, start: int, log_probs: np.ndarray) -> int:
        """The step near the middle of the overlap at which both windows are surest of blank."""
        overlap = min(self.end - start, len(log_probs))
        if overlap <= 0:
            return start
        middle = overlap // 2
        reach = min(self.seam_steps, overlap // 4)
        near = slice(middle - reach, middle + reach + 1)
        both = self.log_probs[start:][:overlap][near, BLANK] + log_probs[:overlap][near, BLANK]
        distance = np.abs(np.arange(len(both)) - reach)
        return start + middle - reach + int(np.argmax(both - 1e-4 * distance))
