"""Where each weight of our networks comes from in a checkpoint of PyTorch, and in which layout."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np


def as_stored(tensor: np.ndarray) -> np.ndarray:
    return tensor


def transposed(tensor: np.ndarray) -> np.ndarray:
    """All axes in reverse: the layout of Keras.

    Dense [out, in] -> [in, out]; convolution over time [out, in, taps] -> [taps, in, out].
    """
    return np.ascontiguousarray(tensor.T)


@dataclass(frozen=True)
class Source:
    """The tensors of a checkpoint that one weight is computed from.

    Attributes:
        tensors: their names, in the order in which `convert` takes them.
        convert: float32 arrays, one for each name -> the weight in our layout.
        alternatives: other names of the same tensors, which some checkpoints have instead.
    """

    tensors: tuple[str, ...]
    convert: Callable[..., np.ndarray] = as_stored
    alternatives: tuple[tuple[str, ...], ...] = ()

    def names(self, available: Collection[str]) -> tuple[str, ...] | None:
        """The names that a checkpoint with these tensors has; None if some are missing under every name."""
        choices = (self.tensors, *self.alternatives)
        return next((names for names in choices if all(name in available for name in names)), None)


def scaled(convert: Callable[..., np.ndarray], factor: float) -> Callable[..., np.ndarray]:
    """The conversion followed by a multiplication, for factors that one weight takes over from its neighbours."""
    return convert if factor == 1 else lambda *tensors: convert(*tensors) * np.float32(factor)


def dense(ours: str, theirs: str, bias: bool = True, before: float = 1, after: float = 1) -> dict[str, Source]:
    """Sources of a `Dense` layer, or of a convolution over time, from `torch.nn.Linear` or `Conv1d`.

    Args:
        ours: path of our layer, without its weight's own name.
        theirs: path of the module in the checkpoint.
        bias: whether it has one.
        before: a factor of the layer's input that its kernel takes over.
        after: a factor of its output that kernel and bias take over.
    """
    sources = {f"{ours}/kernel": Source((f"{theirs}.weight",), scaled(transposed, before * after))}
    if bias:
        sources[f"{ours}/bias"] = Source((f"{theirs}.bias",), scaled(as_stored, after))
    return sources


def norm(ours: str, theirs: str, after: float = 1) -> dict[str, Source]:
    """Sources of a normalisation layer: gamma and beta from `weight` and `bias`. Arguments as for `dense`."""
    return {
        f"{ours}/gamma": Source((f"{theirs}.weight",), scaled(as_stored, after)),
        f"{ours}/beta": Source((f"{theirs}.bias",), scaled(as_stored, after)),
    }


def attention_projection(ours: str, theirs: Sequence[str], heads: int, bias: bool = True) -> dict[str, Source]:
    """Sources of the one layer that projects to queries, keys and values side by side.

    The projection of the queries takes over the factor 1 / sqrt(width of a head) of the scores.

    Args:
        ours: path of our layer.
        theirs: paths of the projections to queries, keys and values.
        heads: attention heads.
        bias: whether the projections have one.
    """

    def kernel(query, key, value):
        scale = np.float32((query.shape[0] // heads) ** -0.5)
        return np.concatenate([query.T * scale, key.T, value.T], axis=1)

    def biases(query, key, value):
        return np.concatenate([query * np.float32((len(query) // heads) ** -0.5), key, value])

    sources = {f"{ours}/kernel": Source(tuple(f"{path}.weight" for path in theirs), kernel)}
    if bias:
        sources[f"{ours}/bias"] = Source(tuple(f"{path}.bias" for path in theirs), biases)
    return sources


def pointwise(ours: str, theirs: str, bias: bool = True) -> dict[str, Source]:
    """Sources of a `Dense` layer from a `torch.nn.Conv1d` with one tap."""
    kernel = Source((f"{theirs}.weight",), lambda kernel: np.ascontiguousarray(kernel[:, :, 0].T))
    return {f"{ours}/kernel": kernel} | ({f"{ours}/bias": Source((f"{theirs}.bias",))} if bias else {})
