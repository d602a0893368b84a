"""The example's network: its size, its arithmetic, and what padding may not do to it."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from asr_core.models.deepspeech2 import DeepSpeech2, reverse_within

BINS = 21
TOKENS = 7


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(1)
    network = DeepSpeech2(bins=BINS, tokens=TOKENS, rnn_layers=2, rnn_units=6)
    network.build()
    return randomised(network)


def randomised(network, seed=3):
    """Weights as after training: batch normalisation and biases are no longer the identity."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("beta", "bias", "moving_mean")):
            weight.assign(rng.normal(0, 0.3, weight.shape))
    return network


def clips(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, BINS)).astype("float32") for n in lengths]


def run(network, features, lengths, **kwargs):
    return ops.convert_to_numpy(network(features, np.array(lengths, "int32"), **kwargs))


def the_example(bins, classes, rnn_layers, rnn_units):
    """The network as the Keras example builds it, up to and with its softmax."""
    inputs = layers.Input((None, bins))
    x = layers.Reshape((-1, bins, 1))(inputs)
    x = layers.Conv2D(32, [11, 41], strides=[2, 2], padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(32, [11, 21], strides=[1, 2], padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for i in range(rnn_layers):
        x = layers.Bidirectional(layers.GRU(rnn_units, return_sequences=True, reset_after=True))(x)
        if i < rnn_layers - 1:
            x = layers.Dropout(0.5)(x)
    x = layers.Dropout(0.5)(layers.ReLU()(layers.Dense(2 * rnn_units)(x)))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


@pytest.mark.parametrize("alphabet", [{"tokens": 32}, {"tokens": 31, "extra_blanks": 1}])
def test_has_the_parameters_of_the_example_with_32_classes(alphabet):
    network = DeepSpeech2(bins=193, **alphabet)
    network.build()
    assert network.count_params() == 26_628_480


@pytest.mark.parametrize("frames", [1, 2, 9, 30, 31])
def test_log_probabilities_are_those_of_the_example(network, frames):
    example = the_example(BINS, TOKENS, rnn_layers=2, rnn_units=6)
    example.set_weights([weight.numpy() for weight in example_order(network)])
    (clip,) = clips(frames)
    expected = np.log(example(clip[None]).numpy())
    log_probs = ops.log_softmax(network(clip[None], np.array([frames], "int32")), axis=-1)
    np.testing.assert_allclose(log_probs, expected, atol=1e-5)


def example_order(network):
    """Our weights in the order in which the example's layers were made."""
    for layer in network.layers:
        yield from layer.weights


def test_padding_changes_nothing(network):
    lengths = [30, 17, 8, 1, 25]
    parts = clips(*lengths)
    batch = np.full((len(parts), 40, BINS), 1e3, "float32")  # not even padding that is far from silent
    for row, clip in zip(batch, parts, strict=True):
        row[: len(clip)] = clip
    together = run(network, batch, lengths)
    for row, clip in zip(together, parts, strict=True):
        alone = run(network, clip[None], [len(clip)])[0]
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-5)


def test_padding_leaves_training_statistics_alone(network):
    (clip,) = clips(15)
    padded = np.concatenate([clip, np.full((9, BINS), 50, "float32")])
    statistics = []
    for features in (clip, padded):
        copy = DeepSpeech2.from_config(network.get_config() | {"dropout": 0.0})
        copy.build()
        copy.set_weights(network.get_weights())
        run(copy, features[None], [15], training=True)
        statistics.append([w.numpy() for w in copy.weights if "moving" in w.path])
    for alone, beside_padding in zip(*statistics, strict=True):
        np.testing.assert_allclose(alone, beside_padding, rtol=1e-4, atol=1e-5)


def test_output_lengths_are_the_lengths_of_the_output(network):
    for frames in (1, 2, 3, 10, 11):
        logits = run(network, clips(frames)[0][None], [frames])
        assert logits.shape == (1, network.output_lengths(frames), TOKENS)
    np.testing.assert_array_equal(network.output_lengths(ops.array([1, 2, 3, 10])), [1, 1, 2, 5])


def test_reverses_each_clip_within_its_length():
    x = np.arange(8, dtype="float32").reshape(2, 4, 1)
    turned = ops.convert_to_numpy(reverse_within(x, np.array([3, 0], "int32")))
    np.testing.assert_array_equal(turned[..., 0], [[2, 1, 0, 3], [4, 5, 6, 7]])


def test_extra_blanks_add_their_probability_to_the_blank():
    merged = DeepSpeech2(bins=BINS, tokens=4, rnn_layers=1, rnn_units=3, extra_blanks=2)
    apart = DeepSpeech2(bins=BINS, tokens=6, rnn_layers=1, rnn_units=3)
    merged.build()
    apart.build()
    apart.set_weights(merged.get_weights())
    (clip,) = clips(12)
    expected = np.array(ops.softmax(apart(clip[None], np.array([12], "int32")), axis=-1))
    probabilities = np.array(ops.softmax(merged(clip[None], np.array([12], "int32")), axis=-1))
    np.testing.assert_allclose(probabilities[..., 1:], expected[..., 1:4], atol=1e-6)
    np.testing.assert_allclose(probabilities[..., 0], expected[..., [0, 4, 5]].sum(-1), atol=1e-6)


def test_weight_paths_do_not_depend_on_what_was_built_before():
    def paths():
        network = DeepSpeech2(bins=BINS, tokens=TOKENS, rnn_layers=2, rnn_units=4)
        network.build()
        return [weight.path for weight in network.weights]

    first = paths()
    assert first == paths()
    assert len(set(first)) == len(first)
    assert "deepspeech2/bidirectional_2/backward/gru_cell/recurrent_kernel" in first


def test_config_builds_the_same_network(network):
    copy = DeepSpeech2.from_config(network.get_config())
    copy.build()
    copy.set_weights(network.get_weights())
    (clip,) = clips(10)
    np.testing.assert_array_equal(run(copy, clip[None], [10]), run(network, clip[None], [10]))
