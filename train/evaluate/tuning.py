"""Numbers of a finished model that are chosen rather than trained: weights of the beam, and calibration.

Both are chosen on the clips of one half of the speakers and judged on the other half, which had no say.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from scipy.optimize import minimize

from asr_core.decoding.confidence import Calibration, evidence
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.word_spans import WordSpan
from train.evaluate.scores import Edits, Score

GRID = {"language_model_weight": (0.3, 0.5, 0.7, 0.9, 1.2), "word_bonus": (0.0, 0.75, 1.5, 2.25)}
BINS = 10  # of equal width, for the calibration error
IDENTITY = np.array(astuple(Calibration()))
MIN_WORDS = 20  # right and wrong ones together, below which nothing is calibrated


def in_tuning_half(speaker: str) -> bool:
    """Whether a speaker belongs to the half that chooses; the same on every machine and in every set."""
    return hashlib.sha256(speaker.encode()).digest()[0] % 2 == 0


def split_by_speaker(items: Sequence, clip_of: Callable) -> tuple[list, list]:
    """(to choose on, to judge on), by speaker; clips without one are parted by themselves."""
    parted: tuple[list, list] = [], []
    for item in items:
        clip = clip_of(item)
        parted[0 if in_tuning_half(clip.speaker or clip.id) else 1].append(item)
    return parted


@dataclass(frozen=True)
class Tuning:
    """What a search over decoder options found.

    Attributes:
        options: the best ones.
        tried: (values, WER on the half that chooses) of every point of the grid.
    """

    options: DecoderOptions
    tried: tuple[tuple[dict, float], ...]


def tune(
    decode: Callable[[DecoderOptions], list[Score]], start: DecoderOptions, grid: dict[str, Sequence[float]]
) -> Tuning:
    """The point of a grid with the lowest WER; of equals the first.

    Args:
        decode: scores the clips to choose on, from emissions that are kept.
        start: the options that the grid does not name.
        grid: values by name of an option.
    """
    tried = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        edits = sum((one.words for one in decode(replace(start, **chosen))), Edits())
        tried.append((chosen, edits.rate))
    best, _ = min(tried, key=lambda point: point[1])
    return Tuning(replace(start, **best), tuple(tried))


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and what it is worth.

    Attributes:
        calibrations: by origin of the words, fitted on one half of the speakers: "greedy" alone, or "beam" and, by
            confidence alone, "aligned".
        words: on which the first was judged, from the other half.
        error_before, error_after: expected calibration error there, raw and calibrated.
    """

    calibrations: dict[str, Calibration]
    words: int
    error_before: float
    error_after: float


def calibrate(scores: Sequence[Score]) -> Calibrated | None:
    """Fits the confidence of words to how often they are right; None where there is too little to go by."""
    fitting, judging = (
        [pair for one in half for pair in one.judged] for half in split_by_speaker(scores, lambda one: one.clip)
    )
    if min(len(fitting), len(judging)) < MIN_WORDS or len({right for _, right in fitting}) < 2:
        return None
    if fitting[0][0].posterior is None:
        calibrations = {"greedy": fit(fitting)}
    else:
        # Doubt tells a wrong word of the beam, but not a word of a given text that was not said, from the others.
        given = [(replace(word, posterior=None, doubt=0.0), right) for word, right in fitting]
        calibrations = {"beam": fit(fitting), "aligned": fit(given)}
    calibration = next(iter(calibrations.values()))
    before = [(word.confidence, right) for word, right in judging]
    after = [(calibration(word), right) for word, right in judging]
    return Calibrated(calibrations, len(judging), calibration_error(before), calibration_error(after))


def fit(judged: Sequence[tuple[WordSpan, bool]]) -> Calibration:
    """The weights of what speaks for words that make their rightness most probable (see Calibration)."""
    words, right = zip(*judged, strict=True)
    confidence, posterior, doubt = np.array([evidence(word) for word in words]).T
    known = np.stack([confidence, np.ones(len(words)), posterior, doubt])
    right = np.array(right)

    def loss(weights):
        said = weights @ known
        # A weak pull to the identity keeps separable data from infinite weights.
        pull = 1e-4 * np.sum((weights - IDENTITY) ** 2)
        return np.mean(np.logaddexp(0, said) - right * said) + pull

    bounds = ((0.01, 10), (-10, 10), (0, 10), (-10, 0))  # nothing that speaks for a word may count against it
    weights = minimize(loss, IDENTITY, method="L-BFGS-B", bounds=bounds).x
    return Calibration(*np.round(weights, 4).tolist())


def calibration_error(judged: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy, by bins (Guo et al., 2017)."""
    confidence, right = np.array(judged, float).T
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
