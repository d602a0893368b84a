"""A recurrent neural language model of words, for rescoring an n-best list.

An n-gram model knows the next word after the two or three words before it. A recurrent network carries a state through
the whole sentence, and words that occur in like places have like embeddings, so that it also predicts what it never
saw word for word. It is too slow for the beam search, but fast enough for the few hypotheses that the search finds.

The network is an LSTM with a projection (Sak et al., 2014, "Long short-term memory based recurrent neural network
architectures for large scale acoustic modeling"), in NumPy. The embeddings of its inputs are those of its outputs
(Press and Wolf, 2017, "Using the output embedding to improve language models"). It is trained by
`train.neural_language_model` so that the sum over all words, by which a softmax divides, is close to 1: a score costs
one product of two vectors.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from asr_core.blas import one_thread
from asr_core.errors import LanguageModelError, reason
from asr_core.storage import read_tensors, replacing

SENTENCE_END, UNKNOWN = range(2)  # the end of a sentence is also the input before its first word
SPECIAL_WORDS = ("</s>", "<unk>")  # have the first word numbers; "<unk>" is any one word outside the vocabulary

FORMAT = "neural-language-model"
FORMAT_VERSION = "1"
MAX_FILE_BYTES = 64 << 20
GROUP = 64  # neighbouring weights of a matrix with a scale of their own
LEVEL = 7  # the largest quantised value: 4 bits hold -7 to 7


class State(NamedTuple):
    """What the network carries from word to word, for several texts: float32 [texts, width] and [texts, cells]."""

    output: np.ndarray
    cell: np.ndarray


class Scores(NamedTuple):
    """The log-probability of each text in nats, float64 [texts], and the states after the texts."""

    log_probs: np.ndarray
    states: State


def weight_shapes(words: int, width: int, cells: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights by name: `words` in the vocabulary, embeddings of `width`, `cells` of the LSTM.

    The columns of the kernels are those of the input, forget and output gates and of the candidates.
    """
    return {
        "embeddings": (words, width),
        "output/bias": (words,),
        "input/kernel": (width, 4 * cells),
        "recurrent/kernel": (width, 4 * cells),
        "lstm/bias": (4 * cells,),
        "projection": (cells, width),
    }


class NeuralLanguageModel:
    """Scores texts. Safe to use from many threads.

    Args:
        words: the vocabulary, SPECIAL_WORDS first.
        weights: by the names of `weight_shapes`; float32.

    Raises:
        ValueError: the weights are not those of one network for these words, or not finite.
    """

    def __init__(self, words: Sequence[str], weights: dict[str, np.ndarray]):
        _check(words, weights)
        self.words = list(words)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        self._weights = weights
        self._kernel = np.concatenate([weights["input/kernel"], weights["recurrent/kernel"]])
        cells, width = weights["projection"].shape
        nothing = State(np.zeros((1, width), np.float32), np.zeros((1, cells), np.float32))
        self.begin = self.advance(nothing, np.array([SENTENCE_END]))

    def score(self, texts: Sequence[Sequence[str]], state: State | None = None, ended: bool = True) -> Scores:
        """Scores texts that continue the same state. The network runs once for words with which several texts begin.

        Args:
            texts: the words of each.
            state: after the words that precede all texts, one row; by default the beginning of a sentence.
            ended: whether to add the log-probability of the end of the sentence after each text.
        """
        with one_thread():
            return self._score(texts, state, ended)

    def _score(self, texts: Sequence[Sequence[str]], state: State | None, ended: bool) -> Scores:
        numbers = [[self._numbers.get(word, UNKNOWN) for word in words] for words in texts]
        state = self.begin if state is None else state
        log_probs = np.zeros(len(texts))
        places = np.zeros(len(texts), np.int64)  # of each text in `state`
        last = [np.empty((len(texts), part.shape[1]), np.float32) for part in state]
        for depth in range(max(map(len, numbers), default=0) + 1):
            for text in (i for i, words in enumerate(numbers) if len(words) == depth):
                for part, kept in zip(state, last, strict=True):
                    kept[text] = part[places[text]]
                if ended:
                    log_probs[text] += self._predict(state.output[places[text]][None], [SENTENCE_END])[0]
            going_on = [i for i, words in enumerate(numbers) if len(words) > depth]
            if not going_on:
                break
            steps = [(int(places[i]), numbers[i][depth]) for i in going_on]
            distinct = {step: place for place, step in enumerate(dict.fromkeys(steps))}
            parents, words = np.array(list(distinct)).T
            before = State(state.output[parents], state.cell[parents])
            predicted = self._predict(before.output, words)
            state = self.advance(before, words)
            for i, step in zip(going_on, steps, strict=True):
                places[i] = distinct[step]
                log_probs[i] += predicted[places[i]]
        return Scores(log_probs, State(*last))

    def advance(self, state: State, words: np.ndarray) -> State:
        """The states after one more word of each text: word numbers int64 [texts]."""
        inputs = np.concatenate([self._weights["embeddings"][words], state.output], axis=1)
        gates = inputs @ self._kernel + self._weights["lstm/bias"]
        cells = gates.shape[1] // 4
        gates[:, : 3 * cells] *= 0.5  # sigmoid(x) = 0.5 + 0.5 tanh(x / 2)
        np.tanh(gates, out=gates)
        input_gate, forget_gate, output_gate = np.split(0.5 + 0.5 * gates[:, : 3 * cells], 3, axis=1)
        cell = forget_gate * state.cell + input_gate * gates[:, 3 * cells :]
        return State((output_gate * np.tanh(cell)) @ self._weights["projection"], cell)

    def logits(self, state: State) -> np.ndarray:
        """Logits of all words after each text: float32 [texts, words]. Their softmax is the exact distribution."""
        return state.output @ self._weights["embeddings"].T + self._weights["output/bias"]

    def _predict(self, outputs: np.ndarray, words: Sequence[int]) -> np.ndarray:
        """The logit of a word after each text, float32 [texts]: training makes it close to the log-probability."""
        rows = self._weights["embeddings"][words]
        return np.einsum("nw,nw->n", outputs, rows) + self._weights["output/bias"][words]

    def save(self, path: str | PathLike) -> None:
        """Writes one safetensors file: matrices in 4 bits a weight with a scale for every GROUP, vectors in float32."""
        tensors = {"words": np.frombuffer("\n".join(self.words).encode(), np.uint8)}
        for name, weight in self._weights.items():
            if weight.ndim == 1:
                tensors[name] = weight
            else:
                tensors[name], tensors[name + ".scale"] = quantise(weight)
        metadata = {"format": FORMAT, "version": FORMAT_VERSION}
        with replacing(Path(path)) as partial:
            partial.write_bytes(save(tensors, metadata))

    @classmethod
    def load(cls, path: str | PathLike) -> "NeuralLanguageModel":
        """Reads what `save` wrote.

        Raises:
            LanguageModelError: the file is missing, damaged, or no neural language model.
        """
        try:
            tensors, _ = read_tensors(path, FORMAT, FORMAT_VERSION, MAX_FILE_BYTES)
            words = tensors.pop("words").tobytes().decode().split("\n")
            weights = {
                name: dequantise(tensor, tensors[name + ".scale"]) if name + ".scale" in tensors else tensor
                for name, tensor in tensors.items()
                if not name.endswith(".scale")
            }
            return cls(words, weights)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise LanguageModelError(f"{Path(path).name} holds no neural language model ({reason(error)}).") from None


