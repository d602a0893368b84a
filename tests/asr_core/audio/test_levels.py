"""Samples beyond full scale, invalid samples, and recordings that are nearly silent or clipped."""

import io
import re

import numpy as np
import pytest
import soundfile
import soxr
from scipy.ndimage import maximum_filter1d

from asr_core.audio.levels import loudest
from asr_core.audio.loading import audio_from_array, load_audio
from asr_core.storage import DEFAULT_FOLDER

RATE = 16_000


def tone(seconds, level=0.5):
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def loaded(samples, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return load_audio(file.getvalue(), RATE)


class TestBeyondFullScale:
    @pytest.mark.parametrize("peak", [1.5, 12, 32_768, 2e9])
    def test_the_whole_is_scaled_by_its_peak_with_a_note(self, peak):
        samples = np.r_[tone(20, 0.01), tone(5, 0.5), tone(20, 1.0)]
        result = loaded(peak * samples)
        np.testing.assert_allclose(result.samples, samples / samples.max(), atol=1e-5)
        (note,) = result.notes
        reached = f"{peak * samples.max():,.4g}"
        assert note == f"The recording reaches {reached} where full scale is 1: it was scaled down as a whole."

    def test_another_rate_is_scaled_too(self):
        result = loaded(12 * tone(3, 1.0), 48_000)
        assert 0.98 < np.abs(result.samples).max() <= 1

    def test_a_little_more_than_full_scale_is_clipped(self):
        fading = tone(1, 1.1) * np.linspace(1, 0, RATE, dtype=np.float32)
        result = loaded(fading)
        np.testing.assert_array_equal(result.samples, np.clip(fading, -1, 1))
        assert result.notes == ()

    def test_full_scale_is_left_to_the_bit(self):
        np.testing.assert_array_equal(loaded(tone(1, 1.0)).samples, tone(1, 1.0))


class TestConstantPart:
    @pytest.mark.parametrize("offset", [0.003, -0.2])
    def test_is_removed(self, offset):
        speech = np.concatenate([np.zeros(RATE, np.float32), tone(2, 0.05), np.zeros(RATE, np.float32)])
        result = loaded(speech + np.float32(offset))
        np.testing.assert_allclose(result.samples, speech, atol=0.01)
        assert np.abs(result.samples[: RATE // 2]).max() < 1e-6

    def test_of_the_recorded_part_alone_leaves_silence_around_it(self):
        samples = np.concatenate([np.zeros(RATE), tone(2, 0.05) + 0.02, np.zeros(RATE)]).astype(np.float32)
        result = loaded(samples).samples
        assert abs(result[2 * RATE : 3 * RATE].mean()) < 1e-3 and np.abs(result[-RATE // 2 :]).max() < 1e-6

    def test_a_tiny_one_changes_nothing(self):
        samples = tone(1) + np.float32(0.001)
        np.testing.assert_array_equal(loaded(samples).samples, samples)


class TestBadSamples:
    @pytest.mark.parametrize("value", [17, -17, np.nan, np.inf, -np.inf, 1e30])
    def test_one_is_interpolated_with_a_note(self, value):
        samples = tone(3)
        samples[20_000] = value
        result = loaded(samples)
        np.testing.assert_allclose(result.samples, tone(3), atol=0.02)
        (note,) = result.notes
        assert note.startswith("The recording holds one sample that is not a number or far beyond full scale:")

    def test_some_are_counted(self):
        samples = tone(3)
        samples[[100, 101, 9_000, 30_000]] = np.nan
        result = loaded(samples)
        np.testing.assert_allclose(result.samples, tone(3), atol=0.05)
        assert "holds 4 samples that are not" in result.notes[0]

    def test_a_long_run_becomes_silence(self):
        samples = tone(3)
        samples[16_000:32_000] = np.nan
        result = loaded(samples)
        assert not result.samples[16_000:32_000].any() and "16,000 samples" in result.notes[0]

    def test_loud_recordings_keep_their_peaks(self):
        random = np.random.default_rng(0)
        pulses = np.zeros(3 * RATE, np.float32)
        pulses[::160] = 1
        samples = np.convolve(pulses, np.exp(-np.arange(160) / 20))[: 3 * RATE] * 12
        samples = (samples + 0.01 * random.standard_normal(len(samples))).astype(np.float32)
        assert not any("holds" in note for note in loaded(samples).notes)


class TestNearlySilent:
    @pytest.mark.parametrize("level", [-75, -90, -110])
    def test_has_a_note(self, level):
        (note,) = loaded(tone(3, 10 ** (level / 20))).notes
        assert note.startswith("The recording is nearly silent, ") and "dB below full scale" in note

    def test_has_a_note_whatever_click_it_holds(self):
        samples = tone(3, 1e-4)
        samples[100:200] = 0.9
        assert "nearly silent" in loaded(samples).notes[0]

    @pytest.mark.parametrize("samples", [tone(3, 10 ** (-55 / 20)), np.r_[np.zeros(60 * RATE), tone(0.5, 0.1)]])
    def test_quiet_or_rare_speech_has_no_note(self, samples):
        assert loaded(samples).notes == ()

    def test_the_loudest_part_is_no_single_click(self):
        assert loudest(np.r_[np.ones(100), 50.0], 0.02) == 1
        assert loudest(np.r_[np.ones(1000), np.full(30, 50.0)], 0.02) == 50


def example(name):
    return load_audio(DEFAULT_FOLDER.parent / "examples" / f"{name}.opus", RATE).samples


def overdriven(samples, factor):
    """A signal that reaches `factor` times full scale, as a 16-bit recording."""
    return (np.clip(factor * samples / np.abs(samples).max(), -1, 1) * 32_767).astype(np.int16)


class TestClipped:
    @pytest.mark.parametrize("name", ["joy", "letters", "library", "milton"])
    def test_overdriven_speech_has_a_note(self, name):
        (note,) = audio_from_array(overdriven(example(name), 30), RATE, RATE).notes
        share = r"with \d\d % of its audible samples at full scale"
        assert re.fullmatch(rf"The recording is clipped, {share}: record it again, quieter\.", note)

    def test_at_another_rate_and_between_pauses_it_has_a_note_too(self):
        speech = soxr.resample(example("milton"), RATE, 44_100)
        samples = np.r_[overdriven(speech, 30), np.zeros(882_000, np.int16)]
        assert "is clipped" in audio_from_array(samples, 44_100, RATE).notes[0]

    @pytest.mark.parametrize("name", ["joy", "letters", "library", "milton"])
    @pytest.mark.parametrize("milliseconds", [2, 20])
    def test_speech_that_a_limiter_holds_at_full_scale_has_none(self, name, milliseconds):
        speech = example(name)
        envelope = maximum_filter1d(np.abs(speech), milliseconds * RATE // 1000)
        limited = speech / np.maximum(envelope, 0.01)
        assert audio_from_array(limited, RATE, RATE).notes == ()

    @pytest.mark.parametrize("seconds", [1, 200])
    def test_music_as_loud_as_it_is_ever_mastered_and_a_pure_tone_have_none(self, seconds):
        """Loud music has a normal distribution; the loudest masters peak 4 dB above their level."""
        music = 10 ** (-4 / 20) * np.random.default_rng(0).standard_normal(seconds * RATE)
        assert audio_from_array(overdriven(music, np.abs(music).max()), RATE, RATE).notes == ()
        assert audio_from_array(overdriven(tone(seconds), 1), RATE, RATE).notes == ()
