"""The schedule of the learning rate, for all trainers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WarmUpHoldDecay:
    """Learning rate as a function of the training step: linear warm-up, plateau, linear decay to a hundredth.

    The trainer sets the rate before every step. A schedule of Keras would be compiled into the training step, and runs
    of different lengths could not share the compiled step.

    Attributes:
        peak: learning rate of the plateau.
        warm_up: length of the warm-up in training steps.
        decay: length of the decay in training steps; it ends at `total`.
        total: length of the run in training steps.
    """

    peak: float
    warm_up: int
    decay: float
    total: int

    def __call__(self, step: int, elapsed_fraction: float = 0.0) -> float:
        """The rate of a training step; `elapsed_fraction` of the run counts as passed even if fewer steps have."""
        up = (step + 1) / max(1, self.warm_up)
        down = (self.total - max(step, elapsed_fraction * self.total)) / max(1, self.decay)
        return self.peak * max(min(up, down, 1.0), 0.01)
