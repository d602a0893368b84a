"""What is trained and how one step is made: network, loss, optimiser and learning rate, on any Keras backend."""

import keras
import numpy as np
from keras import ops

from asr_core.ctc import ctc_loss
from asr_core.models.features import length_mask


class TrainingModel(keras.Model):
    """Featurizer, SpecAugment, network and loss as one model that Keras can fit.

    Args:
        featurizer: from `asr_core.models.features`.
        network: from `asr_core.models`.
        spec_augment: layer, or None.
        intermediate_weight: share of the loss that the intermediate heads have.
        phones_weight: of the loss of a network's inner head, which learns how the words sound.
        consistency_weight: of the difference between two masked views of every clip (`consistency`), with 0 there is
            one view; a step with two costs twice as much.
        bits: of each number of the network's matrices, as `train.tools.embed --bits` will store them: the network
        learns
            what it can say with such weights (`rounded`). 16: with its weights as they are.

    Raises:
        ValueError: two views are wanted, and nothing makes them differ.
    """

    def __init__(
        self, featurizer, network, spec_augment=None, intermediate_weight=0.3, consistency_weight=0.0,
        phones_weight=0.5, bits=16,
    ):  # fmt: skip
        super().__init__(name="training", dtype="float32")  # its layers have precisions of their own
        if consistency_weight and spec_augment is None:
            raise ValueError("consistency_weight needs spec_augment, which makes the two views differ")
        self.featurizer, self.network, self.spec_augment = featurizer, network, spec_augment
        self.intermediate_weight, self.consistency_weight = intermediate_weight, consistency_weight
        self.phones_weight, self.bits, self._state = phones_weight, bits, None

    def call(self, inputs, training=False):
        """`samples` int16 [batch, n] and `lengths` int32 [batch] -> logits, their lengths, intermediate logits.

        In training with two views, these have twice as many rows: the views of a clip follow each other.
        """
        samples = ops.cast(inputs["samples"], "float32") / 32768.0
        features, lengths = self.featurizer(samples, inputs["lengths"])
        if training and self.consistency_weight:
            features, lengths = ops.repeat(features, 2, axis=0), ops.repeat(lengths, 2, axis=0)
        if training and self.spec_augment is not None:
            features = self.spec_augment(features, lengths)
        if self.bits < 16:
            with keras.StatelessScope(self._rounded_weights()) as scope:
                logits, intermediate, phones = self._say(features, lengths, training)
            for variable in self.network.non_trainable_variables:
                variable.assign(scope.get_current_value(variable))
        else:
            logits, intermediate, phones = self._say(features, lengths, training)
        heard = {
            "logits": logits,
            "lengths": self.network.output_lengths(lengths),
            "intermediate": intermediate,
        }
        if phones is not None:
            heard |= {"phones": phones, "phone_steps": self.network.phone_lengths(lengths)}
        return heard

    def _say(self, features, lengths, training):
        if hasattr(self.network, "logits"):
            return self.network.logits(features, lengths, training=training)
        return self.network(features, lengths, training=training), [], None

    def _rounded_weights(self):
        """Every variable of the network and the value that it is to have: a matrix its rounded one."""
        return [(v, rounded(v.value, self.bits) if len(v.shape) > 1 else v.value) for v in self.network.variables]

    def step(self, x, y, learning_rate: float):
        """Makes one step on a batch; its loss, which JAX may still be computing: `float` waits for that.

        What `train_on_batch` does, but on JAX that waits for each step, and hands over every variable and takes it
        back, while a GPU has nothing to do. There the variables are up to date after `settle` only.
        """
        if self._state is None:
            self.optimizer.learning_rate = learning_rate
            loss = self.train_on_batch(x, y)
            if one_jax_device():
                self._state = _StateBetweenSteps(self)
            return loss
        return self._state.step(x, y, learning_rate)

    def settle(self) -> None:
        """Brings the variables up to date, for whoever reads or changes them between two steps."""
        if self._state is not None:
            self._state.settle()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """CTC loss in nats per label character, and what the two views differ by."""
        labels, label_lengths, lengths = y["labels"], y["label_lengths"], y_pred["lengths"]
        two_views = training and self.consistency_weight > 0
        if two_views:
            y = {key: ops.repeat(value, 2, axis=0) for key, value in y.items()}
            labels, label_lengths = y["labels"], y["label_lengths"]
        characters = ops.cast(ops.sum(label_lengths), "float32")

        def per_character(logits):
            return ops.sum(ctc_loss(labels, label_lengths, logits, lengths)) / characters

        loss = per_character(y_pred["logits"])
        if heads := y_pred["intermediate"]:
            inner = sum(per_character(logits) for logits in heads) / len(heads)
            loss = (1 - self.intermediate_weight) * loss + self.intermediate_weight * inner
        if "phones" in y_pred and self.phones_weight:
            loss = loss + self.phones_weight * phone_loss(y, y_pred)
        if two_views:
            loss = loss + self.consistency_weight * ops.sum(consistency(y_pred["logits"], lengths)) / characters
        return loss


