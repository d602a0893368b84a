"""Weights of a network <-> safetensors files below the limit of the Hub, as float16 or 8-bit integers."""

from pathlib import Path

import numpy as np

from asr_core import models
from asr_core.bundle.description import (
    WEIGHTS,
)
from asr_core.errors import BundleError, reason
from asr_core.storage import unpacked

FILE_BYTES = 9_000_000  # weights are split into files below this, since the Hub wants LFS beyond 10 MB
SCALE = ".scale"  # follows the name of a matrix of 8-bit numbers: what they are multiplied by, one for each column
FLOATS, WHOLE = ("F16", "F32"), ("I8",)  # how a tensor may be stored: by itself, and with a scale


def _key(model, variable) -> str:
    """A variable's path inside its network: the same on every backend and for every instance."""
    return variable.path.removeprefix(model.name + "/")


def _sketch(name: str, architecture: str, arguments: dict) -> dict:
    """Shape of every weight by name, computed without allocating any."""
    import keras

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = models.build(architecture, **arguments)
    except Exception as error:  # whatever Keras makes of a stranger's numbers, there is no such network
        raise BundleError(f"{name}: no {architecture} has these sizes ({reason(error)}).") from error
    if unknown := sorted((arguments.keys() - model.get_config().keys()) | (arguments.keys() & {"name"})):
        raise BundleError(f"{name}: a {architecture} has no size {', '.join(unknown)[:200]}.")
    return {_key(model, variable): tuple(variable.shape) for variable in model.weights}


def _read_weights(bundle, shapes: dict) -> dict:
    """Every weight as float32, once names, shapes and values are known to be right."""
    from safetensors import SafetensorError, safe_open

    weights = {}
    for file in filter(WEIGHTS.fullmatch, bundle.config["files"]):
        try:
            with unpacked(bundle.path / file) as path, safe_open(path, framework="numpy") as tensors:
                names = tensors.keys()
                scaled = [key for key in names if key in shapes and key + SCALE in names]
                expected = shapes | {key + SCALE: shapes[key][-1:] for key in scaled}
                for key in names:
                    readable = WHOLE if key in scaled else FLOATS
                    _check_tensor(bundle.name, key, tensors.get_slice(key), expected, readable)
                    weights[key] = tensors.get_tensor(key).astype("float32")
                for key in scaled:
                    weights[key] *= weights.pop(key + SCALE)
        except (SafetensorError, OSError, ValueError) as error:
            raise BundleError(f"{bundle.name}: {file} is no safetensors file ({reason(error)}).") from error
    if missing := sorted(shapes.keys() - weights.keys()):
        raise BundleError(f"{bundle.name}: {len(missing)} of its weights are missing, {missing[0]} for one.")
    for key, weight in weights.items():
        if not np.isfinite(weight).all():
            raise BundleError(f"{bundle.name}: its weight {key} is not finite everywhere.")
    return weights


def _check_tensor(name: str, key: str, tensor, shapes: dict, readable: tuple[str, ...]) -> None:
    shape, dtype = tuple(tensor.get_shape()), tensor.get_dtype()
    if key not in shapes:
        raise BundleError(f"{name}: {key[:80]!r} is not a weight of its architecture.")
    if shape != shapes[key]:
        raise BundleError(f"{name}: its weight {key} has shape {shape}, but its sizes make it {shapes[key]}.")
    if dtype not in readable:
        raise BundleError(f"{name}: its weight {key} is stored as {dtype}; {' and '.join(readable)} would be read.")


def _write_weights(folder: Path, model, bits: int) -> list[str]:
    """Writes the weights in files below FILE_BYTES; returns their names."""
    from safetensors.numpy import save_file

    parts, room = [], 0
    for variable in model.weights:
        stored = _stored(_key(model, variable), variable, bits)
        size = sum(array.nbytes for array in stored.values())
        if size > room:
            parts, room = [*parts, {}], FILE_BYTES
        parts[-1] |= stored
        room -= size
    names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    for part, name in zip(parts, names, strict=True):
        save_file(part, folder / name)
    return names


def _stored(key: str, variable, bits: int) -> dict[str, np.ndarray]:
    """A weight as it is written: itself, or 8-bit numbers and their scale."""
    dtype = "float16" if bits == 16 and variable.ndim > 1 else "float32"
    with np.errstate(over="ignore"):  # told below, with the weight's name
        weight = np.ascontiguousarray(variable.numpy(), dtype)
    if not np.isfinite(weight).all():
        raise BundleError(f"The weight {variable.path} is not finite as {dtype}: nothing was saved.")
    if bits > 8 or weight.ndim < 2:
        return {key: weight}
    scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / (2 ** (bits - 1) - 1)
    whole = np.round(weight / np.where(scale > 0, scale, 1)).astype("int8")
    return {key: whole, key + SCALE: scale}
