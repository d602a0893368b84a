"""The output of a network for one recording: log-probabilities of every token at every step."""

from dataclasses import dataclass, replace

import numpy as np

LOG_PROB_BYTES = 4  # of a log-probability, float32


@dataclass(frozen=True, eq=False)
class PhoneEmissions:
    """Log-probabilities of every phone, at the rate of the phone output, beside the steps of the tokens.

    Attributes:
        log_probs: float16 [phone steps, phones], in nats; phone 0 is blank.
        rows: int32 [steps], the row of `log_probs` at each step of the tokens.
        ratio: steps of the tokens for each phone step.
    """

    log_probs: np.ndarray
    rows: np.ndarray
    ratio: int

    def at_own_rate(self) -> np.ndarray:
        """The log-probabilities of these steps, one row for each phone step: float32 [ceil(steps / ratio), phones]."""
        return self.log_probs[self.rows[:: self.ratio]].astype(np.float32)

    def slice(self, start: int, end: int) -> "PhoneEmissions":
        """The phones of the steps from `start` to before `end`."""
        return replace(self, rows=self.rows[start:end])

    def concat(self, other: "PhoneEmissions") -> "PhoneEmissions":
        """The phones of these steps followed by those of `other`."""
        rows = np.concatenate([self.rows, other.rows + len(self.log_probs)])
        return replace(self, log_probs=np.concatenate([self.log_probs, other.log_probs]), rows=rows)


@dataclass(frozen=True, eq=False)
class Emissions:
    """Log-probabilities of every token at every step, and what belongs to the same steps.

    Attributes:
        log_probs: float32 [steps, tokens], in nats; the probabilities of a row sum to 1. Token 0 is blank.
        step_seconds: time from one step to the next.
        start: seconds from the start of the recording to the first step.
        energy: float32 [steps * n], energy of the signal in dB (see `asr_core.audio.energy.signal_energy`), or None
            where the signal is not at hand; only the times of words depend on it.
        phones: those of the same steps, or None where the network has no phone output.
    """

    log_probs: np.ndarray
    step_seconds: float
    start: float = 0.0
    energy: np.ndarray | None = None
    phones: PhoneEmissions | None = None

    def __post_init__(self):
        if self.log_probs.ndim != 2:
            raise ValueError(f"Emissions are [steps, tokens], got shape {self.log_probs.shape}.")
        if self.energy is not None and len(self.energy) % max(1, len(self.log_probs)):
            raise ValueError(f"{len(self.energy)} frames of energy are not a multiple of {len(self.log_probs)} steps.")
        if self.phones is not None and len(self.phones.rows) != len(self.log_probs):
            raise ValueError(f"{len(self.phones.rows)} steps of phones stand beside {len(self.log_probs)} of tokens.")

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def seconds(self) -> float:
        return len(self) * self.step_seconds

    def time(self, step: float) -> float:
        """Seconds from the start of the recording to the beginning of a step."""
        return self.start + step * self.step_seconds

    def slice(self, start: int, end: int) -> "Emissions":
        """The steps from `start` to before `end`; they keep their times in the recording."""
        energy = self.energy
        if energy is not None:
            frames = len(energy) // max(1, len(self))  # of energy per step
            energy = energy[start * frames : end * frames]
        phones = None if self.phones is None else self.phones.slice(start, end)
        return Emissions(self.log_probs[start:end], self.step_seconds, self.time(start), energy, phones)

    def concat(self, other: "Emissions") -> "Emissions":
        """These steps and those of `other`, which begin where these end; energy and phones only if both have them."""
        log_probs = np.concatenate([self.log_probs, other.log_probs])
        has_energy, has_phones = (
            getattr(self, name) is not None and getattr(other, name) is not None for name in ("energy", "phones")
        )
        energy = np.concatenate([self.energy, other.energy]) if has_energy else None
        phones = self.phones.concat(other.phones) if has_phones else None
        return Emissions(log_probs, self.step_seconds, self.start, energy, phones)
