"""Networks of the wav2vec 2.0 family: equal to transformers', and the same alone and in a batch.

The checkpoints below `tests/data/checkpoints` come from `tests/references/make_checkpoints.py`.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

from asr_core import models
from asr_core.bundle.checkpoints import wav2vec2 as translation
from asr_core.bundle.weights import weight_name
from asr_core.errors import BundleError
from asr_core.inference.compiled import FrameGeometry, compiled_graph
from asr_core.models.features import make_featurizer
from asr_core.models.wav2vec2_positions import bucket_of_distance
from asr_core.models.waveform_convolutions import NormalisedConvolution

CHECKPOINTS = Path(__file__).parents[2] / "data" / "checkpoints"
NAMES = (
    "wav2vec2-base", "wav2vec2-large", "wav2vec2-group-first", "wav2vec2-layer-last", "mms", "hubert-base",
    "hubert-large", "hubert-batch-norm", "wavlm-base", "wavlm-large", "data2vec-audio", "unispeech", "unispeech-sat",
)  # fmt: skip


def description(name: str) -> tuple[dict, dict]:
    folder = CHECKPOINTS / name
    return tuple(json.loads((folder / f"{file}.json").read_text()) for file in ("config", "preprocessor_config"))


def assign(model, sources: dict, tensors: dict) -> set[str]:
    """Sets the weights of a network from the tensors of a checkpoint; returns the names that were used."""
    used = set()
    for variable in model.weights:
        source = sources[weight_name(model, variable)]
        names = source.names(tensors)
        assert names, f"{source.tensors} is missing"
        variable.assign(source.convert(*(tensors[name] for name in names)))
        used |= set(names)
    return used


def build(name: str, tensors: dict, tokens: int):
    """Featurizer and network of a checkpoint with these tensors, and the names of those that were not used."""
    config, preprocessor = description(name)
    featurizer = make_featurizer(translation.featurizer(config, preprocessor))
    architecture = translation.architecture(config)
    model = models.build(architecture["name"], bins=1, tokens=tokens, **architecture["sizes"])
    return featurizer, model, tensors.keys() - assign(model, translation.weights(config), tensors)


@cache
def network(name: str):
    tensors = load_file(CHECKPOINTS / name / "model.safetensors")
    return build(name, tensors, len(tensors["lm_head.bias"]))


def logits(name: str, samples: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The valid steps of each clip."""
    featurizer, model, _ = network(name)
    features, frames = featurizer(samples, lengths)
    steps = ops.convert_to_numpy(model.output_lengths(frames))
    batch = ops.convert_to_numpy(model(features, frames))
    return [clip[:count] for clip, count in zip(batch, steps, strict=True)]


