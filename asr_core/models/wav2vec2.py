"""wav2vec 2.0 and its relatives: networks over the waveform itself, 50 output steps a second.

Seven convolutions without padding turn 400 samples, every 320, into one step; a convolution over 2.5 s adds the
position, and Transformer blocks follow. The members of the family differ in the sizes below: where they normalise, how
they encode positions, and whether a block ends in an adapter. They are compared with their originals in
`tests/asr_core/models/test_wav2vec2.py`; the names of the originals are in `asr_core.bundle.checkpoints.wav2vec2`.

Everything that looks along time is masked, the group normalisation of the first convolution as well. A clip therefore
has the same logits alone and in a batch with longer clips, which is not so in the originals.
"""

from functools import partial

import keras
from keras import layers, ops

from asr_core.models.network import CtcNetwork
from asr_core.models.parts import attend, masks, project_heads
from asr_core.models.wav2vec2_positions import (
    PositionalConvolutions,
    RelativePositions,
    gated_bias,
)
from asr_core.models.waveform_convolutions import ConvolutionStack, gelu_of_halves


class SelfAttention(layers.Layer):
    """Multi-head self-attention over valid steps: [batch, steps, width], shape kept.

    The projection of the queries includes the factor 1 / sqrt(width of a head).

    Args:
        relative: whether the scores take relative positions, weighted by a gate (WavLM).
    """

    def __init__(self, width, heads, relative, **kwargs):
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of the {heads} heads")
        self.width, self.heads, self.head_width, self.relative = width, heads, width // heads, relative
        self.project = layers.Dense(3 * width, name="project")
        self.merge = layers.Dense(width, name="merge")
        if relative:
            self.gate = layers.Dense(2, name="gate")

    def build(self, shape):
        self.project.build(shape)
        self.merge.build(shape)
        if self.relative:
            self.gate.build((*shape[:-1], self.head_width))
            self.gate_scale = self.add_weight((self.heads, 1), initializer="ones", name="gate_scale")

    def call(self, x, bias, positions=None):
        """
        Args:
            x: [batch, steps, width].
            bias: [batch, 1, 1, steps], 0 for valid steps and `MASKED_LOGIT` for padding.
            positions: of `RelativePositions`, [heads, steps, steps].
        """
        query, key, value = project_heads(self.project, x, 3, self.heads)
        scores = ops.cast(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))), "float32")
        if self.relative:
            by_head = ops.reshape(x, (ops.shape(x)[0], ops.shape(x)[1], self.heads, self.head_width))
            scores = scores + gated_bias(self.gate(by_head), self.gate_scale, positions)
        return self.merge(attend(scores, bias, value))


