"""Checkpoints of a run: the whole state of the training, and which run it belongs to."""

import os
import zlib
from pathlib import Path

import numpy as np
from keras import ops
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from asr_core.bundle.bundle import Bundle
from asr_core.bundle.description import WEIGHTS, fingerprint
from asr_core.storage import replacing
from train.data.examples import SpeechData

CHECKPOINT = "checkpoint.safetensors"


def run_identity(folder: Path, recipe: str, seed: int, data: SpeechData, start: Bundle | None) -> str:
    """What a run depends on: recipe (a preset and what changes it), seed, clips and initial weights.

    Initial weights from the run's own folder do not count, since the run replaces them.
    """
    clips = 0
    for example in data.examples:
        number = example.number
        clip = (data.clips[number].id, data.cache.checksums[number], example.labels.tolist())
        clips = zlib.crc32(repr(clip).encode(), clips)
    identity = f"preset {recipe}, seed {seed}, clips and texts {clips:08x}"
    if start is None or start.path.resolve().is_relative_to(folder.resolve()):
        return identity
    return f"{identity}, start {_weights_hash(start):08x}"


def write_checkpoint(folder: Path, identity: str, variables: dict, progress: dict[str, str]) -> None:
    """Replaces the checkpoint of a run atomically.

    Args:
        folder: of the run.
        identity: from `run_identity`.
        variables: of Keras, all that a training step reads or changes, by name.
        progress: what else is needed to continue.
    """
    arrays = {name: np.array(ops.convert_to_numpy(variable)) for name, variable in variables.items()}
    with replacing(folder / CHECKPOINT) as partial:
        save_file(arrays, partial, metadata=progress | {"run": identity})
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())


def read_checkpoint(folder: Path, identity: str, variables: dict) -> dict[str, str] | None:
    """Assigns the values of the checkpoint to the variables.

    Returns:
        The progress that was written; None if there is no checkpoint.

    Raises:
        ValueError: the checkpoint is damaged, or belongs to another run.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
            progress = file.metadata()
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is damaged: delete it, and begin again with --start {folder / 'last'}, or without"
        ) from error
    if {k: tuple(v.shape) for k, v in variables.items()} != {k: v.shape for k, v in arrays.items()}:
        raise ValueError(f"{path} belongs to another recipe: use another --out, or delete it")
    written = progress.pop("run", identity)
    if written != identity:
        best = folder / "best"
        further = f", with --start {best} to continue from there" if best.is_dir() else ""
        raise ValueError(f"{path} was begun with {written}, and this is {identity}: use another --out{further}")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return progress


def _weights_hash(bundle: Bundle) -> int:
    """CRC-32 of the hashes of a model's files of weights."""
    if bundle.checkpoint:
        files = {tensor.path for tensor in bundle.checkpoint.tensors.values()}
    else:
        files = {bundle.path / name for name in bundle.config["files"] if WEIGHTS.fullmatch(name)}
    return zlib.crc32("".join(fingerprint(path)["sha256"] for path in sorted(files)).encode())
