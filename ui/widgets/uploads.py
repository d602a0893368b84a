"""What tabs that take recordings share: the types of files, and the notices before the server answers."""

from asr_core.audio.formats import AUDIO_SUFFIXES
from ui.widgets.markup import Html, notice

FILE_TYPES = ["audio", "video", *sorted(AUDIO_SUFFIXES)]
REFUSED = notice(
    "Nothing was transcribed",
    "The queue is full, or the server is being stopped: please try again in a minute.",
    kind="warning",
)


def waiting(text: str) -> Html:
    """The notice from a click until the server answers, which it does once earlier requests have been served."""
    return notice("One moment", text)
