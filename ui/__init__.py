"""The page: one file a tab, put together here. Imports `asr_core` and Gradio, never `train`."""

import gradio as gr

from ui.clip import Shelf
from ui.engine import Engine
from ui.hearing import Limits
from ui.look import TITLE, launch_look, masthead
from ui.model import model_chip
from ui.transcribe import Transcribe

__all__ = ["build", "launch_look"]

DELETE_CACHE = (600, 3600)  # seconds: every ten minutes, uploads and downloads older than an hour go
QUEUE_LENGTH = 64  # waiting requests; the next visitor is told that the queue is full


def build(engine: Engine, limits: Limits | None = None, *, model_paths: bool = False) -> gr.Blocks:
    """The whole page around a started engine.

    Args:
        engine: where the recognisers are.
        limits: what one visitor may ask for.
        model_paths: whether a visitor may name a model by a path on this machine.
    """
    limits = limits or Limits()
    shelf = Shelf()
    with gr.Blocks(title=TITLE, delete_cache=DELETE_CACHE, analytics_enabled=False) as page:
        model = gr.State(None)
        head = gr.HTML(masthead(model_chip(engine)), elem_id="masthead")
        with gr.Tabs():
            with gr.Tab("Transcribe"):
                Transcribe(engine, shelf, limits, model)
        page.load(
            lambda name: masthead(model_chip(engine, name, wait=True)), model, head,
            api_visibility="private", show_progress="hidden", concurrency_limit=None,
        )  # fmt: skip
    return page.queue(max_size=QUEUE_LENGTH, default_concurrency_limit=4)
