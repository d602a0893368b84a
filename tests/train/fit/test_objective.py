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
from asr_core.models.features import LogMel
from train.data.augmentation import SpecAugment
from train.fit.objective import TrainingModel, consistency, rounded
from train.fit.optimizer import SafeAdamW
from train.learning_rate import WarmUpHoldDecay

ROOT = Path(__file__).parents[3]
TWO_HEADS = {"outer_blocks": 0, "phones": 7, "phones_block": 1}
SIZES = {"width": 16, "blocks": 2, "heads": 2, "kernel": 5, "channels": 4, "dropout": 0.0}


def training(**sizes):
    return TrainingModel(LogMel(), models.build("conformer", 80, 10, **{**SIZES, **sizes}))


class HideFirstHalf(keras.layers.Layer):
    """A deterministic SpecAugment: the second view of every clip lacks its first half."""

    def call(self, features, lengths):
        rows, frames = ops.shape(features)[0], ops.shape(features)[1]
        second_view = ops.cast(ops.arange(rows) % 2 == 1, "float32")
        first_half = ops.cast(ops.arange(frames) < frames // 2, "float32")
        return features * (1 - ops.reshape(second_view, (rows, 1, 1)) * ops.reshape(first_half, (1, frames, 1)))


def with_two_views(weight, spec_augment=None):
    keras.utils.set_random_seed(3)
    network = models.build("conformer", 80, 10, **SIZES)
    return TrainingModel(LogMel(), network, spec_augment or HideFirstHalf(), consistency_weight=weight)


def batch(seed=0):
    rng = np.random.default_rng(seed)
    x = {
        "samples": rng.integers(-3000, 3000, (3, 16_000)).astype(np.int16),
        "lengths": np.array([16_000, 12_000, 15_001], np.int32),
    }
    labels = rng.integers(1, 10, (3, 8)).astype(np.int32)
    phones = rng.integers(1, 7, (3, 6)).astype(np.int32)
    y = {"labels": labels, "label_lengths": np.array([8, 3, 5], np.int32)}
    return x, y | {"phones": phones, "phone_lengths": np.array([6, 0, 4], np.int32)}


def test_loss_is_nats_per_character():
    model, (x, y) = training(), batch()
    outputs = model(x)
    losses = ctc_loss(y["labels"], y["label_lengths"], outputs["logits"], outputs["lengths"])
    loss = model.compute_loss(x, y, outputs)
    assert float(loss) == pytest.approx(float(np.sum(losses)) / 16, rel=1e-5)


def test_training_with_five_bits_has_the_loss_of_weights_that_are_rounded_to_five_bits():
    (x, y), exact, coarse = batch(), training(), training()
    coarse.network.set_weights(exact.network.get_weights())
    coarse.bits = 5
    losses = [float(model.compute_loss(x, y, model(x))) for model in (exact, coarse)]
    assert losses[0] != losses[1]
    for variable in exact.network.weights:
        if len(variable.shape) > 1:
            variable.assign(rounded(variable, 5))
    assert float(exact.compute_loss(x, y, exact(x))) == pytest.approx(losses[1], rel=1e-5)


def test_training_with_five_bits_lowers_the_loss_and_dropout_draws_anew():
    keras.utils.set_random_seed(3)
    model = TrainingModel(LogMel(), models.build("conformer", 80, 10, **SIZES | {"dropout": 0.1}), bits=5)
    optimizer = SafeAdamW(1e-2)
    optimizer.build(model.network.trainable_variables)
    model.compile(optimizer=optimizer, loss=None, jit_compile=False)
    seeds = model.network.non_trainable_variables
    before = [np.array(variable) for variable in seeds]
    losses = [float(model.step(*batch(), 1e-2)) for _ in range(6)]
    model.write_back()
    assert losses[-1] < 0.8 * losses[0]
    assert float(optimizer.learning_rate) == pytest.approx(1e-2)
    assert all((old != np.array(new)).any() for old, new in zip(before, seeds, strict=True))


def test_bfloat16_has_nearly_the_same_loss_and_keeps_its_weights_in_float32():
    (x, y), exact = batch(), training()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        coarse = training()
        coarse.spec_augment = SpecAugment()
    finally:
        keras.config.set_dtype_policy("float32")
    coarse.network.set_weights(exact.network.get_weights())
    assert keras.backend.standardize_dtype(coarse.network.compute_dtype) == "bfloat16"
    assert {variable.dtype for variable in coarse.network.trainable_variables} == {"float32"}
    losses = [float(model.compute_loss(x, y, model(x))) for model in (exact, coarse)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[1] != losses[0]
    optimizer = SafeAdamW(1e-3)
    optimizer.build(coarse.network.trainable_variables)
    coarse.compile(optimizer=optimizer, loss=None)
    assert np.isfinite(coarse.train_on_batch(x, y)) and int(optimizer.skipped) == 0


def test_the_phone_loss_is_added_for_clips_with_phones():
    model, (x, y) = training(outer_blocks=0, phones=7, phones_block=1), batch()
    outputs = model(x)
    letters = model.compute_loss(x, y, {key: outputs[key] for key in ("logits", "lengths")})
    losses = ctc_loss(y["phones"], y["phone_lengths"], outputs["phones"], outputs["phone_steps"])
    expected = (losses[0] + losses[2]) / 10  # nats per phone; the second clip has none
    loss = model.compute_loss(x, y, outputs)
    assert float(loss) == pytest.approx(float(letters + 0.5 * expected), rel=1e-5)
    unknown = y | {"phone_lengths": np.zeros(3, np.int32)}
    assert float(model.compute_loss(x, unknown, outputs)) == pytest.approx(float(letters), rel=1e-6)


def test_consistency_by_hand():
    """Two steps and two tokens; the third step is padding."""
    first, second = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.5, 0.5], [0.9, 0.1]])
    found = np.array(consistency(np.log([first, second]), np.array([2, 2])))
    of_first = 0.6 * np.log(0.6 / 0.9) + 0.4 * np.log(0.4 / 0.1)
    of_second = 0.9 * np.log(0.9 / 0.6) + 0.1 * np.log(0.1 / 0.4)
    np.testing.assert_allclose(found, [of_first, of_second], rtol=1e-5)


