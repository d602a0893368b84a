"""The training run of the recurrent language model."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_core.decoding.neural_language_model import UNKNOWN, NeuralLanguageModel, State
from train.data.sentences import TextSource, word_shares
from train.neural_language_model.network import initial_weights, loss_and_gradients
from train.neural_language_model.texts import Stream, encode_text
from train.numpy_training import NumpyRun

WARM_UP_STEPS = 300
DECAY_SHARE = 0.8  # of the run in which the learning rate falls
BLOCK_BATCHES = 400  # of the stream of words


@dataclass(frozen=True)
class Recipe:
    """What a run depends on beside its texts.

    Attributes:
        steps: training steps.
        rows, words: of each step: rows of text, and words in each.
        draws: words drawn for the sum of the softmax at each step.
        width: of embeddings and outputs.
        cells: of the LSTM.
        dropout: share of inputs and outputs left out.
        rate: peak learning rate.
        seed: of everything random.
    """

    steps: int = 18_000
    rows: int = 128
    words: int = 16
    draws: int = 2048
    width: int = 256
    cells: int = 1024
    dropout: float = 0.1
    rate: float = 2e-3
    seed: int = 0


class LanguageModelRun(NumpyRun):
    """One training run.

    Args:
        sources: texts to train on.
        words: the vocabulary, in the order of the model.
        recipe: of the run.
        folder: where the state is kept. A state of another recipe or other texts is refused.
        minutes, report: as for `NumpyRun`.

    Raises:
        ValueError: `folder` has the state of another run.
    """

    def __init__(
        self, sources: Sequence[TextSource], words: Sequence[str], recipe: Recipe, folder: Path,
        minutes: float | None = None, report: Callable[[str], None] = print,
    ):  # fmt: skip
        self.recipe, self._words = recipe, words
        self._log_unknown = mean_log_share_of_unknown(sources, set(words))
        total = sum(source.weight for source in sources)
        texts = [encode_text(source, words, source.weight / total, recipe.seed) for source in sources]
        sizes = (recipe.rows, recipe.words, recipe.draws)
        self._stream = Stream(texts, len(words), *sizes, BLOCK_BATCHES, recipe.seed)
        sizes = {"words": len(words), "width": recipe.width, "cells": recipe.cells}
        weights = initial_weights(sizes, np.log(self._stream.frequencies), recipe.seed)
        weights["output/bias"] = weights["output/bias"][:, None]  # a table of one column
        read = [
            [source.path.name, source.weight, len(text.numbers)] for source, text in zip(sources, texts, strict=True)
        ]
        super().__init__(
            weights,
            json.dumps({"recipe": dataclasses.asdict(recipe), "texts": read, "words": len(words)}),
            folder,
            steps=recipe.steps,
            words_per_step=recipe.rows * recipe.words,
            rate=recipe.rate,
            warm_up_steps=WARM_UP_STEPS,
            decay_share=DECAY_SHARE,
            minutes=minutes,
            carried=self._begin()._asdict(),
            report=report,
        )

    def gradients(self, step: int) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
        batch, anew = self._stream.batch(step)
        state = self._begin() if anew else State(**self.carried)
        generator = np.random.default_rng((self.recipe.seed, step, 3))
        weights = self.model_weights()
        loss, gradients, rows, state = loss_and_gradients(weights, batch, state, self.recipe.dropout, generator)
        self.carried = state._asdict()
        return loss, gradients, rows

    def model_weights(self) -> dict[str, np.ndarray]:
        """The weights as `asr_core.decoding.neural_language_model.weight_shapes` names and shapes them."""
        return self.weights | {"output/bias": self.weights["output/bias"][:, 0]}

    def model(self) -> NeuralLanguageModel:
        """The model with its present weights; UNKNOWN has the score of one average unknown word, not of all of them."""
        weights = self.model_weights()
        bias = weights["output/bias"].copy()
        bias[UNKNOWN] += self._log_unknown
        return NeuralLanguageModel(self._words, weights | {"output/bias": bias})

    def _begin(self) -> State:
        rows, width, cells = self.recipe.rows, self.recipe.width, self.recipe.cells
        return State(np.zeros((rows, width), np.float32), np.zeros((rows, cells), np.float32))


def mean_log_share_of_unknown(sources: Sequence[TextSource], known: set[str]) -> float:
    """Mean logarithm of the frequency of unknown words among each other in the texts, in nats; 0 if there are none."""
    shares, _ = word_shares(sources)
    frequencies = np.array([share for word, share in shares.items() if word not in known])
    if not len(frequencies):
        return 0.0
    frequencies /= frequencies.sum()
    return float(frequencies @ np.log(frequencies))
