"""Builds the page from its tabs, and the options with which Gradio launches it."""

import gradio as gr

from ui.api import endpoints
from ui.service.clip import ClipRegistry
from ui.service.engine import Engine
from ui.service.protection import app_options, refuse_urls
from ui.service.requests import Limits
from ui.tabs.align import Align
from ui.tabs.batch import Batch
from ui.tabs.compare import Compare
from ui.tabs.how_it_works import HowItWorks
from ui.tabs.live import Live
from ui.tabs.model import ModelTab, model_chip
from ui.tabs.transcribe import Transcribe
from ui.widgets.events import QUIET
from ui.widgets.theme import TITLE, look, masthead

MAX_SESSIONS = 500  # visitors whose page is remembered, at half a megabyte each, also after they have left
DELETE_CACHE = (600, 4 * 3600)  # seconds between two clean-ups, and age of the files that each deletes
MAX_QUEUED = 64  # requests in the queue; further ones get an error


class Page(gr.Blocks):
    """Blocks that keep the sessions of visitors, and whose endpoints need not be given all of their arguments.

    Clients that were written before an argument was added send their values by position, as curl does; the rest get
    their defaults.
    """

    async def process_api(self, block_fn, *arguments, state=None, session_hash=None, **options) -> dict:
        """Forgets the session of a program after its request: many requests would displace the visitors' sessions."""
        try:
            return await super().process_api(block_fn, *arguments, state=state, session_hash=session_hash, **options)
        finally:
            if state is not None and not state.state_data and block_fn.api_visibility == "public":
                self.state_holder.session_data.pop(session_hash, None)

    def validate_inputs(self, block_fn, inputs: list) -> None:
        if block_fn.api_visibility == "public":
            inputs += [component.value for component in block_fn.inputs[len(inputs) :]]
        super().validate_inputs(block_fn, inputs)

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """Reopens the session of a visitor who acts after a lost connection: Gradio deletes closed ones in an hour."""
        leaves = any(event == "unload" for _, event in block_fn.targets)
        if state is not None and not leaves:
            state.is_closed = False
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


class FileSet(set):
    """A set of file names that goes over a copy, so that other threads may add names during an iteration."""

    def __iter__(self):
        return set.__iter__(self.copy())


def make_clean_up_safe(page: gr.Blocks) -> None:
    """Lets Gradio's clean-up go over copies of its sets of files: an upload meanwhile would end its task for good."""
    page.upload_file_set = FileSet(page.upload_file_set)
    page.temp_file_sets = [page.upload_file_set]
    for block in page.blocks.values():
        if hasattr(block, "temp_files"):
            block.temp_files = FileSet(block.temp_files)
            page.temp_file_sets.append(block.temp_files)


def build(engine: Engine, limits: Limits | None = None, *, model_paths: bool = False) -> gr.Blocks:
    """The whole page.

    Args:
        engine: has the recognisers; it has been started.
        limits: for one visitor.
        model_paths: whether visitors may load a model by a path on this machine.
    """
    limits = limits or Limits()
    registry = ClipRegistry()
    with Page(title=TITLE, delete_cache=DELETE_CACHE, analytics_enabled=False) as page:
        model = gr.State(None)
        head = gr.HTML(masthead(model_chip(engine)), elem_id="masthead")
        with gr.Tabs() as tabs:
            with gr.Tab("Transcribe", id="transcribe"):
                transcribe = Transcribe(engine, registry, limits, model)
            with gr.Tab("Live", id="live"):
                live = Live(engine, limits, model, transcribe, tabs)
            with gr.Tab("Compare", id="compare", render_children=True):
                Compare(engine, transcribe.clip, transcribe.running, limits)
            with gr.Tab("Align", id="align", render_children=True):
                Align(engine, transcribe.clip, transcribe.running, limits)
            with gr.Tab("How it works", id="how", render_children=True):
                HowItWorks(transcribe.clip)
            with gr.Tab("Batch", id="batch", render_children=True):
                Batch(engine, limits, model)
            with gr.Tab("Model", id="model", render_children=True):
                models = ModelTab(engine, registry, model, transcribe.clip, limits, model_paths)
        endpoints(engine, limits)
        page.unload(live.leave)

        def describe(name):
            chip = model_chip(engine, name, wait=True)
            return masthead(chip), *models.show(name), *transcribe.decoding_defaults(name)

        described = [head, models.card, models.readme, *transcribe.defaulted]
        page.load(describe, model, described, concurrency_limit=None, **QUIET)
        model.change(describe, model, described, concurrency_limit=None, **QUIET)
    refuse_urls(page)
    make_clean_up_safe(page)
    return page.queue(max_size=MAX_QUEUED, default_concurrency_limit=4, api_open=False)  # everything waits in the queue


def launch_options(engine: Engine, limits: Limits | None = None) -> dict:
    """The arguments of `launch` besides the address: theme, limits, protection."""
    return {
        **look(),
        "app_kwargs": app_options(engine),
        "max_file_size": f"{(limits or Limits()).file_megabytes}mb",
        "show_error": False,
        "ssr_mode": False,
        "state_session_capacity": MAX_SESSIONS,
        # Else Gradio ends the program where the page takes more than 3 s, as on a busy machine while the model loads.
        "_frontend": False,
    }
