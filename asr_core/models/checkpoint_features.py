"""The log-mel front ends of the checkpoints of others, beside those of `features.py` and with the same interface.

`NemoLogMel` belongs to Parakeet's FastConformer, `KaldiLogMel` to Wav2Vec2-BERT. Frames look at the samples of their
own clip only, and each bin is normalised over the valid frames, with the deviation that divides by their number less
one.
"""

import numpy as np
from keras import ops

from asr_core.models.framing import Featurizer, length_mask, power_spectrum


class NemoLogMel(Featurizer):
    """Log-mel energies of NVIDIA's NeMo: frames centred on every tenth millisecond, Slaney's mel scale and areas.

    The samples are pre-emphasised; beyond the edges of a clip there is silence.

    Args:
        sample_rate: Hz.
        bins: number of mel bands between 0 Hz and half the sample rate.
        window_samples: length of the symmetric Hann window.
        hop_samples: from the centre of a frame to that of the next; the first frame is centred on the first sample.
        fft_length: in samples, at least `window_samples`.
        preemphasis: share of each sample that is subtracted from the next.
    """

    name = "nemo-log-mel"
    OFFSET = 2.0**-24  # power; added before the logarithm
    EPSILON = 1e-5  # added to the deviation

    def __init__(
        self, sample_rate=16_000, bins=80, window_samples=400, hop_samples=160, fft_length=512, preemphasis=0.97
    ):
        if fft_length < window_samples:
            raise ValueError(f"fft_length {fft_length} is less than the {window_samples} samples of the window")
        self.sample_rate, self.bins, self.hop_samples = sample_rate, bins, hop_samples
        self.window_samples, self.fft_length, self.preemphasis = window_samples, fft_length, preemphasis
        self.frame_samples = hop_samples  # n samples have n // hop_samples frames
        self.window = np.hanning(window_samples).astype("float32")
        self.filters = slaney_filters(sample_rate, fft_length, bins)

    def config(self):
        return super().config() | {
            "window_samples": self.window_samples, "hop_samples": self.hop_samples, "fft_length": self.fft_length,
            "preemphasis": self.preemphasis,
        }  # fmt: skip

    def __call__(self, samples, lengths):
        """The same interface as `LogMel.__call__`."""
        samples = samples - self.preemphasis * ops.pad(samples, [[0, 0], [1, 0]])[:, :-1]
        samples = samples * length_mask(lengths, ops.shape(samples)[1])[:, :, 0]
        before = self.window_samples // 2
        samples = ops.pad(samples, [[0, 0], [before, self.window_samples - before]])
        frames = ops.extract_sequences(samples, self.window_samples, self.hop_samples)[:, :-1]
        energies = ops.matmul(power_spectrum(frames * self.window, self.fft_length), self.filters)
        mask, frame_lengths = self._mask(energies, lengths)
        features = ops.log(energies + self.OFFSET)
        mean, variance = moments(features, mask)
        return (features - mean) / (ops.sqrt(variance) + self.EPSILON) * mask, frame_lengths


class KaldiLogMel(Featurizer):
    """Log-mel energies of Kaldi as Wav2Vec2-BERT takes them, neighbouring frames joined.

    Frames of 25 ms every 10 ms, each without its mean and pre-emphasised by itself, a Povey window, and triangular
    filters on the mel scale 1127 ln(1 + f / 700) above 20 Hz. A feature frame is `stride` of these; what remains at
    the end of a clip is left out.

    Args:
        sample_rate: Hz; windows and hops are 400 and 160 samples at any rate.
        bins: number of mel bands, times `stride`.
        stride: frames that are joined to one.
    """

    name = "kaldi-log-mel"
    WINDOW, HOP, FFT_LENGTH = 400, 160, 512  # samples
    PREEMPHASIS = 0.97
    FULL_SCALE = 2.0**15  # Kaldi's samples are 16-bit integers
    FLOOR = 2.0**-23  # power
    EPSILON = 1e-7  # added to the variance

    def __init__(self, sample_rate=16_000, bins=160, stride=2):
        if stride < 1 or bins % stride:
            raise ValueError(f"{bins} bins are not {stride} frames of equal size")
        self.sample_rate, self.bins, self.stride = sample_rate, bins, stride
        self.frame_samples = self.WINDOW + (stride - 1) * self.HOP
        self.hop_samples = stride * self.HOP
        self.window = (np.hanning(self.WINDOW) ** 0.85).astype("float32")
        self.filters = kaldi_filters(sample_rate, self.FFT_LENGTH, bins // stride)

    def config(self):
        return super().config() | {"stride": self.stride}

    def __call__(self, samples, lengths):
        """The same interface as `LogMel.__call__`."""
        frames = ops.extract_sequences(samples * self.FULL_SCALE, self.WINDOW, self.HOP)
        frames = frames - ops.mean(frames, axis=-1, keepdims=True)
        earlier = ops.concatenate([frames[:, :, :1], frames[:, :, :-1]], axis=-1)
        frames = (frames - self.PREEMPHASIS * earlier) * self.window
        energies = ops.matmul(power_spectrum(frames, self.FFT_LENGTH), self.filters)
        features = ops.log(ops.maximum(energies, self.FLOOR))
        count = ops.shape(features)[1]
        single = ops.maximum((ops.cast(lengths, "int32") - self.WINDOW) // self.HOP + 1, 1)
        mean, variance = moments(features, length_mask(single, count))
        features = (features - mean) / ops.sqrt(variance + self.EPSILON)
        joined = count // self.stride
        features = ops.reshape(features[:, : joined * self.stride], (ops.shape(features)[0], joined, self.bins))
        mask, frame_lengths = self._mask(features, lengths)
        return features * mask, frame_lengths


def moments(features, mask):
    """Mean and variance (n - 1) of each bin over the valid frames: two float32 [batch, 1, bins].

    Args:
        features: float32 [batch, frames, bins].
        mask: float32 [batch, frames, 1], 1 for valid frames.
    """
    count = ops.sum(mask, axis=1, keepdims=True)
    mean = ops.sum(features * mask, axis=1, keepdims=True) / ops.maximum(count, 1.0)
    squares = ops.sum(ops.square((features - mean) * mask), axis=1, keepdims=True)
    return mean, squares / ops.maximum(count - 1.0, 1.0)


def slaney_filters(sample_rate: int, fft_length: int, bins: int) -> np.ndarray:
    """Triangular filters of equal area on Slaney's mel scale: float32 [fft_length // 2 + 1, bins]."""
    from librosa.filters import mel  # imported here because it takes a while

    return np.ascontiguousarray(mel(sr=sample_rate, n_fft=fft_length, n_mels=bins).T, "float32")


def kaldi_filters(sample_rate: int, fft_length: int, bins: int) -> np.ndarray:
    """Filters above 20 Hz that are triangles over the mel scale of Kaldi: float32 [fft_length // 2 + 1, bins]."""

    def to_mel(frequency):
        return 1127 * np.log(1 + frequency / 700)

    edges = np.linspace(to_mel(20), to_mel(sample_rate // 2), bins + 2)
    mels = to_mel(np.arange(fft_length // 2 + 1) * sample_rate / fft_length)
    width = edges[1] - edges[0]
    return np.maximum(0, 1 - np.abs(mels[:, None] - edges[1:-1]) / width).astype("float32")
