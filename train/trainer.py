"""The loop: what is trained, how it is stepped, and everything that a run writes.

A run lives in one folder. `checkpoint.safetensors` holds all state (weights, optimiser, averages, random state) and
is replaced in one step, so that a run survives being killed at any moment; batches depend on the step alone
(`train.data`), hence a resumed run goes on as if nothing had happened.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from safetensors.numpy import load_file, save_file

from asr_core.ctc import ctc_loss


class Training(keras.Model):
    """Featurizer, SpecAugment, network and loss as one model that Keras can fit.

    Args:
        featurizer: from `asr_core.featurizer`.
        network: from `asr_core.models`.
        spec_augment: layer, or None.
        intermediate_weight: share of the loss that the intermediate heads have.
    """

    def __init__(self, featurizer, network, spec_augment=None, intermediate_weight=0.3):
        super().__init__(name="training")
        self.featurizer, self.network, self.spec_augment = featurizer, network, spec_augment
        self.intermediate_weight = intermediate_weight

    def call(self, inputs, training=False):
        """`samples` int16 [batch, n] and `lengths` int32 [batch] -> logits, their lengths, intermediate logits."""
        samples = ops.cast(inputs["samples"], "float32") / 32768.0
        features, lengths = self.featurizer(samples, inputs["lengths"])
        if training and self.spec_augment is not None:
            features = self.spec_augment(features, lengths)
        if hasattr(self.network, "logits"):
            logits, intermediate = self.network.logits(features, lengths, training=training)
        else:
            logits, intermediate = self.network(features, lengths, training=training), []
        return {
            "logits": logits,
            "lengths": self.network.output_lengths(lengths),
            "intermediate": intermediate,
        }

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """CTC loss in nats per label character."""
        characters = ops.cast(ops.sum(y["label_lengths"]), "float32")

        def per_character(logits):
            losses = ctc_loss(y["labels"], y["label_lengths"], logits, y_pred["lengths"])
            return ops.sum(losses) / characters

        loss = per_character(y_pred["logits"])
        heads = y_pred["intermediate"]
        if not heads:
            return loss
        inner = sum(per_character(logits) for logits in heads) / len(heads)
        return (1 - self.intermediate_weight) * loss + self.intermediate_weight * inner


class FlatAdamW(keras.optimizers.Optimizer):
    """AdamW (Loshchilov and Hutter, 2019) over all parameters as one vector, with weight averaging.

    One vector instead of hundreds of arrays makes the compiled step small: compiling is an order of magnitude
    faster than with one update an array. The gradient is clipped by its norm; a step whose gradient is not finite
    changes nothing and is counted in `skipped`. Matrices decay, biases and normalisations do not.

    Args:
        learning_rate: number or schedule.
        weight_decay: per step, times the learning rate.
        clip_norm: largest norm of the gradient.
        average: momentum of the exponential moving average of the weights.
    """

    def __init__(
        self, learning_rate=1e-3, weight_decay=0.01, clip_norm=5.0, beta_1=0.9, beta_2=0.98, epsilon=1e-8,
        average=0.999, name="flat_adamw", **kwargs,
    ):  # fmt: skip
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.decay, self.norm_limit, self.average = weight_decay, clip_norm, average
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.layout = [(variable.shape, int(np.prod(variable.shape))) for variable in variables]
        size = sum(count for _, count in self.layout)
        self.first, self.second, self.averaged = (
            self.add_variable((size,), initializer="zeros", name=name) for name in ("first", "second", "averaged")
        )
        self.skipped = self.add_variable((), initializer="zeros", dtype="int32", name="skipped")
        decayed = [np.full(count, len(shape) > 1, "float32") for shape, count in self.layout]
        self.decayed = np.concatenate(decayed) * self.decay

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        if not self.built:
            self.build(variables)
        gradient = ops.concatenate([ops.cast(ops.reshape(g, (-1,)), "float32") for g in grads])
        weights = ops.concatenate([ops.cast(ops.reshape(v.value, (-1,)), "float32") for v in variables])
        norm = ops.sqrt(ops.sum(ops.square(gradient)))
        finite = ops.isfinite(norm)
        gradient = ops.where(finite, gradient * ops.minimum(1.0, self.norm_limit / (norm + 1e-6)), 0.0)

        step = ops.cast(self.iterations, "float32")
        rate = ops.cast(self._get_current_learning_rate(), "float32")
        first = self.beta_1 * self.first + (1 - self.beta_1) * gradient
        second = self.beta_2 * self.second + (1 - self.beta_2) * ops.square(gradient)
        update = first / (1 - self.beta_1 ** (step + 1))
        update = update / (ops.sqrt(second / (1 - self.beta_2 ** (step + 1))) + self.epsilon)
        moved = weights - rate * (update + self.decayed * weights)
        moved = ops.where(finite, moved, weights)
        momentum = ops.minimum(self.average, (1 + step) / (10 + step))  # short memory at the start

        self.first.assign(ops.where(finite, first, self.first))
        self.second.assign(ops.where(finite, second, self.second))
        self.averaged.assign(momentum * self.averaged + (1 - momentum) * moved)
        self.skipped.assign_add(ops.cast(ops.logical_not(finite), "int32"))
        self.iterations.assign_add(1)
        position = 0
        for variable, (shape, count) in zip(variables, self.layout, strict=True):
            part = ops.reshape(moved[position : position + count], shape)
            variable.assign(ops.cast(part, variable.dtype))
            position += count

    def averages(self) -> list[np.ndarray]:
        """The averaged weights, one array a trainable variable."""
        ends = np.cumsum([count for _, count in self.layout])[:-1]
        parts = np.split(ops.convert_to_numpy(self.averaged), ends)
        return [part.reshape(shape) for part, (shape, _) in zip(parts, self.layout, strict=True)]


@keras.saving.register_keras_serializable("train")
class WarmUpHoldDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, a plateau, and a linear way down to a hundredth.

    Args:
        peak: learning rate of the plateau.
        warm_up, decay, total: steps; the decay ends at `total`.
    """

    def __init__(self, peak, warm_up, decay, total):
        self.peak, self.warm_up, self.decay, self.total = peak, warm_up, decay, total

    def __call__(self, step):
        step = ops.cast(step, "float32")
        up = (step + 1) / max(1, self.warm_up)
        down = (self.total - step) / max(1, self.decay)
        return self.peak * ops.maximum(ops.minimum(ops.minimum(up, down), 1.0), 0.01)

    def get_config(self):
        return {"peak": self.peak, "warm_up": self.warm_up, "decay": self.decay, "total": self.total}
