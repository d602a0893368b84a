"""FastConformer, the network of the Parakeet checkpoints: a Conformer at an eighth of the frame rate.

A frame in eight becomes a step, 80 ms of audio, through convolutions over time and frequency of which all but the first
are depthwise-separable. Attention has the relative positions of Transformer-XL. Where the original normalises over the
batch, the statistics of training are part of the depthwise convolution here, so that no clip depends on the others.

Every operation that looks beyond one step masks the padding: a clip has the same logits alone and with longer clips.
"""

from functools import partial

import keras
from keras import layers, ops

from asr_core.models.framing import length_mask
from asr_core.models.network import CtcNetwork
from asr_core.models.parts import FeedForward, attend, ceil_half, depthwise, glu, masks, project_heads

EPSILON = 1e-5  # of all layer normalisations, as in PyTorch


class DepthwiseSubsampling(layers.Layer):
    """Convolutions of stride 2: [batch, frames, bins] -> [batch, ceil(frames / 2**halvings), width].

    The first convolves the features; each of the others convolves every channel by itself and mixes them afterwards.

    Args:
        channels: output channels of the convolutions.
        kernel: their size in frames and in bins, odd.
        halvings: number of convolutions.
        width: output width of the projection that follows them.
    """

    def __init__(self, channels, kernel, halvings, width, **kwargs):
        super().__init__(**kwargs)
        # Explicit padding on both sides: "same" would pad even and odd lengths differently.
        self.pad = layers.ZeroPadding2D(kernel // 2)
        self.first = layers.Conv2D(channels, kernel, strides=2, activation="relu", name="first")
        self.depthwise = [layers.DepthwiseConv2D(kernel, strides=2, name=f"depthwise_{i}") for i in range(1, halvings)]
        self.pointwise = [layers.Dense(channels, activation="relu", name=f"pointwise_{i}") for i in range(1, halvings)]
        self.project = layers.Dense(width, name="project")
        self.channels = channels

    def build(self, shape):
        bins = ceil_half(shape[-1])
        self.first.build((None, None, shape[-1], 1))
        for by_channel, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            by_channel.build((None, None, bins, self.channels))
            bins = ceil_half(bins)
            pointwise.build((None, None, bins, self.channels))
        self.project.build((None, None, bins * self.channels))

    def call(self, features, lengths):
        """Features [batch, frames, bins], lengths [batch] -> [batch, steps, width] and the lengths in steps [batch]."""
        x, lengths = self._masked(self.first(self.pad(ops.expand_dims(features, -1))), lengths)
        for by_channel, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            x, lengths = self._masked(pointwise(by_channel(self.pad(x))), lengths)
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        return self.project(ops.reshape(x, (batch, steps, x.shape[2] * x.shape[3]))), lengths

    @staticmethod
    def _masked(x, lengths):
        """The output of a convolution of stride 2 without its padding, and the halved lengths."""
        lengths = ceil_half(lengths)
        return x * ops.cast(ops.expand_dims(length_mask(lengths, ops.shape(x)[1]), -1), x.dtype), lengths


class RelativeAttention(layers.Layer):
    """Masked self-attention with the relative positions of Transformer-XL: [batch, steps, width], shape kept.

    The score of a query for a key is the sum of a product with the key and one with the projected distance between
    them, each with a bias of the query of its own (Dai et al., 2019, arXiv 1901.02860, section 3.3). The projection of
    the queries and both biases include the factor 1 / sqrt(width of a head).
    """

    def __init__(self, width, heads, dropout, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the {heads} heads")
        self.width, self.heads, self.head_width = width, heads, width // heads
        self.normalise = layers.LayerNormalization(epsilon=EPSILON, name="normalise")
        self.project = layers.Dense(3 * width, use_bias=use_bias, name="project")
        self.project_distances = layers.Dense(width, use_bias=False, name="project_distances")
        self.merge = layers.Dense(width, use_bias=use_bias, name="merge")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        for layer in (self.normalise, self.project, self.project_distances, self.merge):
            layer.build(shape)
        size = (self.heads, 1, self.head_width)
        self.content_bias = self.add_weight(size, initializer="zeros", name="content_bias")
        self.distance_bias = self.add_weight(size, initializer="zeros", name="distance_bias")

    def call(self, x, bias, distances, training=False):
        """
        Args:
            x: [batch, steps, width].
            bias: [batch, 1, 1, steps], 0 for valid steps and `MASKED_LOGIT` for padding.
            distances: encoded by `encoded_distances`, [2 * steps, width].
        """
        query, key, value = project_heads(self.project, self.normalise(x), 3, self.heads)
        (towards,) = project_heads(self.project_distances, distances[None], 1, self.heads)
        content = query + ops.cast(self.content_bias, x.dtype)
        relative = query + ops.cast(self.distance_bias, x.dtype)
        scores = ops.matmul(content, ops.transpose(key, (0, 1, 3, 2)))
        scores = scores + by_distance(ops.matmul(relative, ops.transpose(towards, (0, 1, 3, 2))))
        return self.dropout(self.merge(attend(scores, bias, value)), training=training)


class FoldedConvolution(layers.Layer):
    """Gated pointwise, masked depthwise and pointwise convolution over time: [batch, steps, width] -> the same shape.

    Batch normalisation with the statistics of training is a factor and an offset of each channel, which the taps and
    the bias of the depthwise convolution contain.
    """

    def __init__(self, width, kernel, dropout, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.width, self.kernel_size = width, kernel
        self.normalise = layers.LayerNormalization(epsilon=EPSILON, name="normalise")
        self.gate = layers.Dense(2 * width, use_bias=use_bias, name="gate")
        self.project = layers.Dense(width, use_bias=use_bias, name="project")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        for layer in (self.normalise, self.gate, self.project):
            layer.build(shape)
        uniform = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
        self.taps = self.add_weight((self.kernel_size, self.width), initializer=uniform, name="taps")
        self.taps_bias = self.add_weight((self.width,), initializer="zeros", name="taps_bias")

    def call(self, x, mask, training=False):
        """`x` is [batch, steps, width]; `mask` is [batch, steps, 1] in the dtype of `x`, 1 for valid steps."""
        x = depthwise(glu(self.gate(self.normalise(x))) * mask, self.taps, self.kernel_size // 2)
        return self.dropout(self.project(ops.silu(x + ops.cast(self.taps_bias, x.dtype))), training=training)


class FastConformerBlock(layers.Layer):
    """Half a feed-forward module, attention, convolution, half a feed-forward module, and a layer normalisation."""

    def __init__(self, width, heads, inner, kernel, attention_bias, convolution_bias, dropout, **kwargs):
        super().__init__(**kwargs)
        sizes = (width, inner, dropout, attention_bias)
        self.feed_forward_in = FeedForward(*sizes, epsilon=EPSILON, name="feed_forward_in")
        self.attention = RelativeAttention(width, heads, dropout, attention_bias, name="attention")
        self.convolution = FoldedConvolution(width, kernel, dropout, convolution_bias, name="convolution")
        self.feed_forward_out = FeedForward(*sizes, epsilon=EPSILON, name="feed_forward_out")
        self.normalise = layers.LayerNormalization(epsilon=EPSILON, name="normalise")

    def build(self, shape):
        for layer in (
            self.feed_forward_in, self.attention, self.convolution, self.feed_forward_out, self.normalise,
        ):  # fmt: skip
            layer.build(shape)

    def call(self, x, mask, bias, distances, training=False):
        """`x` [batch, steps, width] -> the same shape. Other arguments: see the modules."""
        x = x + 0.5 * self.feed_forward_in(x, training=training)
        x = x + self.attention(x, bias, distances, training=training)
        x = x + self.convolution(x, mask, training=training)
        return self.normalise(x + 0.5 * self.feed_forward_out(x, training=training))


@keras.saving.register_keras_serializable("asr_core")
class FastConformer(CtcNetwork):
    """FastConformer encoder with a CTC head (Rekesh et al., 2023, arXiv 2305.05084).

    Args:
        bins: values in a feature frame.
        tokens: size of the alphabet, blank included.
        width: of the blocks' input and output.
        blocks: number of blocks.
        heads: attention heads of a block.
        inner: width inside the feed-forward modules.
        kernel: taps of the convolution modules, odd.
        channels: of the subsampling convolutions.
        subsampling_kernel: their size in frames and in bins, odd.
        halvings: their number: a step is 2**halvings frames.
        attention_bias: whether attention and feed-forward modules add biases.
        convolution_bias: whether the pointwise parts of the convolution modules add biases.
        dropout: rate after every module, in training.

    Raises:
        ValueError: sizes that do not go together.
    """

    def __init__(
        self, bins, tokens, width=512, blocks=17, heads=8, inner=2048, kernel=9, channels=256, subsampling_kernel=3,
        halvings=3, attention_bias=True, convolution_bias=True, dropout=0.1, name="fastconformer", **kwargs,
    ):  # fmt: skip
        super().__init__(name=name, **kwargs)
        for name_of, value in (("kernel", kernel), ("subsampling_kernel", subsampling_kernel)):
            if value % 2 == 0:
                raise ValueError(f"{name_of} is odd, not {value}")
        self.sizes = {
            "bins": bins, "tokens": tokens, "width": width, "blocks": blocks, "heads": heads, "inner": inner,
            "kernel": kernel, "channels": channels, "subsampling_kernel": subsampling_kernel, "halvings": halvings,
            "attention_bias": attention_bias, "convolution_bias": convolution_bias, "dropout": dropout,
        }  # fmt: skip
        self.subsampling = 2**halvings  # feature frames per output step
        self.subsample = DepthwiseSubsampling(channels, subsampling_kernel, halvings, width, name="subsample")
        self.blocks = [
            FastConformerBlock(
                width, heads, inner, kernel, attention_bias, convolution_bias, dropout, name=f"block_{i + 1}"
            )
            for i in range(blocks)
        ]
        self.head = layers.Dense(tokens, name="head")

    def build(self, features_shape=None, lengths_shape=None):
        width = self.sizes["width"]
        self.subsample.build((None, None, self.sizes["bins"]))
        for block in self.blocks:
            block.build((None, None, width))
        self.head.build((None, None, width))
        self.built = True

    def logits(self, features, lengths, training=False, run=None):
        """Logits, and None: there is no phone head. `run(block, x, mask, bias, distances)` replaces a block's call."""
        run = run or partial(FastConformerBlock.__call__, training=training)
        x, lengths = self.subsample(features, lengths)
        steps = ops.shape(x)[1]
        mask, bias = masks(lengths, steps, x.dtype)
        distances = encoded_distances(steps, self.sizes["width"], x.dtype)
        for block in self.blocks:
            x = run(block, x, mask, bias, distances)
        return self.head(x), None

    def output_lengths(self, frame_lengths):
        """Number of output steps for a number of frames, rounded up (an int, an array or a tensor)."""
        return -(-frame_lengths // self.subsampling)


def encoded_distances(steps, width, dtype):
    """Sines and cosines in turn of the distances steps - 1, ..., -steps from a query to a key before it.

    Returns:
        [2 * steps, width]; the last distance does not occur and makes the rows of `by_distance` fit.
    """
    frequencies = 10_000.0 ** (-ops.arange(0, width, 2, dtype="float32") / width)
    distances = ops.cast(steps, "float32") - 1.0 - ops.arange(2 * steps, dtype="float32")
    angles = ops.expand_dims(distances, 1) * frequencies
    return ops.cast(ops.reshape(ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1), (2 * steps, width)), dtype)


def by_distance(scores):
    """Scores by distance -> scores by key: [batch, heads, steps, 2 * steps] -> [batch, heads, steps, steps].

    Column d of query i has the distance steps - 1 - d, hence key i - (steps - 1 - d). Leaving out the first
    steps - 1 values and cutting the others into rows that are one shorter moves each query's row by one column more
    than the row before it.
    """
    batch, heads, steps = ops.shape(scores)[0], scores.shape[1], ops.shape(scores)[2]
    row = 2 * steps - 1
    flat = ops.reshape(scores, (batch, heads, steps * 2 * steps))
    flat = flat[:, :, steps - 1 : steps - 1 + steps * row]
    return ops.reshape(flat, (batch, heads, steps, row))[:, :, :, :steps]
