"""OmniASR: the network of wav2vec 2.0 with its weights under other names, equal to transformers."""

import numpy as np
import pytest

from asr_core.bundle.checkpoints import omniasr
from asr_core.errors import BundleError
from asr_core.inference.compiled import compiled_graph
from tests.references.fixtures import Reference


@pytest.fixture(scope="module")
def reference():
    return Reference("omniasr", omniasr)


def test_log_probabilities_are_those_of_transformers(reference):
    wanted = reference.outputs["logits"]
    assert wanted.std() > 0.3
    graph = compiled_graph(reference.featurizer(), reference.network())
    log_probs, (steps,) = graph(reference.samples, np.array([reference.samples.shape[1]], "int32"))
    assert steps == len(wanted)
    wanted = wanted - np.log(np.exp(wanted).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_probs[0, :steps], wanted, atol=1e-4)


def test_every_tensor_of_the_checkpoint_is_used(reference):
    assert not reference.unused()


def test_a_checkpoint_that_states_nothing_has_the_sizes_of_transformers():
    sizes = omniasr.architecture({})["sizes"]
    assert (sizes["width"], sizes["blocks"], sizes["conv_bias"]) == (1024, 24, True)


def test_another_activation_is_refused():
    with pytest.raises(BundleError, match="hidden_act is 'relu'"):
        omniasr.architecture({"audio_config": {"hidden_act": "relu"}})
