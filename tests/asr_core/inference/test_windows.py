"""The windows of a recording, and that stitching them gives the same as one pass over the whole."""

import itertools

import numpy as np
import pytest

from asr_core.audio.speech_activity import WINDOW_SECONDS, level_changes
from asr_core.inference.stitching import SEAM_SECONDS, EmissionStitcher
from asr_core.inference.windows import ALIGNED_STEPS, OVERLAP_SECONDS, silent_steps, windows_of

RATE, STEP = 1000, 40  # samples a second and a step: 25 steps a second


def noise(seconds):
    """Audible from the first sample to the last."""
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype("float32")
    return samples + np.copysign(0.01, samples)


def spans(samples):
    return [(window.start / RATE, window.end / RATE) for window in windows_of(samples, RATE, STEP)]


def test_a_short_recording_is_one_window():
    assert spans(noise(0.1)) == [(0, 0.1)]
    assert spans(noise(WINDOW_SECONDS)) == [(0, WINDOW_SECONDS)]


@pytest.mark.parametrize("seconds", [12.04, 13, 19.99, 20.04, 60.013, 601.7])
def test_windows_cover_a_long_recording_and_overlap(seconds):
    windows = windows_of(noise(seconds), RATE, STEP)
    assert windows[0].start == 0
    assert windows[-1].end == round(seconds * RATE)
    for before, after in zip(windows, windows[1:], strict=False):
        assert before.end - after.start >= OVERLAP_SECONDS * RATE
        assert before.start < after.start
    for window in windows:
        assert window.start == window.start_step * STEP  # the recording begins with an audible sample
        assert abs(window.end - window.start - WINDOW_SECONDS * RATE) < ALIGNED_STEPS * STEP
        assert window.start_step % ALIGNED_STEPS == 0


def test_no_more_windows_than_needed():
    hop = WINDOW_SECONDS - OVERLAP_SECONDS
    assert len(windows_of(noise(WINDOW_SECONDS + hop - 0.5), RATE, STEP)) == 2
    assert len(windows_of(noise(WINDOW_SECONDS + hop + 0.5), RATE, STEP)) == 3


def test_digital_silence_is_left_out():
    samples = np.concatenate([np.zeros(30 * RATE, "float32"), noise(4), np.zeros(600 * RATE, "float32"), noise(2)])
    assert spans(samples) == [(30, 34), (634, 636)]
    assert spans(samples[:30_000]) == []


def test_a_clip_is_cut_alike_wherever_it_stands():
    clip = np.concatenate([np.zeros(333, "float32"), noise(4), np.zeros(250, "float32")])
    long = np.zeros(600 * RATE, "float32")
    long[123_456:][: len(clip)] = clip
    (alone,), (inside,) = windows_of(clip, RATE, STEP), windows_of(long, RATE, STEP)
    np.testing.assert_array_equal(clip[alone.start : alone.end], long[inside.start : inside.end])
    assert inside.start_step == round((123_456 + 333) / STEP)


