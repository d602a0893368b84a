"""The recurrent language model's network with its gradients, in NumPy and Numba.

`asr_core.decoding.neural_language_model` runs the same weights on an n-best list. Here a batch of rows of text goes
forward and backward (backpropagation through time, truncated to the words of a batch).
"""

from typing import NamedTuple

import numpy as np

from asr_core.decoding.neural_language_model import SENTENCE_END, State, weight_shapes
from asr_core.jit import compiled

NORMALISER_PENALTY = 0.1  # of the squared logarithm of the sum of exponentials, which the model learns to keep near 0


class Batch(NamedTuple):
    """Rows of text that continue from batch to batch, and words drawn at random.

    Attributes:
        inputs, targets: word numbers: int64 [words, rows]. A target is the word after its input.
        drawn: word numbers, with repetitions: int64 [draws].
        expected: how often each of them is drawn on average: float32 [draws].
    """

    inputs: np.ndarray
    targets: np.ndarray
    drawn: np.ndarray
    expected: np.ndarray


def initial_weights(sizes: dict[str, int], log_unigrams: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Random weights, float32.

    Args:
        sizes: the arguments of `weight_shapes`.
        log_unigrams: of each word, in nats: the first prediction.
        seed: of the weights.
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(**sizes).items():
        deviation = 0.1 if name == "embeddings" else 1 / np.sqrt(shape[0])
        weight = np.zeros(shape) if len(shape) == 1 else generator.normal(0, deviation, shape)
        weights[name] = weight.astype(np.float32)
    weights["output/bias"] = log_unigrams.astype(np.float32)
    cells = sizes["cells"]
    weights["lstm/bias"][cells : 2 * cells] = 1.0  # forget gates begin open (Jozefowicz et al., 2015)
    return weights


def loss_and_gradients(
    weights: dict[str, np.ndarray], batch: Batch, state: State, dropout: float = 0.0, generator=None
) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray], State]:
    """Mean negative log-probability of the targets in nats, its gradients, and the state after the batch.

    The sum over all words, by which the softmax divides, is estimated from the target and the words drawn, each
    weighted by how often it is expected (importance sampling, Bengio and Senecal, 2003).

    Returns:
        (loss with the penalty, gradients, rows of "embeddings" and "output/bias" that their gradients belong to,
        state).
    """
    words, rows = batch.inputs.shape
    embedded = weights["embeddings"][batch.inputs]
    kept = None
    if dropout:
        kept = (generator.random(embedded.shape, np.float32) >= dropout) * np.float32(1 / (1 - dropout))
        embedded *= kept
    fresh = (batch.inputs != SENTENCE_END).astype(np.float32)[..., None]  # 0 where a sentence begins
    outputs, passed, last = _forward(weights, embedded, fresh, state)
    flat = outputs.reshape(words * rows, -1)
    kept_outputs = None
    if dropout:
        kept_outputs = (generator.random(flat.shape, np.float32) >= dropout) * np.float32(1 / (1 - dropout))
        flat = flat * kept_outputs
    loss, dflat, gradients = _output_layer(weights, flat, batch)
    if dropout:
        dflat *= kept_outputs
    dembedded = _backward(weights, embedded, fresh, passed, dflat.reshape(outputs.shape), gradients)
    if dropout:
        dembedded *= kept
    inputs = batch.inputs.reshape(-1)
    gradients["embeddings"] = np.concatenate([gradients["embeddings"], dembedded.reshape(len(inputs), -1)])
    targets = batch.targets.reshape(-1)
    used = {
        "embeddings": np.concatenate([targets, batch.drawn, inputs])[:, None],
        "output/bias": np.concatenate([targets, batch.drawn])[:, None],
    }
    return loss, gradients, used, last


def _forward(weights, embedded: np.ndarray, fresh: np.ndarray, state: State):
    """Outputs of all words; what the gradients need; the last state."""
    words, rows, width = embedded.shape
    recurrent, projection = weights["recurrent/kernel"], weights["projection"]
    cells = len(projection)
    gates = embedded.reshape(-1, width) @ weights["input/kernel"] + weights["lstm/bias"]
    gates = gates.reshape(words, rows, 4 * cells)
    output, cell = state
    outputs = np.empty((words, rows, width), np.float32)
    before = np.empty_like(outputs)  # the output before each word, 0 where a sentence begins
    cells_before = np.empty((words, rows, cells), np.float32)
    squashed, hidden = np.empty_like(cells_before), np.empty_like(cells_before)
    for word in range(words):
        before[word] = output * fresh[word]
        np.multiply(cell, fresh[word], out=cells_before[word])
        gates[word] += before[word] @ recurrent
        gates[word, :, : 3 * cells] *= 0.5  # sigmoid(x) = 0.5 + 0.5 tanh(x / 2)
        np.tanh(gates[word], out=gates[word])
        cell = np.empty((rows, cells), np.float32)
        _next_cell(gates[word], cells_before[word], cell)
        np.tanh(cell, out=squashed[word])
        np.multiply(gates[word, :, 2 * cells : 3 * cells], squashed[word], out=hidden[word])
        output = np.matmul(hidden[word], projection, out=outputs[word])
    return outputs, (gates, before, cells_before, squashed, hidden), State(output.copy(), cell)


