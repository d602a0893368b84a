"""Every change does what its name promises, and nothing when it is switched off."""

import numpy as np
import pytest
import soundfile

from train.data.augmentation import (
    CODECS,
    NO_AUGMENTATION,
    Augmentation,
    SpecAugment,
    change_pitch,
    change_speed,
    encode,
    mix,
    overdrive,
    reverberate,
    synthetic_noise,
    telephone,
)
from train.tools.audition import main

RATE = 16_000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype("float32")


def loudest_hertz(x):
    return np.abs(np.fft.rfft(x)).argmax() * RATE / len(x)


def no_babble():
    raise AssertionError("babble is off")


def test_off_means_unchanged(rng):
    samples = (tone(440) * 9000).astype(np.int16)
    assert NO_AUGMENTATION(samples, RATE, rng, no_babble) is samples
    assert set(NO_AUGMENTATION.draw_speeds(50, rng)) == {1.0}


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_changes_tempo_and_pitch_together(speed):
    faster = change_speed((tone(1000) * 9000).astype(np.int16), speed)
    assert len(faster) == pytest.approx(RATE / speed, abs=2)
    assert loudest_hertz(faster.astype("float32")) == pytest.approx(1000 * speed, rel=0.01)


@pytest.mark.parametrize("semitones", [-2.5, -1.0, 2.0])
def test_pitch_moves_the_voice_and_keeps_the_tempo(semitones):
    beats = tone(500, 2.0)
    beats[np.arange(len(beats)) % 8000 > 4000] = 0  # a quarter of a second on, a quarter off
    changed = change_pitch(beats, RATE, semitones)
    assert changed.dtype == np.float32 and len(changed) == len(beats)
    steady = change_pitch(tone(500), RATE, semitones)
    assert loudest_hertz(steady) == pytest.approx(500 * 2 ** (semitones / 12), rel=0.005)
    for at in (0, 8000, 16_000, 24_000):
        tone_part, rest = changed[at + 500 : at + 3500], changed[at + 4500 : at + 7500]
        assert np.abs(tone_part).max() == pytest.approx(1, abs=0.15) and np.abs(rest).max() < 0.05


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_codecs_lose_something_and_leave_it_in_its_place(codec, seconds):
    sweep = 0.5 * np.sin(2 * np.pi * np.cumsum(np.linspace(200, 3000, int(seconds * RATE))) / RATE).astype("float32")
    changed = encode(sweep, RATE, codec)
    assert changed.dtype == np.float32 and len(changed) == len(sweep)
    assert np.abs(changed - sweep).max() > 1e-3
    spectrum = np.fft.rfft(changed, 2 * RATE) * np.fft.rfft(sweep, 2 * RATE).conj()
    lag = (np.fft.irfft(spectrum).argmax() + RATE) % (2 * RATE) - RATE
    assert abs(lag) <= 0.002 * RATE
    assert np.corrcoef(changed, sweep)[0, 1] > 0.8


@pytest.mark.parametrize("snr_db", [0, 10, 25])
def test_noise_has_the_signal_to_noise_ratio_asked_for(rng, snr_db):
    clean = tone(440)
    noise = mix(clean, synthetic_noise(len(clean), RATE, rng), snr_db) - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.1)


def test_room_adds_a_decaying_tail_behind_the_direct_sound(rng):
    click = np.zeros(RATE, "float32")
    click[100] = 1
    changed = reverberate(click, RATE, rng)
    assert np.abs(changed[:100]).max() < 1e-6 and changed[100] == pytest.approx(1, abs=1e-3)
    early, late = np.mean(changed[200:1200] ** 2), np.mean(changed[5000:6000] ** 2)
    assert early > 10 * late


def test_telephone_keeps_one_kilohertz_and_loses_six():
    changed = telephone(tone(1000) + tone(6000), RATE)
    spectrum = np.abs(np.fft.rfft(changed))
    assert len(changed) == RATE and spectrum[6000] < 0.01 * spectrum[1000]


def test_an_overdriven_input_is_cut_off_at_full_scale():
    clipped = overdrive(0.01 * tone(440), 12)
    assert clipped.dtype == np.float32 and np.abs(clipped).max() == 1
    assert np.mean(np.abs(clipped) == 1) == pytest.approx(1 - 2 * np.arcsin(10 ** (-12 / 20)) / np.pi, abs=0.01)
    untouched = overdrive(tone(440), 0)
    assert np.allclose(untouched, tone(440) / np.abs(tone(440)).max(), atol=1e-6)


def test_gain_brings_the_peak_into_its_range(rng):
    quiet = Augmentation(speeds=(1.0,), noise=0, babble=0, room=0, band=0, gain=1.0, gain_dbfs=(-40, -40))
    changed = quiet((tone(440) * 30_000).astype(np.int16), RATE, rng, no_babble)
    assert np.abs(changed.astype(int)).max() == pytest.approx(32767 * 0.01, abs=2)


def test_everything_at_once_never_overflows(rng):
    full = Augmentation(noise=1.0, babble=1.0, room=1.0, band=1.0, gain=0.0, pitch=1.0, codec=1.0, clipping=1.0)
    loud = (tone(440) * 32_700).astype(np.int16)
    changed = full(loud, RATE, rng, lambda: loud[:5000])
    assert changed.dtype == np.int16 and len(changed) == len(loud)
    # A wrapped sample would jump by nearly the whole range.
    assert np.abs(np.diff(changed.astype(int))).max() < 60_000


def test_audition_writes_every_change_and_its_spectrogram(tmp_path, capsys):
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", 0.5 * tone(400 + 200 * number), RATE)
    out = tmp_path / "out"
    assert main([str(tmp_path / "0.wav"), str(tmp_path / "1.wav"), "--out", str(out)]) == 0
    files = {path.stem: soundfile.read(path)[0] for path in (out / "0").glob("*.wav")}
    assert len(files) == 12 + len(CODECS) - 1
    original = files.pop("as-it-is")
    for name, samples in files.items():
        assert len(samples) != len(original) or np.abs(samples - original).max() > 1e-3, name
    for folder in ("0", "1"):
        assert (out / folder / "spectrograms.png").read_bytes().startswith(b"\x89PNG")
    assert main([str(tmp_path / "gone.wav"), "--out", str(out)]) == 1
    assert "gone.wav" in capsys.readouterr().err


def test_spec_augment_masks_stripes_within_its_limits():
    features = np.ones((8, 100, 80), "float32")
    layer = SpecAugment(time_masks=1, time_fraction=0.1, frequency_masks=1, frequency_width=15)
    masked = np.asarray(layer(features, np.full(8, 100)))
    assert set(np.unique(masked)) <= {0.0, 1.0}
    for clip in masked:
        silent_frames, silent_bins = (clip.max(1) == 0).sum(), (clip.max(0) == 0).sum()
        assert silent_frames <= 10 and silent_bins <= 15
        assert (clip == 0).sum() == silent_frames * 80 + silent_bins * 100 - silent_frames * silent_bins
    assert (masked == 0).any()
    again = np.asarray(layer(features, np.full(8, 100)))
    assert not np.array_equal(masked, again), "every call draws again"