def reference(name: str, file: str = "reference") -> tuple[np.ndarray, np.ndarray]:
    """Samples float32 [n] and the logits of transformers [steps, tokens]."""
    stored = load_file(CHECKPOINTS / name / f"{file}.safetensors")
    return stored["samples"] / np.float32(32768), stored["logits"]


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name):
    samples, expected = reference(name)
    (found,) = logits(name, samples[None], np.array([len(samples)]))
    assert expected.std() > 0.3
    assert np.abs(np.diff(expected, axis=0)).max() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_of_a_checkpoint_is_used_but_those_of_training(name):
    config, _ = description(name)
    _, model, unused = network(name)
    assert translation.weights(config).keys() == {weight_name(model, variable) for variable in model.weights}
    assert all(translation.UNUSED.fullmatch(tensor) for tensor in unused), unused


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_has_the_same_logits_alone_in_a_batch_and_inside_padding(name):
    rng = np.random.default_rng(0)
    samples = (rng.standard_normal((8, 16_000)) * 0.1 + 0.02).astype("float32")
    lengths = np.array([16_000, 9_371, 400, 719, 720, 12_345, 401, 8_000])
    together = logits(name, samples, lengths)  # what follows the valid samples is noise
    assert [len(clip) for clip in together] == [(length - 400) // 320 + 1 for length in lengths]
    for i in (1, 4):
        (alone,) = logits(name, samples[i : i + 1, : lengths[i]], lengths[i : i + 1])
        np.testing.assert_allclose(alone, together[i], atol=2e-5)
    (padded,) = logits(name, np.pad(samples[1:2, :9_371], [[0, 0], [0, 160_000]]), lengths[1:2])
    np.testing.assert_allclose(padded, together[1], atol=2e-5)


def test_an_adapter_of_another_language_replaces_adapter_and_head():
    samples, expected = reference("mms", "reference.fra")
    adapter = load_file(CHECKPOINTS / "mms" / "adapter.fra.safetensors")
    tensors = load_file(CHECKPOINTS / "mms" / "model.safetensors")
    assert adapter.keys() < tensors.keys()
    featurizer, model, _ = build("mms", tensors | adapter, tokens=expected.shape[1])
    found = model(*featurizer(samples[None], np.array([len(samples)])))
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_a_convolution_that_is_normalised_over_time_equals_its_two_steps():
    rng = np.random.default_rng(0)
    layer = NormalisedConvolution(6, 10, 5)
    layer.build((None, None, 1))
    kernel, gamma, beta = rng.standard_normal((10, 6)), rng.standard_normal(6), rng.standard_normal(6)
    kernel[:, 0] = np.array([1, -1] * 5)  # passes nearly nothing of a low tone
    layer.set_weights([kernel[:, None], gamma, beta])
    tone = np.sin(np.arange(4_003) / 400) + 1e-4 * rng.standard_normal(4_003) + 0.5
    samples = np.pad(tone, (0, 997), constant_values=9).astype("float32")
    frames = np.lib.stride_tricks.sliding_window_view(samples[:4_003].astype("float64"), 10)[::5]
    outputs = frames @ kernel
    expected = (outputs - outputs.mean(0)) / np.sqrt(outputs.var(0) + 1e-5) * gamma + beta
    found = layer(samples[None, :, None], np.array([4_003]))[0, : len(frames)]
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_buckets_grow_with_the_distance():
    buckets = bucket_of_distance(160, 800)
    assert list(buckets[:81]) == list(range(81))
    assert buckets[800] == 159 and np.all(np.diff(buckets) >= 0) and set(buckets) == set(range(160))


def test_dropout_acts_in_training_only():
    model = models.build("wav2vec2", 1, 5, width=16, blocks=1, heads=2, inner=16, channels=[8] * 7, dropout=0.5)
    samples, lengths = np.random.default_rng(0).standard_normal((1, 4000, 1)).astype("float32"), np.array([4000])
    np.testing.assert_array_equal(model(samples, lengths), model(samples, lengths))
    moving = [ops.convert_to_numpy(model(samples, lengths, training=True)) for _ in range(2)]
    assert np.abs(moving[0] - moving[1]).max() > 1e-4


@pytest.mark.parametrize("name", ["wav2vec2-large", "wavlm-base", "hubert-batch-norm", "mms"])
def test_configuration_makes_the_same_network(name):
    _, model, _ = network(name)
    config = json.loads(json.dumps(model.get_config()))
    again = type(model)(**config)
    again.build()
    assert again.get_config() == config
    assert [tuple(v.shape) for v in again.weights] == [tuple(v.shape) for v in model.weights]


@pytest.mark.parametrize(
    "changes,sentence",
    [
        ({"hidden_act": "relu"}, "Its hidden_act is 'relu'; wav2vec2 networks run with 'gelu' here."),
        ({"feat_extract_activation": "gelu_new"}, "Its feat_extract_activation is 'gelu_new'; wav2vec2 networks run"),
        ({"feat_extract_norm": "batch"}, "Its feat_extract_norm is 'batch', neither 'group' nor 'layer'."),
        ({"add_adapter": True}, "It has an adapter after its blocks"),
        ({"conv_stride": [5, 2]}, "do not have one number for each convolution"),
    ],
)
def test_switches_that_are_not_supported_are_refused(changes, sentence):
    with pytest.raises(BundleError, match=sentence.replace("(", r"\(")):
        translation.architecture({"model_type": "wav2vec2"} | changes)


def test_a_configuration_without_keys_has_the_values_of_transformers():
    sizes = translation.architecture({"model_type": "wav2vec2"})["sizes"]
    assert models.build("wav2vec2", 1, 32, **sizes | {"blocks": 0}).get_config()["position_kernel"] == 128
    assert translation.architecture({"model_type": "data2vec-audio"})["sizes"]["position_layers"] == 5
    assert translation.featurizer({"model_type": "wav2vec2"}, {})["hop_samples"] == 320


def test_impossible_sizes_are_refused():
    for sizes, sentence in (
        ({"width": 30, "position_groups": 15, "heads": 4}, "width 30 is not a multiple of the 4 heads"),
        ({"width": 30, "heads": 5}, "width 30 is not a multiple of the 16 groups"),
        ({"kernels": [10, 3]}, "one number for each convolution"),
        ({"buckets": 320, "bucket_distance": 80}, "320 buckets of relative positions do not go with a distance of 80"),
    ):
        with pytest.raises(ValueError, match=sentence):
            models.build("wav2vec2", 1, 32, **sizes)
    with pytest.raises(ValueError, match="has 1 bin, not 80"):
        models.build("wav2vec2", 80, 32)


@pytest.mark.parametrize("name", ["wav2vec2-base", "wavlm-large"])
def test_the_compiled_graph_has_the_same_log_probabilities_for_every_clip_of_a_batch(name):
    featurizer, model, _ = network(name)
    graph = compiled_graph(featurizer, model)
    geometry = FrameGeometry(featurizer.frame_samples, featurizer.hop_samples, model.subsampling)
    samples = (np.random.default_rng(0).standard_normal((3, 8_000)) * 0.1).astype("float32")
    lengths = np.array([8_000, 5_003, 150], "int32")
    log_probs, steps = graph(samples, lengths)
    assert list(steps) == [geometry.steps(length) for length in lengths] == [24, 15, 1]
    for i in (0, 1):
        (expected,) = logits(name, samples[i : i + 1, : lengths[i]], lengths[i : i + 1])
        expected = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
        np.testing.assert_allclose(log_probs[i, : steps[i]], expected, atol=2e-5)
    alone, _ = graph(samples[2:, :150], lengths[2:])
    np.testing.assert_allclose(log_probs[2, 0], alone[0, 0], atol=2e-5)
    assert np.isfinite(alone).all()
