"""Files of a bundle that XZ makes smaller: rounded weights and n-grams by half."""

import lzma
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asr_core.errors import reason

# The folder of the default model and the example clips: in a checkout beside the packages, installed inside this one.
ASSETS = next(
    folder for folder in (Path(__file__).parent / "assets", Path(__file__).parents[1] / "assets") if folder.is_dir()
)
XZ = ".xz"  # follows the name of a file that is compressed
MAX_BYTES = 1 << 30  # of an unpacked file: a few kB can be made that unpack to any number


def compress(path: Path) -> Path:
    """Puts a compressed file in the place of one; its path."""
    smaller = path.with_name(path.name + XZ)
    smaller.write_bytes(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    path.unlink()
    return smaller


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The path of a file that is not compressed: itself, or what `compress` has made smaller, for as long as needed.

    Raises:
        ValueError: it is damaged, or would unpack to more than `MAX_BYTES`.
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
    """Writes a file, all of it or nothing."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
