"""The Model tab: the model in use, its training data, its error rates and its limits.

A visitor may load another model, which other visitors do not get: from a Hub repository, or from a path if the app was
started with `--model-paths`. Both models can then transcribe the same recording.
"""

import re
from pathlib import Path

import gradio as gr

from asr_core.errors import AsrError, BundleError
from ui.service.engine import Engine
from ui.service.requests import explain, logged
from ui.service.scoring import compare
from ui.widgets.markup import Html, join, notice, percent, table, tag

REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*(@[\w][\w./-]*)?")
MAX_NAME_CHARACTERS = 300
MAX_README_CHARACTERS = 40_000  # of a model card that are shown
LIMITS_OF_MODEL = (
    "English only, lower case, no punctuation or figures in what it writes. It is a small network trained on "
    "little data: names, rare words, strong accents, several people at once, music and noise are often misheard. "
    "Confidence says how sure it is, not whether it is right. Do not use it where a mistake can do harm."
)


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
    return _chip(f"Model: {bundle.name}", "ready")


def _chip(text: str, state: str) -> Html:
    return tag("p", text, class_=f"model-chip {state}", role="status")


class ModelTab:
    """The tab.

    Args:
        model: the `gr.State` with the name of the visitor's model, None for the default.
        clip: the `gr.State` with the open recording, which two models can transcribe.
        model_paths: whether visitors may load a model by a path on this machine.
    """

    def __init__(self, engine: Engine, model: gr.State, clip: gr.State, model_paths: bool):
        self.engine, self.model, self.model_paths = engine, model, model_paths
        self.card = gr.HTML(self._card(None), elem_id="model-card")
        with gr.Accordion("The model's own description", open=False):
            self.readme = gr.Markdown("", sanitize_html=True, elem_id="model-readme")
        gr.HTML(tag("h2", "Use another model", class_="section-title"))
        named = "a Hub repository (name/repo, or name/repo@revision)"
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(
                label="Model",
                placeholder="name/repo",
                max_length=MAX_NAME_CHARACTERS,
                scale=3,
                elem_id="model-name",
                info=f"Give {named}"
                + (" or a folder on this machine." if model_paths else ".")
                + " Weights and JSON only; nothing in it is executed. Others keep theirs.",
            )
            with gr.Column(scale=1, min_width=160):
                self.load = gr.Button("Load", variant="primary")
                self.back = gr.Button("Back to the default")
        self.message = gr.HTML("")
        gr.HTML(tag("h2", "The same recording, two models", class_="section-title"))
        with gr.Row():
            self.both = gr.Button("Transcribe with both", scale=0, min_width=220)
        self.duel = gr.HTML("", elem_id="duel")
        self._wire(clip)

    def _wire(self, clip: gr.State) -> None:
        quiet = {"api_visibility": "private", "show_progress": "minimal"}
        shown = [self.model, self.message]
        self.load.click(self._load, [self.name, self.model], shown, concurrency_limit=1, **quiet)
        self.name.submit(self._load, [self.name, self.model], shown, concurrency_limit=1, **quiet)
        self.back.click(lambda: (None, ""), None, shown, **quiet)
        self.both.click(self._duel, [self.model, clip], self.duel, concurrency_limit=1, **quiet)

    def show(self, model: str | None) -> tuple[Html, str]:
        """(card, README) of a model; waits until it is loaded."""
        return self._card(model, wait=True), self._readme(model)

    def _load(self, name, current):
        try:
            name = checked_name(name, self.model_paths)
            with logged("load_model"):
                recognizer = self.engine.recognizer(name)
        except Exception as error:
            return current, notice("The model was not loaded", explain(error), kind="error")
        return name, notice("Loaded", f"{recognizer.bundle.name} answers you from now on.")

    def _card(self, model: str | None, wait: bool = False) -> Html:
        if not wait and self.engine.state(model) != "ready":
            return notice("The model is loading", "Its description appears here as soon as it is ready.")
        try:
            return bundle_card(self.engine.recognizer(model).bundle)
        except Exception as error:
            return notice("No model", explain(error), kind="error")

    def _readme(self, model: str | None) -> str:
        try:
            text = self.engine.recognizer(model).bundle.readme[:MAX_README_CHARACTERS]
        except (AsrError, OSError):
            text = ""
        if not text:
            return "It brings none."
        return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)  # the Hub's front matter

    def _duel(self, model, clip):
        if clip is None:
            return notice("No recording is open", "Open one in Transcribe first.")
        names = [None] + ([model] if model else [])
        try:
            return tag("div", duel_table(self.engine, names, clip), None if model else _load_first())
        except Exception as error:
            return notice("That did not work", explain(error), kind="error")


