"""Start and end times of words, from the peaks of their tokens and the energy of the signal.

CTC predicts the order of tokens but not their extent: a token is a short peak somewhere within its phone, and between
peaks there is blank, be it speech or silence. So the peaks only bound the search for the boundary between two words;
the energy of the signal locates it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from asr_core.audio.energy import DIGITAL_SILENCE_DB
from asr_core.ctc import TokenSpan
from asr_core.decoding.confidence import confidence, step_entropy
from asr_core.decoding.word_spans import WordSpan, checked
from asr_core.emissions import Emissions

PAUSE_LEVEL = 0.2  # threshold of a pause, as a fraction of the way in dB from the noise floor to the words' level
QUIET_PERCENTILE = 5  # of smoothed frames between two words, for the noise floor; a minimum would be an outlier
SMOOTHING_FRAMES = 3  # length of the moving average for the noise floor
MAX_DEPTH_DB = 40.0  # of the noise floor below the words' level; anything below counts as this
MIN_CONTRAST_DB = 6.0  # between the words' level and the noise floor; with less there is no pause
REACH_SECONDS = 0.5  # that a word may extend beyond its peaks, at most
PEAK_MARGIN_SECONDS = 0.04  # that a token extends beyond its peak on either side, where no pause is found


def words_of(
    texts: Sequence[str],
    groups: Sequence[Sequence[TokenSpan]],
    emissions: Emissions,
    posterior: Sequence[float] | None = None,
    check: Callable[[], None] | None = None,
) -> tuple[WordSpan, ...]:
    """Words with their times and confidence features, from the spans of their tokens; `check` as for `word_times`."""
    peaks = [(group[0].start, group[-1].end) for group in groups]
    return tuple(
        WordSpan(text, start, end, confidence(emissions.log_probs, group), entropy, posterior)
        for text, group, (start, end), entropy, posterior in zip(
            texts,
            checked(groups, check),
            word_times(emissions, groups, check),
            step_entropy(emissions, peaks).tolist(),
            posterior or [None] * len(groups),
            strict=True,
        )
    )


def word_times(
    emissions: Emissions, words: Sequence[Sequence[TokenSpan]], check: Callable[[], None] | None = None
) -> list[tuple[float, float]]:
    """Start and end of each word, from the peaks of its tokens and the energy of the signal.

    Without energy, a word extends PEAK_MARGIN_SECONDS beyond its peaks, but at most to the middle between two words.
    Where the energy dips between two words there is a pause, and the words end and begin at its edges. A peak may lie
    inside the pause, because a network may emit a token after its phone has ended; so the search begins at the far
    side of both peaks. Words without a pause between them keep the times of their peaks.

    Args:
        emissions: of the recording, with energy or without.
        words: the spans of the tokens of each word, none of them empty.
        check: called before every CHECK_WORDS-th word, or None; an exception from it ends the work.

    Returns:
        (start, end) of each word, in seconds from the start of the recording.
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
    """Starts and ends of words in steps, from their peaks alone."""
    margin = PEAK_MARGIN_SECONDS / emissions.step_seconds
    starts = [max(0.0, first - margin) for first, _, _, _ in peaks]
    ends = [min(float(len(emissions)), last + margin) for _, _, _, last in peaks]
    for i in range(1, len(peaks)):
        middle = (peaks[i - 1][3] + peaks[i][0]) / 2
        ends[i - 1], starts[i] = min(ends[i - 1], middle), max(starts[i], middle)
    return starts, ends


def _move_to_pauses(emissions: Emissions, peaks, starts: list[float], ends: list[float], check) -> None:
    """Moves starts and ends, in steps, to the edges of the pauses before, between and after words."""
    energy = emissions.energy
    per_step = len(energy) // len(emissions)
    reach = round(REACH_SECONDS / emissions.step_seconds)
    gap_starts = [max(0, peaks[0][0] - reach), *(last_start for _, _, last_start, _ in peaks)]
    gap_ends = [*(first_end for _, first_end, _, _ in peaks), min(len(emissions), peaks[-1][3] + reach)]
    levels = [
        float(np.median(energy[first * per_step : last * per_step])) for first, _, _, last in checked(peaks, check)
    ]
    for i, (gap_start, gap_end) in enumerate(checked(zip(gap_starts, gap_ends, strict=True), check)):
        neighbours = levels[max(i - 1, 0) : i + 1]
        pause = _pause(energy[gap_start * per_step : gap_end * per_step], min(neighbours))
        if pause is None:
            continue
        if i > 0:
            ends[i - 1] = min(gap_start + pause[0] / per_step, peaks[i - 1][3] + reach)
        if i < len(peaks):  # noise that grows within a pause looks like the next word
            starts[i] = max(gap_start + pause[1] / per_step, peaks[i][0] - reach)


def _pause(gap: np.ndarray, level: float) -> tuple[int, int] | None:
    """The pause in the energy of a gap between words of a `level` in dB, as frames (start, end), or None.

    It is the interval with the largest sum of dB below the threshold, so that a click does not end it.
    """
    padded = np.pad(gap, SMOOTHING_FRAMES // 2, mode="edge")
    smooth = np.convolve(padded, np.full(SMOOTHING_FRAMES, 1 / SMOOTHING_FRAMES), "valid")
    audible = smooth[smooth > DIGITAL_SILENCE_DB] if smooth.max() > DIGITAL_SILENCE_DB else smooth
    noise_floor = max(float(np.percentile(audible, QUIET_PERCENTILE)), level - MAX_DEPTH_DB)
    depth = level - noise_floor
    if depth < MIN_CONTRAST_DB:
        return None
    threshold = noise_floor + PAUSE_LEVEL * depth
    below = np.clip(threshold - gap, -depth, PAUSE_LEVEL * depth)
    total = np.concatenate([[0.0], np.cumsum(below)])
    end = int(np.argmax(total - np.minimum.accumulate(total)))
    return int(np.argmin(total[: end + 1])), end