def one_jax_device() -> bool:
    """Whether JAX trains on one device, where a step need not wait for the one before."""
    return keras.backend.backend() == "jax" and keras.distribution.distribution() is None


class _StateBetweenSteps:
    """The values of all variables of a model that JAX trains, from step to step."""

    def __init__(self, model):
        self.model, self.values = model, None
        self.groups = (
            model.trainable_variables, model.non_trainable_variables, model.optimizer.variables,
            model.metrics_variables,
        )  # fmt: skip
        self.rate = [variable.name for variable in model.optimizer.variables].index("learning_rate")

    def step(self, x, y, learning_rate):
        if self.values is None:
            self.model.reset_metrics()
            self.values = [[variable.value for variable in group] for group in self.groups]
        trainable, others, optimizer, _ = self.values
        optimizer[self.rate] = np.float32(learning_rate)
        metrics = [np.zeros(variable.shape, variable.dtype) for variable in self.groups[-1]]
        logs, self.values = self.model.train_function((trainable, others, optimizer, metrics), iter([(x, y, None)]))
        return logs["loss"]

    def settle(self):
        if self.values is not None:
            for group, values in zip(self.groups, self.values, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
        self.values = None


def rounded(weight, bits: int):
    """A matrix as `asr_core.bundle.bundle` stores it with so few bits; its gradient is that of the matrix itself
    (Bengio et
    al., 2013, arXiv 1308.3432: "straight-through").

    Args:
        weight: float [..., columns]; every column has a scale of its own.
    """
    highest = 2 ** (bits - 1) - 1
    scale = ops.max(ops.abs(weight), axis=tuple(range(len(weight.shape) - 1))) / highest
    scale = ops.where(scale > 0, scale, ops.ones_like(scale))
    return weight + ops.stop_gradient(ops.round(weight / scale) * scale - weight)


def phone_loss(y, y_pred):
    """CTC loss of the inner head in nats per phone; a clip without phones (a word that no dictionary has) has none."""
    counts = y["phone_lengths"]
    losses = ctc_loss(y["phones"], counts, y_pred["phones"], y_pred["phone_steps"])
    known = ops.cast(counts > 0, losses.dtype)
    return ops.sum(losses * known) / ops.cast(ops.maximum(ops.sum(counts), 1), losses.dtype)


def consistency(logits, lengths):
    """How much two views of a clip differ, by the consistency regularisation of CTC (Yao et al., 2024, arXiv
    2410.05101, eq. 5): each view learns the posteriors of the other, which stand still.

    Args:
        logits: float [2 * clips, steps, tokens]; the views of a clip follow each other.
        lengths: int32 [2 * clips], valid steps.

    Returns:
        float32 [2 * clips]: Kullback-Leibler divergence from the other view's posteriors to this view's, in nats,
        summed over the valid steps.
    """
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    rows, steps, tokens = ops.shape(log_probs)
    pairs = ops.reshape(log_probs, (rows // 2, 2, steps, tokens))
    others = ops.stop_gradient(ops.reshape(ops.flip(pairs, axis=1), (rows, steps, tokens)))
    divergence = ops.sum(ops.exp(others) * (others - log_probs), axis=-1)
    return ops.sum(divergence * ops.squeeze(length_mask(lengths, steps), -1), axis=-1)
