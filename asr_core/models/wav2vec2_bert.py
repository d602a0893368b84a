"""Wav2Vec2-BERT: a Conformer over Kaldi's log-mel frames, 50 steps a second, with causal convolutions.

Many fine-tuned checkpoints end in an adapter, layers that halve the steps by strided convolutions. Every operation that
looks beyond one step masks the padding, which the original does not do in the adapter.
"""

from functools import partial

import keras
from keras import layers, ops

from asr_core.models.fastconformer import by_distance
from asr_core.models.network import CtcNetwork
from asr_core.models.parts import FeedForward, attend, ceil_half, depthwise, glu, masks, project_heads


class DistanceAttention(layers.Layer):
    """Masked self-attention with a learnt vector for each distance: [batch, steps, width], shape kept.

    The score of a query for a key is its product with the sum of the key and the vector of the distance between them,
    which is limited on both sides (Shaw et al., 2018, arXiv 1803.02155). The projection of the queries includes the
    factor 1 / sqrt(width of a head). The caller normalises the input.

    Args:
        left, right: greatest distance of keys before and after a query; both 0 for attention without positions.
    """

    def __init__(self, width, heads, left, right, dropout, **kwargs):
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the {heads} heads")
        self.heads, self.head_width, self.left, self.right = heads, width // heads, left, right
        self.project = layers.Dense(3 * width, name="project")
        self.merge = layers.Dense(width, name="merge")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        self.project.build(shape)
        self.merge.build(shape)
        if self.left or self.right:
            size = (self.left + self.right + 1, self.head_width)
            self.distances = self.add_weight(size, initializer="uniform", name="distances")

    def call(self, x, bias, training=False):
        """`x` is [batch, steps, width]; `bias` is [batch, 1, 1, steps], 0 for valid steps (see `masks`)."""
        query, key, value = project_heads(self.project, x, 3, self.heads)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        if self.left or self.right:
            scores = scores + self._distance_scores(query)
        return self.dropout(self.merge(attend(scores, bias, value)), training=training)

    def _distance_scores(self, query):
        """Products of the queries with the vectors of the distances to all keys: [batch, heads, steps, steps]."""
        steps = ops.shape(query)[2]
        products = ops.matmul(query, ops.transpose(ops.cast(self.distances, query.dtype)))
        columns = ops.clip(ops.arange(2 * steps, dtype="int32") - steps + 1, -self.left, self.right) + self.left
        return by_distance(ops.take(products, columns, axis=3))


