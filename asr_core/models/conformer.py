"""The default network: a Conformer over log-mel features, with explicit length masks throughout.

Two strided convolutions bring 100 frames a second down to 25 steps. Optionally the inner blocks run at half that
rate again (pairs of steps are joined, and parted at the end), which halves their cost. English has 15 characters a
second, and 25 in quick syllables, which 25 steps with the blanks between them cannot hold: the head may part every
step once more. Every operation that looks beyond one step masks the padding, and every normalisation looks at
one step alone: a clip gives the same logits alone and in a batch of longer ones.
"""

from functools import partial

import keras
from keras import layers, ops

from asr_core.models.features import length_mask

NEVER = -1e9  # logit of an attention weight that must be zero


class ConvolutionSubsampling(layers.Layer):
    """Two 3x3 convolutions of stride 2: [batch, frames, bins] -> [batch, ceil(frames / 4), width].

    Args:
        channels: of both convolutions.
        width: of the projection that follows.
    """

    def __init__(self, channels, width, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [
            layers.Conv2D(channels, 3, strides=2, activation="relu", name=f"convolution_{i}") for i in range(2)
        ]
        self.pad = layers.ZeroPadding2D(1)  # not "same", which pads even and odd lengths differently
        self.project = layers.Dense(width, name="project")

    def build(self, shape):
        batch, frames, bins = shape
        shape = (batch, frames, bins, 1)
        for convolution in self.convolutions:
            shape = self.pad.compute_output_shape(shape)
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        self.project.build((batch, shape[1], shape[2] * shape[3]))

    def call(self, features, lengths):
        """Returns steps [batch, steps, width] and their lengths [batch]."""
        x = ops.expand_dims(features, -1)
        for convolution in self.convolutions:
            x = convolution(self.pad(x))
            lengths = half(lengths)
            x = x * ops.cast(ops.expand_dims(length_mask(lengths, ops.shape(x)[1]), -1), x.dtype)
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        return self.project(ops.reshape(x, (batch, steps, x.shape[2] * x.shape[3]))), lengths


class FeedForward(layers.Layer):
    """Normalise, widen, SiLU, narrow: [batch, steps, width] -> the same shape."""

    def __init__(self, width, expansion, dropout, **kwargs):
        super().__init__(**kwargs)
        self.normalise = layers.LayerNormalization(name="normalise")
        self.widen = layers.Dense(width * expansion, activation="silu", name="widen")
        self.narrow = layers.Dense(width, kernel_initializer="zeros", name="narrow")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        self.normalise.build(shape)
        self.widen.build(shape)
        self.narrow.build((*shape[:-1], self.widen.units))

    def call(self, x, training=False):
        return self.dropout(self.narrow(self.widen(self.normalise(x))), training=training)


class SelfAttention(layers.Layer):
    """Multi-head self-attention with rotary positions (Su et al., 2021), masked: shape kept.

    Rotary positions depend on distances only, so that a window of a long recording is heard like a clip.
    """

    def __init__(self, width, heads, dropout, **kwargs):
        super().__init__(**kwargs)
        if width % (2 * heads):
            raise ValueError(f"width {width} is not a multiple of twice the {heads} heads")
        self.width, self.heads, self.head_width = width, heads, width // heads
        self.normalise = layers.LayerNormalization(name="normalise")
        self.project = layers.Dense(3 * width, use_bias=False, name="project")
        self.merge = layers.Dense(width, use_bias=False, kernel_initializer="zeros", name="merge")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        self.normalise.build(shape)
        self.project.build(shape)
        self.merge.build(shape)

    def call(self, x, bias, positions, training=False):
        """
        Args:
            x: [batch, steps, width].
            bias: [batch, 1, 1, steps], 0 for valid steps and `NEVER` for padding.
            positions: cosines and sines from `rotary_positions`.
        """
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        projected = ops.reshape(
            self.project(self.normalise(x)), (batch, steps, 3, self.heads, self.head_width)
        )
        query, key, value = (ops.transpose(projected[:, :, i], (0, 2, 1, 3)) for i in range(3))
        query, key = rotate(query, positions), rotate(key, positions)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * self.head_width**-0.5
        scores = ops.cast(scores, "float32") + ops.cast(bias, "float32")
        weights = ops.cast(ops.softmax(scores, axis=-1), x.dtype)
        heard = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.dropout(
            self.merge(ops.reshape(heard, (batch, steps, self.width))), training=training
        )


class ConvolutionModule(layers.Layer):
    """Gated pointwise, masked depthwise over time, pointwise: [batch, steps, width] -> the same shape.

    In training the depthwise convolution is a sum of shifted products, which XLA fuses into one loop, where its
    grouped convolutions are several times slower on CPUs. A graph to listen with is not compiled by XLA: there one
    operation instead of two hundred is built and begun a third sooner. Layer normalisation stands where the paper
    (Gulati et al., 2020) has batch normalisation.
    """

    def __init__(self, width, kernel, dropout, **kwargs):
        super().__init__(**kwargs)
        self.width, self.kernel_size = width, kernel
        self.normalise = layers.LayerNormalization(name="normalise")
        self.gate = layers.Dense(2 * width, name="gate")
        self.normalise_inside = layers.LayerNormalization(name="normalise_inside")
        self.project = layers.Dense(width, kernel_initializer="zeros", name="project")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        self.normalise.build(shape)
        self.gate.build(shape)
        self.taps = self.add_weight(
            (self.kernel_size, self.width),
            initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),
            name="taps",
        )
        self.normalise_inside.build(shape)
        self.project.build(shape)

    def call(self, x, mask, training=False):
        """`mask` is [batch, steps, 1] in the type of `x`."""
        value, gate = ops.split(self.gate(self.normalise(x)), 2, axis=-1)
        x = self.depthwise(value * ops.sigmoid(gate) * mask, training)
        return self.dropout(self.project(ops.silu(self.normalise_inside(x))), training=training)

    def depthwise(self, x, fused):
        """Each channel with its own `kernel_size` taps, centred: shape kept."""
        steps, taps = ops.shape(x)[1], ops.cast(self.taps, x.dtype)
        before = self.kernel_size // 2
        padded = ops.pad(x, [[0, 0], [before, self.kernel_size - 1 - before], [0, 0]])
        if fused:
            return sum(padded[:, i : i + steps] * taps[i] for i in range(self.kernel_size))
        kernel = ops.reshape(taps, (1, self.kernel_size, self.width, 1))
        return ops.depthwise_conv(padded[:, None], kernel, data_format="channels_last")[:, 0]


