"""The example clips that ship with the app."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from asr_core.storage import ASSETS
from ui.service.clip import Clip


@dataclass(frozen=True)
class ExampleClip:
    """A clip that ships with the app and is not in the model's training data."""

    title: str
    path: Path
    reference: str


@cache
def examples() -> list[ExampleClip]:
    folder = ASSETS / "examples"
    listed = json.loads((folder / "examples.json").read_text("utf-8"))
    return [ExampleClip(one["title"], folder / one["file"], one["text"]) for one in listed]


def reference_of(clip: Clip | None, typed: str) -> str:
    """The reference text that another tab shows after a recording has been opened.

    It is what the visitor typed, or else the reference of the recording if there is one.
    """
    if typed and typed not in [example.reference for example in examples()]:
        return typed
    return clip.reference if clip is not None else ""
