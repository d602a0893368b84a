"""The front ends: equal to their references, and unchanged by padding and gain."""

import librosa
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from asr_core.models.checkpoint_features import KaldiLogMel, NemoLogMel
from asr_core.models.features import KerasStft, LogMel, make_featurizer


@pytest.fixture
def audio():
    return (np.random.default_rng(0).standard_normal((2, 8000)) * 0.1).astype("float32")


def example_features(samples):
    """The front end as the Keras example has it."""
    spectrum = tf.signal.stft(samples, frame_length=256, frame_step=160, fft_length=384)
    spectrum = tf.math.pow(tf.abs(spectrum), 0.5)
    means = tf.math.reduce_mean(spectrum, -1, keepdims=True)
    deviations = tf.math.reduce_std(spectrum, -1, keepdims=True)
    return (spectrum - means) / (deviations + 1e-10)


@pytest.mark.parametrize("samples", [256, 415, 416, 8000])
def test_keras_stft_has_the_frames_and_values_of_the_example(audio, samples):
    expected = example_features(audio[:, :samples])
    features, lengths = KerasStft()(audio[:, :samples], np.full(2, samples))
    assert features.shape == expected.shape
    assert list(lengths) == [expected.shape[1]] * 2
    np.testing.assert_allclose(features, expected, atol=2e-4)


def test_log_mel_equals_librosa(audio):
    # librosa centres the window in its 512 samples, and so needs 56 more on either side.
    energies = librosa.feature.melspectrogram(
        y=np.pad(audio[0], 56), sr=16_000, n_fft=512, win_length=400, hop_length=160, center=False, htk=True,
        norm=None, n_mels=80,
    )  # fmt: skip
    expected = np.log(np.maximum(energies, energies.max() * 1e-8)).T
    expected = (expected - expected.mean(0)) / (expected.std(0) + 1e-3)
    features, lengths = LogMel()(audio[:1], np.array([8000]))
    assert int(lengths[0]) == len(expected) == (8000 - 400) // 160 + 1
    np.testing.assert_allclose(features[0], expected, atol=2e-3)


@pytest.mark.parametrize("samples", range(400, 1000, 37))
def test_log_mel_has_as_many_frames_as_its_lengths_state(audio, samples):
    features, lengths = LogMel()(audio[:, :samples], np.full(2, samples))
    assert features.shape[1] == int(lengths[0]) == LogMel().frame_count(samples)


@pytest.mark.parametrize("featurizer", [LogMel(), KerasStft(), NemoLogMel(), KaldiLogMel()], ids=lambda f: f.name)
@pytest.mark.parametrize("samples", [5003, 5100, 5199])
def test_padding_never_changes_the_valid_part(featurizer, samples, audio):
    lengths = np.array([8000, samples])
    batch, frames = featurizer(audio, lengths)
    alone, alone_frames = featurizer(audio[1:, :samples], lengths[1:])
    valid = int(frames[1])
    assert valid == int(alone_frames[0]) == featurizer.frame_count(samples)
    np.testing.assert_allclose(batch[1, :valid], alone[0], atol=1e-4)
    assert np.all(ops.convert_to_numpy(batch[1, valid:]) == 0)


def test_log_mel_does_not_depend_on_the_gain(audio):
    loud, _ = LogMel()(audio, np.full(2, 8000))
    quiet, _ = LogMel()(audio * 0.01, np.full(2, 8000))
    np.testing.assert_allclose(loud, quiet, atol=1e-3)


def test_log_mel_of_silence_is_zero():
    features, _ = LogMel()(np.zeros((1, 4000), "float32"), np.array([4000]))
    assert np.abs(ops.convert_to_numpy(features)).max() < 0.01


def test_a_tone_lands_in_its_band():
    t = np.arange(8000) / 16_000
    audio = np.sin(2 * np.pi * 1000 * t).astype("float32")[None]
    audio[0, 4000:] = 0
    features, _ = LogMel()(audio, np.array([8000]))
    band = int(np.argmax(np.mean(features[0, :20], axis=0) - np.mean(features[0, 30:], axis=0)))
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82) / 2595) - 1)
    assert edges[band] < 1000 < edges[band + 2]


def test_configuration_makes_the_same_front_end():
    for featurizer in (LogMel(bins=40, hop_seconds=0.02), KerasStft(16_000), NemoLogMel(bins=40), KaldiLogMel(bins=40)):
        assert make_featurizer(featurizer.config()).config() == featurizer.config()
    with pytest.raises(ValueError, match="unknown featurizer 'mfcc'; there are log-mel, keras-stft"):
        make_featurizer({"name": "mfcc"})
    with pytest.raises(ValueError, match="featurizer log-mel: window is not known"):
        make_featurizer({"name": "log-mel", "window": "hann"})
