"""The waveform changes of `train.data.augmentation` in `keras.ops`: on a GPU they take less time than the network.

Processes on the host make too few altered clips a second for a fast GPU. Here a batch is changed as a whole, after it
has been copied to the device: speed, room, noise, other voices, clipping, telephone band and gain. Pitch shifts and
codecs remain on the host.
"""

import dataclasses
import math

import keras
from keras import ops

from asr_core.models.framing import length_mask
from train.data.augmentation import Augmentation

TAPS = 16  # of the interpolation between samples
MAX_DECAY_SECONDS = 0.6  # longest reverberation time
FLOAT_ERROR = 0.05  # of a position in a clip of a minute, in samples


def host_part(augmentation: Augmentation) -> Augmentation:
    """The changes that remain on the host."""
    return dataclasses.replace(augmentation, noise=0, babble=0, room=0, band=0, gain=0, clipping=0)


def raw_size(size: int, augmentation: Augmentation) -> int:
    """Samples of a clip that fill `size` samples at the highest speed."""
    return math.ceil(size * max(augmentation.speeds))


class DeviceAugmentation(keras.layers.Layer):
    """Draws and applies changes to a batch, as `Augmentation` does to a clip.

    Args:
        augmentation: probabilities and ranges.
        sample_rate: Hz.
        seed: of the draws.
    """

    def __init__(self, augmentation: Augmentation, sample_rate: int, seed=0, **kwargs):
        super().__init__(dtype="float32", **kwargs)  # whatever the precision of the network
        self.augmentation, self.sample_rate = augmentation, sample_rate
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True  # it has no weights; otherwise Keras calls it on JAX with shapes that are not known

    def call(self, samples, lengths, speeds):
        """Changes a batch.

        Args:
            samples: float32 [batch, raw_size(n)], zero after each clip. n is even.
            lengths: int32 [batch], valid samples.
            speeds: float32 [batch], factors, one of `Augmentation.speeds` each.

        Returns:
            Samples float32 [batch, n], zero after each clip, and their lengths int32 [batch].
        """
        change = self.augmentation
        x, lengths = change_speeds(samples, lengths, speeds, max(change.speeds))
        mask = length_mask(lengths, ops.shape(x)[1])[:, :, 0]
        if change.room:
            x = self._sometimes(change.room, self._reverberate(x) * mask, x)
        if change.noise:
            x = self._sometimes(change.noise, self._mix(x, self._noise(x), mask, change.noise_snr), x)
        if change.babble:
            x = self._sometimes(change.babble, self._mix(x, ops.roll(x, 1, axis=0), mask, change.babble_snr), x)
        if change.clipping:
            driven = x * 10 ** (self._uniform(x, *change.clipping_db) / 20) / _peak(x)
            x = self._sometimes(change.clipping, ops.clip(driven, -1.0, 1.0), x)
        if change.band:
            x = self._sometimes(change.band, telephone(x, self.sample_rate) * mask, x)
        x = x / ops.maximum(_peak(x), 1.0)
        if change.gain:
            x = self._sometimes(change.gain, x * 10 ** (self._uniform(x, *change.gain_dbfs) / 20) / _peak(x), x)
        return ops.clip(x, -1.0, 1.0), lengths

    def _uniform(self, x, low=0.0, high=1.0, columns=1):
        """Draws from [low, high): float32 [batch, columns]."""
        return keras.random.uniform((ops.shape(x)[0], columns), low, high, seed=self.seed_generator)

    def _normal(self, x, count):
        return keras.random.normal((ops.shape(x)[0], count), seed=self.seed_generator)

    def _sometimes(self, probability: float, changed, x):
        """Rows of `changed` with this probability, of `x` otherwise."""
        return ops.where(self._uniform(x) < probability, changed, x)

    def _mix(self, x, disturbance, mask, snr):
        """Adds a disturbance at a signal-to-noise ratio drawn from the range `snr` (dB)."""
        disturbance = disturbance * mask
        power, other = (ops.sum(ops.square(signal), axis=1, keepdims=True) + 1e-12 for signal in (x, disturbance))
        return x + disturbance * ops.sqrt(power / other / 10 ** (self._uniform(x, *snr) / 10))

    def _noise(self, x):
        """Noise between white and brown, or mains hum with harmonics (20 %), as `augmentation.synthetic_noise`."""
        count = ops.shape(x)[1]
        white = self._normal(x, count)
        real, imaginary = ops.rfft(white)
        bins = ops.shape(real)[1]
        angle = math.pi * ops.arange(bins, dtype="float32") / ops.cast(bins - 1, "float32")
        pole = self._uniform(x, 0.0, 0.98)
        gain = 1 / ops.sqrt(1 - 2 * pole * ops.cos(angle) + ops.square(pole))  # of the filter 1 / (1 - pole / z)
        coloured = ops.irfft((real * gain, imaginary * gain))
        t = ops.arange(count, dtype="float32") / self.sample_rate
        base = ops.where(self._uniform(x) < 0.5, 50.0, 60.0)
        hum = sum(
            self._uniform(x) * ops.sin(2 * math.pi * base * harmonic * t + self._uniform(x, 0.0, 6.0))
            for harmonic in (1, 2, 3, 5)
        )
        return self._sometimes(0.2, hum + 0.2 * white, coloured)

    def _reverberate(self, x):
        """Exponentially decaying noise after the direct sound, as `augmentation.reverberate`."""
        size = 2 * math.ceil(MAX_DECAY_SECONDS * self.sample_rate / 2)
        t = ops.arange(size, dtype="float32") / self.sample_rate
        decay = self._uniform(x, 0.1, MAX_DECAY_SECONDS)
        tail = self._normal(x, size) * 10 ** (-3 * t / decay) * ops.cast(t < decay, "float32")
        level = 10 ** (-self._uniform(x, 0.0, 12.0) / 10)  # direct-to-reverberant ratio
        tail = tail * ops.sqrt(level / ops.sum(ops.square(tail), axis=1, keepdims=True))
        tail = ops.where(t < 0.002, 0.0, tail) + ops.cast(t == 0, "float32")
        return _convolve(x, tail, size)


