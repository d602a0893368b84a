"""Levels of a recording: converts to full scale, repairs invalid samples, and notes a recording that is nearly silent
or clipped.

Decoded blocks are converted and repaired before their channels are mixed; the level of the recording is measured at
its end.
"""

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import lfilter

from asr_core.errors import AudioError

INTEGER_SCALE = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "int32": 2**31}
INT16_MAX = 2**15 - 1
MAX_SAMPLE = 1e12  # samples beyond it are invalid; 32-bit integers stored as floats stay below

SPIKE_BLOCK_SECONDS = 0.005  # the level around a sample is measured over its block and the two blocks on each side
SPIKE_RATIO = 10.0  # of a spike to the 90th percentile of the samples around it; no microphone records such a rise
MAX_SPIKE_SHARE = 1e-3  # of the samples; where more exceed the ratio, they are the signal
MAX_INTERPOLATED_SECONDS = 0.01  # a longer run of invalid samples becomes silence
MAX_INVALID_SHARE = 0.5  # of all samples; a recording with more is refused
OVERSHOOT = 1.25  # of full scale; lossy formats reach it for a moment and are clipped, louder peaks are scaled down

LEVEL_BLOCK_SECONDS = 0.02
# Length of the loudest part, whose level counts: the lesser of both. A click is shorter.
LOUDEST_SECONDS, LOUDEST_SHARE = 0.2, 0.05
NEARLY_SILENT_DB = -65.0  # of full scale, RMS of the loudest part; speech in it lies below -70 dBFS

MIN_OFFSET, MIN_OFFSET_SHARE = 1e-4, 0.03  # of a constant part that is removed: of full scale, and of the RMS level
OFFSET_HZ = 10.0  # below any voice

CLIPPED_LEVEL = 0.98  # of full scale; resampling makes the flat peaks of a clipped signal uneven
AUDIBLE_LEVEL = 0.05  # of full scale; pauses in clipped speech are below
MAX_CLIPPED_SHARE = 0.2  # of the audible samples; a pure tone at full scale has 0.13, loud speech 0.01
COUNTED_SAMPLES = 1 << 20  # at a time, which takes 4 MiB however long the recording is


def full_scale(samples: np.ndarray) -> np.ndarray:
    """Samples of any type as float32 of the same shape, with full scale at 1.

    Raises:
        TypeError: the samples are not int8, uint8, int16, int32 or float.
    """
    kind = samples.dtype.name
    if kind not in INTEGER_SCALE and samples.dtype.kind != "f":
        raise TypeError(f"Expected samples of {', '.join(INTEGER_SCALE)} or float, got {kind}.")
    with np.errstate(over="ignore", invalid="ignore"):
        samples = samples.astype(np.float32, copy=False)
    if kind in INTEGER_SCALE:
        return (samples - 128 if kind == "uint8" else samples) / np.float32(INTEGER_SCALE[kind])
    return samples


def to_int16(samples: np.ndarray) -> np.ndarray:
    """int16 samples of float ones in [-1, 1]; what lies outside is clipped."""
    scaled = np.clip(samples, -1, 1)
    scaled *= INT16_MAX
    return np.rint(scaled, out=scaled).astype("<i2")