def test_a_pause_is_no_silence():
    samples = np.concatenate([noise(3), np.zeros(RATE // 2, "float32"), noise(3)])
    assert spans(samples) == [(0, 6.5)]


def log_probs_of(steps, tokens=5):
    """Log-probabilities as of a network: rows that differ from step to step."""
    rng = np.random.default_rng(1)
    return np.log(rng.dirichlet(np.ones(tokens), steps)).astype("float32")


def stitched(samples, network):
    """The windows of a recording stitched together, with the log-probabilities `network(window)`."""
    stitcher = EmissionStitcher(-(-len(samples) // STEP), 5, round(SEAM_SECONDS * RATE / STEP))
    for window in windows_of(samples, RATE, STEP):
        stitcher.add(window.start_step, network(window))
    return stitcher.log_probs


@pytest.mark.parametrize("seconds", [3, 47.32, 120])
def test_stitched_windows_equal_the_whole(seconds):
    whole = log_probs_of(-(-round(seconds * RATE) // STEP))
    log_probs = stitched(noise(seconds), lambda w: whole[w.start_step : -(-w.end // STEP)])
    np.testing.assert_array_equal(log_probs, whole)


def test_the_edges_of_a_window_do_not_count():
    samples = noise(100)
    whole = log_probs_of(len(samples) // STEP)

    def network(window):
        log_probs = whole[window.start_step : window.end // STEP].copy()
        edge = round((OVERLAP_SECONDS / 2 - SEAM_SECONDS) * RATE / STEP)
        if window.start > 0:
            log_probs[:edge] = 7
        if window.end < len(samples):
            log_probs[-edge:] = 7
        return log_probs

    np.testing.assert_array_equal(stitched(samples, network), whole)


def test_the_seam_lies_where_both_windows_are_silent():
    """Two windows disagree by a step about one character; it is written once all the same."""
    samples = noise(1.5 * WINDOW_SECONDS)
    first, second = windows_of(samples, RATE, STEP)
    middle = (second.start + first.end) // 2 // STEP  # of the overlap

    def network(window):
        log_probs = np.full(((window.end - window.start) // STEP, 5), np.log(0.001), "float32")
        log_probs[:, 0] = np.log(0.996)
        at = middle - window.start_step + (window == first)
        log_probs[at, 0], log_probs[at, 3] = np.log(0.001), np.log(0.996)
        return log_probs

    best = stitched(samples, network).argmax(axis=1)
    assert list(best[best > 0]) == [3]


def test_silence_is_surely_blank():
    log_probs = stitched(np.zeros(5 * RATE, "float32"), None)
    assert (log_probs.argmax(axis=1) == 0).all()
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-6)


def test_a_silence_between_utterances_ends_a_word():
    samples = np.concatenate([noise(4), np.zeros(2 * RATE, "float32"), noise(30)])
    windows = windows_of(samples, RATE, STEP)
    assert silent_steps(windows, STEP) == [125]  # 5 s, and none where windows overlap
    stitcher = EmissionStitcher(len(samples) // STEP, 5, 0)
    stitcher.insert_word_boundaries([125], space=4)
    assert list(np.flatnonzero(stitcher.log_probs.argmax(axis=1) == 4)) == [125]
    np.testing.assert_allclose(np.exp(stitcher.log_probs).sum(axis=1), 1, atol=1e-5)


def voices(*levels, seconds=3.0, pause=0.8, hiss=1e-3):
    """Noise of each of these levels, and a pause of faint noise after each."""
    random = np.random.default_rng(2)
    parts = []
    for level in levels:
        parts += [random.normal(0, level, round(seconds * RATE)), random.normal(0, hiss, round(pause * RATE))]
    return np.concatenate(parts).astype("float32")


def test_a_quiet_voice_and_a_loud_one_share_no_window():
    samples = voices(0.01, 0.01, 0.1, 0.1, 0.1, 0.02)
    changes = [(3.8 * number - 0.4) * RATE for number in (2, 5)]  # the middles of two pauses
    np.testing.assert_allclose(level_changes(samples, RATE), changes, atol=0.2 * RATE)
    windows = windows_of(samples, RATE, STEP)
    starts = np.array([window.start for window in windows])
    for change in changes:
        assert min(abs(starts - change)) <= 0.2 * RATE + ALIGNED_STEPS * STEP
        assert not any(window.start < change - RATE < change + RATE < window.end for window in windows)
    assert all(window.start == window.start_step * STEP for window in windows)
    assert windows[0].start == 0 and windows[-1].end > len(samples) - STEP
    assert all(after.start <= before.end for before, after in itertools.pairwise(windows))


@pytest.mark.parametrize(
    "samples",
    [
        voices(0.1, 0.1, 0.11, 0.09, 0.1),  # one voice
        voices(0.1, 0.03, 0.1, 0.03, pause=0.3),  # no pause is long enough
        voices(0.1, 0.06, 0.1, 0.06, hiss=0.06),  # or sure to be one, as loud as a voice
        noise(30),
    ],
)
def test_without_a_change_of_level_there_is_no_cut(samples):
    assert level_changes(samples, RATE) == []


def test_a_short_recording_is_one_window_whatever_its_levels():
    samples = voices(0.1, 0.01, 0.1)
    assert level_changes(samples, RATE)
    assert len(samples) < WINDOW_SECONDS * RATE
    assert len(windows_of(samples, RATE, STEP)) == 1


def test_a_quiet_recording_is_cut_like_a_loud_one():
    """Until it is lost in the steps of 16-bit sound."""
    rng = np.random.default_rng(0)
    loud = np.concatenate([np.zeros(RATE), rng.uniform(-0.01, 0.01, RATE), rng.uniform(-1, 1, RATE), np.zeros(RATE)])
    (window,) = windows_of(loud.astype(np.float32), RATE, STEP)
    assert (window.start, window.end) == pytest.approx((RATE, 3 * RATE), abs=20)
    for gain in 0.1, 0.02:
        quiet = np.round(loud * gain * 32767) / 32768
        (cut,) = windows_of(quiet.astype(np.float32), RATE, STEP)
        assert (cut.start, cut.end) == pytest.approx((window.start, window.end), abs=20)
    dither = np.round(rng.uniform(-1, 1, 4 * RATE)) / 32768
    assert windows_of(dither.astype(np.float32), RATE, STEP) == []


def room(seconds):
    """The noise of a room, 40 dB below `noise`: no silence, but nobody speaks."""
    return noise(seconds) / 100


def test_background_noise_around_utterances_is_left_out_but_for_a_margin():
    samples = np.concatenate([room(3), noise(4), room(5), noise(3), room(2)])
    first, second = spans(samples)
    assert first == pytest.approx((3 - 0.4, 7 + 0.4), abs=0.06)
    assert second == pytest.approx((12 - 0.4, 15 + 0.4), abs=0.06)


@pytest.mark.parametrize("pause", [0.3, 1.4])
def test_a_short_pause_in_a_noisy_room_parts_nothing(pause):
    samples = np.concatenate([room(0.5), noise(3), room(pause), noise(3), room(0.5)])
    assert spans(samples) == [(0, pytest.approx(len(samples) / RATE))]


def test_a_far_voice_between_near_ones_is_no_noise():
    samples = np.concatenate([room(2), noise(3), room(2), noise(2) / 10, room(2), noise(3), room(2)])
    assert [end - start for start, end in spans(samples)] == pytest.approx([3.8, 2.8, 3.8], abs=0.1)


def test_noise_alone_is_one_window():
    assert spans(room(6)) == [(0, 6)]


def talk(seconds, level=0.3):
    """Noise in syllables above a hiss, 20 dB from quiet to loud."""
    random = np.random.default_rng(4)
    time = np.arange(round(seconds * RATE)) / RATE
    syllables = np.maximum(np.sin(2 * np.pi * 2 * time), 0.1)
    return (level * syllables * random.uniform(-1, 1, len(time))).astype("float32")


def with_burst(samples, at, seconds, level=0.99):
    burst = np.full(round(seconds * RATE), level, "float32")
    return np.concatenate([samples[: round(at * RATE)], burst, samples[round(at * RATE) :]])


@pytest.mark.parametrize("seconds", [0.02, 0.3])
@pytest.mark.parametrize("at", [0, 5, 10])
def test_a_burst_far_above_the_speech_is_left_out_and_the_speech_is_not(at, seconds):
    found = spans(with_burst(talk(10, 0.02), at, seconds))
    covered = sum(end - start for start, end in found)
    assert covered == pytest.approx(10, abs=0.15)
    assert all(end <= at + 0.05 or start >= at + seconds - 0.05 for start, end in found)


def test_a_long_burst_has_a_window_of_its_own():
    expected = [(0, 5), (5, 6), (6, 11)]
    np.testing.assert_allclose(spans(with_burst(talk(10, 0.02), 5, 1)), expected, atol=0.05)


def test_a_loud_syllable_is_no_burst():
    samples = talk(10, 0.1)
    samples[5000:5300] *= 5
    assert len(spans(samples)) == 1


def test_a_word_in_noise_is_no_burst():
    samples = noise(10) * 0.01
    samples[4000:4500] *= 60
    assert not any(1 < start < 5 for start, _ in spans(samples)[1:])


def test_a_click_does_not_raise_the_limit_of_silence():
    samples = np.concatenate([noise(3) * 0.002, np.zeros(2 * RATE, "float32")])
    alone = spans(samples)
    samples[-1] = 1
    assert spans(samples)[0] == alone[0] == (0, 3)
