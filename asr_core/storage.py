"""Files on disk: where the assets lie, atomic writes, and the tensors of small models."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

# Folder of the default model and the example clips: beside the packages in a checkout, inside this one if installed.
ASSETS = next(
    folder for folder in (Path(__file__).parent / "assets", Path(__file__).parents[1] / "assets") if folder.is_dir()
)
DEFAULT_FOLDER = ASSETS / "default"  # of the model that comes with the program


LFS_POINTER = b"version https://git-lfs.github.com/"  # how a file begins that was cloned without Git LFS
FETCH_LFS = "it is only a pointer to the file, left by a clone without Git LFS: run git lfs pull in its folder"


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is a pointer of Git LFS in place of its content. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replaces a file as a whole or not at all: the block writes a file at the path that it gets. Raises OSError."""
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def replace_file(path: Path, text: str) -> None:
    """Writes a text file, as a whole or not at all (see `replacing`). Raises OSError."""
    with replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def read_tensors(path: str | PathLike, form: str, version: str, max_bytes: int) -> tuple[dict, dict[str, str]]:
    """Reads a safetensors file.

    Args:
        path: the file.
        form, version: what its metadata must say under "format" and "version".
        max_bytes: larger files are refused before they are opened.

    Returns:
        (tensors by name, metadata).

    Raises:
        ValueError: the file is too large, or its metadata describes something else.
        OSError, safetensors.SafetensorError: it cannot be read.
    """
    from safetensors import safe_open

    if Path(path).stat().st_size > max_bytes:
        raise ValueError(f"it has more than {max_bytes >> 20} MB")
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != form or metadata.get("version") != version:
            raise ValueError("its metadata describes something else")
        return {name: file.get_tensor(name) for name in file.keys()}, metadata
