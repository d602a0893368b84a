"""AdamW with gradient clipping, weight averaging and a guard against non-finite gradients."""

import keras
from keras import ops


class SafeAdamW(keras.optimizers.Optimizer):
    """AdamW (Loshchilov and Hutter, 2019) with gradient clipping, weight averaging and a guard.

    A training step whose gradient is not finite changes no weight and is counted in `skipped`. Weight decay applies to
    matrices, not to biases and normalisations. The whole update is one expression per variable: with the separate
    mechanisms of Keras for clipping and averaging, the training step takes several times as long to compile.

    Args:
        learning_rate: initial value; the trainer sets it before every step.
        weight_decay: per step, multiplied by the learning rate.
        clip_norm: largest norm of the gradient of all variables together.
        beta_1, beta_2, epsilon: as in Adam.
        average: momentum of the exponential moving average of the weights, which is in `averaged`.
    """

    def __init__(
        self, learning_rate=1e-3, weight_decay=0.01, clip_norm=5.0, beta_1=0.9, beta_2=0.98, epsilon=1e-8,
        average=0.999, name="safe_adamw", **kwargs,
    ):  # fmt: skip
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.decay, self.norm_limit, self.average = weight_decay, clip_norm, average
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.first, self.second, self.averaged = (
            [self.add_variable_from_reference(v, name=name) for v in variables]
            for name in ("first", "second", "averaged")
        )
        self.skipped = self.add_variable((), initializer="zeros", dtype="int32", name="skipped")

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        if not self.built:
            self.build(variables)
        grads = [ops.cast(gradient, "float32") for gradient in grads]
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in grads))
        finite = ops.isfinite(norm)
        scale = ops.minimum(1.0, self.norm_limit / (norm + 1e-6))
        step = ops.cast(self.iterations, "float32")
        rate = ops.cast(self._get_current_learning_rate(), "float32")
        first_share, second_share = 1 - self.beta_1 ** (step + 1), 1 - self.beta_2 ** (step + 1)
        # A shorter memory at the beginning, which forgets the initial weights.
        momentum = ops.minimum(self.average, (1 + step) / (10 + step))
        for variable, gradient, first, second, averaged in zip(
            variables, grads, self.first, self.second, self.averaged, strict=True
        ):
            gradient = ops.where(finite, gradient * scale, 0.0)
            value = ops.cast(variable.value, "float32")
            new_first = self.beta_1 * first.value + (1 - self.beta_1) * gradient
            new_second = self.beta_2 * second.value + (1 - self.beta_2) * ops.square(gradient)
            update = new_first / first_share / (ops.sqrt(new_second / second_share) + self.epsilon)
            if len(variable.shape) > 1:
                update = update + self.decay * value
            moved = ops.where(finite, value - rate * update, value)
            first.assign(ops.where(finite, new_first, first.value))
            second.assign(ops.where(finite, new_second, second.value))
            averaged.assign(momentum * averaged.value + (1 - momentum) * moved)
            variable.assign(ops.cast(moved, variable.dtype))
        self.skipped.assign_add(ops.cast(ops.logical_not(finite), "int32"))
        self.iterations.assign_add(1)
