"""The Model tab: which model answers, what it was trained on, how well it does, and what it cannot do."""

from asr_core.errors import AsrError
from ui.engine import Engine
from ui.hearing import explain
from ui.markup import Html, tag


def model_chip(engine: Engine, model: str | None = None, wait: bool = False) -> Html:
    """One line for the head of the page: loading, ready, untrained or failed."""
    if not wait and engine.state(model) != "ready":
        return _chip("The model is loading", "loading")
    try:
        recognizer = engine.recognizer(model)
    except Exception as error:
        return _chip(explain(error), "failed") if isinstance(error, AsrError) else _chip("No model", "failed")
    config = recognizer.bundle.config
    if config.get("trained") is False:
        return _chip("This model is untrained: it does not recognise speech yet", "failed")
    return _chip(f"Model {recognizer.name}", "ready")


def _chip(text: str, state: str) -> Html:
    return tag("p", text, class_=f"model-chip {state}", role="status")
