"""FastConformer and Wav2Vec2-BERT with their front ends: equal to transformers, and untouched by padding."""

import numpy as np
import pytest

from asr_core.bundle.checkpoints import parakeet, wav2vec2_bert
from asr_core.inference.compiled import FrameGeometry, compiled_graph
from tests.references.fixtures import Reference

CHECKPOINTS = (
    ("parakeet", parakeet),
    ("parakeet-without-biases", parakeet),
    ("wav2vec2-bert", wav2vec2_bert),
    ("wav2vec2-bert-adapters", wav2vec2_bert),
)


@pytest.fixture(scope="module", params=CHECKPOINTS, ids=lambda checkpoint: checkpoint[0])
def reference(request):
    return Reference(*request.param)


def test_features_are_those_of_transformers(reference):
    features, frames = reference.featurizer()(reference.samples, np.array([reference.samples.shape[1]]))
    wanted = reference.outputs["features"]
    assert int(frames[0]) == len(wanted)
    np.testing.assert_allclose(features[0], wanted, atol=1e-4)


def test_logits_are_those_of_transformers(reference):
    wanted = reference.outputs["logits"]
    assert wanted.std() > 0.3
    features = reference.outputs["features"][None]
    logits = reference.network()(features, np.array([features.shape[1]]))
    np.testing.assert_allclose(logits[0], wanted[: logits.shape[1]], atol=1e-4)


def test_every_tensor_of_the_checkpoint_is_used_but_those_of_training(reference):
    assert all(reference.family.UNUSED.fullmatch(name) for name in reference.unused())


def test_the_compiled_graph_gives_the_log_probabilities_of_transformers(reference):
    featurizer, model, wanted = reference.featurizer(), reference.network(), reference.outputs["logits"]
    length = reference.samples.shape[1]
    log_probs, steps = compiled_graph(featurizer, model)(reference.samples, np.array([length], "int32"))
    geometry = FrameGeometry(featurizer.frame_samples, featurizer.hop_samples, model.subsampling)
    assert int(steps[0]) == geometry.steps(length)
    wanted = wanted - np.log(np.exp(wanted).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_probs[0, : steps[0]], wanted[: steps[0]], atol=2e-4)


def test_a_clip_has_the_same_log_probabilities_alone_in_a_batch_and_in_longer_padding(reference):
    graph = compiled_graph(reference.featurizer(), reference.network())
    rng = np.random.default_rng(1)
    lengths = np.array([9000, 16_000, 5000, 12_345, 700, 8000, 15_999, 20_000], "int32")
    batch = rng.standard_normal((8, 20_000)).astype("float32") * 0.1  # whatever lies after a clip's end
    together, steps = graph(batch, lengths)
    longer = np.concatenate([batch, np.ones((8, 160_000), "float32")], axis=1)
    padded, _ = graph(longer, lengths)
    for clip, length in enumerate(lengths):
        alone, (count,) = graph(batch[clip : clip + 1, :length], lengths[clip : clip + 1])
        assert count == steps[clip]
        np.testing.assert_allclose(together[clip, :count], alone[0, :count], atol=1e-3)
        np.testing.assert_allclose(padded[clip, :count], alone[0, :count], atol=1e-3)


def test_configuration_makes_the_same_network(reference):
    model = reference.network()
    again = type(model)(**model.get_config())
    again.build((None, None, model.sizes["bins"]), (None,))
    assert again.get_config() == model.get_config()
    assert [tuple(v.shape) for v in again.variables] == [tuple(v.shape) for v in model.variables]
