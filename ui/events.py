"""What the events of the page have in common."""

# Not for the API, and no sign of progress from Gradio: the page has its own. No component is named for it either, for
# the browser looks at all that are named, with all that they hold, at every message of the server: together with
# groups among the outputs a third of the time from a slider to another text (`python -m tests.benchmarks.page`).
QUIET = {"api_visibility": "private", "show_progress": "hidden", "show_progress_on": []}
