"""The network of the Keras example "Automatic Speech Recognition using CTC", layer by layer, as logits.

Two convolutions over time and frequency, five bidirectional GRUs, a dense layer and the classifier, after
Amodei et al., 2015, "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin". Unlike the
example's, it takes lengths: a clip says the same alone and in a padded batch.
"""

import keras
from keras import ops

from asr_core.models.features import length_mask

FILTERS = 32
TIME_KERNEL = 11
TIME_STRIDE = 2  # feature frames per output step; only the first convolution strides in time
FREQUENCY_KERNELS = (41, 21)
FREQUENCY_STRIDE = 2


@keras.saving.register_keras_serializable("asr_core")
class BidirectionalGRU(keras.layers.Layer):
    """Two GRUs, one of which reads every clip from its own end.

    The backward one reads the clip reversed within its length instead of masking the padding: right padding
    then touches neither direction, and no masked recurrent kernel is involved (those of cuDNN are known to
    corrupt results).

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
        """float [batch, steps, channels], int32 [batch] -> float [batch, steps, 2 * units]."""
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
        extra_blanks: further classes of the classifier that also stand for no character. Their probability
            is added to the blank's. The example's network has one: it tells "unknown character", printed as
            nothing, from blank; for the text of a path the two are the same thing.

    With `bins=193` and 32 classes (`tokens=32`, or `tokens=31, extra_blanks=1` as the example counts them:
    30 characters, unknown, blank) it has 26,628,480 parameters.
    """

    subsampling = TIME_STRIDE

    def __init__(self, bins, tokens, rnn_layers=5, rnn_units=512, dropout=0.5, extra_blanks=0, **kwargs):
        kwargs.setdefault("name", "deepspeech2")  # weight paths must not depend on how many models there were
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
        channels = FILTERS * _halve(_halve(self.bins))
        for layer in self.recurrent:
            layer.build((None, None, channels))
            channels = 2 * self.rnn_units
        self.dense.build((None, None, channels))
        self.classifier.build((None, None, 2 * self.rnn_units))
        self.built = True

    def call(self, features, lengths, training=False):
        """What the network says at every step, before softmax.

        Args:
            features: float32 [batch, frames, bins].
            lengths: int32 [batch], valid frames of each clip; what lies beyond them is ignored.

        Returns:
            float32 [batch, steps, tokens]; steps beyond `output_lengths(lengths)` mean nothing.
        """
        lengths = ops.cast(lengths, "int32")
        steps = self.output_lengths(lengths)
        x = self._hear(features, lengths, steps, training)
        for i, layer in enumerate(self.recurrent):
            x = layer(x, steps, training=training)
            if i < len(self.recurrent_dropouts):
                x = self.recurrent_dropouts[i](x, training=training)
        x = self.dense_dropout(self.dense(x), training=training)
        return self._merge_blanks(self.classifier(x))

    def _hear(self, features, lengths, steps, training):
        """The convolutions: [batch, frames, bins] -> [batch, steps, channels], zero beyond each clip."""
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
        if not self.extra_blanks:
            return logits
        silent = ops.concatenate([logits[..., :1], logits[..., self.tokens :]], axis=-1)
        return ops.concatenate(
            [ops.logsumexp(silent, axis=-1, keepdims=True), logits[..., 1 : self.tokens]], axis=-1
        )

    def output_lengths(self, frame_lengths):
        """Steps made of so many feature frames: half of them, rounded up. An int or a tensor of ints."""
        return (frame_lengths + TIME_STRIDE - 1) // TIME_STRIDE

    def get_config(self):
        sizes = ("bins", "tokens", "rnn_layers", "rnn_units", "dropout", "extra_blanks")
        return {"name": self.name, **{size: getattr(self, size) for size in sizes}}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def reverse_within(x, lengths):
    """Turns every clip of [batch, steps, channels] end to front within its length; padding stays in place."""
    steps = ops.arange(ops.shape(x)[1], dtype="int32")[None, :]
    ends = lengths[:, None]
    source = ops.where(steps < ends, ends - 1 - steps, steps)
    rows = ops.arange(ops.shape(x)[0], dtype="int32")[:, None] * ops.shape(x)[1]
    flat = ops.reshape(x, (-1, x.shape[-1]))
    return ops.reshape(ops.take(flat, source + rows, axis=0), ops.shape(x))


def pad_time(x, lengths):
    """Room for the first convolution, as "same" padding gives it to each clip alone.

    "Same" puts (kernel - 1) / 2 frames before a clip of odd length but one less before an even one, so the
    length of the padded batch must not decide it.
    """
    before = TIME_KERNEL // 2
    padded = ops.pad(x, ((0, 0), (before, before + 1), (0, 0)))
    odd = ops.cast(lengths % TIME_STRIDE, "bool")[:, None, None]
    return ops.where(odd, padded[:, :-1], padded[:, 1:])


def pad_frequency(x, kernel):
    """ "Same" padding of [batch, time, bins, channels] along its bins, for a stride of 2."""
    bins = x.shape[2]
    total = max((_halve(bins) - 1) * FREQUENCY_STRIDE + kernel - bins, 0)
    return ops.pad(x, ((0, 0), (0, 0), (total // 2, total - total // 2), (0, 0)))


def _convolution(frequency_kernel, strides, name):
    return keras.layers.Conv2D(
        FILTERS, (TIME_KERNEL, frequency_kernel), strides=strides, padding="valid", use_bias=False, name=name
    )


def _halve(bins):
    return (bins + FREQUENCY_STRIDE - 1) // FREQUENCY_STRIDE
