"""Files on disk: where the assets lie, and atomic writes."""

import contextlib
import os
import uuid
from pathlib import Path

# Folder of the default model and the example clips: beside the packages in a checkout, inside this one if installed.
ASSETS = next(
    folder for folder in (Path(__file__).parent / "assets", Path(__file__).parents[1] / "assets") if folder.is_dir()
)


def replace_file(path: Path, text: str) -> None:
    """Writes a text file atomically: it is replaced as a whole or not at all. Raises OSError."""
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