def _convolve(x, response, size: int):
    """Convolves [batch, n] with [batch, size], both sizes even; returns the first n samples."""
    count = ops.shape(x)[1]
    (a, b), (c, d) = (
        ops.rfft(ops.concatenate([signal, ops.zeros((ops.shape(x)[0], more))], axis=1))
        for signal, more in ((x, size), (response, count))
    )
    return ops.irfft((a * c - b * d, a * d + b * c))[:, :count]


def telephone(x, sample_rate: int):
    """Removes what 8 kHz sampling cannot carry: float32 [batch, n], n even."""
    real, imaginary = ops.rfft(x)
    bins = ops.shape(real)[1]
    hertz = sample_rate / 2 * ops.arange(bins, dtype="float32") / ops.cast(bins - 1, "float32")
    keep = ops.clip((4000.0 - hertz) / 1000.0, 0.0, 1.0)  # as the resampler of the host: from 3 kHz on less and less
    return ops.irfft((real * keep, imaginary * keep))


def change_speeds(samples, lengths, speeds, fastest: float):
    """Plays every clip at a speed of its own, with the pitch, by interpolation with windowed sinc functions.

    Args:
        samples: float32 [batch, raw], zero after each clip.
        lengths: int32 [batch].
        speeds: float32 [batch].
        fastest: the highest speed that occurs in any batch.

    Returns:
        Samples float32 [batch, raw / fastest] and lengths int32 [batch].
    """
    raw = ops.shape(samples)[1]  # a number, but on TensorFlow a tensor where buckets share a graph
    if isinstance(raw, int):
        size = int(raw / fastest + FLOAT_ERROR)
    else:
        size = ops.cast(ops.floor(ops.cast(raw, "float32") / fastest + FLOAT_ERROR), "int32")
    speeds = ops.expand_dims(ops.cast(speeds, "float32"), 1)
    places = ops.arange(size)
    # Whole and fractional parts separately: a float32 cannot hold both for a clip of 20 seconds.
    thousand = places // 1000
    coarse = ops.cast(thousand, "float32") * (1000 * speeds)
    fine = ops.cast(places - 1000 * thousand, "float32") * speeds
    whole = ops.floor(coarse) + ops.floor(fine)
    fraction = (coarse - ops.floor(coarse)) + (fine - ops.floor(fine))
    cut = ops.minimum(1.0, 1.0 / speeds)  # of the bandwidth, against aliasing
    result = 0.0
    for tap in range(-TAPS // 2 + 1, TAPS // 2 + 2):
        index = ops.cast(whole, "int32") + tap
        distance = fraction - tap
        window = ops.where(ops.abs(distance) < TAPS / 2, ops.square(ops.cos(math.pi * distance / TAPS)), 0.0)
        inside = ops.logical_and(index >= 0, index < raw)
        value = ops.take_along_axis(samples, ops.clip(index, 0, raw - 1), axis=1) * ops.cast(inside, "float32")
        result = result + value * window * cut * _sinc(cut * distance)
    lengths = ops.minimum(ops.cast(ops.cast(lengths, "float32") / speeds[:, 0] + FLOAT_ERROR, "int32"), size)
    return result * length_mask(lengths, size)[:, :, 0], lengths


def _sinc(x):
    angle = math.pi * ops.where(ops.abs(x) < 1e-4, 1e-4, x)
    return ops.sin(angle) / angle


def _peak(x):
    """The highest absolute value of each row: float32 [batch, 1]."""
    return ops.max(ops.abs(x), axis=1, keepdims=True) + 1e-9
