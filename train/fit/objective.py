"""The training objective: featurizer, SpecAugment, network and loss as one Keras model, on any backend."""

import keras
import numpy as np
from keras import ops

from asr_core.audio.levels import INTEGER_SCALE
from asr_core.ctc import ctc_loss
from asr_core.models.framing import length_mask


class TrainingModel(keras.Model):
    """Featurizer, SpecAugment, network and loss as one model that Keras can fit.

    The loss is the CTC loss of the characters, plus the weighted CTC loss of the phone head and the weighted
    consistency of two masked views, each where there is one.

    Args:
        featurizer: from `asr_core.models.features`.
        network: from `asr_core.models`.
        spec_augment: `train.data.augmentation.SpecAugment`, or None.
        phones_weight: weight of the phone loss, where the network has a phone head.
        consistency_weight: weight of the `consistency` of two masked views of every clip. With 0 there is one view;
            with two views a training step costs twice as much.
        bits: quantisation-aware training: the network computes with its matrices `rounded` to this many bits, as
            `train.tools.embed --bits` will store them. 16 leaves the weights as they are.
        augment: `train.data.device_augmentation.DeviceAugmentation` for batches that have `speeds`, or None.

    Raises:
        ValueError: two views are wanted, and there is no SpecAugment that makes them differ.
    """

    def __init__(
        self, featurizer, network, spec_augment=None, consistency_weight=0.0, phones_weight=0.5, bits=16, augment=None,
    ):  # fmt: skip
        super().__init__(name="training", dtype="float32")  # its layers have precisions of their own
        if consistency_weight and spec_augment is None:
            raise ValueError("consistency_weight needs spec_augment, which makes the two views differ")
        self.featurizer, self.network, self.spec_augment = featurizer, network, spec_augment
        self.augment = augment
        self.phones_weight, self.consistency_weight, self.bits = phones_weight, consistency_weight, bits
        self._state = None

    def call(self, inputs, training=False):
        """Network outputs of a batch.

        Args:
            inputs: `samples` int16 [batch, n] and `lengths` int32 [batch], valid samples; perhaps `speeds` float32
                [batch].
            training: whether dropout and SpecAugment act, and two views are made.

        Returns:
            dict: `logits` [batch, steps, tokens] and `lengths` int32 [batch], valid steps; with a phone head also
            `phones` [batch, phone steps, phones] and `phone_steps` int32 [batch], valid steps of it. In training with
            two views there are twice as many rows, and the views of a clip follow each other.
        """
        samples = ops.cast(inputs["samples"], "float32") / INTEGER_SCALE["int16"]
        lengths = inputs["lengths"]
        if "speeds" in inputs:
            samples, lengths = self.augment(samples, lengths, inputs["speeds"])
        features, lengths = self.featurizer(samples, lengths)
        if training and self.consistency_weight:
            features, lengths = ops.repeat(features, 2, axis=0), ops.repeat(lengths, 2, axis=0)
        if training and self.spec_augment is not None:
            features = self.spec_augment(features, lengths)
        if self.bits < 16:
            with keras.StatelessScope(self._rounded_weights()) as scope:
                logits, phones = self._logits(features, lengths, training)
            for variable in self.network.non_trainable_variables:
                variable.assign(scope.get_current_value(variable))
        else:
            logits, phones = self._logits(features, lengths, training)
        outputs = {"logits": logits, "lengths": self.network.output_lengths(lengths)}
        if phones is not None:
            outputs |= {"phones": phones, "phone_steps": self.network.phone_lengths(lengths)}
        return outputs

    def _logits(self, features, lengths, training):
        """Logits of the tokens, and of the phones or None."""
        if hasattr(self.network, "logits"):
            return self.network.logits(features, lengths, training=training)
        return self.network(features, lengths, training=training), None

    def _rounded_weights(self):
        """Pairs of each variable of the network and its value for this step: matrices `rounded`, the rest as it is."""
        return [(v, rounded(v.value, self.bits) if len(v.shape) > 1 else v.value) for v in self.network.variables]

    def step(self, x, y, learning_rate: float):
        """Takes one training step on a batch; returns the loss.

        On JAX the loss may still be in computation, and `float` waits for it. `train_on_batch` would wait after every
        step and copy all variables from and to the model, while the GPU idles: here they stay on the device, and are
        up to date only after `write_back`.
        """
        if self._state is None:
            self.optimizer.learning_rate = learning_rate
            loss = self.train_on_batch(x, y)
            if one_jax_device():
                self._state = _StateBetweenSteps(self)
            return loss
        return self._state.step(x, y, learning_rate)

    def write_back(self) -> None:
        """Writes the values of the last step into the variables; call it before reading or changing them."""
        if self._state is not None:
            self._state.write_back()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of a batch in nats: the CTC loss of tokens per character, that of phones per phone and the
        consistency per character, with their weights.

        Args:
            y: `labels` int32 [batch, characters] and `label_lengths` int32 [batch]; for a phone head also `phones` and
                `phone_lengths`.
            y_pred: what `call` returned.
        """
        labels, label_lengths, lengths = y["labels"], y["label_lengths"], y_pred["lengths"]
        two_views = training and self.consistency_weight > 0
        if two_views:
            y = {key: ops.repeat(value, 2, axis=0) for key, value in y.items()}
            labels, label_lengths = y["labels"], y["label_lengths"]
        characters = ops.cast(ops.sum(label_lengths), "float32")
        loss = ops.sum(ctc_loss(labels, label_lengths, y_pred["logits"], lengths)) / characters
        if "phones" in y_pred and self.phones_weight:
            loss = loss + self.phones_weight * phone_loss(y, y_pred)
        if two_views:
            loss = loss + self.consistency_weight * ops.sum(consistency(y_pred["logits"], lengths)) / characters
        return loss


def one_jax_device() -> bool:
    """Whether training runs on a single JAX device, where a step need not wait for the step before."""
    return keras.backend.backend() == "jax" and keras.distribution.distribution() is None


class _StateBetweenSteps:
    """Values of all variables of a JAX model, kept on the device between training steps."""

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

    def write_back(self):
        if self.values is not None:
            for group, values in zip(self.groups, self.values, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
        self.values = None


def rounded(weight, bits: int):
    """A weight matrix rounded as `asr_core.bundle` stores it with few bits: integers and a scale for each column.

    The gradient passes straight through the rounding (Bengio et al., 2013, arXiv 1308.3432).

    Args:
        weight: float [..., columns].
        bits: of each integer, sign included.
    """
    highest = 2 ** (bits - 1) - 1
    scale = ops.max(ops.abs(weight), axis=tuple(range(len(weight.shape) - 1))) / highest
    scale = ops.where(scale > 0, scale, ops.ones_like(scale))
    return weight + ops.stop_gradient(ops.round(weight / scale) * scale - weight)


def phone_loss(y, y_pred):
    """CTC loss of the phone head in nats per phone; clips without phones (`phone_lengths` 0) do not count."""
    counts = y["phone_lengths"]
    losses = ctc_loss(y["phones"], counts, y_pred["phones"], y_pred["phone_steps"])
    known = ops.cast(counts > 0, losses.dtype)
    return ops.sum(losses * known) / ops.cast(ops.maximum(ops.sum(counts), 1), losses.dtype)


def consistency(logits, lengths):
    """Consistency regularisation of CTC (Yao et al., 2024, arXiv 2410.05101, eq. 5).

    The target for each view of a clip is the posteriors of the other view; no gradient flows through them.

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
