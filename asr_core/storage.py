"""Files on disk: where the assets lie, and atomic writes."""

import os
from pathlib import Path

# Folder of the default model and the example clips: beside the packages in a checkout, inside this one if installed.
ASSETS = next(
    folder for folder in (Path(__file__).parent / "assets", Path(__file__).parents[1] / "assets") if folder.is_dir()
)


def replace_file(path: Path, text: str) -> None:
    """Writes a text file atomically: it is replaced as a whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
