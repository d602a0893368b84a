"""Where a recording holds speech: silence, the noise of an empty room, pauses, and changes of level.

Levels are measured in blocks of BLOCK_SECONDS. A block belongs to a pause where it is nearer to the noise floor around
it than to the speech around it, both of them percentiles of the level in dB.

"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from scipy.ndimage import maximum_filter1d, percentile_filter, uniform_filter1d

from asr_core.audio.levels import loudest
from asr_core.ctc import TokenSpan, runs

WINDOW_SECONDS = 12.0  # the longest clips of training; also what a single pass may take

SILENCE_PEAK = 4e-5  # of full scale, more than one step of 16-bit sound: nothing quieter can be heard,
SILENCE_SHARE = 5e-4  # and nothing beside what is so much louder, 66 dB
MAX_CREST = 10.0  # of the loudest peak to that of the loudest part; a click beyond it does not say what is silence
SILENCE_SECONDS = 1.0  # shorter silences between sounds are pauses of the one who speaks
BLOCK_SECONDS = 0.02  # what is looked at together in search of sound
PAUSE_SECONDS = 0.5  # so long a pause may part two voices
MIN_LEVEL_DB = -66.0  # below full scale: how loud it is, if it is quieter than that, says nothing of who speaks
LEVEL_CHANGE_DB = 4.0  # from the sound before a pause to the sound after it: another voice, or another place
PAUSE_LEVEL = 0.3  # a pause is quieter than this far up, in dB, from the quiet around it to the loud
MIN_CONTRAST_DB = 10.0  # from that quiet to the loud; where they lie closer, nothing is sure to be a pause
CONTEXT_SECONDS = 6.0  # what quiet and loud are measured over, of somebody who speaks
NOISE_CONTEXT_SECONDS = 12.0  # and, longer, of a room in which nobody may speak for a while
LONG_NOISE_SECONDS = 1.0  # so long a noise of the room parts what is said,
HESITATION_SECONDS = 1.5  # and so long in what is short enough for one window: who reads haltingly pauses for less
MARGIN_SECONDS = 0.4  # of it that stays on either side

# A click, a beep or a door far above the speech around it would be what that speech is measured and normalised by.
BURST_AROUND_SECONDS = 30.0  # what is around it
BURST_DB = 25.0  # so far above the level that most of it stays below,
USUAL_PERCENT = 65  # which is this percentile of the peaks of blocks,
BURST_MARGIN_DB = 15.0  # and what goes with it, so far above the loud level of the rest
MAX_BURST_SECONDS = 2.0  # longer ones are voices
MAX_BURST_SHARE = 0.4  # of what is around
SPEECH_DB = 15.0  # from the quiet to the loud of the rest at least: noise alone would make a word a burst
MIN_WORD_SECONDS = 0.6  # shorter bursts are left out: rarely a word, and else letters would be made of them
QUIETEST_PEAK = 1e-5


def sounding_part(samples: np.ndarray, sample_rate: int) -> slice:
    """Float32 samples [n] from the first to the last that can be heard; empty where there are none."""
    stretches = list(_stretches(samples, sample_rate))
    return slice(stretches[0][0], stretches[-1][1]) if stretches else slice(0)


def _stretches(samples: np.ndarray, sample_rate: int) -> Iterator[tuple[int, int]]:
    """(first sample, sample after the last) of each stretch of sound between silences of SILENCE_SECONDS."""
    block = round(BLOCK_SECONDS * sample_rate)
    peaks = _peaks(samples, block)
    loudest_peak = min(float(peaks.max()), MAX_CREST * loudest(peaks, BLOCK_SECONDS))
    audible = max(SILENCE_PEAK, SILENCE_SHARE * loudest_peak)
    loud = np.flatnonzero(peaks > audible)
    if not len(loud):
        return
    breaks = np.flatnonzero(np.diff(loud) * block > SILENCE_SECONDS * sample_rate)
    for first, last in zip(loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, -1]], strict=True):
        head, tail = int(first) * block, int(last) * block
        begin = np.flatnonzero(np.abs(samples[head : head + block]) > audible)[0]
        end = np.flatnonzero(np.abs(samples[tail : tail + block]) > audible)[-1]
        yield head + int(begin), tail + int(end) + 1


def _utterances(samples: np.ndarray, sample_rate: int) -> Iterator[tuple[int, int]]:
    """The stretches of sound without the noise of the room that sounds alone for long, but for its edges."""
    block, margin = round(BLOCK_SECONDS * sample_rate), round(MARGIN_SECONDS / BLOCK_SECONDS)
    for begin, end in _without_bursts(samples, sample_rate):
        long = end - begin > WINDOW_SECONDS * sample_rate
        power = _power(samples[begin:end], block)
        waiting = _lasting(_pausing(power, NOISE_CONTEXT_SECONDS), LONG_NOISE_SECONDS if long else HESITATION_SECONDS)
        edges = [0]
        for pause in waiting:
            edges.append(pause.start + margin if pause.start else 0)
            edges.append(pause.end - margin if pause.end < len(power) else len(power))
        edges.append(len(power))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if first < last or not waiting:
                yield begin + first * block, end if last == len(power) else begin + last * block


def _without_bursts(samples: np.ndarray, sample_rate: int) -> Iterator[tuple[int, int]]:
    """The stretches of sound, parted at bursts; those long enough for a word stand alone."""
    block = round(BLOCK_SECONDS * sample_rate)
    for begin, end in _stretches(samples, sample_rate):
        edges = [begin]
        for burst in _bursts(_peaks(samples[begin:end], block)):
            edges += [begin + burst.start * block, min(begin + burst.end * block, end)]
        edges.append(end)
        for number, (first, last) in enumerate(pairwise(edges)):
            is_burst = number % 2 == 1
            if last - first > (MIN_WORD_SECONDS * sample_rate if is_burst else 0):
                yield first, last


def _bursts(peaks: np.ndarray) -> list[TokenSpan]:
    """Short sounds far above the speech around them, in blocks, given the peak of each block."""
    level = 20 * np.log10(np.maximum(peaks, QUIETEST_PEAK))
    around = 2 * min(round(BURST_AROUND_SECONDS / BLOCK_SECONDS / 2), len(level)) + 1

    def usual(values: np.ndarray, percent: float) -> np.ndarray:
        return percentile_filter(values, percent, around, mode="reflect")

    found = level > usual(level, USUAL_PERCENT) + BURST_DB
    if not found.any() or found.all():
        return []
    near = maximum_filter1d(found, 11)
    rest = _filled(level, near)
    loud, quiet = usual(rest, 95), usual(rest, 10)
    spoken = (rest > loud - SPEECH_DB) & (rest > quiet + MIN_CONTRAST_DB) & ~near
    share, speech = (uniform_filter1d(which.astype(np.float32), around) for which in (found, spoken))
    sure = (share < MAX_BURST_SHARE) & (speech > 2 * share) & (loud - quiet > SPEECH_DB)
    bursts = runs(maximum_filter1d(level > loud + BURST_MARGIN_DB, 3))
    longest = MAX_BURST_SECONDS / BLOCK_SECONDS
    return [
        burst
        for burst in bursts
        if burst.end - burst.start <= longest
        and sure[burst.start : burst.end].all()
        and level[max(0, burst.start - 3) : burst.start].min(initial=-np.inf if burst.start == 0 else np.inf)
        < loud[burst.start]  # a voice that grows louder is no burst
    ]


def _filled(level: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """The levels with those left out replaced by what lies around; as they are where that is nothing."""
    kept = np.flatnonzero(~left_out)
    if not len(kept):
        return level
    return np.interp(np.arange(len(level)), kept, level[kept]).astype(level.dtype)


def _power(samples: np.ndarray, block: int) -> np.ndarray:
    """The mean power of every whole block of a recording, at least MIN_LEVEL_DB: float32 [blocks]."""
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    return np.maximum(np.einsum("ij,ij->i", blocks, blocks) / block, 10 ** (MIN_LEVEL_DB / 10))


def _pausing(power: np.ndarray, around_seconds: float) -> np.ndarray:
    """Which blocks are a pause, nearer to the quiet than to the loud of so many seconds around them: bool [blocks]."""
    if not len(power):
        return np.zeros(0, bool)
    level = 10 * np.log10(uniform_filter1d(power, 3))
    around = round(around_seconds / BLOCK_SECONDS)
    quiet, loud = (percentile_filter(level, percent, around, mode="nearest") for percent in (5, 90))
    return (level < quiet + PAUSE_LEVEL * (loud - quiet)) & (loud - quiet > MIN_CONTRAST_DB)


def _lasting(pausing: np.ndarray, seconds: float) -> list[TokenSpan]:
    """The pauses of so many seconds or more, in blocks."""
    shortest = round(seconds / BLOCK_SECONDS)
    return [pause for pause in runs(pausing) if pause.end - pause.start >= shortest]


def level_changes(samples: np.ndarray, sample_rate: int) -> list[int]:
    """The quietest place of each pause after which the sound goes on at another level, in samples.

    Args:
        samples: float32 [n], mono.
        sample_rate: Hz.
    """
    block = round(BLOCK_SECONDS * sample_rate)
    power = _power(samples, block)
    pausing = _pausing(power, CONTEXT_SECONDS)
    calm = uniform_filter1d(power, round(PAUSE_SECONDS / BLOCK_SECONDS))
    pauses = _lasting(pausing, PAUSE_SECONDS)
    edges = [pause.start + int(np.argmin(calm[pause.start : pause.end])) for pause in pauses]

    changes, energy, count = [], 0.0, 0  # of all that sounds since the latest change
    for first, end in pairwise([0, *edges, len(power)]):
        sounding = power[first:end][~pausing[first:end]]
        if count and len(sounding) and abs(10 * np.log10(np.mean(sounding) * count / energy)) > LEVEL_CHANGE_DB:
            changes.append(first * block)
            energy, count = 0.0, 0
        energy, count = energy + float(np.sum(sounding)), count + len(sounding)
    return changes


def _peaks(samples: np.ndarray, block: int) -> np.ndarray:
    """The peak of every block of a recording, float32 [blocks]; the last may be shorter."""
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    rest = samples[whole.size :]
    highest = np.append(whole.max(axis=1, initial=0), rest.max(initial=0))
    lowest = np.append(whole.min(axis=1, initial=0), rest.min(initial=0))
    return np.maximum(highest, -lowest)
