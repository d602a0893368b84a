"""The files of a checkpoint that lies in a folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderFiles:
    """Files in a folder (see `asr_core.bundle.checkpoints.opening.Files`)."""

    folder: Path
    name: str

    def size(self, file: str) -> int | None:
        path = self.folder / file
        return path.stat().st_size if path.is_file() else None

    def fetch(self, file: str) -> Path:
        return self.folder / file

    def fetch_weights(self, files: list[str]) -> list[Path]:
        return [self.folder / file for file in files]

    def converted(self) -> None:
        return None