class CausalConvolution(layers.Layer):
    """Gated pointwise, causal depthwise and pointwise convolution: [batch, steps, width] -> the same shape."""

    def __init__(self, width, kernel, epsilon, dropout, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.width = kernel, width
        self.normalise = layers.LayerNormalization(epsilon=epsilon, name="normalise")
        self.gate = layers.Dense(2 * width, use_bias=False, name="gate")
        self.normalise_inside = layers.LayerNormalization(epsilon=epsilon, name="normalise_inside")
        self.project = layers.Dense(width, use_bias=False, name="project")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        for layer in (self.normalise, self.gate, self.normalise_inside, self.project):
            layer.build(shape)
        uniform = keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")
        self.taps = self.add_weight((self.kernel_size, self.width), initializer=uniform, name="taps")

    def call(self, x, training=False):
        """No step sees a later one, and padding follows the valid steps: there is nothing to mask."""
        x = depthwise(glu(self.gate(self.normalise(x))), self.taps, self.kernel_size - 1)
        return self.dropout(self.project(ops.silu(self.normalise_inside(x))), training=training)


class Wav2Vec2BertBlock(layers.Layer):
    """Half a feed-forward module, attention, convolution, half a feed-forward module, and a layer normalisation."""

    def __init__(self, width, heads, inner, left, right, kernel, epsilon, dropout, **kwargs):
        super().__init__(**kwargs)
        feed_forward = partial(FeedForward, width, inner, dropout, epsilon=epsilon)
        self.feed_forward_in = feed_forward(name="feed_forward_in")
        self.normalise_attention = layers.LayerNormalization(epsilon=epsilon, name="normalise_attention")
        self.attention = DistanceAttention(width, heads, left, right, dropout, name="attention")
        self.convolution = CausalConvolution(width, kernel, epsilon, dropout, name="convolution")
        self.feed_forward_out = feed_forward(name="feed_forward_out")
        self.normalise = layers.LayerNormalization(epsilon=epsilon, name="normalise")

    def build(self, shape):
        for layer in (
            self.feed_forward_in, self.normalise_attention, self.attention, self.convolution, self.feed_forward_out,
            self.normalise,
        ):  # fmt: skip
            layer.build(shape)

    def call(self, x, bias, training=False):
        """`x` [batch, steps, width] -> the same shape; `bias` as `DistanceAttention` takes it."""
        x = x + 0.5 * self.feed_forward_in(x, training=training)
        x = x + self.attention(self.normalise_attention(x), bias, training=training)
        x = x + self.convolution(x, training=training)
        return self.normalise(x + 0.5 * self.feed_forward_out(x, training=training))


class AdapterLayer(layers.Layer):
    """A Transformer layer at half the rate: [batch, steps, width] -> [batch, ceil(steps / 2), width].

    Gated convolutions of stride 2 make both the input of the attention and the residual branch beside it.
    """

    def __init__(self, width, heads, inner, activation, epsilon, dropout, **kwargs):
        super().__init__(**kwargs)
        norm = partial(layers.LayerNormalization, epsilon=epsilon)
        self.normalise_residual = norm(name="normalise_residual")
        self.normalise_attention = norm(name="normalise_attention")
        self.pad = layers.ZeroPadding1D(1)
        self.residual = layers.Conv1D(2 * width, 3, strides=2, name="residual")
        self.shorten = layers.Conv1D(2 * width, 3, strides=2, name="shorten")
        self.attention = DistanceAttention(width, heads, 0, 0, dropout, name="attention")
        self.feed_forward = FeedForward(
            width, inner, dropout, epsilon=epsilon, activation=activation, name="feed_forward"
        )

    def build(self, shape):
        for layer in (
            self.normalise_residual, self.normalise_attention, self.residual, self.shorten, self.attention,
            self.feed_forward,
        ):  # fmt: skip
            layer.build(shape)

    def call(self, x, mask, bias, training=False):
        """`mask` [batch, steps, 1] is that of the input, `bias` [batch, 1, 1, ceil(steps / 2)] that of the output."""
        residual = glu(self.residual(self.pad(self.normalise_residual(x) * mask)))
        x = glu(self.shorten(self.pad(self.normalise_attention(x) * mask)))
        x = residual + self.attention(x, bias, training=training)
        return x + self.feed_forward(x, training=training)


@keras.saving.register_keras_serializable("asr_core")
class Wav2Vec2Bert(CtcNetwork):
    """Wav2Vec2-BERT encoder with a CTC head (Barrault et al., 2023, arXiv 2312.05187; `Wav2Vec2BertForCTC`).

    Args:
        bins: values in a feature frame.
        tokens: size of the alphabet, blank included.
        width: of the blocks' input and output.
        blocks: number of blocks.
        heads: attention heads of a block.
        inner: width inside the feed-forward modules.
        left, right: greatest distances, in steps, that the attention distinguishes before and after a step.
        kernel: taps of the convolution modules.
        adapters: number of adapter layers, each of which halves the steps.
        adapter_activation: inside their feed-forward modules, "relu", "gelu" or "silu".
        epsilon: added to the variance by layer normalisations.
        dropout: rate after every module, in training.

    Raises:
        ValueError: sizes that do not go together.
    """

    def __init__(
        self, bins, tokens, width=1024, blocks=24, heads=16, inner=4096, left=64, right=8, kernel=31, adapters=0,
        adapter_activation="relu", epsilon=1e-5, dropout=0.1, name="wav2vec2-bert", **kwargs,
    ):  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.sizes = {
            "bins": bins, "tokens": tokens, "width": width, "blocks": blocks, "heads": heads, "inner": inner,
            "left": left, "right": right, "kernel": kernel, "adapters": adapters,
            "adapter_activation": adapter_activation, "epsilon": epsilon, "dropout": dropout,
        }  # fmt: skip
        self.subsampling = 2**adapters  # feature frames per output step
        self.normalise_features = layers.LayerNormalization(epsilon=epsilon, name="normalise_features")
        self.project = layers.Dense(width, name="project")
        self.blocks = [
            Wav2Vec2BertBlock(width, heads, inner, left, right, kernel, epsilon, dropout, name=f"block_{i + 1}")
            for i in range(blocks)
        ]
        self.adapters = [
            AdapterLayer(width, heads, inner, adapter_activation, epsilon, dropout, name=f"adapter_{i + 1}")
            for i in range(adapters)
        ]
        self.head = layers.Dense(tokens, name="head")

    def build(self, features_shape=None, lengths_shape=None):
        bins, width = self.sizes["bins"], self.sizes["width"]
        self.normalise_features.build((None, None, bins))
        self.project.build((None, None, bins))
        for layer in (*self.blocks, *self.adapters, self.head):
            layer.build((None, None, width))
        self.built = True

    def logits(self, features, lengths, training=False, run=None):
        """Logits, and None: there is no phone head. `run(block, x, bias)` replaces the call of a block."""
        run = run or partial(Wav2Vec2BertBlock.__call__, training=training)
        x = self.project(self.normalise_features(features))
        mask, bias = masks(lengths, ops.shape(x)[1], x.dtype)
        x = x * mask
        for block in self.blocks:
            x = run(block, x, bias)
        for adapter in self.adapters:
            lengths = ceil_half(lengths)
            shorter_mask, bias = masks(lengths, ceil_half(ops.shape(x)[1]), x.dtype)
            x, mask = adapter(x, mask, bias, training=training), shorter_mask
        return self.head(x), None

    def output_lengths(self, frame_lengths):
        """Number of output steps for a number of frames, rounded up (an int, an array or a tensor)."""
        return -(-frame_lengths // self.subsampling)