class TransformerBlock(layers.Layer):
    """Self-attention and a feed-forward module, each a residual branch: [batch, steps, width] -> the same shape.

    Args:
        width, heads, relative: as for `SelfAttention`.
        inner: inner width of the feed-forward module.
        norm_first: whether layer normalisation stands before each branch, or after its sum with the input.
        adapter: inner width of a third branch that fits the block to a language (MMS); 0 for none. Only blocks with
            `norm_first` use it.
        epsilon: of the layer normalisations.
        dropout: rate after every branch, in training.
    """

    def __init__(self, width, heads, inner, norm_first, relative, adapter, epsilon, dropout, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.norm_first, self.adapter = inner, norm_first, adapter
        self.attention = SelfAttention(width, heads, relative, name="attention")
        self.normalise_attention = layers.LayerNormalization(epsilon=epsilon, name="normalise_attention")
        self.widen = layers.Dense(inner, name="widen")
        self.narrow = layers.Dense(width, name="narrow")
        self.normalise_feed_forward = layers.LayerNormalization(epsilon=epsilon, name="normalise_feed_forward")
        if adapter:
            self.normalise_adapter = layers.LayerNormalization(epsilon=1e-5, name="normalise_adapter")
            self.adapter_in = layers.Dense(adapter, activation="relu", name="adapter_in")
            self.adapter_out = layers.Dense(width, name="adapter_out")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        for layer in (self.attention, self.normalise_attention, self.widen, self.normalise_feed_forward):
            layer.build(shape)
        self.narrow.build((*shape[:-1], self.inner))
        if self.adapter:
            self.normalise_adapter.build(shape)
            self.adapter_in.build(shape)
            self.adapter_out.build((*shape[:-1], self.adapter))

    def call(self, x, *inputs, training=False):
        """`x` [batch, steps, width] -> the same shape. `inputs`: further arguments of `SelfAttention.call`."""
        drop = partial(self.dropout, training=training)
        if not self.norm_first:
            x = self.normalise_attention(x + drop(self.attention(x, *inputs)))
            return self.normalise_feed_forward(x + drop(self.feed_forward(x)))
        x = x + drop(self.attention(self.normalise_attention(x), *inputs))
        x = x + drop(self.feed_forward(self.normalise_feed_forward(x)))
        if self.adapter:
            x = x + self.adapter_out(self.adapter_in(self.normalise_adapter(x)))
        return x

    def feed_forward(self, x):
        return self.narrow(gelu_of_halves(self.widen(x)))


@keras.saving.register_keras_serializable("asr_core")
class Wav2Vec2(CtcNetwork):
    """wav2vec 2.0 with a CTC head (Baevski et al., 2020, arXiv 2006.11477), and the networks that are built alike.

    Those are HuBERT, WavLM, data2vec-audio, UniSpeech, UniSpeech-SAT, MMS with adapters, and OmniASR.

    Args:
        bins: 1, the waveform.
        tokens: size of the alphabet, blank included.
        width: of the blocks' input and output.
        blocks: number of blocks.
        heads: attention heads of a block.
        inner: inner width of the feed-forward modules.
        channels, kernels, strides: of the convolutions over the waveform, one number for each.
        conv_bias: whether these convolutions have a bias.
        group_norm: whether the first convolution is normalised over time, each channel by itself; otherwise all
            convolutions are normalised over their channels, step by step.
        norm_first: whether blocks normalise before each branch, or after its sum with the input.
        projection_norm: whether the output of the convolutions is normalised before it is projected.
        position_layers: number of positional convolutions. With more than one, each is normalised (data2vec).
        position_kernel: their taps.
        position_groups: their groups of channels.
        position_affine: whether their input is scaled and shifted first (HuBERT with a batch normalisation).
        buckets, bucket_distance: number of embeddings of relative positions, and the distance in steps from which on
            all share the last (WavLM); 0 for none.
        adapter: inner width of the adapters at the end of blocks (MMS); 0 for none.
        epsilon: of the layer normalisations after the convolutions.
        dropout: rate in the blocks, in training.

    Raises:
        ValueError: sizes that do not go together.
    """

    subsampling = 1  # the front end counts frames as this network counts steps

    def __init__(
        self, bins, tokens, width=768, blocks=12, heads=12, inner=3072, channels=(512,) * 7,
        kernels=(10, 3, 3, 3, 3, 2, 2), strides=(5, 2, 2, 2, 2, 2, 2), conv_bias=False, group_norm=True,
        norm_first=False, projection_norm=True, position_layers=1, position_kernel=128, position_groups=16,
        position_affine=False, buckets=0, bucket_distance=0, adapter=0, epsilon=1e-5, dropout=0.1, name="wav2vec2",
        **kwargs,
    ):  # fmt: skip
        super().__init__(name=name, **kwargs)
        if bins != 1:
            raise ValueError(f"a network over the waveform has 1 bin, not {bins}")
        self.sizes = {
            "bins": bins, "tokens": tokens, "width": width, "blocks": blocks, "heads": heads, "inner": inner,
            "channels": list(channels), "kernels": list(kernels), "strides": list(strides), "conv_bias": conv_bias,
            "group_norm": group_norm, "norm_first": norm_first, "projection_norm": projection_norm,
            "position_layers": position_layers, "position_kernel": position_kernel,
            "position_groups": position_groups, "position_affine": position_affine, "buckets": buckets,
            "bucket_distance": bucket_distance, "adapter": adapter, "epsilon": epsilon, "dropout": dropout,
        }  # fmt: skip
        self.convolutions = ConvolutionStack(channels, kernels, strides, conv_bias, group_norm, name="convolutions")
        if projection_norm:
            self.normalise_projection = layers.LayerNormalization(epsilon=epsilon, name="normalise_projection")
        self.project = layers.Dense(width, name="project")
        self.positions = PositionalConvolutions(
            position_layers, position_kernel, position_groups, position_affine, name="positions"
        )
        if buckets:
            self.relative_positions = RelativePositions(buckets, bucket_distance, heads, name="relative_positions")
        self.normalise = layers.LayerNormalization(epsilon=epsilon, name="normalise")
        self.blocks = [
            TransformerBlock(
                width, heads, inner, norm_first, buckets > 0, adapter, epsilon, dropout, name=f"block_{i + 1}"
            )
            for i in range(blocks)
        ]
        self.dropout = layers.Dropout(dropout)
        self.head = layers.Dense(tokens, name="head")

    def build(self, features_shape=None, lengths_shape=None):
        inside, last = (None, None, self.sizes["width"]), (None, None, self.sizes["channels"][-1])
        self.convolutions.build((None, None, 1))
        if self.sizes["projection_norm"]:
            self.normalise_projection.build(last)
        self.project.build(last)
        self.positions.build(inside)
        if self.sizes["buckets"]:
            self.relative_positions.build(None)
        for layer in (self.normalise, *self.blocks, self.head):
            layer.build(inside)
        self.built = True

    def logits(self, features, lengths, training=False, run=None):
        """Logits [batch, steps, tokens], and None in the place of phones.

        Args:
            features, lengths: as for `CtcNetwork.call`.
            run: replaces the call of a block, as `run(block, x, *inputs)`. The blocks differ in their weights only,
                so that a caller can trace one graph for all of them.
        """
        run = run or partial(TransformerBlock.__call__, training=training)
        x, inputs = self.embed(features, lengths, training)
        for block in self.blocks:
            x = run(block, x, *inputs)
        if self.sizes["norm_first"]:
            x = self.normalise(x)
        return self.head(x), None

    def embed(self, features, lengths, training=False):
        """The input of the first block [batch, steps, width], and the further arguments of all blocks."""
        x = self.convolutions(features, lengths)
        if self.sizes["projection_norm"]:
            x = self.normalise_projection(x)
        x = self.project(x)
        mask, bias = masks(self.output_lengths(lengths), ops.shape(x)[1], x.dtype)
        x = x * mask
        x = x + self.positions(x, mask)
        if not self.sizes["norm_first"]:
            x = self.normalise(x)
        x = self.dropout(x, training=training)
        if not self.sizes["buckets"]:
            return x, (bias,)
        return x, (bias, self.relative_positions(x))

    def output_lengths(self, lengths):
        """Number of output steps for a number of samples, at least 1 (an int, an array or a tensor)."""
        return self.convolutions.output_lengths(lengths)
