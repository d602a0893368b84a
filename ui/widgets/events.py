"""Options that the events of the page have in common."""

import json

# Not part of the API, and without Gradio's progress display: the page has its own. `show_progress_on` is empty because
# the browser would copy the values of all components that are named there at every message of the server.
QUIET = {"api_visibility": "private", "show_progress": "hidden", "show_progress_on": []}


def at_once(html: str) -> str:
    """A script for an event that shows HTML without a request to the server."""
    return f"() => {json.dumps(html)}"
