"""What all front ends share: frames of samples, their number, and masks of valid positions."""

import numpy as np
from keras import ops


class Featurizer:
    """Base of the front ends: frames of `frame_samples` every `hop_samples`, with `bins` values each."""

    name: str
    sample_rate: int
    frame_samples: int
    hop_samples: int
    bins: int

    def frame_count(self, samples):
        """Number of frames of a number of samples, at least `frame_samples` (an int, an array or a tensor)."""
        return (samples - self.frame_samples) // self.hop_samples + 1

    def config(self) -> dict:
        """The arguments from which `make_featurizer` makes an equal front end."""
        return {"name": self.name, "sample_rate": self.sample_rate, "bins": self.bins}

    def _spectrum(self, samples):
        """Power spectrogram: [batch, n] -> float32 [batch, frames, fft_length // 2 + 1].

        Frames are cut and windowed here, since `keras.ops.stft` takes `fft_length` samples for every frame and
        therefore returns fewer frames.
        """
        frames = ops.extract_sequences(samples, self.frame_samples, self.hop_samples)
        return power_spectrum(frames * hann(self.frame_samples), self.fft_length)

    def _mask(self, features, lengths):
        """Mask float32 [batch, frames, 1], 1 for valid frames, and lengths in frames int32 [batch], at least 1."""
        frame_lengths = ops.maximum(self.frame_count(ops.cast(lengths, "int32")), 1)
        return length_mask(frame_lengths, ops.shape(features)[1]), frame_lengths


def length_mask(lengths, size):
    """Lengths int [batch] -> mask float32 [batch, size, 1], 1 for valid positions and 0 for padding."""
    positions = ops.arange(size, dtype="int32")
    return ops.expand_dims(ops.cast(positions < ops.expand_dims(ops.cast(lengths, "int32"), 1), "float32"), -1)


def power_spectrum(frames, fft_length):
    """Windowed frames [batch, frames, n] -> power [batch, frames, fft_length // 2 + 1]."""
    real, imaginary = ops.rfft(frames, fft_length)
    return ops.square(real) + ops.square(imaginary)


def hann(count: int) -> np.ndarray:
    """The periodic Hann window, float32 [count]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count)).astype("float32")
