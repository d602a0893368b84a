"""Training of small networks in NumPy and Numba: the optimiser, and a run that survives being killed.

Most weights of such a network are embeddings, of which a batch uses few rows. A step that changes only those takes half
the time of one in a framework. `train.punctuation` and `train.neural_language_model` train in this way.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asr_core.jit import compiled
from asr_core.storage import replacing
from train.learning_rate import WarmUpHoldDecay

BETA_1, BETA_2, EPSILON = 0.9, 0.98, 1e-8  # as in Adam (Kingma and Ba, 2015)
CLIP_NORM = 1.0  # of the gradient of all weights that are not tables
CHECKPOINT = "checkpoint.npz"


class NumpyRun(ABC):
    """One training run.

    `checkpoint.npz` in its folder holds weights, optimiser and step, and is replaced atomically. What is random depends
    on the training step only, so that a run that was killed continues as if it had not been interrupted.

    Args:
        weights: to begin with; tables are matrices.
        identity: what the run depends on. A checkpoint with another one is refused.
        folder: of the checkpoint.
        steps: training steps.
        words_per_step: for the reports.
        rate: peak learning rate.
        warm_up_steps: in which the learning rate rises.
        decay_share: of the run in which it falls.
        minutes: time limit, of all resumptions together. The run ends at the limit or after `steps`, whichever comes
            first, and the learning rate decays accordingly.
        carried: arrays by name that a step leaves to the next one.
        report: called with lines of progress.

    Attributes:
        step: training steps done so far.
        carried: as above; subclasses change it.

    Raises:
        ValueError: `folder` has the checkpoint of another run.
    """

    def __init__(
        self, weights: dict[str, np.ndarray], identity: str, folder: Path, *, steps: int, words_per_step: int,
        rate: float, warm_up_steps: int, decay_share: float, minutes: float | None, report: Callable[[str], None],
        carried: dict[str, np.ndarray] | None = None,
    ):  # fmt: skip
        self.step, self._seconds = 0, 0.0
        self._optimizer, self._identity, self._folder = Adam(weights), identity, folder
        self._steps, self._words_per_step, self._minutes, self._report = steps, words_per_step, minutes, report
        self.carried = dict(carried or {})
        self._rate = WarmUpHoldDecay(rate, warm_up_steps, decay_share * steps, steps)
        self._resume()

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name, float32."""
        return self._optimizer.weights

    @abstractmethod
    def gradients(self, step: int) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The loss of a training step, its gradients, and the rows of each table, as `Adam.update` takes them."""

    def train(self, every: int = 250, on_report: Callable | None = None) -> None:
        """Trains to the end; saves the state and reports after `every` steps."""
        losses, began = [], time.perf_counter()
        while self.step < self._steps and self._elapsed(began) < 1:
            loss, gradients, rows = self.gradients(self.step)
            self._optimizer.update(gradients, rows, self._rate(self.step, self._elapsed(began)))
            losses.append(loss)
            self.step += 1
            if self.step % every == 0 or self.step == self._steps or self._elapsed(began) >= 1:
                seconds = time.perf_counter() - began
                self._seconds += seconds
                pace = len(losses) * self._words_per_step / max(seconds, 1e-9)
                self._report(
                    f"step {self.step} of {self._steps}, {self._seconds / 60:.1f} minutes: "
                    f"loss {np.mean(losses):.4f}, {pace:,.0f} words/s"
                )
                self._save()
                if on_report is not None:
                    on_report(self)
                losses, began = [], time.perf_counter()

    def _elapsed(self, began: float) -> float:
        """Share of the time limit that has passed; 0 without one."""
        seconds = self._seconds + time.perf_counter() - began
        return seconds / (60 * self._minutes) if self._minutes else 0.0

    def _save(self) -> None:
        optimizer = self._optimizer
        parts = {
            "weight": optimizer.weights, "first": optimizer.first, "second": optimizer.second, "carried": self.carried,
        }  # fmt: skip
        arrays = {f"{part} {name}": array for part, named in parts.items() for name, array in named.items()}
        with replacing(self._folder / CHECKPOINT) as partial, open(partial, "wb") as file:
            np.savez(file, step=self.step, seconds=self._seconds, identity=np.array(self._identity), **arrays)

    def _resume(self) -> None:
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return
        with np.load(path) as arrays:
            if str(arrays["identity"]) != self._identity:
                raise ValueError(f"{path} belongs to another run: name another folder with --work, or delete it")
            weights, first, second = (
                {name: arrays[f"{part} {name}"] for name in self._optimizer.weights}
                for part in ("weight", "first", "second")
            )
            self._optimizer = Adam(weights, first, second, int(arrays["step"]))
            self.carried = {name: arrays[f"carried {name}"] for name in self.carried}
            self.step, self._seconds = int(arrays["step"]), float(arrays["seconds"])
        self._report(f"continues at step {self.step}")


@dataclass(eq=False)
class Adam:
    """Adam whose moments of a table's row change only in steps that use the row.

    Attributes:
        weights: that `update` changes in place.
        first, second: moments, by name.
        steps: done so far.
    """

    weights: dict[str, np.ndarray]
    first: dict[str, np.ndarray] = field(default_factory=dict)
    second: dict[str, np.ndarray] = field(default_factory=dict)
    steps: int = 0

    def __post_init__(self):
        for moments in (self.first, self.second):
            moments |= {name: np.zeros_like(w) for name, w in self.weights.items() if name not in moments}

    def update(self, gradients: dict[str, np.ndarray], rows: dict[str, np.ndarray], rate: float) -> None:
        """One training step.

        Args:
            gradients: by name; of a table, those of the rows that are used, [words, width].
            rate: learning rate.
        """
        self.steps += 1
        whole = {name: gradient for name, gradient in gradients.items() if name not in rows}
        norm = np.sqrt(sum(float((gradient * gradient).sum()) for gradient in whole.values()))
        clip = np.float32(min(1.0, CLIP_NORM / (norm + 1e-6)))
        rate = rate * np.sqrt(1 - BETA_2**self.steps) / (1 - BETA_1**self.steps)
        for name, gradient in whole.items():
            first, second, gradient = self.first[name], self.second[name], gradient * clip
            first += (1 - BETA_1) * (gradient - first)
            second += (1 - BETA_2) * (gradient * gradient - second)
            self.weights[name] -= np.float32(rate) * first / (np.sqrt(second) + EPSILON)
        for name, used in rows.items():
            touched, place = np.unique(used, return_inverse=True)
            sums = np.zeros((len(touched), gradients[name].shape[1]), np.float32)
            _sum_rows(sums, place.reshape(used.shape).astype(np.int32), gradients[name])
            _update_rows(self.weights[name], self.first[name], self.second[name], touched, sums, np.float32(rate))


@compiled
def _sum_rows(sums, place, gradient):
    """sums[place[i, j]] += gradient[i] for all i and j."""
    for i in range(place.shape[0]):
        for j in range(place.shape[1]):
            row = place[i, j]
            for column in range(gradient.shape[1]):
                sums[row, column] += gradient[i, column]


@compiled
def _update_rows(weight, first, second, touched, sums, rate):
    for place in range(len(touched)):
        row = touched[place]
        for column in range(sums.shape[1]):
            gradient = sums[place, column]
            first[row, column] += np.float32(1 - BETA_1) * (gradient - first[row, column])
            second[row, column] += np.float32(1 - BETA_2) * (gradient * gradient - second[row, column])
            weight[row, column] -= rate * first[row, column] / (np.sqrt(second[row, column]) + np.float32(EPSILON))
