"""Wav2Vec2-BERT and its front end: shapes, distances, and what is refused (see also `test_references.py`)."""

import numpy as np
import pytest

from asr_core import models
from asr_core.bundle.checkpoints import wav2vec2_bert
from asr_core.errors import BundleError
from asr_core.models.checkpoint_features import KaldiLogMel

SMALL = {"width": 16, "blocks": 2, "heads": 2, "inner": 24, "kernel": 5, "left": 4, "right": 2}


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_frames_that_are_joined_lie_inside_the_clip(stride):
    featurizer = KaldiLogMel(bins=20 * stride, stride=stride)
    for samples in (720, 879, 880, 881, 4000):
        single = (samples - 400) // 160 + 1
        features, frames = featurizer(np.ones((1, samples), "float32"), np.array([samples]))
        assert features.shape[1] == int(frames[0]) == single // stride


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")  # of a single step
@pytest.mark.parametrize("adapters", [0, 1, 2])
def test_output_lengths_are_those_of_the_real_output(adapters):
    model = models.build("wav2vec2-bert", bins=20, tokens=5, adapters=adapters, **SMALL)
    for frames in (1, 2, 3, 4, 5, 9):
        logits = model(np.zeros((1, frames, 20), "float32"), np.array([frames]))
        assert logits.shape == (1, model.output_lengths(frames), 5)


def test_attention_tells_distances_apart_up_to_its_limits():
    attention = models.build("wav2vec2-bert", bins=20, tokens=5, **SMALL).blocks[0].attention
    attention.distances.assign(np.arange(7, dtype="float32")[:, None] * np.ones(8, "float32"))
    scores = attention._distance_scores(np.ones((1, 1, 9, 8), "float32"))[0, 0] / 8
    distance = np.arange(9) - np.arange(9)[:, None]  # of a key after a query
    np.testing.assert_allclose(scores, np.clip(distance, -4, 2) + 4)


def test_impossible_sizes_and_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="width 16 is not a multiple of the 3 heads"):
        models.build("wav2vec2-bert", bins=20, tokens=5, **SMALL | {"heads": 3})
    with pytest.raises(ValueError, match="81 bins are not 2 frames of equal size"):
        KaldiLogMel(bins=81)
    for key, value in (
        ("hidden_act", "gelu"), ("position_embeddings_type", "rotary"), ("adapter_stride", 4),
        ("use_intermediate_ffn_before_adapter", True), ("output_hidden_size", 512),
    ):  # fmt: skip
        with pytest.raises(BundleError, match=f"{key} .*{value}"):
            wav2vec2_bert.architecture({"add_adapter": True, key: value})
