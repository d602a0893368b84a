"""The tagger's network in Keras, for training; `asr_core.text.tagger` runs the same weights in NumPy."""

import keras
import numpy as np
from keras import ops

from asr_core.text.tagger import CAPITALS, LAYER_OFFSETS, PUNCTUATION
from asr_core.text.word_features import LETTER_FEATURES, TIMING_FEATURES


class Beside(keras.layers.Layer):
    """The features of the words at `offsets` from each word, zeros outside: [batch, words, offsets * channels]."""

    def __init__(self, offsets, **arguments):
        super().__init__(**arguments)
        self.offsets = tuple(offsets)

    def call(self, x):
        count = x.shape[1]
        left, right = max(0, -min(self.offsets)), max(0, max(self.offsets))
        padded = ops.pad(x, ((0, 0), (left, right), (0, 0)))
        return ops.concatenate([padded[:, left + at : left + at + count] for at in self.offsets], axis=-1)


def build(
    numbers: int, words: int, width: int, letter_width: int, buckets: int, channels: int, dropout: float
) -> keras.Model:
    """The network for texts of a fixed number of words.

    Args:
        numbers: of different words (`WordNumbers`).
        words: in each text.
        width, letter_width, buckets, channels: as `asr_core.text.tagger.weight_shapes` takes them.
        dropout: share of the input and of each layer's output that training leaves out.

    Returns:
        A model of word numbers int32 [batch, words], letter hashes int32 [batch, words, LETTER_FEATURES], timing
        features float32 [batch, words, TIMING_FEATURES] and mask float32 [batch, words] (0 after the end of a text).
        It gives logits float32 [batch, words, 7].
    """
    inputs = [
        keras.Input((words,), dtype="int32"),
        keras.Input((words, LETTER_FEATURES), dtype="int32"),
        keras.Input((words, TIMING_FEATURES)),
        keras.Input((words,)),
    ]
    mask = ops.expand_dims(inputs[3], -1)
    table = keras.layers.Embedding(numbers, width, embeddings_initializer=_normal(0.1), name="words")
    hashed = keras.layers.Embedding(buckets, letter_width, embeddings_initializer=_normal(0.1), name="letters")
    x = ops.concatenate([table(inputs[0]), ops.sum(hashed(inputs[1]), axis=2), inputs[2]], axis=-1)
    x = keras.layers.Dense(channels, name="input")(keras.layers.Dropout(dropout)(x)) * mask
    for layer, offsets in enumerate(LAYER_OFFSETS):
        gated = keras.layers.Dense(2 * channels, name=f"layer{layer}")(Beside(offsets)(x))
        values, gates = ops.split(gated, 2, axis=-1)
        x = (x + keras.layers.Dropout(dropout)(values * ops.sigmoid(gates))) * mask
    logits = keras.layers.Dense(len(PUNCTUATION) + len(CAPITALS), name="output")(x)
    return keras.Model(inputs, logits)


def _normal(deviation: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=deviation)


def weights_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights under the names of `asr_core.text.tagger.weight_shapes`, float32."""
    weights = {}
    for layer in model.layers:
        for variable in layer.weights:
            kind = variable.path.rsplit("/", 1)[-1]
            weights[layer.name if kind == "embeddings" else f"{layer.name}/{kind}"] = np.array(variable)
    return weights
