"""Speech activity: finds the utterances of a recording, the pauses in it, and the changes of its level.

Levels are measured in blocks of BLOCK_SECONDS. The noise floor and the speech level around a block are a low and a
high percentile of the levels there, in dB. A block belongs to a pause if its level lies less than PAUSE_LEVEL_SHARE
of the way up from the noise floor to the speech level.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.ndimage import maximum_filter1d, percentile_filter, uniform_filter1d

from asr_core.audio.levels import loudest
from asr_core.ctc import TokenSpan, runs

WINDOW_SECONDS = 12.0  # longest input of one pass through the network, as long as the longest clips of training
BLOCK_SECONDS = 0.02  # each level is measured over a block of this length

# Silence: nothing in it is audible.
MIN_AUDIBLE_PEAK = 4e-5  # of full scale, just above one step of 16-bit samples; blocks of a lower peak are silent
MIN_AUDIBLE_SHARE_OF_PEAK = 5e-4  # of the recording's peak, 66 dB below it; lower blocks are silent beside it
MAX_CREST_FACTOR = 10.0  # times the level of the loudest part that the peak may count as: a click does not decide
MIN_SILENCE_SECONDS = 1.0  # shorter silences are pauses of the speaker and separate nothing

# Pauses: only background noise is audible.
PAUSE_LEVEL_SHARE = 0.3  # of the way, in dB, from the noise floor to the speech level; pauses stay below it
MIN_CONTRAST_DB = 10.0  # from noise floor to speech level; where it is smaller, no block is surely a pause
LEVEL_FLOOR_DB = -66.0  # of full scale; quieter blocks count as this loud, since their level is not a measure of speech
SPEECH_CONTEXT_SECONDS = 6.0  # noise floor and speech level within speech are measured over this length
NOISE_CONTEXT_SECONDS = 12.0  # they are measured over this length in search of noise, where speech may be rare
MIN_NOISE_GAP_SECONDS = 1.0  # shorter background noise does not separate utterances
MIN_NOISE_GAP_WITHIN_WINDOW_SECONDS = 1.5  # the same where one window holds all; hesitant readers pause for less
NOISE_MARGIN_SECONDS = 0.4  # an utterance keeps this much background noise on either side

# Changes of level: another speaker, or another place.
LEVEL_PAUSE_SECONDS = 0.5  # the level of speech changes only at pauses this long
MIN_LEVEL_CHANGE_DB = 4.0  # from the speech before a pause to the speech after it; smaller changes are one speaker's

# Bursts: clicks, beeps and doors, so loud that they would dominate the normalisation of the features around them.
BURST_CONTEXT_SECONDS = 30.0  # the levels around a burst are measured over this length
USUAL_LEVEL_PERCENTILE = 65  # of the block peaks around; most of the recording stays below this usual level
BURST_ABOVE_USUAL_DB = 25.0  # a burst exceeds the usual level by this
BURST_ABOVE_SPEECH_DB = 15.0  # every block of a burst exceeds the speech level by this
MAX_BURST_SECONDS = 2.0  # longer ones are voices
MAX_LOUD_SHARE = 0.4  # of the blocks around that are as loud as a burst; where more are, they are the recording
MIN_SPEECH_RANGE_DB = 15.0  # from noise floor to speech level; where it is smaller, a burst may be a word in noise
MIN_KEPT_BURST_SECONDS = 0.6  # shorter bursts are left out: they hold hardly a word, but the network outputs letters
MIN_MEASURED_PEAK = 1e-5  # of full scale; keeps the logarithm of digital silence finite


def audible_part(samples: np.ndarray, sample_rate: int) -> slice:
    """From the first to the last audible sample of float32 [n]; empty if the recording is silent."""
    segments = list(_audible_segments(samples, sample_rate))
    return slice(segments[0][0], segments[-1][1]) if segments else slice(0)


def _audible_segments(samples: np.ndarray, sample_rate: int) -> Iterator[tuple[int, int]]:
    """(first sample, sample after the last) of each segment between silences of MIN_SILENCE_SECONDS."""
    block = round(BLOCK_SECONDS * sample_rate)
    peaks = _peaks(samples, block)
    loudest_peak = min(float(peaks.max()), MAX_CREST_FACTOR * loudest(peaks, BLOCK_SECONDS))
    audible = max(MIN_AUDIBLE_PEAK, MIN_AUDIBLE_SHARE_OF_PEAK * loudest_peak)
    loud = np.flatnonzero(peaks > audible)
    if not len(loud):
        return
    breaks = np.flatnonzero(np.diff(loud) * block > MIN_SILENCE_SECONDS * sample_rate)
    for first, last in zip(loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, -1]], strict=True):
        head, tail = int(first) * block, int(last) * block
        begin = np.flatnonzero(np.abs(samples[head : head + block]) > audible)[0]
        end = np.flatnonzero(np.abs(samples[tail : tail + block]) > audible)[-1]
        yield head + int(begin), tail + int(end) + 1


def utterances(samples: np.ndarray, sample_rate: int) -> Iterator[tuple[int, int]]:
    """(first sample, sample after the last) of each utterance: a segment without silence, bursts and long noise.

    Where long background noise is left out, the utterance keeps NOISE_MARGIN_SECONDS of it on either side.
    """
    block, margin = round(BLOCK_SECONDS * sample_rate), round(NOISE_MARGIN_SECONDS / BLOCK_SECONDS)
    for begin, end in _segments_without_bursts(samples, sample_rate):
        fits_window = end - begin <= WINDOW_SECONDS * sample_rate
        min_seconds = MIN_NOISE_GAP_WITHIN_WINDOW_SECONDS if fits_window else MIN_NOISE_GAP_SECONDS
        power = _power(samples[begin:end], block)
        pauses = _pauses(_pause_mask(power, NOISE_CONTEXT_SECONDS), min_seconds)
        edges = [0]
        for pause in pauses:
            edges.append(pause.start + margin if pause.start else 0)
            edges.append(pause.end - margin if pause.end < len(power) else len(power))
        edges.append(len(power))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if first < last or not pauses:
                yield begin + first * block, end if last == len(power) else begin + last * block


def _segments_without_bursts(samples: np.ndarray, sample_rate: int) -> Iterator[tuple[int, int]]:
    """The audible segments, divided at bursts. A burst that is long enough for a word is a segment of its own."""
    block = round(BLOCK_SECONDS * sample_rate)
    for begin, end in _audible_segments(samples, sample_rate):
        edges = [begin]
        for burst in _bursts(_peaks(samples[begin:end], block)):
            edges += [begin + burst.start * block, min(begin + burst.end * block, end)]
        edges.append(end)
        for number, (first, last) in enumerate(pairwise(edges)):
            is_burst = number % 2 == 1
            if last - first > (MIN_KEPT_BURST_SECONDS * sample_rate if is_burst else 0):
                yield first, last


def _bursts(peaks: np.ndarray) -> list[TokenSpan]:
    """Short segments far above the speech around them, in blocks, given the peak of each block: float32 [blocks]."""
    level = 20 * np.log10(np.maximum(peaks, MIN_MEASURED_PEAK))
    context = 2 * min(round(BURST_CONTEXT_SECONDS / BLOCK_SECONDS / 2), len(level)) + 1

    def percentile(values: np.ndarray, percent: float) -> np.ndarray:
        return percentile_filter(values, percent, context, mode="reflect")

    loud = level > percentile(level, USUAL_LEVEL_PERCENTILE) + BURST_ABOVE_USUAL_DB
    if not loud.any() or loud.all():
        return []
    near = maximum_filter1d(loud, 11)
    rest = _interpolated(level, near)
    speech_level, noise_floor = percentile(rest, 95), percentile(rest, 10)
    speech = (rest > speech_level - MIN_SPEECH_RANGE_DB) & (rest > noise_floor + MIN_CONTRAST_DB) & ~near
    loud_share, speech_share = (uniform_filter1d(blocks.astype(np.float32), context) for blocks in (loud, speech))
    beside_speech = (loud_share < MAX_LOUD_SHARE) & (speech_share > 2 * loud_share)
    beside_speech &= speech_level - noise_floor > MIN_SPEECH_RANGE_DB
    max_blocks = MAX_BURST_SECONDS / BLOCK_SECONDS
    return [
        burst
        for burst in runs(maximum_filter1d(level > speech_level + BURST_ABOVE_SPEECH_DB, 3))
        if burst.end - burst.start <= max_blocks
        and beside_speech[burst.start : burst.end].all()
        and level[max(0, burst.start - 3) : burst.start].min(initial=-np.inf if burst.start == 0 else np.inf)
        < speech_level[burst.start]  # a voice that grows louder is not a burst
    ]


def _interpolated(level: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """The levels with those left out interpolated between the others; unchanged if all are left out."""
    kept = np.flatnonzero(~left_out)
    if not len(kept):
        return level
    return np.interp(np.arange(len(level)), kept, level[kept]).astype(level.dtype)


def _power(samples: np.ndarray, block: int) -> np.ndarray:
    """Mean power of every whole block of a recording, at least LEVEL_FLOOR_DB: float32 [blocks]."""
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    return np.maximum(np.einsum("ij,ij->i", blocks, blocks) / block, 10 ** (LEVEL_FLOOR_DB / 10))


def _pause_mask(power: np.ndarray, context_seconds: float) -> np.ndarray:
    """Which blocks belong to a pause, given the power of each: bool [blocks].

    Noise floor and speech level are measured over `context_seconds` around each block.
    """
    if not len(power):
        return np.zeros(0, bool)
    level = 10 * np.log10(uniform_filter1d(power, 3))
    context = round(context_seconds / BLOCK_SECONDS)
    noise_floor, speech_level = (percentile_filter(level, percent, context, mode="nearest") for percent in (5, 90))
    contrast = speech_level - noise_floor
    return (level < noise_floor + PAUSE_LEVEL_SHARE * contrast) & (contrast > MIN_CONTRAST_DB)


def _pauses(is_pause: np.ndarray, min_seconds: float) -> list[TokenSpan]:
    """The pauses that last `min_seconds` or more, in blocks."""
    min_blocks = round(min_seconds / BLOCK_SECONDS)
    return [pause for pause in runs(is_pause) if pause.end - pause.start >= min_blocks]


def level_changes(samples: np.ndarray, sample_rate: int) -> list[int]:
    """Where the level of the speech changes: the quietest place of each pause that separates two levels, in samples.

    Args:
        samples: float32 [n], mono.
        sample_rate: Hz.
    """
    block = round(BLOCK_SECONDS * sample_rate)
    power = _power(samples, block)
    is_pause = _pause_mask(power, SPEECH_CONTEXT_SECONDS)
    smooth_power = uniform_filter1d(power, round(LEVEL_PAUSE_SECONDS / BLOCK_SECONDS))
    pauses = _pauses(is_pause, LEVEL_PAUSE_SECONDS)
    edges = [pause.start + int(np.argmin(smooth_power[pause.start : pause.end])) for pause in pauses]

    changes, energy, count = [], 0.0, 0  # energy and number of the speech blocks since the latest change
    for first, end in pairwise([0, *edges, len(power)]):
        speech = power[first:end][~is_pause[first:end]]
        if count and len(speech) and abs(10 * np.log10(np.mean(speech) * count / energy)) > MIN_LEVEL_CHANGE_DB:
            changes.append(first * block)
            energy, count = 0.0, 0
        energy, count = energy + float(np.sum(speech)), count + len(speech)
    return changes


def _peaks(samples: np.ndarray, block: int) -> np.ndarray:
    """The peak of every block of a recording, float32 [blocks]; the last may be shorter."""
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    rest = samples[whole.size :]
    highest = np.append(whole.max(axis=1, initial=0), rest.max(initial=0))
    lowest = np.append(whole.min(axis=1, initial=0), rest.min(initial=0))
    return np.maximum(highest, -lowest)
