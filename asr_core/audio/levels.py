"""Levels of a recording: full scale of any sample type, samples that are no sound, and how loud the whole is.

A decoded piece passes here before its channels are mixed; the whole recording once more, when its peak is known.
"""

import numpy as np
from scipy.ndimage import maximum_filter1d

from asr_core.errors import AudioError

INTEGER_SCALE = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "int32": 2**31}
ABSURD_SAMPLE = 1e12  # beyond 32-bit integers stored as floats: no sample was ever written so

SPIKE_BLOCK_SECONDS = 0.005  # what the level around a sample is measured over, and over the two blocks on each side
SPIKE_RATIO = 10.0  # to the 90th percentile around, beyond full scale: no microphone records that
SPIKE_SHARE = 1e-3  # of the samples; more of them are the recording
INTERPOLATED_SECONDS = 0.01  # longer runs of bad samples become silence
MAX_BAD_SHARE = 0.5  # of all samples; where more are bad there is no recording
OVERSHOOT = 1.25  # of full scale: lossy formats go so far for a moment, which is clipped; what is louder is scaled

LEVEL_BLOCK_SECONDS = 0.02
LOUDEST_SECONDS, LOUDEST_SHARE = 0.2, 0.05  # the loudest part of a recording, the lesser of the two: no single click
NEARLY_SILENT_DB = -65.0  # below full scale, RMS of the loudest part; its voice lies at -70 dBFS and below


def full_scale(samples: np.ndarray) -> np.ndarray:
    """Samples of any type -> float32 of the same shape, full scale 1.

    Raises:
        TypeError: not int8, uint8, int16, int32 or float.
    """
    kind = samples.dtype.name
    if kind not in INTEGER_SCALE and samples.dtype.kind != "f":
        raise TypeError(f"Expected samples of {', '.join(INTEGER_SCALE)} or float, got {kind}.")
    with np.errstate(over="ignore", invalid="ignore"):
        samples = samples.astype(np.float32, copy=False)
    if kind in INTEGER_SCALE:
        return (samples - 128 if kind == "uint8" else samples) / np.float32(INTEGER_SCALE[kind])
    return samples


class Repair:
    """Interpolates samples that are not numbers, and single ones far beyond full scale and all around them.

    Attributes:
        bad: how many samples were replaced.
        total: how many there were.
    """

    def __init__(self):
        self.bad, self.total = 0, 0

    def __call__(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Float32 [n, channels] -> the same, finite; the array itself where nothing is wrong."""
        self.total += samples.size
        with np.errstate(invalid="ignore"):
            peak = np.abs(samples).max(initial=0)
        if peak <= 1:
            return samples
        columns = [self._repaired(column, rate) for column in samples.T]
        return np.stack(columns, axis=1)

    def _repaired(self, samples: np.ndarray, rate: int) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(samples) < ABSURD_SAMPLE)
        numbers = np.where(bad, np.float32(0), samples)
        bad |= _spikes(numbers, rate)
        count = int(bad.sum())
        if not count:
            return samples
        self.bad += count
        if count == len(bad):
            return np.zeros_like(samples)
        good = np.flatnonzero(~bad)
        repaired = numbers.copy()
        repaired[bad] = np.interp(np.flatnonzero(bad), good, numbers[good])
        edges = np.flatnonzero(np.diff(np.r_[False, bad, False]))
        for first, end in edges.reshape(-1, 2):
            if end - first > INTERPOLATED_SECONDS * rate:
                repaired[first:end] = 0
        return repaired

    def finish(self, shown: str) -> tuple[str, ...]:
        """The note about what was replaced.

        Raises:
            AudioError: most samples were bad.
        """
        if self.bad > MAX_BAD_SHARE * self.total:
            raise AudioError(f"{shown} holds samples that are not numbers (NaN or infinity): export it again.")
        if not self.bad:
            return ()
        count = f"{self.bad:,} samples that are" if self.bad > 1 else "one sample that is"
        return (f"{shown} holds {count} not a number or far beyond full scale: replaced by what lies around.",)


def _spikes(samples: np.ndarray, rate: int) -> np.ndarray:
    """Which finite samples lie beyond full scale and far above what is around them: bool [n]."""
    over = np.abs(samples) > 1
    none = np.zeros(len(samples), bool)
    if not over.any():
        return none
    block = max(8, round(SPIKE_BLOCK_SECONDS * rate))
    padded = np.zeros(-(-len(samples) // block) * block, np.float32)
    padded[: len(samples)] = np.abs(samples)
    around = maximum_filter1d(np.percentile(padded.reshape(-1, block), 90, axis=1), 5)
    spikes = over & (np.abs(samples) > SPIKE_RATIO * np.repeat(around, block)[: len(samples)])
    return spikes if spikes.sum() <= max(1, SPIKE_SHARE * len(samples)) else none


def loudest(values: np.ndarray, block_seconds: float) -> float:
    """The level that the loudest part of a recording reaches, whatever clicks it holds.

    Args:
        values: peaks or powers of the recording's blocks, [blocks].
        block_seconds: length of a block.
    """
    rank = round(min(LOUDEST_SECONDS / block_seconds, LOUDEST_SHARE * len(values)))
    return float(np.partition(values, len(values) - 1 - rank)[len(values) - 1 - rank]) if len(values) else 0.0


def level_notes(samples: np.ndarray, sample_rate: int, shown: str) -> tuple[str, ...]:
    """The note about a recording, float32 [n], in which nearly nothing can be heard; none about digital silence."""
    block = round(LEVEL_BLOCK_SECONDS * sample_rate)
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    power = np.einsum("ij,ij->i", blocks, blocks) / block
    loud = loudest(power, LEVEL_BLOCK_SECONDS)
    decibels = -10 * np.log10(loud) if loud else 0.0
    if decibels <= -NEARLY_SILENT_DB:
        return ()
    return (f"{shown} is nearly silent, {decibels:.0f} dB below full scale: record it again, louder.",)
