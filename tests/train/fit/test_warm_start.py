"""Warm start: deeper networks with the weights of smaller ones."""

import numpy as np
import pytest

from asr_core import models
from train.fit.warm_start import warm_start

SIZES = {"width": 16, "heads": 2, "kernel": 3, "channels": 2, "dropout": 0.0, "parts": 2}


def network(seed=0, **sizes):
    """A Conformer with random values in all of its weights."""
    model = models.build("conformer", 80, 31, **SIZES, **sizes)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.3, value.shape) for value in model.get_weights()])
    return model


def logits(model):
    features = np.random.default_rng(0).normal(size=(2, 37, 80)).astype(np.float32)
    return np.asarray(model(features, np.array([37, 20])))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"blocks": 3, "outer_blocks": 1}, {"blocks": 3, "outer_blocks": 1}),
        ({"blocks": 3, "outer_blocks": 1}, {"blocks": 6, "outer_blocks": 1}),
        ({"blocks": 3, "outer_blocks": 1}, {"blocks": 7, "outer_blocks": 3}),
        ({"blocks": 2, "reduction": 1}, {"blocks": 5, "reduction": 1}),
        ({"blocks": 3, "phones": 5, "phones_block": 2}, {"blocks": 5, "phones": 5, "phones_block": 3}),
    ],
)
def test_a_deeper_network_has_the_logits_of_the_smaller_one(before, after):
    smaller, deeper = network(**before), network(seed=1, **after)
    assert np.abs(logits(deeper) - logits(smaller)).max() > 0.1
    warm_start(deeper, smaller)
    np.testing.assert_allclose(logits(deeper), logits(smaller), atol=1e-5)


def test_a_new_phone_head_does_not_change_the_logits():
    smaller = network(blocks=4)
    with_head = models.build("conformer", 80, 31, **SIZES, blocks=4, phones=5, phones_block=2)
    warm_start(with_head, smaller)
    np.testing.assert_allclose(logits(with_head), logits(smaller), atol=1e-5)
    assert np.any(with_head.phones_head.kernel)


def test_copies_have_the_weights_of_their_originals_and_add_nothing():
    smaller, deeper = network(blocks=3), network(blocks=5)
    warm_start(deeper, smaller)
    for original, copy, first in ((2, 3, 2), (4, 5, 3)):
        original, copy, first = deeper.blocks[original - 1], deeper.blocks[copy - 1], smaller.blocks[first - 1]
        np.testing.assert_array_equal(original.attention.merge.kernel, first.attention.merge.kernel)
        np.testing.assert_array_equal(copy.attention.project.kernel, first.attention.project.kernel)
        np.testing.assert_array_equal(copy.convolution.taps, first.convolution.taps)
        for output in (copy.attention.merge, copy.convolution.project, copy.feed_forward_out.narrow):
            assert not np.any(output.kernel)


@pytest.mark.parametrize("sizes", [{"blocks": 2}, {"blocks": 3, "reduction": 1}, {"blocks": 3, "expansion": 2}])
def test_other_networks_are_refused(sizes):
    with pytest.raises(ValueError, match="weights of shape|no place"):
        warm_start(network(**sizes), network(blocks=3))


def test_a_phone_head_keeps_its_place():
    smaller = network(blocks=3, phones=5, phones_block=2)
    for block in (2, 4):
        with pytest.raises(ValueError, match="phones is after another block"):
            warm_start(network(blocks=5, phones=5, phones_block=block), smaller)
    with pytest.raises(ValueError, match="no place for .*phones"):
        warm_start(network(blocks=3), smaller)
