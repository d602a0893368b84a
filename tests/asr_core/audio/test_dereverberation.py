"""Late reverberation is taken out of recordings that have it, and dry ones are left as they are."""

import numpy as np
import pytest

from asr_core.audio.dereverberation import dereverberated
from asr_core.audio.loading import load_audio
from asr_core.bundle.loading import DEFAULT_FOLDER

RATE = 16_000
EXAMPLE = DEFAULT_FOLDER.parent / "examples" / "library.opus"


def speech(rate=RATE):
    return load_audio(EXAMPLE, rate).samples[: 6 * rate]


def in_a_room(samples, rate=RATE, seconds=0.5):
    """A room that takes `seconds` for 60 dB, the direct sound as strong as the rest."""
    times = np.arange(int(seconds * rate)) / rate
    tail = np.random.default_rng(0).standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return np.convolve(samples, tail)[: len(samples)].astype(np.float32)


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
def test_less_of_the_room_is_left(rate):
    dry = speech(rate)
    reverberant = in_a_room(dry, rate)
    result = dereverberated(reverberant, rate)
    assert result.shape == dry.shape
    assert result.dtype == np.float32
    assert decibels(result - dry) < decibels(reverberant - dry) - 1.0, "it is nearer to the dry speech"


def test_a_sound_that_has_ended_fades_sooner():
    noise = np.random.default_rng(1).standard_normal(4 * RATE).astype(np.float32) * 0.1
    bursts = noise * (np.arange(4 * RATE) // (RATE // 4) % 2)  # a quarter of a second each, and pauses as long
    after = np.concatenate([np.arange(int(0.05 * RATE), int(0.2 * RATE)) + k * RATE // 2 for k in range(2, 8)])
    reverberant = in_a_room(bursts)
    assert decibels(dereverberated(reverberant, RATE)[after]) < decibels(reverberant[after]) - 2


def test_a_dry_recording_is_left_as_it_is():
    dry = speech()
    assert dereverberated(dry, RATE) is dry


@pytest.mark.parametrize("seconds", [0, 0.01, 0.09, 0.5, 1])
def test_short_and_silent_recordings_stay(seconds):
    silence = np.zeros(int(seconds * RATE), np.float32)
    np.testing.assert_array_equal(dereverberated(silence, RATE), silence)
    sound = in_a_room(speech()[: len(silence)]) if len(silence) else silence
    assert dereverberated(sound, RATE).shape == sound.shape


def test_a_constant_and_a_tone_stay_finite():
    for sound in (np.full(RATE, 0.5, np.float32), np.sin(np.arange(RATE) * 0.3).astype(np.float32)):
        assert np.isfinite(dereverberated(sound, RATE)).all()


def test_a_small_room_counts_as_a_room():
    reverberant = in_a_room(speech(), seconds=0.3)
    assert dereverberated(reverberant, RATE) is not reverberant
