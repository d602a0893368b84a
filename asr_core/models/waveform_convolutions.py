"""The convolutions of wav2vec 2.0 over the waveform: samples [batch, n, 1] -> [batch, steps, channels]."""

import math

import numpy as np
from keras import layers, ops

from asr_core.models.framing import length_mask

EPSILON = 1e-5  # of the normalisations between the convolutions, which no published network changes


def gelu_of_halves(z):
    """sqrt(2) GELU(sqrt(2) z), with the exact GELU, in three passes over memory instead of five.

    The factor sqrt(1/2) of its input and that of its output belong to the weights before and after it.
    """
    return z + z * ops.erf(z)


class ConvolutionStack(layers.Layer):
    """Convolutions without padding, each followed by GELU: samples [batch, n, 1] -> [batch, steps, channels].

    Args:
        channels, kernels, strides: one number for each convolution.
        bias: whether the convolutions have one. A first convolution that is normalised over time has none, because
            the normalisation removes it.
        group_norm: whether the first convolution is normalised over time; otherwise each is over its channels.
    """

    def __init__(self, channels, kernels, strides, bias, group_norm, **kwargs):
        super().__init__(**kwargs)
        if not channels or not len(channels) == len(kernels) == len(strides):
            raise ValueError("channels, kernels and strides have one number for each convolution")
        self.channels, self.kernels, self.strides, self.group_norm = channels, kernels, strides, group_norm
        sizes = list(zip(channels, kernels, strides, strict=True))
        self.convolutions = [
            layers.Conv1D(*size, use_bias=bias, name=f"convolution_{i}")
            for i, size in enumerate(sizes)
            if i or not group_norm
        ]
        if group_norm:
            self.first = NormalisedConvolution(*sizes[0], name="convolution_0")
        else:
            self.normalise = [
                layers.LayerNormalization(epsilon=EPSILON, name=f"normalise_{i}") for i in range(len(sizes))
            ]

    def build(self, shape):
        inputs = (1, *self.channels[:-1])
        if self.group_norm:
            self.first.build(shape)
            inputs = inputs[1:]
        for convolution, count in zip(self.convolutions, inputs, strict=True):
            convolution.build((None, None, count))
        if not self.group_norm:
            for norm, count in zip(self.normalise, self.channels, strict=True):
                norm.build((None, None, count))

    def call(self, x, lengths):
        """Samples [batch, n, 1], n at least the receptive field, lengths int32 [batch] -> [batch, steps, channels]."""
        if self.group_norm:
            x = gelu_of_halves(self.first(x, lengths))
            for convolution in self.convolutions:
                x = gelu_of_halves(convolution(x))
        else:
            for convolution, norm in zip(self.convolutions, self.normalise, strict=True):
                x = gelu_of_halves(norm(convolution(x)))
        return x * math.sqrt(0.5)

    def output_lengths(self, lengths):
        """Number of output steps for a number of samples, at least 1 (an int, an array or a tensor)."""
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            lengths = (lengths - kernel) // stride + 1
        return at_least_one(lengths)


class NormalisedConvolution(layers.Layer):
    """A convolution over the samples, each of its channels normalised over the valid steps of a clip.

    Mean and variance of every channel follow from those of the samples under a tap and their covariances. Both
    operations are therefore one product with a kernel that is computed for each clip, and the longest tensor of the
    network is written once. The covariances are computed in float64: a filter may pass a small part of the power only.

    Args:
        channels, kernel, stride: of the convolution.
    """

    def __init__(self, channels, kernel, stride, **kwargs):
        super().__init__(**kwargs)
        self.channels, self.taps, self.stride = channels, kernel, stride

    def build(self, shape):
        self.kernel = self.add_weight((self.taps, 1, self.channels), name="kernel")
        self.gamma = self.add_weight((self.channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight((self.channels,), initializer="zeros", name="beta")

    def call(self, x, lengths):
        """Samples [batch, n, 1], lengths int32 [batch] -> [batch, steps, channels]."""
        frames = ops.extract_sequences(x[..., 0], self.taps, self.stride)
        count = at_least_one((ops.cast(lengths, "int32") - self.taps) // self.stride + 1)
        mask = ops.cast(length_mask(count, ops.shape(frames)[1]), "float64")
        count = ops.cast(ops.reshape(count, (-1, 1, 1)), "float64")
        valid = ops.cast(frames, "float64") * mask
        mean = ops.sum(valid, axis=1, keepdims=True) / count  # [batch, 1, taps]
        centred = (valid - mean) * mask
        covariance = ops.matmul(ops.transpose(centred, (0, 2, 1)), centred) / count  # [batch, taps, taps]
        kernel = ops.cast(self.kernel[:, 0], "float64")
        variance = ops.sum(kernel * ops.matmul(covariance, kernel), axis=1, keepdims=True)
        scale = ops.cast(self.gamma, "float64") / ops.sqrt(variance + EPSILON)  # [batch, 1, channels]
        shift = ops.cast(self.beta, "float64") - ops.matmul(mean, kernel) * scale
        return ops.matmul(frames, ops.cast(kernel * scale, x.dtype)) + ops.cast(shift, x.dtype)


def at_least_one(lengths):
    """The larger of a length and 1: an int, an array or a tensor."""
    if isinstance(lengths, int):
        return max(lengths, 1)
    return np.maximum(lengths, 1) if isinstance(lengths, np.ndarray) else ops.maximum(lengths, 1)