def test_consistency_compares_the_views_of_each_clip_and_no_others():
    logits = np.random.default_rng(0).standard_normal((3, 7, 10)).astype("float32")
    same = np.array(consistency(np.repeat(logits, 2, axis=0), np.full(6, 7)))
    np.testing.assert_allclose(same, np.zeros(6), atol=1e-6)
    logits = np.repeat(logits, 2, axis=0)
    logits[3, 0] += np.arange(10)
    assert list(np.array(consistency(logits, np.full(6, 7))) > 1e-3) == [False, False, True, True, False, False]


def test_equal_views_add_nothing_and_differing_ones_do():
    x, y = batch()

    def loss(model):
        return float(model.compute_loss(x, y, model(x, training=True)))

    class Unmasked(keras.layers.Layer):
        def call(self, features, lengths):
            return features

    plain = TrainingModel(LogMel(), with_two_views(0.0).network)
    assert loss(with_two_views(0.5, Unmasked())) == pytest.approx(loss(plain), rel=1e-5)
    off, half, whole = (loss(with_two_views(weight)) for weight in (1e-9, 0.5, 1.0))
    assert half > off + 1e-4 and whole - half == pytest.approx(half - off, rel=1e-2)


def test_a_step_with_two_views_moves_the_weights_otherwise():
    x, y = batch()
    moved = []
    for weight in (1e-9, 1.0):
        model = with_two_views(weight)
        before = model.network.get_weights()
        model.compile(optimizer=keras.optimizers.SGD(1.0), loss=None)
        model.train_on_batch(x, y)
        moved.append(np.concatenate([(new - old).ravel() for new, old in
                                     zip(model.network.get_weights(), before, strict=True)]))  # fmt: skip
    assert np.isfinite(moved).all()
    assert np.linalg.norm(moved[1] - moved[0]) > 1e-3 * np.linalg.norm(moved[0])


def test_the_target_of_the_consistency_stands_still():
    """By logits z, the gradient of KL(p || softmax(z)) is softmax(z) - p, if p is a constant."""
    logits = np.random.default_rng(1).standard_normal((2, 4, 5)).astype("float32")

    class Views(keras.Model):
        def __init__(self):
            super().__init__()
            self.logits = self.add_weight((2, 4, 5), name="logits")

        def call(self, x):
            return self.logits + 0 * x

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.sum(consistency(y_pred, np.array([4, 4])))

    model = Views()
    model.logits.assign(logits)
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss=None, jit_compile=False)
    model.train_on_batch(np.zeros((2, 4, 5), "float32"), np.zeros(2))
    posteriors = np.array(ops.softmax(logits))
    np.testing.assert_allclose(logits - np.array(model.logits), posteriors - posteriors[::-1], atol=1e-5)


def test_two_views_that_cannot_differ_are_refused():
    with pytest.raises(ValueError, match="needs spec_augment"):
        TrainingModel(LogMel(), models.build("conformer", 80, 10, **SIZES), consistency_weight=0.2)


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
from tests_objective import TWO_HEADS, HideFirstHalf, batch, training
from asr_core.models.features import LogMel
from train.fit.objective import TrainingModel
model = training(**TWO_HEADS)
arrays = np.load(sys.argv[1])
for i, variable in enumerate(model.network.variables):
    variable.assign(arrays[f"a{i}"])
two_views = TrainingModel(LogMel(), model.network, HideFirstHalf(), consistency_weight=0.5)
x, y = batch()
twice = [{key: np.repeat(value, 2, axis=0) for key, value in part.items()} for part in (x, y)]  # no new shapes
losses = [model.compute_loss(*twice, model(twice[0])), two_views.compute_loss(x, y, two_views(x, training=True))]
print(json.dumps([keras.backend.backend(), *map(float, losses)]))
"""


def test_tensorflow_and_jax_give_the_same_loss(tmp_path):
    """On the same weights and the same batch, each backend in a process of its own."""
    weights = {f"a{i}": np.array(v) for i, v in enumerate(training(**TWO_HEADS).network.variables)}
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
        name, *found = json.loads(done.stdout.splitlines()[-1])
        losses[name] = found
    assert losses["tensorflow"] == pytest.approx(losses["jax"], rel=1e-4)