class ConformerBlock(layers.Layer):
    """Half a feed-forward, self-attention, convolution, half a feed-forward, each added to what it was given.

    Every part ends in weights of zero: a fresh block passes on what it gets, and grows from there. The paper's
    normalisation at the end of every block is left out. With it, parts whose output grew drowned the block's
    input, the next block's too, and nothing passed through eight of them (see train/LOG.md).
    """

    def __init__(self, width, heads, kernel, expansion, dropout, **kwargs):
        super().__init__(**kwargs)
        self.feed_forward_in = FeedForward(width, expansion, dropout, name="feed_forward_in")
        self.attention = SelfAttention(width, heads, dropout, name="attention")
        self.convolution = ConvolutionModule(width, kernel, dropout, name="convolution")
        self.feed_forward_out = FeedForward(width, expansion, dropout, name="feed_forward_out")

    def build(self, shape):
        for part in (self.feed_forward_in, self.attention, self.convolution, self.feed_forward_out):
            part.build(shape)

    def call(self, x, mask, bias, positions, training=False):
        x = x + 0.5 * self.feed_forward_in(x, training=training)
        x = x + self.attention(x, bias, positions, training=training)
        x = x + self.convolution(x, mask, training=training)
        return x + 0.5 * self.feed_forward_out(x, training=training)


