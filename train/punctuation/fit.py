"""The training run of the tagger, and the file that it makes.

`checkpoint.npz` in the work folder holds weights, optimiser and step, and is replaced atomically. Batches depend on
the step only, so that a run that was killed continues as if it had not been interrupted.
"""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from asr_core.text.tagger import FORMAT, FORMAT_VERSION, PUNCTUATION, SCALE, Tagger, choose_marks
from asr_core.text.word_features import LETTER_FEATURES, WordNumbers
from train.punctuation.lexicon import choose_spellings, encode_words, number_words
from train.punctuation.measures import Measure
from train.punctuation.network import Adam, initial_weights, loss_and_gradients
from train.punctuation.pauses import Pauses
from train.punctuation.texts import Text, count_words, running_order
from train.punctuation.windows import Source, Windows

CHECKPOINT = "checkpoint.npz"
WARM_UP_STEPS = 100
DECAY_SHARE = 0.7  # of the run in which the learning rate falls
INT8 = 127
BALANCE_STEPS = 24  # batches on which the biases of the marks are chosen
BALANCE_FIRST_STEP = 10**9  # no step of a run
BALANCE_GRID = np.round(np.arange(-1.0, 1.55, 0.1), 1)
BALANCE_ROUNDS = 2


@dataclass(frozen=True)
class Recipe:
    """What a run depends on beside its texts.

    Attributes:
        steps: training steps.
        windows, words: of each step: windows, and words in each.
        vocabulary: words with an embedding of their own.
        rare: further words whose habit of capitals is kept.
        width, letter_width, buckets, channels: sizes (`asr_core.text.tagger.weight_shapes`).
        dropout: share of features left out.
        rate: peak learning rate.
        seed: of everything random.
    """

    steps: int = 10_000
    windows: int = 12
    words: int = 160
    vocabulary: int = 24_000
    rare: int = 60_000
    width: int = 64
    letter_width: int = 24
    buckets: int = 4096
    channels: int = 64
    dropout: float = 0.1
    rate: float = 3e-3
    seed: int = 0