def _backward(weights, embedded, fresh, passed, doutputs, gradients) -> np.ndarray:
    """Gradient of the embedded inputs; puts those of the recurrent layer into `gradients`."""
    gates, before, cells_before, squashed, hidden = passed
    words, rows, width = embedded.shape
    recurrent, projection = weights["recurrent/kernel"].T, weights["projection"].T
    cells = hidden.shape[-1]
    dcell = np.zeros((rows, cells), np.float32)
    dafter = np.zeros((rows, width), np.float32)  # of the output, from the word after it
    dgates = np.empty_like(gates)
    for word in reversed(range(words)):
        doutputs[word] += dafter
        dhidden = doutputs[word] @ projection
        _gate_gradients(gates[word], cells_before[word], squashed[word], dhidden, dcell, dgates[word])
        dcell *= fresh[word]
        dafter = (dgates[word] @ recurrent) * fresh[word]
    flat = dgates.reshape(words * rows, -1)
    gradients["projection"] = hidden.reshape(-1, cells).T @ doutputs.reshape(-1, width)
    gradients["recurrent/kernel"] = before.reshape(-1, width).T @ flat
    gradients["input/kernel"] = embedded.reshape(-1, width).T @ flat
    gradients["lstm/bias"] = flat.sum(axis=0)
    return (flat @ weights["input/kernel"].T).reshape(embedded.shape)


@compiled
def _next_cell(gates, before, cell):
    """The cell after a word, from squashed gates (input, forget, output, candidate), which become their values."""
    rows, cells = before.shape
    half = np.float32(0.5)
    for row in range(rows):
        for i in range(cells):
            gates[row, i] = half + half * gates[row, i]
            gates[row, cells + i] = half + half * gates[row, cells + i]
            gates[row, 2 * cells + i] = half + half * gates[row, 2 * cells + i]
            cell[row, i] = gates[row, cells + i] * before[row, i] + gates[row, i] * gates[row, 3 * cells + i]


@compiled
def _gate_gradients(gates, before, squashed, dhidden, dcell, dgates):
    """Gradients of the gates before their nonlinearities; `dcell` becomes that of the cell before the word."""
    rows, cells = before.shape
    one = np.float32(1)
    for row in range(rows):
        for i in range(cells):
            input_gate, forget_gate = gates[row, i], gates[row, cells + i]
            output_gate, candidate = gates[row, 2 * cells + i], gates[row, 3 * cells + i]
            tanh = squashed[row, i]
            through = dcell[row, i] + dhidden[row, i] * output_gate * (one - tanh * tanh)
            dgates[row, i] = through * candidate * input_gate * (one - input_gate)
            dgates[row, cells + i] = through * before[row, i] * forget_gate * (one - forget_gate)
            dgates[row, 2 * cells + i] = dhidden[row, i] * tanh * output_gate * (one - output_gate)
            dgates[row, 3 * cells + i] = through * input_gate * (one - candidate * candidate)
            dcell[row, i] = through * forget_gate


def _output_layer(weights, outputs: np.ndarray, batch: Batch):
    """The loss, the gradient of the outputs [words * rows, width], and those of the rows of targets and draws."""
    targets, count = batch.targets.reshape(-1), batch.targets.size
    table, bias = weights["embeddings"], weights["output/bias"]
    target_rows, drawn_rows = table[targets], table[batch.drawn]
    right = np.einsum("nw,nw->n", outputs, target_rows) + bias[targets]
    scores = outputs @ drawn_rows.T
    scores += bias[batch.drawn] - np.log(batch.expected)
    _exclude(scores, targets, batch.drawn)
    highest = np.maximum(right, scores.max(axis=1))
    scores -= highest[:, None]
    np.exp(scores, out=scores)
    own = np.exp(right - highest)
    sums = own + scores.sum(axis=1)
    normaliser = highest + np.log(sums)
    loss = float((normaliser - right).mean() + NORMALISER_PENALTY * (normaliser**2).mean())
    share = ((1 + 2 * NORMALISER_PENALTY * normaliser) / count / sums).astype(np.float32)
    scores *= share[:, None]  # now their gradients
    dright = own * share - np.float32(1 / count)
    doutputs = scores @ drawn_rows + dright[:, None] * target_rows
    gradients = {
        "embeddings": np.concatenate([dright[:, None] * outputs, scores.T @ outputs]),
        "output/bias": np.concatenate([dright, scores.sum(axis=0)])[:, None],
    }
    return loss, doutputs, gradients


@compiled
def _exclude(scores, targets, drawn):
    """A word that is drawn does not count where it is the target."""
    for row in range(len(targets)):
        for column in range(len(drawn)):
            if drawn[column] == targets[row]:
                scores[row, column] = -np.inf
