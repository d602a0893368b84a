"""The training run of the tagger, and the file that it makes."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from asr_core.storage import replacing
from asr_core.text.tagger import FORMAT, FORMAT_VERSION, PUNCTUATION, SCALE, Tagger, choose_marks
from asr_core.text.word_features import LETTER_FEATURES, WordNumbers
from train.numpy_training import NumpyRun
from train.punctuation.lexicon import choose_spellings, encode_words, number_words
from train.punctuation.measures import Measure
from train.punctuation.network import initial_weights, loss_and_gradients
from train.punctuation.pauses import Pauses
from train.punctuation.texts import Text, count_words, running_order
from train.punctuation.windows import Source, Windows

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


class TaggerRun(NumpyRun):
    """One training run.

    Args:
        texts: to train on.
        recipe: of the run.
        folder: where the state is kept. A state of another recipe or other texts is refused.
        minutes, report: as for `train.numpy_training.NumpyRun`.

    Raises:
        ValueError: the texts are too short, or `folder` has the state of another run.
    """

    def __init__(
        self, texts: Sequence[Text], recipe: Recipe, folder: Path, minutes: float | None = None,
        report: Callable[[str], None] = print,
    ):  # fmt: skip
        self.recipe = recipe
        counts, places = count_words(texts)
        self.numbers = number_words(counts, recipe.vocabulary, recipe.rare)
        self.spellings = choose_spellings(sum((text.labelled.forms for text in texts), start=Counter()), counts)
        sources = [_source(text, at) for text, at in zip(texts, places, strict=True)]
        encoded = encode_words(counts.words, self.numbers, recipe.buckets)
        unknown = len(self.numbers.vocabulary)
        self.windows = Windows(sources, encoded, unknown, recipe.words, recipe.windows, recipe.seed, Pauses.load())
        sizes = {
            "numbers": len(self.numbers), "width": recipe.width, "letter_width": recipe.letter_width,
            "buckets": recipe.buckets, "channels": recipe.channels,
        }  # fmt: skip
        read = [[text.path.name, text.weight, int(text.train.sum())] for text in texts]
        super().__init__(
            initial_weights(sizes, recipe.seed),
            json.dumps({"recipe": dataclasses.asdict(recipe), "texts": read}),
            folder,
            steps=recipe.steps,
            words_per_step=recipe.windows * recipe.words,
            rate=recipe.rate,
            warm_up_steps=WARM_UP_STEPS,
            decay_share=DECAY_SHARE,
            minutes=minutes,
            report=report,
        )

    def gradients(self, step: int) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
        batch = self.windows.batch(step)
        generator = np.random.default_rng((self.recipe.seed, step, 1))
        loss, gradients = loss_and_gradients(self.weights, batch, self.recipe.dropout, generator)
        rows = {"words": batch.inputs[0].reshape(-1, 1), "letters": batch.inputs[1].reshape(-1, LETTER_FEATURES)}
        return loss, gradients, rows

    def balanced_weights(self) -> dict[str, np.ndarray]:
        """The weights with the biases of the marks that make the sum of their F1 largest, on windows drawn for this.

        Without the biases, rare marks are left out more often than they are written where there is none.
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
    with replacing(path) as partial:
        partial.write_bytes(save(tensors, metadata))


def _source(text: Text, places: np.ndarray) -> Source:
    at = running_order(text.labelled, np.flatnonzero(text.train))
    return Source(text.weight, places[text.labelled.numbers[at]], text.labelled.marks[at], text.labelled.capitals[at])
