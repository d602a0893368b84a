"""The Conformer: lengths, masks, branches and heads."""

import numpy as np
import pytest
from keras import ops

from asr_core import models
from asr_core.models.conformer import rotary_positions

SMALL = {"width": 32, "blocks": 3, "heads": 2, "kernel": 7, "channels": 4, "dropout": 0.1}


def conformer(**sizes):
    """A network with random matrices: in a new one the last matrix of every branch is zero."""
    model = models.build("conformer", bins=20, tokens=7, **{**SMALL, **sizes})
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(rng.standard_normal(variable.shape) / np.sqrt(variable.shape[-2]))
    return model


def test_a_new_block_is_the_identity():
    block = models.build("conformer", bins=20, tokens=7, **SMALL).blocks[0]
    x = np.random.default_rng(0).standard_normal((1, 9, 32)).astype("float32")
    ones = np.ones((1, 9, 1), "float32")
    np.testing.assert_array_equal(block(x, ones, ones[:, None, None, :, 0] * 0, rotary_positions(9, 16, "float32")), x)


def test_the_depthwise_convolution_is_the_same_in_training_and_inference():
    module = conformer().blocks[1].convolution
    x = np.random.default_rng(0).standard_normal((2, 11, 32)).astype("float32")
    wanted = [[np.convolve(clip[:, c], module.taps[::-1, c], "same") for c in range(32)] for clip in x]
    for fused in (True, False):
        np.testing.assert_allclose(module.depthwise(x, fused), np.transpose(wanted, (0, 2, 1)), atol=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("reduction", [1, 2])
def test_output_lengths_are_those_of_the_real_output(reduction, parts):
    model = conformer(reduction=reduction, parts=parts)
    for frames in range(1, 14):
        logits = model(np.zeros((1, frames, 20), "float32"), np.array([frames]))
        assert logits.shape == (1, model.output_lengths(frames), 7)


@pytest.mark.parametrize("reduction,outer,parts", [(1, 0, 1), (1, 0, 2), (2, 0, 1), (2, 1, 2), (2, 3, 1)])
@pytest.mark.parametrize("frames", [37, 38, 39, 40])
def test_padding_never_changes_the_logits(reduction, outer, parts, frames):
    model = conformer(reduction=reduction, outer_blocks=outer, parts=parts)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((3, 61, 20)).astype("float32")
    features[1, frames:] = 0
    together = model(features, np.array([61, frames, 50]))
    alone = model(features[1:2, :frames], np.array([frames]))
    np.testing.assert_allclose(together[1, : alone.shape[1]], alone[0], atol=2e-5)


def test_a_change_of_the_features_changes_the_steps_of_its_time():
    model = conformer(reduction=2, blocks=1)
    before = np.random.default_rng(0).standard_normal((1, 80, 20)).astype("float32")
    after = before.copy()
    after[0, 40] += 5.0
    lengths = np.array([80])
    difference = np.abs(ops.convert_to_numpy(model(after, lengths) - model(before, lengths))).sum(-1)[0]
    assert abs(int(difference.argmax()) - 40 // model.subsampling) <= 1


PHONES = {"phones": 5, "phones_block": 2}


@pytest.mark.parametrize("reduction", [1, 2])
def test_the_phone_head_has_25_steps_a_second_and_conditions_the_blocks_behind_it(reduction):
    model = conformer(reduction=reduction, parts=2, **PHONES)
    features = np.random.default_rng(0).standard_normal((2, 45, 20)).astype("float32")
    lengths = np.array([45, 30])
    before, phones = model.logits(features, lengths)
    assert phones.shape[0] == 2 and phones.shape[2] == 5
    assert phones.shape[1] >= model.phone_lengths(45) == 12
    alone = model.logits(features[1:, :30], lengths[1:])[1]
    np.testing.assert_allclose(phones[1, : model.phone_lengths(30)], alone[0, : model.phone_lengths(30)], atol=2e-5)
    bias = np.zeros(reduction * 5, "float32")
    bias[0] = 9.0  # nothing but blank
    model.phones_head.bias.assign(bias)
    assert np.abs(model(features, lengths) - before).max() > 1e-3
    model.phone_conditioning.kernel.assign(np.zeros(model.phone_conditioning.kernel.shape))
    model.phone_conditioning.bias.assign(np.zeros(32))
    unconditioned = model(features, lengths)
    model.phones_head.bias.assign(0 * bias)
    np.testing.assert_array_equal(model(features, lengths), unconditioned)


def test_dropout_acts_in_training_only():
    model = conformer(dropout=0.5)
    features, lengths = np.ones((1, 40, 20), "float32"), np.array([40])
    still = [model(features, lengths) for _ in range(2)]
    moving = [model(features, lengths, training=True) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert np.abs(ops.convert_to_numpy(moving[0] - moving[1])).max() > 1e-3


def test_configuration_makes_the_same_network():
    model = conformer(**PHONES)
    config = model.get_config()
    again = type(model)(**config)
    again.build((None, None, 20), (None,))
    assert again.get_config() == config
    assert [tuple(v.shape) for v in again.variables] == [tuple(v.shape) for v in model.variables]


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="width 30 is not a multiple of twice the 4 heads"):
        conformer(width=30, heads=4)
    with pytest.raises(ValueError, match="reduction is 1 or 2, not 3"):
        conformer(reduction=3)
    with pytest.raises(ValueError, match="parts is 1 or 2, not 4"):
        conformer(parts=4)
    for block in (1, 3):
        with pytest.raises(ValueError, match=f"phones_block is from 2 to 2, not {block}"):
            conformer(phones=5, phones_block=block)
    with pytest.raises(ValueError, match="unknown architecture 'lstm'; there are conformer, deepspeech2"):
        models.build("lstm", 80, 31)
