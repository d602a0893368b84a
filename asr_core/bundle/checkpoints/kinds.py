"""Which kind of model a `config.json` in the format of transformers describes, and what translates it."""

from importlib import import_module
from types import ModuleType

from asr_core.errors import BundleError

FAMILIES = ("wav2vec2", "parakeet", "wav2vec2_bert", "omniasr")  # the modules of this package that translate a family
# Kinds that are asked for by mistake, by parts of the names of their classes or of their model_type.
ENCODER_DECODERS = (
    "whisper", "speech_to_text", "speecht5", "moonshine", "seamless", "encoder-decoder", "conditionalgeneration",
    "seq2seq", "canary", "causallm",
)  # fmt: skip
TRANSDUCERS = ("tdt", "rnnt", "transducer")
WITHOUT_HEAD = ("ForPreTraining", "Model", "ForMaskedLM")
CLASSIFIERS = ("Classification", "ForXVector")


def is_checkpoint(config) -> bool:
    """Whether the contents of a `config.json` are in the format of transformers."""
    fields = config.keys() if isinstance(config, dict) else set()
    return "format_version" not in fields and bool(fields & {"model_type", "architectures"})


def family_of(config: dict, name: str) -> ModuleType:
    """The module that translates a checkpoint.

    Args:
        config: the contents of its `config.json`.
        name: of the checkpoint, for messages.

    Raises:
        BundleError: it is not a CTC model, or of a family that is not translated; the message names its kind.
    """
    families = {kind: module for module in map(_family, FAMILIES) for kind in module.MODEL_TYPES}
    model_type, architecture = str(config.get("model_type"))[:60], _architecture(config)
    if architecture.endswith("CTC") and model_type in families:
        return families[model_type]
    what = _what(model_type, architecture)
    raise BundleError(f"{name} is {what}; CTC models of these kinds run: {', '.join(sorted(families))}.")


def _family(name: str) -> ModuleType:
    return import_module(f"{__package__}.{name}")


def _architecture(config: dict) -> str:
    listed = config.get("architectures")
    return str(listed[0])[:60] if isinstance(listed, list) and listed else ""


def _what(model_type: str, architecture: str) -> str:
    """What a model is that does not run, for a sentence."""
    named = f"{model_type} {architecture}".lower()
    shown = architecture or model_type
    if any(part in named for part in TRANSDUCERS):
        return f"a transducer ({shown})"
    if any(part in named for part in ENCODER_DECODERS):
        return f"an encoder with a decoder of words ({shown})"
    if any(part in architecture for part in CLASSIFIERS):
        return f"a classifier of sounds ({shown}) and writes no text"
    if architecture.endswith("CTC"):
        return f"a CTC model of a kind that is not known here, {model_type!r}"
    if architecture.endswith(WITHOUT_HEAD):
        return f"a network before its training on text, without a CTC head ({shown})"
    return f"not a CTC model ({shown})"
