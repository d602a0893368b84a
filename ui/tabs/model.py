"""The Model tab: the model in use, its training data, its error rates and its limits.

A visitor may load another model, which other visitors do not get: from a Hub repository, or from a path if the app was
started with `--model-paths`. Any two models can then transcribe the open recording, and their words and emissions are
shown on one time axis.
"""

import re
import secrets
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr

from asr_core.errors import AsrError, BundleError
from ui.service.catalogue import KNOWN_MODELS
from ui.service.clip import Clip, ClipRegistry
from ui.service.comparison import ModelResult, transcribe_again
from ui.service.engine import LANGUAGE_MARK, Engine
from ui.service.jobs import BackgroundJob, CancelFlag, CurrentRequest
from ui.service.languages import language_name
from ui.service.requests import Limits, explain, logged
from ui.service.scoring import compare
from ui.widgets.markup import Html, notice, percent, table, tag, working
from ui.widgets.model_card import known_models, model_card, parameters
from ui.widgets.timeline import timeline, timeline_value

REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w][\w./-]*)?(#[\w-]+)?")
MAX_NAME_CHARACTERS = 300
MAX_README_CHARACTERS = 40_000  # of a model card that are shown
POLL_SECONDS = 0.5  # between two checks of a model that is being loaded


def model_chip(engine: Engine, model: str | None = None, wait: bool = False) -> Html:
    """The state of a model in one line, for the head of the page: loading, ready, untrained or failed."""
    if not wait and engine.state(model) != "ready":
        return _chip("The model is loading", "loading")
    try:
        bundle = engine.recognizer(model).bundle
    except Exception as error:
        return _chip(explain(error) if isinstance(error, AsrError) else "The model could not be loaded", "failed")
    if not bundle.trained:
        return _chip("This model is untrained: what it writes means nothing yet", "failed")
    language = language_name(bundle.config.get("language"))
    return _chip(f"Model: {bundle.name}" + (f", {language}" if language else ""), "ready")


def _chip(text: str, state: str) -> Html:
    return tag("p", text, class_=f"model-chip {state}", role="status")


class ModelTab:
    """The tab.

    Args:
        registry: finds clips for the timeline.
        model: the `gr.State` with the name of the visitor's model, None for the default.
        clip: the `gr.State` with the open recording, which two models can transcribe.
        limits: for one visitor.
        model_paths: whether visitors may load a model by a path on this machine.
    """

    def __init__(
        self, engine: Engine, registry: ClipRegistry, model: gr.State, clip: gr.State, limits: Limits, model_paths: bool
    ):
        self.engine, self.registry, self.model = engine, registry, model
        self.limits, self.model_paths = limits, model_paths
        self.card = gr.HTML(self._card(None), elem_id="model-card")
        with gr.Accordion("The model's own description", open=False):
            self.readme = gr.Markdown("", sanitize_html=True, elem_id="model-readme")
        self.latest = gr.State(CurrentRequest())  # to load a model
        self._layout_of_loading()
        self._layout_of_comparison()
        self._wire(clip)

    def _layout_of_loading(self) -> None:
        gr.HTML(tag("h2", "Use another model", class_="section-title"))
        named = "a Hub repository (name/repo, name/repo@revision, or name/repo#language where it has several)"
        self.known = gr.Dropdown(
            [(_choice(model), model.repository) for model in KNOWN_MODELS],
            value=None,
            label="Known models of the Hub",
            info="CTC models by others, in many languages; none was tested here. Choose one, or name any other below.",
            elem_id="known-models",
        )
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(
                label="Model",
                placeholder="name/repo",
                max_length=MAX_NAME_CHARACTERS,
                scale=3,
                elem_id="model-name",
                info=f"Give {named}"
                + (" or a folder on this machine." if self.model_paths else ".")
                + " Only weights and JSON are loaded; no code is executed. Other visitors keep their model.",
            )
            with gr.Column(scale=1, min_width=160):
                self.load = gr.Button("Load", variant="primary")
                self.back = gr.Button("Back to the default")
        self.message = gr.HTML("")
        with gr.Accordion("Languages, sizes and published error rates of the known models", open=False):
            gr.HTML(known_models(), elem_id="known-table")

    def _layout_of_comparison(self) -> None:
        gr.HTML(tag("h2", "The same recording, two models", class_="section-title"))
        choices = ["default", *(model.repository for model in KNOWN_MODELS)]
        options = {"allow_custom_value": True, "filterable": True}
        with gr.Row(equal_height=True):
            self.first = gr.Dropdown(choices, value="default", label="First", elem_id="first-model", **options)
            self.second = gr.Dropdown(choices, value="default", label="Second", elem_id="second-model", **options)
            self.both = gr.Button("Transcribe with both", scale=0, min_width=220)
        self.results = gr.HTML("", elem_id="two-models")
        self.pair = gr.State(None, time_to_live=4 * 3600)  # holds the clip that the timeline shows
        self.timeline = timeline(self.registry, elem_id="two-models-timeline")

    def _wire(self, clip: gr.State) -> None:
        quiet = {"api_visibility": "private", "show_progress": "minimal"}
        shown = [self.model, self.message]
        self.known.input(lambda name: name or "", self.known, self.name, queue=False, **quiet)
        self.load.click(self._load, [self.name, self.latest], shown, concurrency_limit=2, **quiet)
        self.name.submit(self._load, [self.name, self.latest], shown, concurrency_limit=2, **quiet)
        self.back.click(self._use_default, self.latest, shown, **quiet)
        self.model.change(lambda name: name or "default", self.model, self.second, queue=False, **quiet)
        inputs, outputs = [self.first, self.second, clip], [self.results, self.pair, self.timeline]
        compared = self.both.click(self._compare_models, inputs, outputs, concurrency_limit=1, **quiet)
        for event in clip.change, compared.success:
            event(self._opened, [clip, self.pair], outputs, **quiet)

    def show(self, model: str | None) -> tuple[Html, str]:
        """(card, README) of a model; waits until it is loaded."""
        return self._card(model, wait=True), self._readme(model)

    def _load(self, name, latest: CurrentRequest):
        """Loads a model; yields updates of the visitor's model and of the message, until a newer choice is made."""
        flag = latest.begin(name or "")
        try:
            name = checked_name(name, self.model_paths)
            with logged("load_model"):
                loading = self.engine.begin(name)
                for progress in self._loading(name, loading):
                    if not flag.is_set():
                        yield gr.skip(), progress
                bundle = loading.result().bundle
            outcome = name, notice("Loaded", f"{bundle.name} now transcribes your recordings.")
        except Exception as error:
            outcome = gr.skip(), notice("The model was not loaded", explain(error), kind="error")
        yield (gr.skip(), gr.skip()) if flag.is_set() else outcome

    def _use_default(self, latest: CurrentRequest):
        latest.begin()
        return None, ""

    def _loading(self, name: str | None, loading: Future):
        """Yields notices while a model is being downloaded and compiled; ends when it is ready or has failed."""
        shown: object = ...  # no notice yet
        while not loading.done():
            progress = self.engine.progress(name)
            if progress != shown:
                shown = progress
                yield _progress_notice(name or "default", progress)
            wait([loading], POLL_SECONDS)

    def _card(self, model: str | None, wait: bool = False) -> Html:
        if not wait and self.engine.state(model) != "ready":
            return notice("The model is loading", "Its description appears here as soon as it is ready.")
        try:
            return model_card(self.engine.recognizer(model).bundle)
        except Exception as error:
            return notice("No model", explain(error), kind="error")

    def _readme(self, model: str | None) -> str:
        try:
            text = self.engine.recognizer(model).bundle.readme[:MAX_README_CHARACTERS]
        except (AsrError, OSError):
            text = ""
        if not text:
            return "This model has no description of its own."
        return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)  # the Hub's front matter

    def _compare_models(self, first, second, clip):
        """Transcribes the open recording with two models; yields values of the table, the pair and the timeline."""
        if clip is None:
            yield notice("No recording is open", "Open one in Transcribe first."), None, None
            return
        cancel, results = CancelFlag(), []
        try:
            for name in self._checked(first), self._checked(second):
                loading = self.engine.begin(name)
                for progress in self._loading(name, loading):
                    yield progress, None, None
                loading.result()
                work = partial(transcribe_again, clip, self.engine, name, self.limits, cancel=cancel)
                job = BackgroundJob(work, cancel)
                for share in job:
                    yield working("Transcribing…", f"{name or 'default'} transcribes {clip.name}.", share), None, None
                results.append(job.result)
        except Exception as error:
            yield notice("That did not work", explain(error), kind="error"), None, None
            return
        pair = self.registry.put(paired(*(result.clip for result in results)))
        yield models_table(results), pair, timeline_value(pair)

    def _opened(self, clip, pair):
        """Removes the comparison of another recording, which may have been opened before the comparison was done."""
        same = pair is None or (clip is not None and clip.audio is pair.audio)
        return (gr.skip(), gr.skip(), gr.skip()) if same else ("", None, None)

    def _checked(self, name: str | None) -> str | None:
        """The name of a model of the comparison, None for the default one. Raises BundleError."""
        name = (name or "default").strip()
        return None if name in ("default", self.engine.default) else checked_name(name, self.model_paths)


