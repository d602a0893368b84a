"""The default network: a Conformer over log-mel features, with explicit length masks throughout.

Two convolutions of stride 2 bring 100 feature frames a second down to 25 steps a second. With `reduction=2` the inner
blocks run on pairs of steps, which halves their cost; their output is split into single steps again before the head.
With `parts=2` the head writes 50 output steps a second: quick speech has up to 25 characters a second, which 25 steps
cannot hold together with the blanks between repeated characters.

Every operation that looks beyond one step masks the padding, and every normalisation sees one step only. A clip
therefore has the same logits alone and in a batch with longer clips.
"""

from functools import partial

import keras
from keras import layers, ops

from asr_core.models.framing import length_mask
from asr_core.models.network import CtcNetwork
from asr_core.models.parts import FeedForward, attend, ceil_half, depthwise, glu, masks, project_heads


class ConvolutionSubsampling(layers.Layer):
    """Two 3x3 convolutions of stride 2: [batch, frames, bins] -> [batch, ceil(frames / 4), width].

    Args:
        channels: output channels of both convolutions.
        width: output width of the projection that follows them.
    """

    def __init__(self, channels, width, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [
            layers.Conv2D(channels, 3, strides=2, activation="relu", name=f"convolution_{i}") for i in range(2)
        ]
        # Explicit padding of 1: "same" would pad even and odd lengths differently.
        self.pad = layers.ZeroPadding2D(1)
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
        """Features [batch, frames, bins], lengths [batch] -> [batch, steps, width] and the lengths in steps [batch]."""
        x = ops.expand_dims(features, -1)
        for convolution in self.convolutions:
            x = convolution(self.pad(x))
            lengths = ceil_half(lengths)
            x = x * ops.cast(ops.expand_dims(length_mask(lengths, ops.shape(x)[1]), -1), x.dtype)
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        return self.project(ops.reshape(x, (batch, steps, x.shape[2] * x.shape[3]))), lengths


class SelfAttention(layers.Layer):
    """Masked multi-head self-attention with rotary positions (Su et al., 2021): [batch, steps, width], shape kept.

    With rotary positions the scores depend on the distance between steps only, so that a window is transcribed the
    same way wherever it lies in a recording.
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
            bias: [batch, 1, 1, steps], 0 for valid steps and `MASKED_LOGIT` for padding.
            positions: cosines and sines from `rotary_positions`.
        """
        query, key, value = project_heads(self.project, self.normalise(x), 3, self.heads)
        query, key = rotate(query, positions), rotate(key, positions)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * self.head_width**-0.5
        return self.dropout(self.merge(attend(scores, bias, value)), training=training)


class ConvolutionModule(layers.Layer):
    """Gated pointwise, masked depthwise and pointwise convolution over time: [batch, steps, width] -> the same shape.

    The depthwise convolution has two forms with equal results. In training it is a sum of shifted products: XLA fuses
    them into one loop, whereas its grouped convolutions are slow on CPUs. The inference graph is not compiled by XLA;
    it holds one depthwise operation, so that it is built and loaded sooner. Layer normalisation stands where the
    paper (Gulati et al., 2020) has batch normalisation, which would make a clip depend on the rest of its batch.
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
        """`x` is [batch, steps, width]; `mask` is [batch, steps, 1] in the dtype of `x`, 1 for valid steps."""
        x = self.depthwise(glu(self.gate(self.normalise(x))) * mask, training)
        return self.dropout(self.project(ops.silu(self.normalise_inside(x))), training=training)

    def depthwise(self, x, fused):
        """Convolves every channel with its own `kernel_size` taps, centred: [batch, steps, width], shape kept.

        `fused` chooses the sum of shifted products instead of one depthwise operation (see the class).
        """
        before = self.kernel_size // 2
        if not fused:
            return depthwise(x, self.taps, before)
        steps, taps = ops.shape(x)[1], ops.cast(self.taps, x.dtype)
        padded = ops.pad(x, [[0, 0], [before, self.kernel_size - 1 - before], [0, 0]])
        return sum(padded[:, i : i + steps] * taps[i] for i in range(self.kernel_size))


class ConformerBlock(layers.Layer):
    """A half-step feed-forward module, self-attention, convolution, another half-step one, each a residual branch.

    The last matrix of every branch is initialised with zeros, so that a new block is the identity. The layer
    normalisation that the paper has at the end of every block is left out: with it, branches of growing scale
    displaced the residual signal, and deep stacks did not train.
    """

    def __init__(self, width, heads, kernel, expansion, dropout, **kwargs):
        super().__init__(**kwargs)
        sizes = (width, expansion * width, dropout)
        self.feed_forward_in = FeedForward(*sizes, initializer="zeros", name="feed_forward_in")
        self.attention = SelfAttention(width, heads, dropout, name="attention")
        self.convolution = ConvolutionModule(width, kernel, dropout, name="convolution")
        self.feed_forward_out = FeedForward(*sizes, initializer="zeros", name="feed_forward_out")

    def build(self, shape):
        for branch in (self.feed_forward_in, self.attention, self.convolution, self.feed_forward_out):
            branch.build(shape)

    def call(self, x, mask, bias, positions, training=False):
        """`x` [batch, steps, width] -> the same shape. Other arguments: see `ConvolutionModule` and `SelfAttention`."""
        x = x + 0.5 * self.feed_forward_in(x, training=training)
        x = x + self.attention(x, bias, positions, training=training)
        x = x + self.convolution(x, mask, training=training)
        return x + 0.5 * self.feed_forward_out(x, training=training)


@keras.saving.register_keras_serializable("asr_core")
class Conformer(CtcNetwork):
    """Conformer encoder with a CTC head (Gulati et al., 2020, arXiv 2005.08100).

    Args:
        bins: values in a feature frame.
        tokens: size of the alphabet, blank included.
        width: of the blocks' input and output.
        blocks: number of blocks.
        heads: attention heads of a block.
        kernel: taps of the convolution modules, in steps at the rate of their block.
        expansion: inner width of the feed-forward modules, as a multiple of `width`.
        outer_blocks: how many of the blocks, counted from the first, run at the full 25 steps a second.
        reduction: downsampling factor of the other blocks: 1 for none, 2 for pairs of steps.
        parts: upsampling factor before the head: output steps for each of the 25 steps a second, 1 or 2.
        channels: of the subsampling convolutions.
        dropout: rate after every module, in training.
        phones: size of a phone alphabet, blank included, for an intermediate CTC head that runs at 25 steps a second
            (Sanabria and Metze, 2018, arXiv 1807.06234); 0 for no such head. The blocks after the head are conditioned
            on its posteriors (Nozaki and Komatsu, 2021, arXiv 2104.02724).
        phones_block: 1-based number of the block whose output the phone head takes.

    Raises:
        ValueError: sizes that do not go together.
    """

    def __init__(
        self, bins, tokens, width=192, blocks=10, heads=4, kernel=15, expansion=4, outer_blocks=1, reduction=2,
        parts=1, channels=32, dropout=0.1, phones=0, phones_block=0, name="conformer", **kwargs,
    ):  # fmt: skip
        super().__init__(name=name, **kwargs)
        for name_of, value in (("reduction", reduction), ("parts", parts)):
            if value not in (1, 2):
                raise ValueError(f"{name_of} is 1 or 2, not {value}")
        self.sizes = {
            "bins": bins, "tokens": tokens, "width": width, "blocks": blocks, "heads": heads, "kernel": kernel,
            "expansion": expansion, "outer_blocks": outer_blocks, "reduction": reduction, "parts": parts,
            "channels": channels, "dropout": dropout, "phones": phones, "phones_block": phones_block,
        }  # fmt: skip
        self.downsample, self.upsample = reduction, parts
        self.steps_per_position = reduction * parts  # output steps for every position of the last block
        self.subsampling = 4 // parts  # feature frames per output step
        self.outer_blocks = min(outer_blocks, blocks - 1)
        self.rotary_width = width // heads
        self.subsample = ConvolutionSubsampling(channels, width, name="subsample")
        self.blocks = [
            ConformerBlock(width, heads, kernel, expansion, dropout, name=f"block_{i + 1}") for i in range(blocks)
        ]
        self.normalise_blocks = layers.LayerNormalization(name="normalise_blocks")
        # The names of layers are those of the weights in published bundles.
        if self.downsample > 1:
            self.project_pairs = layers.Dense(width, name="join")
        if self.steps_per_position > 1:
            self.split_steps = layers.Dense(self.steps_per_position * width, name="part")
            self.normalise = layers.LayerNormalization(name="normalise")
        self.head = layers.Dense(tokens, name="head")
        if phones:
            if not self.outer_blocks < phones_block < blocks:
                raise ValueError(f"phones_block is from {self.outer_blocks + 1} to {blocks - 1}, not {phones_block}")
            self.normalise_phones = layers.LayerNormalization(name="normalise_phones")
            self.phones_head = layers.Dense(self.downsample * phones, name="phones_head")
            self.phone_conditioning = layers.Dense(width, kernel_initializer="zeros", name="hear_phones")

    def build(self, features_shape=None, lengths_shape=None):
        width, bins = self.sizes["width"], self.sizes["bins"]
        self.subsample.build((None, None, bins))
        for block in self.blocks:
            block.build((None, None, width))
        self.normalise_blocks.build((None, None, width))
        if self.downsample > 1:
            self.project_pairs.build((None, None, self.downsample * width))
        if self.steps_per_position > 1:
            self.split_steps.build((None, None, width))
            self.normalise.build((None, None, width))
        self.head.build((None, None, width))
        if phones := self.sizes["phones"]:
            self.normalise_phones.build((None, None, width))
            self.phones_head.build((None, None, width))
            self.phone_conditioning.build((None, None, self.downsample * phones))
        self.built = True

    def logits(self, features, lengths, training=False, run=None):
        """Logits of both heads.

        Args:
            features, lengths: as for `CtcNetwork.call`.
            run: replaces the call of a block, as `run(block, x, mask, bias, positions)`. The blocks differ in their
                weights only, so that a caller can trace one graph for all of them.

        Returns:
            Logits of the tokens [batch, steps, tokens], and of the phones [batch, phone steps, phones] or None.
        """
        run = run or partial(ConformerBlock.__call__, training=training)
        outputs = self.output_lengths(ops.shape(features)[1])
        x, lengths = self.subsample(features, lengths)
        mask, bias, positions = self._masks_and_positions(lengths, ops.shape(x)[1], x.dtype)
        phones = None
        for number, block in enumerate(self.blocks, 1):
            if self.downsample > 1 and number == self.outer_blocks + 1:
                x = self.project_pairs(stack_pairs(x * mask))
                mask, bias, positions = self._masks_and_positions(ceil_half(lengths), ops.shape(x)[1], x.dtype)
            x = run(block, x, mask, bias, positions)
            if self.sizes["phones"] and number == self.sizes["phones_block"]:
                x, phones = self._condition_on_phones(x)
        return self._token_logits(x, outputs), phones

    def _condition_on_phones(self, x):
        """Adds a projection of the phone posteriors to a block's output: returns the sum, and logits of the phones."""
        batch, steps, count = ops.shape(x)[0], ops.shape(x)[1], self.sizes["phones"]
        logits = ops.reshape(self.phones_head(self.normalise_phones(x)), (batch, steps * self.downsample, count))
        posteriors = ops.reshape(ops.softmax(logits, axis=-1), (batch, steps, self.downsample * count))
        return x + self.phone_conditioning(posteriors), logits

    def _token_logits(self, x, outputs):
        """The CTC head on the output of the last block, brought to the rate of the output steps."""
        x = self.normalise_blocks(x)
        if self.steps_per_position > 1:
            batch, width = ops.shape(x)[0], self.sizes["width"]
            x = ops.reshape(self.split_steps(x), (batch, ops.shape(x)[1] * self.steps_per_position, width))
            x = self.normalise(x[:, :outputs])
        return self.head(x)

    def _masks_and_positions(self, lengths, steps, dtype):
        """The arguments of a block beside its input: mask [batch, steps, 1], attention bias, rotary positions."""
        return *masks(lengths, steps, dtype), rotary_positions(steps, self.rotary_width, dtype)

    def output_lengths(self, frame_lengths):
        """Number of output steps for a number of frames, rounded up (an int, an array or a tensor)."""
        return ceil_half(frame_lengths) if self.upsample == 2 else ceil_half(ceil_half(frame_lengths))

    @staticmethod
    def phone_lengths(frame_lengths):
        """Number of steps of the phone head for a number of frames: a quarter, rounded up."""
        return ceil_half(ceil_half(frame_lengths))


def stack_pairs(x):
    """Concatenates neighbouring steps: [batch, steps, width] -> [batch, ceil(steps / 2), 2 * width]."""
    batch, steps, width = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
    x = ops.pad(x, [[0, 0], [0, 1], [0, 0]])[:, : ceil_half(steps) * 2]
    return ops.reshape(x, (batch, ceil_half(steps), 2 * width))


def rotary_positions(steps, width, dtype):
    """Cosines and sines [steps, width / 2] of rotary positions with base 10,000."""
    frequencies = 10_000.0 ** (-ops.arange(0, width, 2, dtype="float32") / width)
    angles = ops.expand_dims(ops.arange(steps, dtype="float32"), 1) * frequencies
    return ops.cast(ops.cos(angles), dtype), ops.cast(ops.sin(angles), dtype)


def rotate(x, positions):
    """Applies rotary positions to queries or keys: [batch, heads, steps, width], shape kept.

    Each coordinate of the first half of a vector is rotated together with its counterpart in the second half.
    """
    cosines, sines = positions
    first, second = ops.split(x, 2, axis=-1)
    return ops.concatenate([first * cosines - second * sines, first * sines + second * cosines], axis=-1)
