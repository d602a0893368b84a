"""The web page: `build` puts it together from an engine, `launch_options` are the options to launch it with.

`page.py` and `api.py` put the parts together: one file a tab in `tabs`, shared parts in `widgets`, and the work in
`service`. Imports `asr_core` and Gradio, never `train`. Gradio takes seconds to import; it is imported lazily, so that
the engine can be started before.
"""


def __getattr__(name: str):
    if name not in ("build", "launch_options"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ui import page

    return getattr(page, name)