@keras.saving.register_keras_serializable("asr_core")
class Conformer(keras.Model):
    """Conformer encoder with a CTC head (Gulati et al., 2020, arXiv 2005.08100).

    Args:
        bins: feature values a frame.
        tokens: size of the alphabet, blank included.
        width, blocks, heads, kernel, expansion: sizes of the blocks; `kernel` in steps of the block's own rate.
        outer_blocks: how many of the blocks, from the first, run at the full 25 steps a second.
        reduction: 1, or 2 to run the other blocks on pairs of steps.
        parts: output steps that the head makes of every one of the 25.
        channels: of the subsampling convolutions.
        dropout: after every module, in training.
        intermediate: 1-based numbers of blocks behind which the CTC head reads as well, in training only (Lee and
            Watanabe, 2021, arXiv 2102.03216).
        phones: size of an alphabet of sounds, blank included, that an inner CTC head writes at 25 steps a second
            (Sanabria and Metze, 2018, arXiv 1807.06234); 0 for none. The blocks that follow hear what it says
            (Nozaki and Komatsu, 2021, arXiv 2104.02724): spelling is easier from sounds.
        phones_block: 1-based number of the block behind which it reads.
    """

    def __init__(
        self, bins, tokens, width=192, blocks=10, heads=4, kernel=15, expansion=4, outer_blocks=1, reduction=2,
        parts=1, channels=32, dropout=0.1, intermediate=(), phones=0, phones_block=0, name="conformer", **kwargs,
    ):  # fmt: skip
        super().__init__(name=name, **kwargs)
        for name_of, value in (("reduction", reduction), ("parts", parts)):
            if value not in (1, 2):
                raise ValueError(f"{name_of} is 1 or 2, not {value}")
        self.sizes = {
            "bins": bins, "tokens": tokens, "width": width, "blocks": blocks, "heads": heads, "kernel": kernel,
            "expansion": expansion, "outer_blocks": outer_blocks, "reduction": reduction, "parts": parts,
            "channels": channels, "dropout": dropout, "intermediate": list(intermediate),
            "phones": phones, "phones_block": phones_block,
        }  # fmt: skip
        self.reduction, self.parts, self.intermediate = reduction, parts, tuple(intermediate)
        self.subsampling = 4 // parts  # feature frames per output step
        self.outer_blocks = min(outer_blocks, blocks - 1)
        self.rotary_width = width // heads
        self.subsample = ConvolutionSubsampling(channels, width, name="subsample")
        self.blocks = [
            ConformerBlock(width, heads, kernel, expansion, dropout, name=f"block_{i + 1}")
            for i in range(blocks)
        ]
        self.normalise_blocks = layers.LayerNormalization(name="normalise_blocks")
        if reduction > 1:
            self.join = layers.Dense(width, name="join")
        if reduction * parts > 1:
            self.part = layers.Dense(reduction * parts * width, name="part")
            self.normalise = layers.LayerNormalization(name="normalise")
        self.head = layers.Dense(tokens, name="head")
        if phones:
            if not self.outer_blocks < phones_block < blocks:
                raise ValueError(f"phones_block is from {self.outer_blocks + 1} to {blocks - 1}, not {phones_block}")
            self.normalise_phones = layers.LayerNormalization(name="normalise_phones")
            self.phones_head = layers.Dense(reduction * phones, name="phones_head")
            self.condition_on_phones = layers.Dense(width, kernel_initializer="zeros", name="condition_on_phones")

    def build(self, features_shape=None, lengths_shape=None):
        width, bins = self.sizes["width"], self.sizes["bins"]
        self.subsample.build((None, None, bins))
        for block in self.blocks:
            block.build((None, None, width))
        self.normalise_blocks.build((None, None, width))
        if self.reduction > 1:
            self.join.build((None, None, self.reduction * width))
        if self.reduction * self.parts > 1:
            self.part.build((None, None, width))
            self.normalise.build((None, None, width))
        self.head.build((None, None, width))
        if phones := self.sizes["phones"]:
            self.normalise_phones.build((None, None, width))
            self.phones_head.build((None, None, width))
            self.condition_on_phones.build((None, None, self.reduction * phones))
        self.built = True

    def call(self, features, lengths, training=False):
        """Logits of a batch.

        Args:
            features: [batch, frames, bins], zero where there is padding.
            lengths: int32 [batch], valid frames.

        Returns:
            Logits [batch, steps, tokens]; `output_lengths` tells how many of the steps are valid.
        """
        return self.logits(features, lengths, training)[0]

    def logits(self, features, lengths, training=False, run=None):
        """Logits [batch, steps, tokens], the list of those of the intermediate heads, and of phones, if any.

        `run(block, x, *surroundings)` runs a block in a way of its own: all of them are alike but for their weights.
        """
        run = run or partial(ConformerBlock.__call__, training=training)
        outputs = self.output_lengths(ops.shape(features)[1])
        x, lengths = self.subsample(features, lengths)
        surroundings = self._surroundings(lengths, ops.shape(x)[1], x.dtype)
        intermediate, phones = [], None
        for number, block in enumerate(self.blocks, 1):
            if self.reduction > 1 and number == self.outer_blocks + 1:
                x = self.join(pairs(x * surroundings[0]))
                surroundings = self._surroundings(half(lengths), ops.shape(x)[1], x.dtype)
            x = run(block, x, *surroundings)
            if number in self.intermediate:
                intermediate.append(self._read(x, outputs))
            if self.sizes["phones"] and number == self.sizes["phones_block"]:
                x, phones = self._read_phones(x)
        return self._read(x, outputs), intermediate, phones

    def _read_phones(self, x):
        """The inner head on a block's output: that output with what the head says, and its logits."""
        batch, steps, count = ops.shape(x)[0], ops.shape(x)[1], self.sizes["phones"]
        logits = ops.reshape(self.phones_head(self.normalise_phones(x)), (batch, steps * self.reduction, count))
        said = ops.reshape(ops.softmax(logits, axis=-1), (batch, steps, self.reduction * count))
        return x + self.condition_on_phones(said), logits

    def _read(self, x, outputs):
        """The CTC head on the blocks' output, at the rate of the output steps."""
        x = self.normalise_blocks(x)
        if self.reduction * self.parts > 1:
            batch, width = ops.shape(x)[0], self.sizes["width"]
            x = ops.reshape(self.part(x), (batch, ops.shape(x)[1] * self.reduction * self.parts, width))
            x = self.normalise(x[:, :outputs])
        return self.head(x)

    def _surroundings(self, lengths, steps, dtype):
        """What a block needs to know beside its input: mask, attention bias, rotary positions."""
        mask = length_mask(lengths, steps)
        bias = ops.expand_dims(ops.transpose(1.0 - mask, (0, 2, 1)), 1) * NEVER
        return ops.cast(mask, dtype), bias, rotary_positions(steps, self.rotary_width, dtype)

    def output_lengths(self, frame_lengths):
        """Steps that so many frames give (ints, arrays or tensors): `1 / subsampling` of them, rounded up."""
        return half(frame_lengths) if self.parts == 2 else half(half(frame_lengths))

    @staticmethod
    def phone_lengths(frame_lengths):
        """Steps of the phones' head that so many frames give: a quarter, rounded up."""
        return half(half(frame_lengths))

    def get_config(self):
        return {**self.sizes, "name": self.name}


def half(length):
    """ceil(length / 2), for ints and tensors."""
    return (length + 1) // 2


def pairs(x):
    """Neighbouring steps joined: [batch, steps, width] -> [batch, ceil(steps / 2), 2 * width]."""
    batch, steps, width = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
    x = ops.pad(x, [[0, 0], [0, 1], [0, 0]])[:, : half(steps) * 2]
    return ops.reshape(x, (batch, half(steps), 2 * width))


def rotary_positions(steps, width, dtype):
    """Cosines and sines [steps, width / 2] of rotary positions with base 10,000."""
    frequencies = 10_000.0 ** (-ops.arange(0, width, 2, dtype="float32") / width)
    angles = ops.expand_dims(ops.arange(steps, dtype="float32"), 1) * frequencies
    return ops.cast(ops.cos(angles), dtype), ops.cast(ops.sin(angles), dtype)


def rotate(x, positions):
    """Turns the two halves of each vector against each other: [batch, heads, steps, width], shape kept."""
    cosines, sines = positions
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cosines - second * sines, first * sines + second * cosines], axis=-1)
