"""Start and end of words, from the peaks of their tokens and the energy of the signal.

CTC decides *which* token follows which and leaves *when* half open: a token is one short peak somewhere inside its
phone, and between peaks there is blank, be it speech or silence. So peaks only tell where to look for the boundary
between two words; the energy of the signal tells where it is.

"""

from collections.abc import Callable, Sequence

import numpy as np

from asr_core.audio.energy import NO_SOUND_DB
from asr_core.ctc import TokenSpan
from asr_core.decoding.confidence import confidence, frame_entropy
from asr_core.decoding.word_spans import WordSpan, _checked
from asr_core.emissions import Emissions

# A pause is quieter than this far up, in dB, from the quiet between two words to the level of the words.
PAUSE_LEVEL = 0.2
QUIET_PERCENTILE = 5  # of the frames between two words, smoothed; the lowest frame alone is chance
SMOOTHING_FRAMES = 3
MAX_DEPTH_DB = 40.0  # quieter than this below the words tells nothing more
MIN_CONTRAST_DB = 6.0  # a dip less deep than this is no pause
REACH_SECONDS = 0.5  # how far before its first or after its last peak a word beside a pause can sound
PEAK_MARGIN_SECONDS = 0.04  # where no pause is found: how much longer than its peak a sound lasts, either side


def words_of(
    texts: Sequence[str],
    groups: Sequence[Sequence[TokenSpan]],
    emissions: Emissions,
    posterior: Sequence[float] | None = None,
    check: Callable[[], None] | None = None,
) -> tuple[WordSpan, ...]:
    """Words with their times and what speaks for them, from the spans of their tokens; `check` as for `word_times`."""
    places = [(group[0].start, group[-1].end) for group in groups]
    return tuple(
        WordSpan(text, start, end, confidence(emissions.log_probs, group), doubt, posterior)
        for text, group, (start, end), doubt, posterior in zip(
            texts,
            _checked(groups, check),
            word_times(emissions, groups, check),
            frame_entropy(emissions, places).tolist(),
            posterior or [None] * len(groups),
            strict=True,
        )
    )


def word_times(
    emissions: Emissions, words: Sequence[Sequence[TokenSpan]], check: Callable[[], None] | None = None
) -> list[tuple[float, float]]:
    """Start and end of each word in seconds, from the peaks of its tokens and the energy of the signal.

    The peaks alone, widened by PEAK_MARGIN_SECONDS but at most to the middle between two words, are right to
    some 50 ms. Where the energy dips between two words there is a pause, and the words end and begin at its
    two ends. A peak itself may lie in the pause, for a network may name a sound after it has ended; so the
    search begins at the far side of both peaks. Words that run into each other keep the times of their peaks.
    `check` is called before every CHECK_WORDS-th word; what it raises ends the work.
    """
    if not words:
        return []
    peaks = [(word[0].start, word[0].end, word[-1].start, word[-1].end) for word in words]
    starts, ends = _edges_of_peaks(emissions, peaks)
    if emissions.energy is not None:
        _move_to_pauses(emissions, peaks, starts, ends, check)
    in_order = np.maximum.accumulate(np.column_stack([starts, ends]).ravel()).reshape(-1, 2)
    return [(emissions.time(start), emissions.time(end)) for start, end in in_order.tolist()]


def _edges_of_peaks(emissions: Emissions, peaks) -> tuple[list[float], list[float]]:
    """Starts and ends in steps."""
    margin = PEAK_MARGIN_SECONDS / emissions.step_seconds
    starts = [max(0.0, first - margin) for first, _, _, _ in peaks]
    ends = [min(float(len(emissions)), last + margin) for _, _, _, last in peaks]
    for i in range(1, len(peaks)):
        middle = (peaks[i - 1][3] + peaks[i][0]) / 2
        ends[i - 1], starts[i] = min(ends[i - 1], middle), max(starts[i], middle)
    return starts, ends


def _move_to_pauses(emissions: Emissions, peaks, starts: list[float], ends: list[float], check) -> None:
    """Moves starts and ends, in steps, to the ends of the pauses in the gaps before, between and after words."""
    energy = emissions.energy
    per_step = len(energy) // len(emissions)
    reach = round(REACH_SECONDS / emissions.step_seconds)
    gap_starts = [max(0, peaks[0][0] - reach), *(last_start for _, _, last_start, _ in peaks)]
    gap_ends = [*(first_end for _, first_end, _, _ in peaks), min(len(emissions), peaks[-1][3] + reach)]
    levels = [
        float(np.median(energy[first * per_step : last * per_step])) for first, _, _, last in _checked(peaks, check)
    ]
    for i, (gap_start, gap_end) in enumerate(_checked(zip(gap_starts, gap_ends, strict=True), check)):
        neighbours = levels[max(i - 1, 0) : i + 1]
        pause = _pause(energy[gap_start * per_step : gap_end * per_step], min(neighbours))
        if pause is None:
            continue
        if i > 0:
            ends[i - 1] = gap_start + pause[0] / per_step
        if i < len(peaks):
            starts[i] = gap_start + pause[1] / per_step


def _pause(gap: np.ndarray, level: float) -> tuple[int, int] | None:
    """The frames (from, before) of the pause in a gap between words of some level in dB, if there is one.

    It is the stretch that is quieter than the limit by most in all, so that a click does not break it.
    """
    padded = np.pad(gap, SMOOTHING_FRAMES // 2, mode="edge")
    smooth = np.convolve(padded, np.full(SMOOTHING_FRAMES, 1 / SMOOTHING_FRAMES), "valid")
    room = smooth[smooth > NO_SOUND_DB] if smooth.max() > NO_SOUND_DB else smooth
    quiet = max(float(np.percentile(room, QUIET_PERCENTILE)), level - MAX_DEPTH_DB)
    depth = level - quiet
    if depth < MIN_CONTRAST_DB:
        return None
    limit = quiet + PAUSE_LEVEL * depth
    quieter = np.clip(limit - gap, -depth, PAUSE_LEVEL * depth)
    total = np.concatenate([[0.0], np.cumsum(quieter)])
    end = int(np.argmax(total - np.minimum.accumulate(total)))
    return int(np.argmin(total[: end + 1])), end
