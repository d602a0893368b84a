"""Reads tensors from safetensors files, one at a time, so that no second copy of a network is ever in memory.

The NumPy interface of the package `safetensors` refuses bfloat16 and maps whole files into memory. The format is a
header in JSON and the numbers after it (https://github.com/huggingface/safetensors). Headers come from strangers:
every entry is checked against the size of its file before anything is allocated for it.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr_core.errors import BundleError, reason
from asr_core.storage import FETCH_LFS, is_lfs_pointer

MAX_HEADER_BYTES = 16 << 20  # a network of 10,000 tensors has one of 2 MB
NUMBERS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}  # readable types, as they are stored
LENGTH_BYTES = 8  # of the header's length, at the beginning of a file


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        path: of its file.
        dtype: "F32", "F16", "BF16", or another type of the format, which cannot be read.
        shape: of the tensor.
        start: offset of its first byte in the file.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """The count of its numbers."""
        return math.prod(self.shape)

    def read(self) -> np.ndarray:
        """The tensor as float32."""
        stored = np.fromfile(self.path, NUMBERS[self.dtype], self.size, offset=self.start).reshape(self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float32, copy=False)


def stored_tensors(path: Path, name: str) -> dict[str, StoredTensor]:
    """The tensors of a file by name; only its header is read.

    Args:
        name: of the checkpoint, for messages.

    Raises:
        BundleError: the file is not a safetensors file, or its header contradicts its size.
    """
    try:
        header, start = _header(path)
        size = path.stat().st_size - start
        entries = {key: value for key, value in header.items() if key != "__metadata__"}
        return {key: _tensor(path, key, entry, start, size) for key, entry in entries.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"{name}: {path.name} is not a safetensors file ({reason(error)}).") from error


def _header(path: Path) -> tuple[dict, int]:
    """The header of a file, and the offset of the numbers after it."""
    if is_lfs_pointer(path):
        raise ValueError(FETCH_LFS)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        start = LENGTH_BYTES + length
        if length > MAX_HEADER_BYTES or start > path.stat().st_size:
            raise ValueError(f"its header would have {length:,} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not a table")
    return header, start


def _tensor(path: Path, key: str, entry: dict, start: int, size: int) -> StoredTensor:
    """A tensor from its entry in a header, with `size` bytes of numbers after the header."""
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(type(number) is int and 0 <= number for number in (*shape, begin, end)):
        raise ValueError(f"{key[:60]!r} has no proper shape")
    tensor = StoredTensor(path, dtype, tuple(shape), start + begin)
    if dtype in NUMBERS and end - begin != tensor.size * np.dtype(NUMBERS[dtype]).itemsize or end > size:
        raise ValueError(f"the size of {key[:60]!r} is not what its shape makes it")
    return tensor
