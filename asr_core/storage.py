"""Files on disk: where the assets lie, XZ compression of bundle files, and atomic writes."""

import lzma
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_core.errors import reason

# Folder of the default model and the example clips: beside the packages in a checkout, inside this one if installed.
ASSETS = next(
    folder for folder in (Path(__file__).parent / "assets", Path(__file__).parents[1] / "assets") if folder.is_dir()
)
XZ = ".xz"  # suffix of a compressed file
MAX_BYTES = 1 << 30  # of an unpacked file, since a few kB can be made to unpack to any size


def compress(path: Path) -> Path:
    """Replaces a file by a compressed one; returns the path of that."""
    smaller = path.with_name(path.name + XZ)
    smaller.write_bytes(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    path.unlink()
    return smaller


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The path of the uncompressed file: `path` itself or, if compressed, a temporary file inside the block.

    Raises:
        ValueError: the compressed data are damaged, or unpack to more than MAX_BYTES.
    """
    if path.suffix != XZ:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        try:
            with lzma.open(path) as source, open(plain, "wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
                    if target.tell() > MAX_BYTES:
                        raise ValueError(f"it unpacks to more than {MAX_BYTES >> 30} GB")
        except (lzma.LZMAError, EOFError) as error:
            raise ValueError(f"its compressed data are damaged: {reason(error)}") from error
        yield plain


def replace_file(path: Path, text: str) -> None:
    """Writes a text file atomically: it is replaced as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
