"""What the events of the page have in common."""

import json

# Not for the API, and no sign of progress from Gradio: the page has its own. No component is named for it either, for
# at every message of the server the browser looks at all that are named, and copies all that they hold.
QUIET = {"api_visibility": "private", "show_progress": "hidden", "show_progress_on": []}


def at_once(html: str) -> str:
    """A script for an event that shows this without asking the server."""
    return f"() => {json.dumps(html)}"
