"""Folders for files of one visitor: in Gradio's upload folder, the only one that its file route serves.

Whoever makes a folder deletes it with the visitor's state. A program that was killed leaves its folders behind; the
next one removes them when it starts.
"""

import contextlib
import re
import secrets
import shutil
import time
from pathlib import Path

from gradio.utils import get_upload_folder

LEFT_OVER_SECONDS = 5 * 3600  # nothing is kept for so long while its visitor is there
_NAME = re.compile("(sound|live|recordings)-[0-9a-f]{32}")


def make_folder(kind: str) -> Path:
    """A new folder with an unguessable name; `kind` is "sound", "live" or "recordings"."""
    folder = Path(get_upload_folder()) / f"{kind}-{secrets.token_hex(16)}"
    folder.mkdir(parents=True)
    return folder


def remove_left_over() -> None:
    """Removes folders that nobody has written to for LEFT_OVER_SECONDS."""
    uploads = Path(get_upload_folder())
    for folder in uploads.iterdir() if uploads.is_dir() else ():
        with contextlib.suppress(OSError):  # another program may be removing it
            if _NAME.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > LEFT_OVER_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
