"""Writes the weights of a network to safetensors files, as floats or quantised to 8 bits, and reads them back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_core import models
from asr_core.bundle.description import WEIGHTS
from asr_core.errors import BundleError, reason

FILE_BYTES = 9_000_000  # size of a file of weights at most: the Hub requires Git LFS beyond 10 MB
SCALE = ".scale"  # suffix of the name of the scale of a quantised matrix: one factor for each output column
FLOAT_TYPES = ("F16", "F32")  # safetensors types of a weight that has no scale
QUANTISED_TYPES = ("I8",)  # safetensors types of a weight that has a scale


def weight_name(model, variable) -> str:
    """The path of a variable inside its network: the same on every backend and for every instance."""
    return variable.path.removeprefix(model.name + "/")


def weight_shapes(name: str, architecture: str, arguments: dict) -> dict:
    """The shape of every weight of an architecture by name, without allocating memory for the weights.

    Args:
        name: of the bundle, for messages.
        arguments: of the architecture.

    Raises:
        BundleError: the architecture does not accept these arguments.
    """
    import keras

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = models.build(architecture, **arguments)
    except Exception as error:  # Keras raises errors of many kinds for sizes that make no network
        raise BundleError(f"{name}: no {architecture} has these sizes ({reason(error)}).") from error
    if unknown := sorted((arguments.keys() - model.get_config().keys()) | (arguments.keys() & {"name"})):
        raise BundleError(f"{name}: a {architecture} has no size {', '.join(unknown)[:200]}.")
    return {weight_name(model, variable): tuple(variable.shape) for variable in model.weights}


def read_weights(source, name: str, shapes: dict) -> Iterator[tuple[str, np.ndarray]]:
    """The weights of a network with their names, float32, read one after the other as they are asked for.

    Args:
        source: a `BundleWeights`, or a `Checkpoint` of `asr_core.bundle.checkpoints`.
        name: of the bundle, for messages.
        shapes: the shape that each weight must have, by name.

    Raises:
        BundleError: a weight is missing or unknown, or has another shape or type, at once; or it is not finite, when
            it has been read.
    """
    source.check(name, shapes)

    def checked():
        for key, weight in source.read(name, shapes):
            if not np.isfinite(weight).all():
                raise BundleError(f"{name}: its weight {key} is not finite everywhere.")
            yield key, weight

    return checked()


@dataclass(frozen=True)
class BundleWeights:
    """The weights of a bundle at rest.

    Attributes:
        folder: of the bundle.
        files: the names of its files, those of other things among them.
    """

    folder: Path
    files: tuple[str, ...]

    def check(self, name: str, shapes: dict) -> None:
        """Checks names, shapes and types of all weights; reads none of them.

        Args:
            name: of the bundle, for messages.
            shapes: the shape that each weight must have, by name.

        Raises:
            BundleError: a weight is missing or unknown, or has another shape or type.
        """
        found = set()
        for tensors in self._open_files(name):
            names = tensors.keys()
            scaled = [key for key in names if key in shapes and key + SCALE in names]
            expected = shapes | {key + SCALE: shapes[key][-1:] for key in scaled}
            for key in names:
                readable = QUANTISED_TYPES if key in scaled else FLOAT_TYPES
                _check_tensor(name, key, tensors.get_slice(key), expected, readable)
            found |= set(names)
        if missing := sorted(shapes.keys() - found):
            raise BundleError(f"{name}: {len(missing)} of its weights are missing, {missing[0]} for one.")

    def read(self, name: str, shapes: dict) -> Iterator[tuple[str, np.ndarray]]:
        """Yields all weights with their names, as float32, one after the other. Arguments as for `check`."""
        for tensors in self._open_files(name):
            names = tensors.keys()
            for key in names:
                if key in shapes:
                    weight = tensors.get_tensor(key).astype("float32")
                    yield key, weight * tensors.get_tensor(key + SCALE) if key + SCALE in names else weight

    def _open_files(self, name: str) -> Iterator:
        """Yields each file of weights, open. A damaged one raises BundleError."""
        from safetensors import SafetensorError, safe_open

        for file in filter(WEIGHTS.fullmatch, self.files):
            try:
                with safe_open(self.folder / file, framework="numpy") as tensors:
                    yield tensors
            except (SafetensorError, OSError) as error:
                raise BundleError(f"{name}: {file} is not a safetensors file ({reason(error)}).") from error


def _check_tensor(name: str, key: str, tensor, shapes: dict, readable: tuple[str, ...]) -> None:
    shape, dtype = tuple(tensor.get_shape()), tensor.get_dtype()
    if key not in shapes:
        raise BundleError(f"{name}: {key[:80]!r} is not a weight of its architecture.")
    if shape != shapes[key]:
        raise BundleError(f"{name}: its weight {key} has shape {shape}, but its sizes make it {shapes[key]}.")
    if dtype not in readable:
        raise BundleError(f"{name}: its weight {key} is stored as {dtype}; {' and '.join(readable)} would be read.")


def write_weights(folder: Path, model, bits: int) -> list[str]:
    """Writes the weights to files of at most FILE_BYTES; returns the names of the files.

    Args:
        bits: as `save_bundle` takes it.
    """
    from safetensors.numpy import save_file

    parts, free_bytes = [], 0
    for variable in model.weights:
        stored = _stored(weight_name(model, variable), variable, bits)
        size = sum(array.nbytes for array in stored.values())
        if size > free_bytes:
            parts, free_bytes = [*parts, {}], FILE_BYTES
        parts[-1] |= stored
        free_bytes -= size
    names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    for part, name in zip(parts, names, strict=True):
        save_file(part, folder / name)
    return names


def _stored(key: str, variable, bits: int) -> dict[str, np.ndarray]:
    """The tensors that a weight is written as: the weight itself, or its 8-bit numbers and their scale."""
    dtype = "float16" if bits == 16 and variable.ndim > 1 else "float32"
    with np.errstate(over="ignore"):  # the check below names the weight
        weight = np.ascontiguousarray(variable.numpy(), dtype)
    if not np.isfinite(weight).all():
        raise BundleError(f"The weight {variable.path} is not finite as {dtype}: nothing was saved.")
    if bits > 8 or weight.ndim < 2:
        return {key: weight}
    scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / (2 ** (bits - 1) - 1)
    whole = np.round(weight / np.where(scale > 0, scale, 1)).astype("int8")
    return {key: whole, key + SCALE: scale}
