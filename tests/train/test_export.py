"""The exported graphs give the recogniser's log-probabilities, in the runtimes of others."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from asr_core import models
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.inference.compiled import CompiledModel, compiled_graph
from train.export import OUTPUTS, export, main

CONFORMER = ("conformer", {"width": 16, "blocks": 4, "heads": 2, "channels": 4, "kernel": 5, "parts": 2,
                           "phones": 7, "phones_block": 2})  # fmt: skip
DEEPSPEECH2 = ("deepspeech2", {"rnn_layers": 1, "rnn_units": 4})
FEATURIZERS = {
    "conformer": {"name": "log-mel", "sample_rate": 8000, "bins": 12},
    "deepspeech2": {"name": "keras-stft", "sample_rate": 8000, "bins": 193},
}
LENGTHS = np.array([8000, 5100], "int32")


@pytest.fixture(scope="module", params=[CONFORMER, DEEPSPEECH2], ids=lambda param: param[0])
def bundle(request, tmp_path_factory):
    architecture, sizes = request.param
    keras.utils.set_random_seed(3)
    featurizer = FEATURIZERS[architecture]
    network = models.build(architecture, featurizer["bins"], 3, **sizes)
    config = {"featurizer": featurizer, "sample_rate": 8000, "tokens": ["", "a", "b"]}
    return load_bundle(save_bundle(tmp_path_factory.mktemp("bundles") / architecture, network, config))


@pytest.fixture(scope="module")
def samples():
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 8000)).astype("float32")
    samples[1, LENGTHS[1] :] = 0
    return samples


@pytest.fixture(scope="module")
def native(bundle, samples):
    step = compiled_graph(bundle.featurizer(), bundle.build())
    return [output.numpy() for output in step(samples, LENGTHS)]


def check(outputs, native, clips=2):
    """Compares the valid steps of every clip: float32 [batch, steps, tokens], int32 [batch]."""
    np.testing.assert_array_equal(outputs["steps"], native[1][:clips])
    for log_probs, expected, steps in zip(outputs["log_probs"], native[0], outputs["steps"], strict=False):
        np.testing.assert_allclose(log_probs[:steps], expected[:steps], atol=1e-4)


def test_saved_model_gives_the_same(bundle, samples, native, tmp_path):
    import tensorflow as tf

    path = export(bundle.path, "saved_model", tmp_path)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    outputs = served(samples=tf.constant(samples), lengths=tf.constant(LENGTHS))
    check({name: outputs[name].numpy() for name in OUTPUTS}, native)


def test_onnx_gives_the_same(bundle, samples, native, tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(export(bundle.path, "onnx", tmp_path))
    outputs = session.run(list(OUTPUTS), {"samples": samples, "lengths": LENGTHS})
    check(dict(zip(OUTPUTS, outputs, strict=True)), native)


def test_litert_gives_the_same_for_one_clip_of_fixed_length(bundle, samples, native, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    path = export(bundle.path, "litert", tmp_path, seconds=1)
    run = interpreter.Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    check(run(samples=samples[:1], lengths=LENGTHS[:1]), native, clips=1)
    check(run(samples=samples[1:], lengths=LENGTHS[1:]), [output[1:] for output in native], clips=1)


def test_what_a_program_around_it_needs_stands_beside_it(bundle, tmp_path, capsys):
    assert main([str(bundle.path), "--format", "saved_model", "--out", str(tmp_path)]) == 0
    assert " MB" in capsys.readouterr().out
    facts = json.loads((tmp_path / "export.json").read_text())
    assert facts["tokens"] == ["", "a", "b"]
    assert facts["sample_rate"] == 8000
    assert facts["dereverberation"] is False
    assert facts["step_seconds"] == {"conformer": 0.02, "deepspeech2": 0.04}[bundle.name]


def test_a_missing_bundle_is_one_line(tmp_path, capsys):
    assert main(["no/bundle/here", "--format", "onnx", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("There is no model no/bundle/here")


def test_gelu_of_other_peoples_checkpoints_becomes_onnx(tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    checkpoint = Path(__file__).parents[1] / "data" / "checkpoints" / "tiny-trained"
    session = runtime.InferenceSession(export(checkpoint, "onnx", tmp_path))
    samples, lengths = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype("float32"), np.int32([16_000])
    expected, _ = CompiledModel(load_bundle(checkpoint))(samples, lengths)
    log_probs, _ = session.run(list(OUTPUTS), {"samples": samples, "lengths": lengths})
    np.testing.assert_allclose(np.exp(log_probs), np.exp(expected), atol=1e-4)
