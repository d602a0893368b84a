"""One training step: the loss is per character, the optimiser survives what is not finite, backends agree."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from asr_core import models
from asr_core.ctc import ctc_loss
from asr_core.featurizer import LogMel
from train.objective import SafeAdamW, Training, WarmUpHoldDecay

ROOT = Path(__file__).parents[2]
SIZES = {"width": 16, "blocks": 2, "heads": 2, "kernel": 5, "channels": 4, "dropout": 0.0}


def training(**sizes):
    return Training(LogMel(), models.build("conformer", 80, 10, **{**SIZES, **sizes}))


def batch(seed=0):
    rng = np.random.default_rng(seed)
    x = {
        "samples": rng.integers(-3000, 3000, (3, 16_000)).astype(np.int16),
        "lengths": np.array([16_000, 12_000, 15_001], np.int32),
    }
    labels = rng.integers(1, 10, (3, 8)).astype(np.int32)
    return x, {"labels": labels, "label_lengths": np.array([8, 3, 5], np.int32)}


def test_loss_is_nats_per_character():
    model, (x, y) = training(), batch()
    heard = model(x)
    losses = ctc_loss(y["labels"], y["label_lengths"], heard["logits"], heard["lengths"])
    loss = model.compute_loss(x, y, heard)
    assert float(loss) == pytest.approx(float(np.sum(losses)) / 16, rel=1e-5)


def test_intermediate_heads_share_the_loss():
    model, (x, y) = training(intermediate=[1]), batch()
    heard = model(x)
    outer, inner = (
        model.compute_loss(x, y, {**heard, "logits": logits, "intermediate": []})
        for logits in (heard["logits"], heard["intermediate"][0])
    )
    assert float(model.compute_loss(x, y, heard)) == pytest.approx(float(0.7 * outer + 0.3 * inner), rel=1e-5)


def fitted(optimizer, gradients):
    """A variable after some steps, and the optimiser."""
    variable = keras.Variable(np.array([[1.0, -2.0]], "float32"))
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
    return np.array(variable), optimizer


def test_steps_equal_those_of_keras_adamw():
    gradients = [np.array([[0.3, -0.1]], "float32"), np.array([[-0.2, 0.4]], "float32")] * 3
    ours, _ = fitted(SafeAdamW(0.01, weight_decay=0.1, clip_norm=1e9), gradients)
    theirs, _ = fitted(keras.optimizers.AdamW(0.01, weight_decay=0.1, beta_2=0.98, epsilon=1e-8), gradients)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    good, bad = np.array([[0.3, -0.1]], "float32"), np.array([[np.nan, 1.0]], "float32")
    before, _ = fitted(SafeAdamW(0.01), [good])
    after, optimizer = fitted(SafeAdamW(0.01), [good, bad, np.array([[np.inf, 0]], "float32")])
    np.testing.assert_array_equal(before, after)
    assert int(optimizer.skipped) == 2


def test_the_gradient_is_clipped_by_its_norm():
    huge, direction = np.array([[3000.0, 4000.0]], "float32"), np.array([[0.6, 0.8]], "float32")
    _, clipped = fitted(SafeAdamW(0.01, clip_norm=1.0), [huge])
    _, plain = fitted(SafeAdamW(0.01, clip_norm=1e9), [direction])
    np.testing.assert_allclose(clipped.first[0], plain.first[0], rtol=1e-4)


def test_averages_lag_behind_the_weights():
    gradients = [np.array([[1.0, 1.0]], "float32")] * 30
    weights, optimizer = fitted(SafeAdamW(0.01, weight_decay=0.0), gradients)
    averaged = np.array(optimizer.averaged[0])
    assert np.all(weights < averaged) and np.all(averaged < [[1.0, -2.0]])


def test_learning_rate_rises_holds_and_falls():
    schedule = WarmUpHoldDecay(peak=1.0, warm_up=10, decay=20, total=100)
    rates = [float(schedule(step)) for step in (0, 4, 9, 50, 80, 90, 99, 200)]
    np.testing.assert_allclose(rates, [0.1, 0.5, 1.0, 1.0, 1.0, 0.5, 0.05, 0.01], atol=1e-6)


LOSS = """
import json, sys
import numpy as np
import keras
from tests_objective import batch, training
model = training(intermediate=[1])
arrays = np.load(sys.argv[1])
for i, variable in enumerate(model.network.variables):
    variable.assign(arrays[f"a{i}"])
x, y = batch()
print(json.dumps([keras.backend.backend(), float(model.compute_loss(x, y, model(x)))]))
"""


def test_tensorflow_and_jax_give_the_same_loss(tmp_path):
    """On the same weights and the same batch, each backend in a process of its own."""
    weights = {f"a{i}": np.array(v) for i, v in enumerate(training(intermediate=[1]).network.variables)}
    np.savez(tmp_path / "weights.npz", **weights)
    (tmp_path / "tests_objective.py").write_text(Path(__file__).read_text())
    losses = {}
    for backend in ("tensorflow", "jax"):
        environment = os.environ | {
            "KERAS_BACKEND": backend, "PYTHONPATH": f"{ROOT}:{tmp_path}", "TF_CPP_MIN_LOG_LEVEL": "3",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", LOSS, str(tmp_path / "weights.npz")],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        name, loss = json.loads(done.stdout.splitlines()[-1])
        losses[name] = loss
    assert losses["tensorflow"] == pytest.approx(losses["jax"], rel=1e-4)
