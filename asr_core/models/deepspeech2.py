"""The network of the Keras example "Automatic Speech Recognition using CTC", layer by layer, without its softmax.

Two convolutions over time and frequency, five bidirectional GRUs, a dense layer and the classifier, after Amodei et
al., 2015, "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin". Unlike the example's network it takes
lengths: a clip has the same logits alone and in a padded batch.
"""

import keras
from keras import ops

from asr_core.models.framing import length_mask
from asr_core.models.parts import ceil_half

FILTERS = 32
TIME_KERNEL = 11
TIME_STRIDE = 2  # feature frames per output step; only the first convolution strides in time
FREQUENCY_KERNELS = (41, 21)
FREQUENCY_STRIDE = 2


@keras.saving.register_keras_serializable("asr_core")
class BidirectionalGRU(keras.layers.Layer):
    """A forward and a backward GRU whose outputs are concatenated.

    For the backward GRU every clip is reversed within its own length. Right padding then affects neither direction,
    and no masking is needed (the masked recurrent kernels of cuDNN are known to corrupt results).

    Args:
        units: cells in each direction; the output has twice as many channels.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.forward = keras.layers.GRU(units, return_sequences=True, reset_after=True, name="forward")
        self.backward = keras.layers.GRU(units, return_sequences=True, reset_after=True, name="backward")

    def build(self, inputs_shape, lengths_shape=None):
        self.forward.build(inputs_shape)
        self.backward.build(inputs_shape)
        self.built = True

    def call(self, inputs, lengths, training=False):
        """Inputs float [batch, steps, channels], lengths int32 [batch] -> float [batch, steps, 2 * units]."""
        ahead = self.forward(inputs, training=training)
        back = self.backward(reverse_within(inputs, lengths), training=training)
        return ops.concatenate([ahead, reverse_within(back, lengths)], axis=-1)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("asr_core")
class DeepSpeech2(keras.Model):
    """The network of the Keras example, without its softmax.

    Args:
        bins: frequency bins of a feature frame (193 in the example).
        tokens: size of the alphabet, blank included; the width of the output.
        rnn_layers: bidirectional GRU layers.
        rnn_units: GRU cells in each direction.
        dropout: rate between the recurrent layers and before the classifier, in training.
        extra_blanks: further classes of the classifier that stand for no character; their probability is added to that
            of the blank. The example's network has one, for unknown characters, which it prints as nothing.

    With `bins=193` and 32 classes (`tokens=32`, or `tokens=31, extra_blanks=1` as the example counts them:
    30 characters, unknown, blank) it has 26,628,480 parameters.
    """

    subsampling = TIME_STRIDE

    def __init__(self, bins, tokens, rnn_layers=5, rnn_units=512, dropout=0.5, extra_blanks=0, **kwargs):
        kwargs.setdefault("name", "deepspeech2")  # weight paths must not depend on the number of models built before
        super().__init__(**kwargs)
        self.bins = bins
        self.tokens = tokens
        self.rnn_layers = rnn_layers
        self.rnn_units = rnn_units
        self.dropout = dropout
        self.extra_blanks = extra_blanks

        first, second = FREQUENCY_KERNELS
        self.conv_1 = _convolution(first, (TIME_STRIDE, FREQUENCY_STRIDE), "conv_1")
        self.conv_1_bn = keras.layers.BatchNormalization(name="conv_1_bn")
        self.conv_2 = _convolution(second, (1, FREQUENCY_STRIDE), "conv_2")
        self.conv_2_bn = keras.layers.BatchNormalization(name="conv_2_bn")
        numbers = range(1, rnn_layers + 1)
        self.recurrent = [BidirectionalGRU(rnn_units, name=f"bidirectional_{i}") for i in numbers]
        self.recurrent_dropouts = [keras.layers.Dropout(dropout, name=f"dropout_{i}") for i in numbers[:-1]]
        self.dense = keras.layers.Dense(2 * rnn_units, activation="relu", name="dense_1")
        self.dense_dropout = keras.layers.Dropout(dropout, name="dense_1_dropout")
        self.classifier = keras.layers.Dense(tokens + extra_blanks, name="classifier")

    def build(self, features_shape=None, lengths_shape=None):
        self.conv_1.build((None, None, None, 1))
        self.conv_1_bn.build((None, None, None, FILTERS))
        self.conv_2.build((None, None, None, FILTERS))
        self.conv_2_bn.build((None, None, None, FILTERS))
        channels = FILTERS * ceil_half(ceil_half(self.bins))
        for layer in self.recurrent:
            layer.build((None, None, channels))
            channels = 2 * self.rnn_units
        self.dense.build((None, None, channels))
        self.classifier.build((None, None, 2 * self.rnn_units))
        self.built = True

    def call(self, features, lengths, training=False):
        """Logits of a batch.

        Args:
            features: float32 [batch, frames, bins].
            lengths: int32 [batch], valid frames; frames beyond them are ignored.

        Returns:
            float32 [batch, steps, tokens], of which the first `output_lengths(lengths)` steps are valid.
        """
        lengths = ops.cast(lengths, "int32")
        steps = self.output_lengths(lengths)
        x = self._convolve(features, lengths, steps, training)
        for i, layer in enumerate(self.recurrent):
            x = layer(x, steps, training=training)
            if i < len(self.recurrent_dropouts):
                x = self.recurrent_dropouts[i](x, training=training)
        x = self.dense_dropout(self.dense(x), training=training)
        return self._merge_blanks(self.classifier(x))

    def _convolve(self, features, lengths, steps, training):
        """Both convolutions: [batch, frames, bins] -> [batch, steps, channels], zero in the padding."""
        x = features * ops.cast(length_mask(lengths, ops.shape(features)[1]), features.dtype)
        x = pad_frequency(pad_time(x, lengths)[..., None], FREQUENCY_KERNELS[0])
        x = self.conv_1(x)
        valid = ops.cast(length_mask(steps, ops.shape(x)[1]), x.dtype)
        x = ops.relu(self.conv_1_bn(x, training=training, mask=valid)) * valid[..., None]

        around = TIME_KERNEL // 2
        x = ops.pad(x, ((0, 0), (around, around), (0, 0), (0, 0)))
        x = self.conv_2(pad_frequency(x, FREQUENCY_KERNELS[1]))
        x = ops.relu(self.conv_2_bn(x, training=training, mask=valid)) * valid[..., None]
        return ops.reshape(x, (-1, ops.shape(x)[1], x.shape[2] * x.shape[3]))

    def _merge_blanks(self, logits):
        """Adds the probability of the extra blanks to that of the blank."""
        if not self.extra_blanks:
            return logits
        blanks = ops.concatenate([logits[..., :1], logits[..., self.tokens :]], axis=-1)
        return ops.concatenate([ops.logsumexp(blanks, axis=-1, keepdims=True), logits[..., 1 : self.tokens]], axis=-1)

    def output_lengths(self, frame_lengths):
        """Number of output steps for a number of frames: half of them, rounded up (an int or a tensor)."""
        return ceil_half(frame_lengths)

    def get_config(self):
        sizes = ("bins", "tokens", "rnn_layers", "rnn_units", "dropout", "extra_blanks")
        return {"name": self.name, **{size: getattr(self, size) for size in sizes}}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def reverse_within(x, lengths):
    """Reverses every clip of [batch, steps, channels] within its length; padding stays in place."""
    steps = ops.arange(ops.shape(x)[1], dtype="int32")[None, :]
    ends = lengths[:, None]
    source = ops.where(steps < ends, ends - 1 - steps, steps)
    rows = ops.arange(ops.shape(x)[0], dtype="int32")[:, None] * ops.shape(x)[1]
    flat = ops.reshape(x, (-1, x.shape[-1]))
    return ops.reshape(ops.take(flat, source + rows, axis=0), ops.shape(x))


def pad_time(x, lengths):
    """Pads the time axis for the first convolution, as "same" padding would for each clip alone.

    "Same" padding adds (kernel - 1) / 2 frames before a clip of odd length and one fewer before a clip of even length.
    The padded length of the batch must therefore not decide it.
    """
    before = TIME_KERNEL // 2
    padded = ops.pad(x, ((0, 0), (before, before + 1), (0, 0)))
    odd = ops.cast(lengths % TIME_STRIDE, "bool")[:, None, None]
    return ops.where(odd, padded[:, :-1], padded[:, 1:])


def pad_frequency(x, kernel):
    """Adds "same" padding to [batch, time, bins, channels] along the bins, for a stride of 2."""
    bins = x.shape[2]
    total = max((ceil_half(bins) - 1) * FREQUENCY_STRIDE + kernel - bins, 0)
    return ops.pad(x, ((0, 0), (0, 0), (total // 2, total - total // 2), (0, 0)))


def _convolution(frequency_kernel, strides, name):
    return keras.layers.Conv2D(
        FILTERS, (TIME_KERNEL, frequency_kernel), strides=strides, padding="valid", use_bias=False, name=name
    )
