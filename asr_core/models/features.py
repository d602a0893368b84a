"""Samples -> features, in `keras.ops`: batched, with lengths, on the device of the network.

Three front ends of our own share one interface with those of `checkpoint_features.py`: `LogMel`, the default;
`KerasStft`, which networks in the manner of the Keras example are trained with; and `Waveform`, for networks over the
samples themselves. None pads the audio at its edges. Every valid frame lies inside the clip, so that padding a clip
never changes its valid frames.
"""

import math

import numpy as np
from keras import ops

from asr_core.errors import reason
from asr_core.models.checkpoint_features import KaldiLogMel, NemoLogMel
from asr_core.models.framing import Featurizer, length_mask


class LogMel(Featurizer):
    """Log-mel energies, each bin normalised to mean 0 and variance 1 over the valid frames of the clip.

    Energies are floored at 80 dB below the largest of the clip, so that the features do not depend on the gain of the
    recording. The mel scale is that of HTK; the filters are triangles in Hz, without area normalisation.

    Args:
        sample_rate: Hz.
        bins: number of mel bands between 0 Hz and half the sample rate.
        frame_seconds: length of a frame.
        hop_seconds: time from the start of a frame to that of the next.
    """

    name = "log-mel"
    DYNAMIC_RANGE = 1e-8  # ratio of power, 80 dB
    SILENCE = 1e-10  # power; lowest floor, for clips that are silent throughout

    def __init__(self, sample_rate=16_000, bins=80, frame_seconds=0.025, hop_seconds=0.010):
        self.sample_rate, self.bins = sample_rate, bins
        self.frame_seconds, self.hop_seconds = frame_seconds, hop_seconds
        self.frame_samples = round(frame_seconds * sample_rate)  # 400 at 16 kHz
        self.hop_samples = round(hop_seconds * sample_rate)  # 160 at 16 kHz
        self.fft_length = 2 ** math.ceil(math.log2(self.frame_samples))  # 512 at 16 kHz
        self.filters = mel_filters(sample_rate, self.fft_length, bins)

    def config(self):
        return super().config() | {"frame_seconds": self.frame_seconds, "hop_seconds": self.hop_seconds}

    def __call__(self, samples, lengths):
        """Features of a batch of clips.

        Args:
            samples: float32 [batch, n] in [-1, 1], at `sample_rate`; the padding may have any values.
            lengths: int32 [batch], valid samples of each clip.

        Returns:
            Features float32 [batch, frames, bins], zero in the padding, and lengths in frames int32 [batch].
        """
        energies = ops.matmul(self._spectrum(samples), self.filters)
        mask, frame_lengths = self._mask(energies, lengths)
        peak = ops.max(energies * mask, axis=(1, 2), keepdims=True)
        floor = ops.maximum(peak * self.DYNAMIC_RANGE, self.SILENCE)
        return normalise_bins(ops.log(ops.maximum(energies, floor)), mask), frame_lengths


class KerasStft(Featurizer):
    """The front end of the Keras example: square root of the STFT magnitude, each frame normalised.

    Frames of 256 samples every 160 samples, a periodic Hann window and an FFT of 384 samples, as in the Keras example
    "Automatic Speech Recognition using CTC". The example does not resample: the default rate is that of LJSpeech.
    """

    name = "keras-stft"
    frame_samples, hop_samples, fft_length = 256, 160, 384

    def __init__(self, sample_rate=22_050, bins=193):
        if bins != self.fft_length // 2 + 1:
            raise ValueError(f"keras-stft has {self.fft_length // 2 + 1} bins, not {bins}")
        self.sample_rate, self.bins = sample_rate, bins

    def __call__(self, samples, lengths):
        """The same interface as `LogMel.__call__`, with 193 bins."""
        spectrum = ops.power(self._spectrum(samples), 0.25)  # the square root of the magnitude
        mean = ops.mean(spectrum, axis=-1, keepdims=True)
        deviation = ops.std(spectrum, axis=-1, keepdims=True)
        mask, frame_lengths = self._mask(spectrum, lengths)
        return (spectrum - mean) / (deviation + 1e-10) * mask, frame_lengths


class Waveform(Featurizer):
    """The samples themselves, for networks that begin with convolutions over the waveform (wav2vec 2.0).

    Its lengths are in samples, from which such a network computes its output steps.

    Args:
        sample_rate: Hz.
        bins: 1.
        normalise: whether each clip is brought to mean 0 and variance 1 over its valid samples.
        frame_samples: samples that one output step of the network sees before its first attention.
        hop_samples: samples from one output step to the next.
        epsilon: added to the variance before its square root is divided by.
    """

    name = "waveform"

    def __init__(
        self, sample_rate=16_000, bins=1, normalise=True, frame_samples=400, hop_samples=320, epsilon=1e-7
    ):  # fmt: skip
        if bins != 1:
            raise ValueError(f"waveform has 1 bin, not {bins}")
        self.sample_rate, self.bins, self.normalise = sample_rate, bins, bool(normalise)
        self.frame_samples, self.hop_samples, self.epsilon = frame_samples, hop_samples, epsilon

    def config(self):
        return super().config() | {
            "normalise": self.normalise, "frame_samples": self.frame_samples, "hop_samples": self.hop_samples,
            "epsilon": self.epsilon,
        }  # fmt: skip

    def __call__(self, samples, lengths):
        """Samples float32 [batch, n], lengths int32 [batch] -> float32 [batch, n, 1], zero in the padding, lengths."""
        lengths = ops.maximum(ops.cast(lengths, "int32"), 1)
        samples, mask = ops.expand_dims(samples, -1), length_mask(lengths, ops.shape(samples)[1])
        if not self.normalise:
            return samples * mask, lengths
        count = ops.cast(ops.reshape(lengths, (-1, 1, 1)), "float32")
        centred = (samples - ops.sum(samples * mask, axis=1, keepdims=True) / count) * mask
        variance = ops.sum(ops.square(centred), axis=1, keepdims=True) / count
        return centred / ops.sqrt(variance + self.epsilon), lengths


def normalise_bins(features, mask):
    """Normalises each bin to mean 0 and variance 1 over the valid frames; padding becomes zero.

    Args:
        features: float32 [batch, frames, bins].
        mask: float32 [batch, frames, 1], 1 for valid frames.

    Returns:
        float32 [batch, frames, bins].
    """
    count = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
    mean = ops.sum(features * mask, axis=1, keepdims=True) / count
    centred = (features - mean) * mask
    variance = ops.sum(ops.square(centred), axis=1, keepdims=True) / count
    return centred / (ops.sqrt(variance) + 1e-3)


def mel_filters(sample_rate: int, fft_length: int, bins: int) -> np.ndarray:
    """Triangular filters on the HTK mel scale, 2595 log10(1 + f / 700): float32 [fft_length // 2 + 1, bins]."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bins + 2) / 2595) - 1)  # Hz
    frequencies = np.arange(fft_length // 2 + 1) * sample_rate / fft_length
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype("float32")


FEATURIZERS = {kind.name: kind for kind in (LogMel, KerasStft, Waveform, NemoLogMel, KaldiLogMel)}


def make_featurizer(config: dict):
    """The front end that the `featurizer` field of a bundle's `config.json` describes.

    Raises:
        ValueError: unknown name or parameter.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if name not in FEATURIZERS:
        raise ValueError(f"unknown featurizer {name!r}; there are {', '.join(FEATURIZERS)}")
    try:
        return FEATURIZERS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"featurizer {name}: {reason(error)}") from error
