"""FastConformer and its front end: shapes, distances, dropout, and what is refused (see also `test_references.py`)."""

import numpy as np
import pytest

from asr_core import models
from asr_core.bundle.checkpoints import parakeet
from asr_core.errors import BundleError
from asr_core.models.checkpoint_features import NemoLogMel
from asr_core.models.fastconformer import by_distance

SMALL = {"width": 16, "blocks": 2, "heads": 2, "inner": 24, "kernel": 5, "channels": 4}


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")  # of a single step
def test_output_lengths_are_those_of_the_real_output():
    model = models.build("fastconformer", bins=20, tokens=5, **SMALL)
    for frames in (1, 7, 8, 9, 16, 17, 40):
        logits = model(np.zeros((1, frames, 20), "float32"), np.array([frames]))
        assert logits.shape == (1, model.output_lengths(frames), 5)


def test_scores_by_distance_are_brought_to_their_keys():
    steps = 5
    distances = np.broadcast_to(steps - 1 - np.arange(2 * steps, dtype="float32"), (2, 3, steps, 2 * steps))
    wanted = np.arange(steps)[:, None] - np.arange(steps)  # of a query to a key
    np.testing.assert_array_equal(by_distance(distances.copy()), np.broadcast_to(wanted, (2, 3, steps, steps)))


def test_dropout_acts_in_training_only():
    model = models.build("fastconformer", bins=20, tokens=5, dropout=0.5, **SMALL)
    features, lengths = np.ones((1, 80, 20), "float32"), np.array([80])
    np.testing.assert_array_equal(model(features, lengths), model(features, lengths))
    moving = [np.asarray(model(features, lengths, training=True)) for _ in range(2)]
    assert np.abs(moving[0] - moving[1]).max() > 1e-3


def test_impossible_sizes_and_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="width 16 is not a multiple of the 3 heads"):
        models.build("fastconformer", bins=20, tokens=5, **SMALL | {"heads": 3})
    with pytest.raises(ValueError, match="kernel is odd, not 4"):
        models.build("fastconformer", bins=20, tokens=5, **SMALL | {"kernel": 4})
    with pytest.raises(ValueError, match="fft_length 256 is less than the 400"):
        NemoLogMel(fft_length=256)
    for key, value in (("hidden_act", "gelu"), ("subsampling_conv_stride", 3), ("subsampling_factor", 6)):
        with pytest.raises(BundleError, match=f"{key} .*{value}"):
            parakeet.architecture({"encoder_config": {key: value}})


def test_a_checkpoint_that_states_nothing_has_the_sizes_of_transformers():
    assert parakeet.architecture({})["sizes"]["width"] == 1024
    assert parakeet.featurizer({}, {})["bins"] == 80