def quantise(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix in 4 bits a weight.

    Args:
        weight: float32 [rows, columns], columns a multiple of GROUP.

    Returns:
        (uint8 [rows, columns / 2], two weights in each; their scales, float16 [rows, columns / GROUP]).
    """
    groups = weight.reshape(len(weight), -1, GROUP)
    highest = np.abs(groups).max(axis=-1, keepdims=True)
    best_error, best_scale = np.inf, None
    for share in np.arange(0.6, 1.01, 0.05):  # a few clipped weights leave finer levels for the others
        scale = np.maximum(highest * share / LEVEL, 1e-7).astype(np.float16).astype(np.float32)
        values = np.clip(np.round(groups / scale), -LEVEL, LEVEL)
        error = ((values * scale - groups) ** 2).sum(axis=-1, keepdims=True)
        best_scale = scale if best_scale is None else np.where(error < best_error, scale, best_scale)
        best_error = np.minimum(error, best_error)
    values = np.clip(np.round(groups / best_scale), -LEVEL, LEVEL).astype(np.int8).reshape(weight.shape) + 8
    packed = values[:, 0::2].astype(np.uint8) | values[:, 1::2].astype(np.uint8) << 4
    return packed, best_scale[..., 0].astype(np.float16)


def dequantise(packed: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The matrix that `quantise` has packed: float32 [rows, columns]. Raises ValueError if the parts do not fit."""
    if packed.dtype != np.uint8 or packed.ndim != 2 or scale.dtype != np.float16:
        raise ValueError("its numbers are stored in an unknown way")
    if scale.shape != (len(packed), packed.shape[1] * 2 // GROUP) or packed.shape[1] * 2 % GROUP:
        raise ValueError("its scales do not belong to its weights")
    values = np.empty((len(packed), packed.shape[1], 2), np.float32)
    values[..., 0] = packed & 15
    values[..., 1] = packed >> 4
    values -= 8
    groups = values.reshape(len(packed), -1, GROUP) * scale[..., None].astype(np.float32)
    return groups.reshape(len(packed), -1)


def _check(words: Sequence[str], weights: dict[str, np.ndarray]) -> None:
    """Raises ValueError unless the weights are those of one network for these words, finite everywhere."""
    if tuple(words[: len(SPECIAL_WORDS)]) != SPECIAL_WORDS or len(set(words)) != len(words):
        raise ValueError("its words are not those of a vocabulary")
    for name in ("embeddings", "projection"):
        if name not in weights or weights[name].ndim != 2:
            raise ValueError(f"its weight {name} is missing or no matrix")
    shapes = weight_shapes(len(words), weights["embeddings"].shape[1], weights["projection"].shape[0])
    if weights.keys() != shapes.keys():
        raise ValueError(f"a weight is missing or unknown: {sorted(weights.keys() ^ shapes.keys())[0]}")
    for name, shape in shapes.items():
        if weights[name].shape != shape or weights[name].dtype != np.float32:
            raise ValueError(f"its weight {name} is {weights[name].dtype} {weights[name].shape} instead of {shape}")
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"its weight {name} is not finite everywhere")
