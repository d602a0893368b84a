"""Long recordings are cut into overlapping windows of at most WINDOW_SECONDS, the longest clips of training.

A network knows less near the edges of a window, so neighbours overlap and each counts for its middle
(`asr_core.inference.stitching`). Segments of silence or room noise are left out: they would shift the mean that the
features are normalised by. For the same reason no window reaches across a pause from a quiet voice to a loud one.

"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asr_core.audio.speech_activity import WINDOW_SECONDS, _utterances, level_changes

OVERLAP_SECONDS = 4.0  # so that each window is heard with 2 s around the part that it speaks for
ALIGNED_STEPS = 4  # windows lie this many steps apart, or a multiple: a network may join neighbours inside


@dataclass(frozen=True)
class Window:
    """A part of a recording.

    Attributes:
        start_step: the output step nearest to its start; steps of the window count on from there.
        start, end: its samples, `start` to before `end`.
    """

    start_step: int
    start: int
    end: int


def windows_of(samples: np.ndarray, sample_rate: int, step_samples: int) -> list[Window]:
    """Windows over all of a recording but silence and the noise of an empty room.

    The first one begins with the first sample that can be heard, so that a clip is cut, and hence heard, alike
    wherever in a recording it stands; further ones begin whole steps later.

    Args:
        samples: float32 [n].
        sample_rate: Hz.
        step_samples: samples from one output step to the next.

    Returns:
        For each stretch of sound one window if it lasts up to WINDOW_SECONDS, as a clip of training does. A longer
        one is parted where the level changes, and each part has one window, or as few of WINDOW_SECONDS as overlap
        by OVERLAP_SECONDS or more.
    """
    unit = step_samples * ALIGNED_STEPS
    length = int(WINDOW_SECONDS * sample_rate) // unit
    overlap = -int(-OVERLAP_SECONDS * sample_rate // unit)
    windows = []
    for begin, end in _parts(samples, sample_rate, unit):
        last = max(-(-(end - begin) // unit) - length, 0)  # units from the first window to the last
        hops = -(-last // (length - overlap))
        starts = [begin + i * last // max(hops, 1) * unit for i in range(hops + 1)]
        ends = [start + length * unit for start in starts[:-1]] + [end]
        first = round(begin / step_samples)
        windows += [
            Window(first + (start - begin) // step_samples, start, end) for start, end in zip(starts, ends, strict=True)
        ]
    return windows


def silent_steps(windows: Sequence[Window], step_samples: int) -> list[int]:
    """The middle step of every silence between two windows."""
    return [
        (before.end + after.start) // 2 // step_samples
        for before, after in pairwise(windows)
        if after.start - before.end > 2 * step_samples
    ]


def _parts(samples: np.ndarray, sample_rate: int, unit: int) -> Iterator[tuple[int, int]]:
    """What is said; beyond WINDOW_SECONDS parted, whole units from its start, where levels change."""
    for begin, end in _utterances(samples, sample_rate):
        edges = [begin]
        if end - begin > WINDOW_SECONDS * sample_rate:
            edges += [begin + change // unit * unit for change in level_changes(samples[begin:end], sample_rate)]
        yield from pairwise([*edges, end])