class Repair:
    """Interpolates invalid samples: NaN, infinity, and spikes far beyond full scale and the samples around them.

    Attributes:
        invalid: number of samples replaced so far.
        total: number of samples so far.
    """

    def __init__(self):
        self.invalid, self.total = 0, 0

    def __call__(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Repairs float32 [n, channels]; returns the array itself if no sample exceeds full scale."""
        self.total += samples.size
        with np.errstate(invalid="ignore"):
            peak = np.abs(samples).max(initial=0)
        if peak <= 1:
            return samples
        columns = [self._repaired(column, rate) for column in samples.T]
        return np.stack(columns, axis=1)

    def _repaired(self, samples: np.ndarray, rate: int) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            invalid = ~(np.abs(samples) < MAX_SAMPLE)
        numbers = np.where(invalid, np.float32(0), samples)
        invalid |= _spikes(numbers, rate)
        count = int(invalid.sum())
        if not count:
            return samples
        self.invalid += count
        if count == len(invalid):
            return np.zeros_like(samples)
        valid = np.flatnonzero(~invalid)
        repaired = numbers.copy()
        repaired[invalid] = np.interp(np.flatnonzero(invalid), valid, numbers[valid])
        edges = np.flatnonzero(np.diff(np.r_[False, invalid, False]))
        for first, end in edges.reshape(-1, 2):
            if end - first > MAX_INTERPOLATED_SECONDS * rate:
                repaired[first:end] = 0
        return repaired

    def finish(self, shown: str) -> tuple[str, ...]:
        """A note on how many samples were replaced, if any.

        Raises:
            AudioError: most samples were invalid.
        """
        if self.invalid > MAX_INVALID_SHARE * self.total:
            raise AudioError(f"{shown} holds samples that are not numbers (NaN or infinity): export it again.")
        if not self.invalid:
            return ()
        count = f"{self.invalid:,} samples that are" if self.invalid > 1 else "one sample that is"
        return (f"{shown} holds {count} not a number or far beyond full scale: replaced by what lies around.",)


def _spikes(samples: np.ndarray, rate: int) -> np.ndarray:
    """Which samples are spikes, beyond full scale and far above the samples around them: bool [n]."""
    over = np.abs(samples) > 1
    none = np.zeros(len(samples), bool)
    if not over.any():
        return none
    block = max(8, round(SPIKE_BLOCK_SECONDS * rate))
    padded = np.zeros(-(-len(samples) // block) * block, np.float32)
    padded[: len(samples)] = np.abs(samples)
    around = maximum_filter1d(np.percentile(padded.reshape(-1, block), 90, axis=1), 5)
    spikes = over & (np.abs(samples) > SPIKE_RATIO * np.repeat(around, block)[: len(samples)])
    return spikes if spikes.sum() <= max(1, MAX_SPIKE_SHARE * len(samples)) else none


def remove_offset(samples: np.ndarray, sample_rate: int) -> None:
    """Removes the constant part of a recording, float32 [n] in [-1, 1], in place; one with hardly any stays as it is.

    Cheap converters add such a part. Beside a quiet voice it hides the pauses, and shifts the lowest features. It is
    removed by a high-pass of first order, so that digital silence around the recording becomes silent, too.
    """
    parts = [slice(start, start + COUNTED_SAMPLES) for start in range(0, len(samples), COUNTED_SAMPLES)]
    offset = sum(float(samples[part].sum(dtype=np.float64)) for part in parts) / max(1, len(samples))
    power = sum(float(np.square(samples[part]).sum(dtype=np.float64)) for part in parts) / max(1, len(samples))
    if abs(offset) <= max(MIN_OFFSET, MIN_OFFSET_SHARE * power**0.5):
        return
    decay = np.exp(-2 * np.pi * OFFSET_HZ / sample_rate)
    state = -samples[:1].astype(np.float64)
    for part in parts:
        rest, state = lfilter([1, -1], [1, -decay], samples[part], zi=state)
        samples[part] = np.clip(rest, -1, 1)


def loudest(values: np.ndarray, block_seconds: float) -> float:
    """The level of the loudest part of a recording, longer than a click.

    Args:
        values: peaks or powers of the recording's blocks, [blocks].
        block_seconds: length of a block.
    """
    rank = round(min(LOUDEST_SECONDS / block_seconds, LOUDEST_SHARE * len(values)))
    return float(np.partition(values, len(values) - 1 - rank)[len(values) - 1 - rank]) if len(values) else 0.0


def clipped_share(samples: np.ndarray) -> float:
    """Share of the audible samples of a recording, float32 [n], that are at full scale."""
    clipped = audible = 0
    for start in range(0, len(samples), COUNTED_SAMPLES):
        level = np.abs(samples[start : start + COUNTED_SAMPLES])
        clipped += np.count_nonzero(level >= CLIPPED_LEVEL)
        audible += np.count_nonzero(level >= AUDIBLE_LEVEL)
    return clipped / max(1, audible)


def level_notes(samples: np.ndarray, sample_rate: int, clipped: float, shown: str) -> tuple[str, ...]:
    """A note if a recording is nearly silent or clipped; none about digital silence.

    Args:
        samples: float32 [n], without a constant part.
        sample_rate: Hz.
        clipped: what `clipped_share` gave before the constant part was removed, which bends flat peaks.
        shown: the name of the recording.
    """
    if clipped > MAX_CLIPPED_SHARE:
        at_limit = f"with {100 * clipped:.0f} % of its audible samples at full scale"
        return (f"{shown} is clipped, {at_limit}: record it again, quieter.",)
    block = round(LEVEL_BLOCK_SECONDS * sample_rate)
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    power = np.einsum("ij,ij->i", blocks, blocks) / block
    loud = loudest(power, LEVEL_BLOCK_SECONDS)
    decibels = -10 * np.log10(loud) if loud else 0.0
    if decibels <= -NEARLY_SILENT_DB:
        return ()
    return (f"{shown} is nearly silent, {decibels:.0f} dB below full scale: record it again, louder.",)
