"""Speech recognition with CTC: `asr_core.load().transcribe("talk.m4a").text`.

The four names below are imported when they are first used: `import asr_core` costs nothing.
"""

from importlib import import_module

_HOMES = {
    "Recognizer": "asr_core.recognizer",
    "Transcript": "asr_core.transcript.words",
    "Word": "asr_core.transcript.words",
}
__all__ = ["Recognizer", "Transcript", "Word", "load"]


def load(model: str = "default", language: str | None = None, language_model: str | None = None):
    """A `Recognizer` of a model.

    Args:
        model: "default" for the one that comes with the package, a folder, or "name/repo@revision" on the Hub: a
            bundle, or a CTC checkpoint in the format of transformers.
        language: which language of a model that has several, such as "deu".
        language_model: for the beam search instead of the model's own: an ARPA file, a KenLM binary, a folder of
            pyctcdecode, "repo" for that of the model itself, or "default" for our English one.

    Raises:
        BundleError: there is no such model, it is of a kind that does not run, or it is damaged.
        LanguageModelError: there is no such language model, or it does not fit the model.
    """
    from asr_core.bundle import load_bundle
    from asr_core.recognizer import Recognizer

    bundle = load_bundle(model, language)
    if language_model is not None:
        from asr_core.bundle.language_models import with_language_model

        bundle = with_language_model(bundle, language_model)
    return Recognizer(bundle)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
