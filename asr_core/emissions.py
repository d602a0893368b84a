"""The output of a network for one recording: log-probabilities of every token at every step."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Emissions:
    """What a network heard: log-probabilities of every token at every step.

    Attributes:
        log_probs: float32 [steps, tokens]; rows sum to 1 in probability.
        step_seconds: time from one step to the next.
        start: seconds from the start of the recording to the first step.
        energy: loudness of the signal beside it, float32 [steps * n] in dB (see alignment.signal_energy), or
            None where the signal is not at hand; only the times of words ask for it.
        phones: log-probabilities of the sounds at every step, float16 [steps, phones], the blank first, or None where
            the network names none. It names them half as often as letters, so that each row stands there twice.
    """

    log_probs: np.ndarray
    step_seconds: float
    start: float = 0.0
    energy: np.ndarray | None = None
    phones: np.ndarray | None = None

    def __post_init__(self):
        if self.log_probs.ndim != 2:
            raise ValueError(f"Emissions are [steps, tokens], got shape {self.log_probs.shape}.")
        if self.energy is not None and len(self.energy) % max(1, len(self.log_probs)):
            raise ValueError(f"{len(self.energy)} frames of energy do not divide {len(self.log_probs)} steps.")
        if self.phones is not None and len(self.phones) != len(self.log_probs):
            raise ValueError(f"{len(self.phones)} steps of phones stand beside {len(self.log_probs)} of tokens.")

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def seconds(self) -> float:
        return len(self) * self.step_seconds

    def time(self, step: float) -> float:
        """Seconds from the start of the recording to the beginning of a step."""
        return self.start + step * self.step_seconds

    def slice(self, start: int, end: int) -> "Emissions":
        """The steps from `start` to before `end`, with their times."""
        energy = self.energy
        if energy is not None:
            fine = len(energy) // max(1, len(self))
            energy = energy[start * fine : end * fine]
        phones = None if self.phones is None else self.phones[start:end]
        return Emissions(self.log_probs[start:end], self.step_seconds, self.time(start), energy, phones)

    def concat(self, other: "Emissions") -> "Emissions":
        """Both, where the other begins when this one ends."""
        pairs = (self.log_probs, other.log_probs), (self.energy, other.energy), (self.phones, other.phones)
        log_probs, energy, phones = (
            None if first is None or second is None else np.concatenate([first, second]) for first, second in pairs
        )
        return Emissions(log_probs, self.step_seconds, self.start, energy, phones)