class TaggerRun:
    """One training run.

    Args:
        texts: to train on.
        recipe: of the run.
        folder: where the state is kept. A state of another recipe or other texts is refused.
        minutes: time limit, of all resumptions together. The run ends at the limit or after the recipe's steps,
            whichever comes first, and the learning rate decays accordingly.
        report: called with lines of progress.

    Raises:
        ValueError: the texts are too short, or `folder` has the state of another run.
    """

    def __init__(
        self, texts: Sequence[Text], recipe: Recipe, folder: Path, minutes: float | None = None,
        report: Callable[[str], None] = print,
    ):  # fmt: skip
        self.recipe, self._folder, self._minutes, self._report = recipe, folder, minutes, report
        words, table, places = count_words(texts)
        self.numbers = number_words(words, table, recipe.vocabulary, recipe.rare)
        self.spellings = choose_spellings(sum((text.text.forms for text in texts), start=Counter()), words, table)
        sources = [_source(text, at) for text, at in zip(texts, places, strict=True)]
        encoded = encode_words(words, self.numbers, recipe.buckets)
        unknown = len(self.numbers.vocabulary)
        self.windows = Windows(sources, encoded, unknown, recipe.words, recipe.windows, recipe.seed, Pauses.load())
        sizes = {
            "numbers": len(self.numbers), "width": recipe.width, "letter_width": recipe.letter_width,
            "buckets": recipe.buckets, "channels": recipe.channels,
        }  # fmt: skip
        self._optimizer = Adam(initial_weights(sizes, recipe.seed))
        read = [[text.path.name, text.weight, int(text.train.sum())] for text in texts]
        self._identity = json.dumps({"recipe": dataclasses.asdict(recipe), "texts": read})
        self.step, self._seconds = 0, 0.0
        self._resume()

    def train(self, steps: int | None = None, every: int = 250, on_report: Callable | None = None) -> None:
        """Trains to the end, or for `steps` more; saves the state and reports after `every` steps."""
        recipe = self.recipe
        end = recipe.steps if steps is None else min(recipe.steps, self.step + steps)
        losses, words, began = [], recipe.windows * recipe.words, time.perf_counter()
        while self.step < end and self._elapsed(began) < 1:
            batch = self.windows.batch(self.step)
            generator = np.random.default_rng((recipe.seed, self.step, 1))
            loss, gradients = loss_and_gradients(self.weights, batch, recipe.dropout, generator)
            rows = {"words": batch.inputs[0].reshape(-1, 1), "letters": batch.inputs[1].reshape(-1, LETTER_FEATURES)}
            self._optimizer.update(gradients, rows, self._rate(self._elapsed(began)))
            losses.append(loss)
            self.step += 1
            if self.step % every == 0 or self.step == end or self._elapsed(began) >= 1:
                seconds = time.perf_counter() - began
                self._seconds += seconds
                rate = len(losses) * words / max(seconds, 1e-9)
                self._report(
                    f"step {self.step} of {recipe.steps}, {self._seconds / 60:.1f} minutes: "
                    f"loss {np.mean(losses):.4f}, {rate:,.0f} words/s"
                )
                self._save()
                if on_report is not None:
                    on_report(self)
                losses, began = [], time.perf_counter()

    def _rate(self, elapsed: float) -> float:
        """The learning rate: linear warm-up, plateau, linear decay to a hundredth; `elapsed` is of the time limit."""
        up = (self.step + 1) / WARM_UP_STEPS
        down = (1 - max(self.step / self.recipe.steps, elapsed)) / DECAY_SHARE
        return self.recipe.rate * max(min(up, down, 1.0), 0.01)

    def _elapsed(self, began: float) -> float:
        """Share of the time limit that has passed; 0 without one."""
        seconds = self._seconds + time.perf_counter() - began
        return seconds / (60 * self._minutes) if self._minutes else 0.0

    def balanced_weights(self) -> dict[str, np.ndarray]:
        """The weights with the biases of the marks that make the sum of their F1 largest, on windows of its own.

        The most probable class misses rare marks more often than it writes them in vain.
        """
        tagger = Tagger(self.numbers, self.weights, "", {})
        scores, marks = [], []
        for step in range(BALANCE_STEPS):
            batch = self.windows.batch(BALANCE_FIRST_STEP + step)
            for row, counted in enumerate(batch.mark_weights > 0):
                length = int(batch.inputs[3][row].sum())
                numbers, letters, timing = (part[row, :length] for part in batch.inputs[:3])
                scores.append(tagger.logits(numbers, letters, timing)[counted[:length], : len(PUNCTUATION)])
                marks.append(batch.marks[row, counted])
        bias = self.weights["output/bias"].copy()
        bias[: len(PUNCTUATION)] += best_biases(np.concatenate(scores), np.concatenate(marks))
        return self.weights | {"output/bias": bias}

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights by the names of the tagger, float32."""
        return self._optimizer.weights

    def _save(self) -> None:
        parts = {"weight": self.weights, "first": self._optimizer.first, "second": self._optimizer.second}
        arrays = {f"{part} {name}": array for part, named in parts.items() for name, array in named.items()}
        partial = self._folder / "checkpoint.part.npz"
        np.savez(partial, step=self.step, seconds=self._seconds, identity=np.array(self._identity), **arrays)
        partial.replace(self._folder / CHECKPOINT)

    def _resume(self) -> None:
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return
        with np.load(path) as arrays:
            if str(arrays["identity"]) != self._identity:
                raise ValueError(f"{path} belongs to another run: name another folder with --work, or delete it")
            weights, first, second = (
                {name: arrays[f"{part} {name}"] for name in self.weights} for part in ("weight", "first", "second")
            )
            self._optimizer = Adam(weights, first, second, int(arrays["step"]))
            self.step, self._seconds = int(arrays["step"]), float(arrays["seconds"])
        self._report(f"continues at step {self.step}")


def best_biases(scores: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """What to add to the scores of PUNCTUATION, by coordinate ascent on the sum of the F1 of its marks.

    Args:
        scores: logits: [words, 4].
        marks: true classes: [words].

    Returns:
        float32 [4], the first 0.
    """
    biases = np.zeros(scores.shape[1], np.float32)

    def quality(trial: np.ndarray) -> float:
        chosen = choose_marks(scores + trial)
        return sum(Measure.of(marks == mark, chosen == mark).f1 for mark in range(1, len(trial)))

    for _ in range(BALANCE_ROUNDS):
        for mark in range(1, len(biases)):
            trials = [np.where(np.arange(len(biases)) == mark, value, biases) for value in BALANCE_GRID]
            biases = max(trials, key=quality).astype(np.float32)
    return biases


def save_tagger(
    path: Path, numbers: WordNumbers, weights: dict[str, np.ndarray], language: str, spellings: dict[str, str]
) -> None:
    """Writes a `tagger.safetensors`: matrices as int8 with a scale for every column, vectors as float32."""
    tensors = {
        "vocabulary": np.frombuffer("\n".join(numbers.vocabulary).encode(), np.uint8),
        "rare/hashes": numbers.rare_hashes,
        "rare/classes": numbers.rare_classes,
    }
    for name, weight in weights.items():
        if weight.ndim < 2:
            tensors[name] = weight.astype(np.float32)
            continue
        scale = np.abs(weight).max(axis=0) / INT8
        tensors[name] = np.round(weight / np.where(scale > 0, scale, 1)).astype(np.int8)
        tensors[name + SCALE] = scale.astype(np.float32)
    metadata = {
        "format": FORMAT, "version": FORMAT_VERSION, "language": language,
        "spellings": json.dumps(spellings, separators=(",", ":")),
    }  # fmt: skip
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(save(tensors, metadata))
    partial.replace(path)


def _source(text: Text, places: np.ndarray) -> Source:
    at = running_order(text.text, np.flatnonzero(text.train))
    return Source(text.weight, places[text.text.numbers[at]], text.text.marks[at], text.text.capitals[at])
