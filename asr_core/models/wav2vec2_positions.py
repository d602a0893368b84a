"""How networks of the wav2vec 2.0 family encode positions: by convolutions, and WavLM by relative distances as well."""

import math

import numpy as np
from keras import layers, ops

EPSILON = 1e-5  # of the normalisations between several positional convolutions


class PositionalConvolutions(layers.Layer):
    """Wide convolutions in groups of channels, each followed by GELU: [batch, steps, width], shape kept.

    Args:
        count: how many there are. If there are several, each is normalised over its channels before GELU.
        kernel: taps of each.
        groups: groups of channels of each.
        affine: whether the input is scaled and shifted first, channel by channel.
    """

    def __init__(self, count, kernel, groups, affine, **kwargs):
        super().__init__(**kwargs)
        self.count, self.taps, self.groups, self.affine = count, kernel, groups, affine

    def build(self, shape):
        width = shape[-1]
        if width % self.groups:
            raise ValueError(f"width {width} is not a multiple of the {self.groups} groups of positional convolutions")
        self.kernels, self.biases = [], []
        for i in range(self.count):
            kernel_shape = (self.taps, width // self.groups, width)
            self.kernels.append(self.add_weight(kernel_shape, name=f"kernel_{i}"))
            self.biases.append(self.add_weight((width,), initializer="zeros", name=f"bias_{i}"))
        if self.affine:
            self.scale = self.add_weight((width,), initializer="ones", name="scale")
            self.shift = self.add_weight((width,), initializer="zeros", name="shift")

    def call(self, x, mask):
        """`x` is [batch, steps, width], zero in the padding; `mask` is [batch, steps, 1], 1 for valid steps."""
        if self.affine:
            x = (x * self.scale + self.shift) * mask
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            x = self.convolve(x, ops.cast(kernel, x.dtype)) + ops.cast(bias, x.dtype)
            if self.count > 1:
                x = ops.layer_normalization(x, epsilon=EPSILON)
            x = ops.gelu(x, approximate=False) * mask
        return x

    def convolve(self, x, kernel):
        """Each group by itself: a convolution in groups is compiled for every length by Keras on TensorFlow."""
        before = self.taps // 2
        padded = ops.pad(x, [[0, 0], [before, self.taps - 1 - before], [0, 0]])
        groups = zip(ops.split(padded, self.groups, -1), ops.split(kernel, self.groups, -1), strict=True)
        return ops.concatenate([ops.conv(*group, data_format="channels_last") for group in groups], axis=-1)


class RelativePositions(layers.Layer):
    """Learned scores of the distance between two steps, one for each head (Chen et al., 2022, arXiv 2110.13900).

    Small distances have an embedding each; larger ones share it in buckets of logarithmic size.

    Args:
        buckets: number of embeddings, half of them for keys after the query.
        distance: from which on all distances share the last bucket, in steps.
        heads: attention heads.
    """

    def __init__(self, buckets, distance, heads, **kwargs):
        super().__init__(**kwargs)
        if buckets < 4 or distance <= buckets // 4:
            raise ValueError(f"{buckets} buckets of relative positions do not go with a distance of {distance} steps")
        self.buckets, self.distance, self.heads = buckets, distance, heads
        self.bucket_of_distance = bucket_of_distance(buckets // 2, distance)

    def build(self, shape):
        self.embedding = self.add_weight((self.buckets, self.heads), name="embedding")

    def call(self, x):
        """`x` [batch, steps, width], of which only the steps count -> scores [heads, steps, steps] by query and key."""
        steps = ops.shape(x)[1]
        ahead = ops.arange(1 - steps, steps, dtype="int32")  # steps from a query to a key
        bucket = ops.take(self.bucket_of_distance, ops.minimum(ops.abs(ahead), self.distance))
        bucket = bucket + ops.cast(ahead > 0, "int32") * (self.buckets // 2)
        scores = ops.transpose(ops.take(self.embedding, bucket, axis=0))  # [heads, 2 steps - 1]
        position = ops.arange(steps, dtype="int32")
        return ops.take(scores, position[None] - position[:, None] + steps - 1, axis=1)


def bucket_of_distance(buckets: int, distance: int) -> np.ndarray:
    """The bucket of each distance from 0 to `distance`, int32 [distance + 1]."""
    exact = buckets // 2  # distances below have a bucket each
    steps = np.arange(distance + 1)
    share = np.log(np.maximum(steps, 1).astype("float32") / exact) / math.log(distance / exact)
    wide = np.minimum((exact + share * (buckets - exact)).astype("int32"), buckets - 1)
    return np.where(steps < exact, steps, wide).astype("int32")


def gated_bias(gates, scale, positions):
    """Scores of relative positions, weighted for each query.

    Args:
        gates: logits [batch, steps, heads, 2].
        scale: of the second gate, [heads, 1].
        positions: [heads, steps, steps].

    Returns:
        [batch, heads, steps, steps].
    """
    first, second = ops.split(ops.transpose(ops.sigmoid(gates), (0, 2, 1, 3)), 2, axis=-1)  # [batch, heads, steps, 1]
    return (first * (second * ops.expand_dims(scale, 1) - 1.0) + 2.0) * positions