def _load_first() -> Html:
    hint = "Load a second model above to see both side by side: the network of the Keras example, say, then and now."
    return tag("p", hint, class_="small")


def checked_name(name: str | None, model_paths: bool) -> str:
    """The name of a model that a visitor may load. Raises BundleError."""
    name = (name or "").strip()
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise BundleError("Name a model as name/repo, or name/repo@revision.")
    if model_paths:
        return name
    if not REPOSITORY.fullmatch(name) or ".." in name or Path(name).exists():
        raise BundleError(f"{name} is not a Hub repository; name one as name/repo, or name/repo@revision.")
    return name


def duel_table(engine: Engine, names: list[str | None], clip) -> Html:
    """One row a model: its transcript of the clip, the time it took, and its error rate if the reference is known."""
    rows = []
    for name in names:
        recognizer = engine.recognizer(name)
        with logged("duel", audio_seconds=round(clip.seconds, 2)) as facts:
            transcript = recognizer.transcribe(str(clip.audio.path))
        wer = percent(compare(clip.reference, transcript.words).word_error_rate, 1) if clip.reference else ""
        rows.append(
            (
                recognizer.bundle.name,
                _parameters(recognizer.bundle.config),
                transcript.text or "(nothing)",
                f"{facts['compute_seconds']:.2f} s",
                wer,
            )
        )
    head = ["Model", "Parameters", "Text", "Compute", "WER"]
    return table(head, rows, caption="What each model heard", numeric=[1, 3, 4])


def _parameters(config: dict) -> str:
    return f"{config['parameters'] / 1e6:.1f} M" if "parameters" in config else "unknown"


def bundle_card(bundle) -> Html:
    """The description of a bundle, without the parts that it lacks."""
    config = bundle.config
    facts = [
        ("Architecture", config["architecture"]["name"]),
        ("Parameters", _parameters(config)),
        ("Front end", config["featurizer"]["name"]),
        ("Sample rate", f"{config['sample_rate'] / 1000:g} kHz"),
        ("Licence", config.get("licence", "not said")),
    ]
    parts = [
        tag("h2", config.get("name", bundle.name), class_="section-title"),
        tag("p", config["description"], class_="lead") if config.get("description") else None,
        tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts], class_="facts"),
    ]
    if not bundle.trained:
        text = "This network has not learned to transcribe. What it writes shows how the page works and nothing else."
        parts.append(notice("Untrained", text, kind="warning"))
    parts.append(_evaluation(config.get("evaluation")))
    parts.append(_training(config.get("training_data")))
    parts.append(notice("What it cannot do", LIMITS_OF_MODEL, kind="warning"))
    return tag("div", join(part for part in parts if part), class_="card stack")


def _evaluation(measured) -> Html:
    if not measured:
        return tag("p", "Nothing has been measured, or the model does not say.", class_="small")
    decoders = list(dict.fromkeys(str(one.get("decoder", "")) for one in measured))
    rates: dict[str, dict[str, Html]] = {}  # by data set, then by decoder
    for one in measured:
        name = " ".join(str(one[key]) for key in ("dataset", "split") if one.get(key))
        rates.setdefault(name, {})[str(one.get("decoder", ""))] = _rate(one)
    rows = [(name, *(of_set.get(decoder, "") for decoder in decoders)) for name, of_set in rates.items()]
    head = ["Word errors on (and 95 % interval)", *decoders]
    return table(head, rows, caption="Word error rates and their 95 % intervals", numeric=range(1, len(head)))


def _rate(one: dict) -> Html:
    """The word error rate, and below it its confidence interval if there is one."""
    low, high = (one.get(end) for end in ("wer_low", "wer_high"))
    known = isinstance(low, (int, float)) and isinstance(high, (int, float))
    interval = tag("small", f"{100 * low:.0f}–{100 * high:.0f}") if known else Html()
    return join([tag("div", _share(one.get("wer"))), interval])


def _training(data) -> Html:
    if not data:
        return tag("p", "Its training data is not said.", class_="small")
    speech, texts = [], []
    for one in data:
        named, licence = one.get("name", ""), one.get("licence", "")
        if isinstance(one.get("hours"), (int, float)):
            speech.append((named, f"{one['hours']:.1f} h", licence))
        else:
            texts.append((named, licence))
    speech_table = table(["Trained on", "Speech", "Licence"], speech, caption="Training data", numeric=[1])
    text_table = table(["The language model has read", "Licence"], texts, caption="Texts of the language model")
    return join([speech_table if speech else None, tag("div", text_table, style="margin-top:16px") if texts else None])


def _share(value) -> str:
    return percent(value, 1) if isinstance(value, (int, float)) else ""
