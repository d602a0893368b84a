"""What tabs that take recordings share: the types of files, and the notices before the server answers."""

import json

from asr_core.audio.formats import AUDIO_SUFFIXES
from ui.widgets.markup import Html, notice

FILE_TYPES = ["audio", "video", *sorted(AUDIO_SUFFIXES)]
REFUSED = notice(
    "Nothing was transcribed",
    "The queue is full, or the server is being stopped: please try again in a minute.",
    kind="warning",
)


def show_refused(unless: str, before: str = "") -> str:
    """A script that shows REFUSED, but where `unless` is shown keeps that, with `before` in front of it."""
    return f"(shown) => shown.includes({json.dumps(unless)}) ? {json.dumps(before)} + shown : {json.dumps(REFUSED)}"


def waiting(text: str) -> Html:
    """The notice from a click until the server answers, which it does once earlier requests have been served."""
    return notice("One moment", text)
