"""Networks and their front ends: samples -> features [batch, frames, bins] -> logits [batch, steps, tokens]."""

from importlib import import_module

from asr_core.errors import reason

NETWORKS = {  # architecture -> (module of this package, class), imported when one is built
    "conformer": ("conformer", "Conformer"),
    "deepspeech2": ("deepspeech2", "DeepSpeech2"),
    "fastconformer": ("fastconformer", "FastConformer"),
    "wav2vec2": ("wav2vec2", "Wav2Vec2"),
    "wav2vec2-bert": ("wav2vec2_bert", "Wav2Vec2Bert"),
}
ARCHITECTURES = tuple(NETWORKS)


def build(architecture: str, bins: int, tokens: int, **sizes):
    """A network with initial weights, built and ready to be called.

    Args:
        architecture: one of `ARCHITECTURES`.
        bins: values in a feature frame.
        tokens: size of the alphabet, blank included.
        **sizes: further arguments of the network's constructor.

    Raises:
        ValueError: unknown architecture, unknown argument, or sizes that do not go together.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    module, network = NETWORKS[architecture]
    try:
        model = getattr(import_module(f"{__name__}.{module}"), network)(bins=bins, tokens=tokens, **sizes)
    except TypeError as error:
        raise ValueError(f"{architecture}: {reason(error)}") from error
    model.build((None, None, bins), (None,))
    return model