def _choice(model) -> str:
    """What the list of known models shows for one of them."""
    return f"{language_name(model.language).capitalize()}: {model.repository} ({model.megabytes:,} MB)"


def _progress_notice(name: str, progress: tuple[int, int] | None) -> Html:
    if not progress:
        return notice("The model is loading", f"{name} is being looked up, read and compiled.")
    done, total = progress
    bar = tag("progress", value=done, max=max(total, 1), aria_label="Downloaded so far")
    return notice("Downloading", f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB.", action=bar)


def paired(first: Clip, second: Clip) -> Clip:
    """The first clip, with the second one's words and emissions beside its own on the time axis."""
    return replace(first, compared=second, token=secrets.token_urlsafe(16))


def checked_name(name: str | None, model_paths: bool) -> str:
    """The name of a model that a visitor may load. Raises BundleError."""
    name = (name or "").strip()
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise BundleError("Name a model as name/repo, name/repo@revision or name/repo#language.")
    if model_paths:
        return name
    folder = Path(name.partition(LANGUAGE_MARK)[0])  # if there is one, it would be loaded instead of the repository
    if not REPOSITORY.fullmatch(name) or ".." in name or folder.exists():
        raise BundleError(f"{name} is not a Hub repository; name one as name/repo, or name/repo@revision.")
    return name


def models_table(results: Sequence[ModelResult]) -> Html:
    """One row a model: its transcript of the clip, the time it took, and its error rate if the reference is known."""
    rows = []
    for result in results:
        clip = result.clip
        wer = ""
        if clip.reference:
            wer = percent(compare(clip.reference, clip.transcript.words, True, clip.vocabulary).word_error_rate, 1)
        text = clip.transcript.text or "(nothing)"
        rows.append((result.name, parameters(result.config), text, f"{clip.compute_seconds:.2f} s", wer))
    head = ["Model", "Parameters", "Text", "Computing time", "WER"]
    return table(head, rows, caption="What each model recognised", numeric=[1, 3, 4])
