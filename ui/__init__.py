"""The page: one file a tab, put together in `page.py`. Imports `asr_core` and Gradio, never `train`.

Gradio takes seconds to import. It comes with `build` and `launch_options`; whoever wants the engine alone, to start it
before, does not wait for that.
"""


def __getattr__(name: str):
    if name not in ("build", "launch_options"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ui import page

    return getattr(page, name)
