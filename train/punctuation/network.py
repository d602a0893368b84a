"""The tagger's network with its gradients, in NumPy.

`asr_core.text.tagger` runs the same weights on one text. Here a batch of windows goes forward and backward.
`train.numpy_training` explains why this is not done in a framework.
"""

from collections.abc import Sequence

import numpy as np

from asr_core.text.tagger import CAPITALS, LAYER_OFFSETS, PUNCTUATION, weight_shapes
from train.punctuation.windows import Batch

MARKS = len(PUNCTUATION)
OUTPUTS = MARKS + len(CAPITALS)
TABLES = ("words", "letters")  # weights of which a batch uses single rows


def initial_weights(sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """Random weights, float32. `sizes` are the arguments of `asr_core.text.tagger.weight_shapes`."""
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(**sizes).items():
        deviation = 0.1 if name in TABLES else 1 / np.sqrt(shape[0])
        weights[name] = np.zeros(shape) if len(shape) == 1 else generator.normal(0, deviation, shape)
    return {name: weight.astype(np.float32) for name, weight in weights.items()}


def loss_and_gradients(
    weights: dict[str, np.ndarray], batch: Batch, dropout: float, generator: np.random.Generator
) -> tuple[float, dict[str, np.ndarray]]:
    """Mean cross-entropy of marks and capitals over the words that are learned, and its gradients.

    The gradients of the tables are those of the rows that each word uses: "words" [windows * words, width], and
    "letters" [windows * words, width of letters] for each of its letter hashes.

    Args:
        weights: of the network.
        batch: of windows.
        dropout: share of the inputs and of each layer's output that is left out.
        generator: of what is left out.
    """
    numbers, letters, timing, mask = batch.inputs
    mask = mask[..., None]

    def kept(shape):
        if not dropout:
            return np.float32(1)
        return (generator.random(shape, np.float32) >= dropout) * np.float32(1 / (1 - dropout))

    inputs = np.concatenate([weights["words"][numbers], weights["letters"][letters].sum(axis=2), timing], axis=-1)
    kept_inputs = kept(inputs.shape)
    inputs *= kept_inputs
    x = (inputs @ weights["input/kernel"] + weights["input/bias"]) * mask
    passed = []  # of each layer, what its gradients need
    for layer, offsets in enumerate(LAYER_OFFSETS):
        around = _beside(x, offsets)
        values, gates = np.split(around @ weights[f"layer{layer}/kernel"] + weights[f"layer{layer}/bias"], 2, axis=-1)
        gates = 0.5 + 0.5 * np.tanh(0.5 * gates)
        scale = kept(values.shape) * mask
        passed.append((around, values, gates, scale))
        x = x + values * gates * scale
    loss, dlogits = _cross_entropies(x @ weights["output/kernel"] + weights["output/bias"], batch)

    gradients = {}
    dx = _through(gradients, "output", x, dlogits, weights)
    for layer in reversed(range(len(LAYER_OFFSETS))):
        around, values, gates, scale = passed[layer]
        dy = dx * scale
        dgated = np.concatenate([dy * gates, dy * values * gates * (1 - gates)], axis=-1)
        _add_beside(dx, _through(gradients, f"layer{layer}", around, dgated, weights), LAYER_OFFSETS[layer])
    dinputs = _through(gradients, "input", inputs, dx * mask, weights) * kept_inputs
    width, letter_width = weights["words"].shape[1], weights["letters"].shape[1]
    dinputs = dinputs.reshape(-1, dinputs.shape[-1])
    gradients["words"] = np.ascontiguousarray(dinputs[:, :width])
    gradients["letters"] = np.ascontiguousarray(dinputs[:, width : width + letter_width])
    return loss, gradients


def _through(gradients, name: str, inputs: np.ndarray, doutputs: np.ndarray, weights) -> np.ndarray:
    """The gradient of the inputs of a matrix; puts those of the matrix and its bias into `gradients`."""
    flat, dflat = inputs.reshape(-1, inputs.shape[-1]), doutputs.reshape(-1, doutputs.shape[-1])
    gradients[f"{name}/kernel"] = flat.T @ dflat
    gradients[f"{name}/bias"] = dflat.sum(axis=0)
    return (dflat @ weights[f"{name}/kernel"].T).reshape(inputs.shape)


def _cross_entropies(logits: np.ndarray, batch: Batch) -> tuple[float, np.ndarray]:
    """The loss, and its gradient with respect to the logits [windows, words, OUTPUTS]."""
    dlogits, loss = np.empty_like(logits), 0.0
    for part, classes, counted in (
        (slice(0, MARKS), batch.marks, batch.mark_weights),
        (slice(MARKS, OUTPUTS), batch.capitals, batch.capital_weights),
    ):
        shifted = logits[..., part] - logits[..., part].max(axis=-1, keepdims=True)
        exponentials = np.exp(shifted)
        sums = exponentials.sum(axis=-1, keepdims=True)
        share = counted / max(1.0, float(counted.sum()))
        right = np.take_along_axis(shifted, classes[..., None], axis=-1) - np.log(sums)
        loss -= float((right[..., 0] * share).sum())
        probabilities = exponentials / sums
        np.put_along_axis(
            probabilities, classes[..., None], np.take_along_axis(probabilities, classes[..., None], -1) - 1, axis=-1
        )
        dlogits[..., part] = probabilities * share[..., None]
    return loss, dlogits


def _slices(count: int, offset: int) -> tuple[slice, slice]:
    """Words that have a word at `offset` from them in a window of `count` words, and these other words."""
    first, last = max(0, -offset), max(0, count - max(0, offset))
    last = max(first, last)
    return slice(first, last), slice(first + offset, last + offset)


def _beside(x: np.ndarray, offsets: Sequence[int]) -> np.ndarray:
    """The features of the words at `offsets` from each word, zeros outside: [windows, words, offsets * channels]."""
    windows, count, channels = x.shape
    out = np.zeros((windows, count, len(offsets), channels), np.float32)
    for place, offset in enumerate(offsets):
        own, other = _slices(count, offset)
        out[:, own, place] = x[:, other]
    return out.reshape(windows, count, -1)


def _add_beside(dx: np.ndarray, daround: np.ndarray, offsets: Sequence[int]) -> None:
    """Adds the gradient of `_beside` to that of its argument."""
    windows, count, channels = dx.shape
    daround = daround.reshape(windows, count, len(offsets), channels)
    for place, offset in enumerate(offsets):
        own, other = _slices(count, offset)
        dx[:, other] += daround[:, own, place]
