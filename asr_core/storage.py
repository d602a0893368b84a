"""Files on disk: where the assets lie, and atomic writes."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

# Folder of the default model and the example clips: beside the packages in a checkout, inside this one if installed.
ASSETS = next(
    folder for folder in (Path(__file__).parent / "assets", Path(__file__).parents[1] / "assets") if folder.is_dir()
)
DEFAULT_FOLDER = ASSETS / "default"  # of the model that comes with the program


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
