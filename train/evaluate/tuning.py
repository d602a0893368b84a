"""Parameters of a trained model that are fitted afterwards: weights of the beam search, and calibration of confidence.

Both are fitted on the clips of one half of the speakers and evaluated on the clips of the other half.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from scipy.optimize import minimize

from asr_core.decoding.confidence import Calibration, features
from asr_core.decoding.options import DecoderOptions
from asr_core.decoding.word_spans import WordSpan
from train.evaluate.scores import Edits, Score

GRID = {"language_model_weight": (0.3, 0.5, 0.7, 0.9, 1.2), "word_bonus": (0.0, 0.75, 1.5, 2.25)}
BINS = 10  # bins of confidence, of equal width, for the calibration error
IDENTITY = np.array(astuple(Calibration()))  # weights that leave the confidence as it is
REGULARISATION = 1e-4  # a weak pull to the identity, which keeps the weights of separable data finite
MIN_WORDS = 20  # fewer words in either half are not calibrated


def in_tuning_half(speaker: str) -> bool:
    """Whether a speaker belongs to the half that options are fitted on; the same on every machine and in every set."""
    return hashlib.sha256(speaker.encode()).digest()[0] % 2 == 0


def split_by_speaker(items: Sequence, clip_of: Callable) -> tuple[list, list]:
    """Splits items into (those to fit on, those to evaluate on) by speaker; clips without a speaker split by their id.

    Args:
        items: clips, or anything that has one.
        clip_of: item -> its clip.
    """
    halves: tuple[list, list] = [], []
    for item in items:
        clip = clip_of(item)
        halves[0 if in_tuning_half(clip.speaker or clip.id) else 1].append(item)
    return halves


@dataclass(frozen=True)
class Tuning:
    """The result of a grid search over decoder options.

    Attributes:
        options: the best options.
        tried: (values, WER on the tuning half) of every point of the grid.
    """

    options: DecoderOptions
    tried: tuple[tuple[dict, float], ...]


def tune(
    decode: Callable[[DecoderOptions], list[Score]], start: DecoderOptions, grid: dict[str, Sequence[float]]
) -> Tuning:
    """Finds the point of a grid with the lowest WER; of several, the first.

    Args:
        decode: options -> scores of the clips of the tuning half.
        start: gives the options that the grid does not name.
        grid: values to try, by name of an option.
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
    """Calibrations of confidence, and the calibration error with and without the first of them.

    Attributes:
        calibrations: origin of words -> calibration, fitted on the tuning half: either "greedy", or "beam" and
            "aligned", the latter by confidence alone.
        words: number of words of the other half, on which the first calibration was evaluated.
        error_before, error_after: expected calibration error of these words, raw and calibrated.
    """

    calibrations: dict[str, Calibration]
    words: int
    error_before: float
    error_after: float


def calibrate(scores: Sequence[Score]) -> Calibrated | None:
    """Fits calibrations to the words of scored clips; None if words are too few, or all right or all wrong."""
    fitting, judging = (
        [pair for one in half for pair in one.judged] for half in split_by_speaker(scores, lambda one: one.clip)
    )
    if min(len(fitting), len(judging)) < MIN_WORDS or len({right for _, right in fitting}) < 2:
        return None
    if fitting[0][0].posterior is None:
        calibrations = {"greedy": fit(fitting)}
    else:
        # Step entropy and posterior separate wrong words of the beam from right ones, but do not show which words of a
        # given text are missing from the recording: alignments are calibrated by confidence alone.
        given = [(replace(word, posterior=None, entropy=0.0), right) for word, right in fitting]
        calibrations = {"beam": fit(fitting), "aligned": fit(given)}
    calibration = next(iter(calibrations.values()))
    before = [(word.confidence, right) for word, right in judging]
    after = [(calibration(word), right) for word, right in judging]
    return Calibrated(calibrations, len(judging), calibration_error(before), calibration_error(after))


def fit(judged: Sequence[tuple[WordSpan, bool]]) -> Calibration:
    """Weights of a `Calibration`: logistic regression of whether words are correct, with an L2 penalty and bounds."""
    words, right = zip(*judged, strict=True)
    confidence, posterior, entropy = np.array([features(word) for word in words]).T
    inputs = np.stack([confidence, np.ones(len(words)), posterior, entropy])
    right = np.array(right)

    def loss(weights):
        logits = weights @ inputs
        penalty = REGULARISATION * np.sum((weights - IDENTITY) ** 2)
        return np.mean(np.logaddexp(0, logits) - right * logits) + penalty

    bounds = ((0.01, 10), (-10, 10), (0, 10), (-10, 0))  # evidence for a word never lowers its confidence
    weights = minimize(loss, IDENTITY, method="L-BFGS-B", bounds=bounds).x
    return Calibration(*np.round(weights, 4).tolist())


def calibration_error(judged: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins (Guo et al., 2017)."""
    confidence, right = np.array(judged, float).T
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
