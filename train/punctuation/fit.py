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

import keras
import numpy as np
from keras import ops
from safetensors.numpy import save

from asr_core.text.tagger import FORMAT, FORMAT_VERSION, PUNCTUATION, SCALE
from asr_core.text.word_features import WordNumbers
from train.fit.optimizer import SafeAdamW, WarmUpHoldDecay
from train.punctuation.lexicon import choose_spellings, encode_words, number_words
from train.punctuation.network import build, weights_of
from train.punctuation.pauses import Pauses
from train.punctuation.texts import Text, count_words
from train.punctuation.windows import Source, Windows

CHECKPOINT = "checkpoint.npz"
CAPITAL_LOSS = 1.0  # weight of the loss of capitals beside that of punctuation
WARM_UP_STEPS = 200
DECAY_SHARE = 0.7  # of the run in which the learning rate falls
AVERAGE = 0.998  # momentum of the averaged weights
INT8 = 127


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

    steps: int = 4000
    windows: int = 32
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
        keras.utils.set_random_seed(recipe.seed)
        self.model = build(
            len(self.numbers), recipe.words, recipe.width, recipe.letter_width, recipe.buckets, recipe.channels,
            recipe.dropout,
        )  # fmt: skip
        self._optimizer = SafeAdamW(recipe.rate, weight_decay=0.01, clip_norm=2.0, average=AVERAGE)
        self._optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=self._optimizer, loss=tagging_loss, jit_compile=False)
        read = [[text.path.name, text.weight, int(text.train.sum())] for text in texts]
        self._identity = json.dumps({"recipe": dataclasses.asdict(recipe), "texts": read})
        self.step, self._seconds = 0, 0.0
        self._resume()

    def train(self, steps: int | None = None, every: int = 250, on_report: Callable | None = None) -> None:
        """Trains to the end, or for `steps` more; saves the state and reports after `every` steps."""
        recipe = self.recipe
        schedule = WarmUpHoldDecay(recipe.rate, WARM_UP_STEPS, round(DECAY_SHARE * recipe.steps), recipe.steps)
        end = recipe.steps if steps is None else min(recipe.steps, self.step + steps)
        losses, words, began = [], recipe.windows * recipe.words, time.perf_counter()
        while self.step < end and self._elapsed(began) < 1:
            batch = self.windows.batch(self.step)
            self._optimizer.learning_rate = schedule(self.step, self._elapsed(began))
            keras.utils.set_random_seed((recipe.seed + self.step) % 2**32)  # dropout depends on the step alone
            target = np.stack([batch.marks, batch.capitals, batch.mark_weights, batch.capital_weights], axis=-1)
            losses.append(float(self.model.train_on_batch(batch.inputs, target.astype(np.float32))))
            self.model.reset_metrics()
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

    def _elapsed(self, began: float) -> float:
        """Share of the time limit that has passed; 0 without one."""
        seconds = self._seconds + time.perf_counter() - began
        return seconds / (60 * self._minutes) if self._minutes else 0.0

    def weights(self) -> dict[str, np.ndarray]:
        """The averaged weights by the names of the tagger, float32."""
        own = [np.array(variable) for variable in self.model.trainable_variables]
        averaged = [np.array(variable) for variable in self._optimizer.averaged]
        for variable, value in zip(self.model.trainable_variables, averaged, strict=True):
            variable.assign(value)
        weights = weights_of(self.model)
        for variable, value in zip(self.model.trainable_variables, own, strict=True):
            variable.assign(value)
        return weights

    def _variables(self) -> list:
        return [*self.model.trainable_variables, *self._optimizer.variables]

    def _save(self) -> None:
        arrays = {f"v{place}": np.array(variable) for place, variable in enumerate(self._variables())}
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
            for place, variable in enumerate(self._variables()):
                variable.assign(arrays[f"v{place}"])
            self.step, self._seconds = int(arrays["step"]), float(arrays["seconds"])
        self._report(f"continues at step {self.step}")


def tagging_loss(target, logits):
    """Mean cross-entropy of marks and capitals over the words that are learned.

    Args:
        target: marks, capitals, weights of marks, weights of capitals: [batch, words, 4].
        logits: [batch, words, 7].
    """
    marks = len(PUNCTUATION)
    losses = []
    for part, logits_of_part in enumerate((logits[..., :marks], logits[..., marks:])):
        classes, weights = ops.cast(target[..., part], "int32"), target[..., 2 + part]
        entropy = keras.losses.sparse_categorical_crossentropy(classes, logits_of_part, from_logits=True)
        losses.append(ops.sum(entropy * weights) / ops.maximum(ops.sum(weights), 1.0))
    return losses[0] + CAPITAL_LOSS * losses[1]


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
    path.write_bytes(save(tensors, metadata))


def _source(text: Text, places: np.ndarray) -> Source:
    at = np.flatnonzero(text.train)
    return Source(text.weight, places[text.text.numbers[at]], text.text.marks[at], text.text.capitals[at])
