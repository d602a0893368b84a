"""Cuts a recording into overlapping windows of at most WINDOW_SECONDS, as long as the longest clips of training.

The network lacks context near the edges of a window. Neighbouring windows therefore overlap, and
`asr_core.inference.stitching` keeps the middle of each. Silence and background noise are left out, because they would
shift the mean by which features are normalised; for the same reason a window ends at a pause between a quiet and a
loud speaker.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asr_core.audio.speech_activity import WINDOW_SECONDS, level_changes, utterances

OVERLAP_SECONDS = 4.0  # of neighbouring windows: gives the network 1 to 3 s of context beyond the steps that are kept
ALIGNED_STEPS = 4  # windows lie a multiple of this many steps apart, since networks may join neighbouring steps


@dataclass(frozen=True)
class Window:
    """A segment of a recording that the network sees at once.

    Attributes:
        start_step: the output step of the recording that is nearest to the window's start, its step 0.
        start, end: its samples, from `start` to before `end`.
    """

    start_step: int
    start: int
    end: int


def windows_of(samples: np.ndarray, sample_rate: int, step_samples: int) -> list[Window]:
    """Windows over all utterances of a recording; silence and long background noise are left out.

    The first window of an utterance begins with its first audible sample, so that a clip is cut, and therefore
    transcribed, alike wherever it stands in a recording; the further ones begin whole steps later.

    Args:
        samples: float32 [n].
        sample_rate: Hz.
        step_samples: samples from one output step to the next.

    Returns:
        One window for each utterance of up to WINDOW_SECONDS. Longer utterances are first divided where their level
        changes; each segment then has one window, or as few windows of WINDOW_SECONDS as it takes for neighbours to
        overlap by OVERLAP_SECONDS or more.
    """
    unit = step_samples * ALIGNED_STEPS
    length = int(WINDOW_SECONDS * sample_rate) // unit
    overlap = -int(-OVERLAP_SECONDS * sample_rate // unit)
    windows = []
    for begin, end in _segments(samples, sample_rate, unit):
        distance = max(-(-(end - begin) // unit) - length, 0)  # units from the first window to the last
        hops = -(-distance // (length - overlap))
        starts = [begin + i * distance // max(hops, 1) * unit for i in range(hops + 1)]
        ends = [start + length * unit for start in starts[:-1]] + [end]
        first = round(begin / step_samples)
        windows += [
            Window(first + (start - begin) // step_samples, start, end) for start, end in zip(starts, ends, strict=True)
        ]
    return windows


def silent_steps(windows: Sequence[Window], step_samples: int) -> list[int]:
    """The middle step of every gap of more than two steps between windows."""
    return [
        (before.end + after.start) // 2 // step_samples
        for before, after in pairwise(windows)
        if after.start - before.end > 2 * step_samples
    ]


def _segments(samples: np.ndarray, sample_rate: int, unit: int) -> Iterator[tuple[int, int]]:
    """(first sample, sample after the last) of each utterance or, beyond WINDOW_SECONDS, of each segment of one level.

    Segments begin a multiple of `unit` samples after the start of their utterance.
    """
    for begin, end in utterances(samples, sample_rate):
        edges = [begin]
        if end - begin > WINDOW_SECONDS * sample_rate:
            edges += [begin + change // unit * unit for change in level_changes(samples[begin:end], sample_rate)]
        yield from pairwise([*edges, end])
