"""Parts that several networks share: masks, attention heads, gated and depthwise convolutions, feed-forward modules."""

from keras import layers, ops

from asr_core.models.framing import length_mask

MASKED_LOGIT = -1e9  # added to the attention scores of padding, whose weights then are zero after the softmax


def ceil_half(length):
    """ceil(length / 2), for ints and tensors."""
    return (length + 1) // 2


def masks(lengths, steps, dtype):
    """Mask [batch, steps, 1], 1 for valid steps, and bias of attention scores [batch, 1, 1, steps], 0 for them."""
    mask = length_mask(lengths, steps)
    return ops.cast(mask, dtype), ops.expand_dims(ops.transpose(1.0 - mask, (0, 2, 1)), 1) * MASKED_LOGIT


def project_heads(project, x, parts, heads):
    """Projects x [batch, steps, n] to parts * width -> `parts` tensors [batch, heads, steps, width / heads]."""
    batch, steps = ops.shape(x)[0], ops.shape(x)[1]  # not of the projection, whose shape tf2onnx gets wrong
    x = project(x)
    x = ops.reshape(x, (batch, steps, parts, heads, x.shape[2] // (parts * heads)))
    return [ops.transpose(x[:, :, i], (0, 2, 1, 3)) for i in range(parts)]


def attend(scores, bias, value):
    """Means of the values [batch, heads, steps, n], weighted by scores: [batch, steps, heads * n]."""
    weights = ops.softmax(ops.cast(scores, "float32") + ops.cast(bias, "float32"), axis=-1)
    context = ops.transpose(ops.matmul(ops.cast(weights, value.dtype), value), (0, 2, 1, 3))
    return ops.reshape(context, (ops.shape(context)[0], ops.shape(context)[1], value.shape[1] * value.shape[3]))


def depthwise(x, taps, before):
    """Convolves each channel over time with its own taps, `before` of them on earlier steps: [batch, steps, width]."""
    kernel, width = taps.shape
    padded = ops.pad(x, [[0, 0], [before, kernel - 1 - before], [0, 0]])
    taps = ops.reshape(ops.cast(taps, x.dtype), (1, kernel, width, 1))
    return ops.depthwise_conv(padded[:, None], taps, data_format="channels_last")[:, 0]


def glu(x):
    """The first half of the channels, gated by the sigmoid of the second: [..., 2 * n] -> [..., n]."""
    value, gate = ops.split(x, 2, axis=-1)
    return value * ops.sigmoid(gate)


class FeedForward(layers.Layer):
    """Layer normalisation, a wider layer, and a projection back: [batch, steps, width] -> the same shape.

    Args:
        width, inner: of the input and output, and of the layer between them.
        dropout: rate after the projection, in training.
        use_bias, activation: of the dense layers, and of the wider one.
        epsilon: of the layer normalisation.
        initializer: of the projection's matrix.
    """

    def __init__(
        self, width, inner, dropout, use_bias=True, activation="silu", epsilon=1e-3, initializer="glorot_uniform",
        **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.normalise = layers.LayerNormalization(epsilon=epsilon, name="normalise")
        self.widen = layers.Dense(inner, activation=activation, use_bias=use_bias, name="widen")
        self.narrow = layers.Dense(width, use_bias=use_bias, kernel_initializer=initializer, name="narrow")
        self.dropout = layers.Dropout(dropout)

    def build(self, shape):
        self.normalise.build(shape)
        self.widen.build(shape)
        self.narrow.build((*shape[:-1], self.widen.units))

    def call(self, x, training=False):
        return self.dropout(self.narrow(self.widen(self.normalise(x))), training=training)
