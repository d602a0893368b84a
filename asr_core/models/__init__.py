"""The networks: features [batch, frames, bins] -> logits [batch, steps, tokens]."""

from asr_core.errors import reason

ARCHITECTURES = ("conformer", "deepspeech2")


def build(architecture: str, bins: int, tokens: int, **sizes):
    """A network with fresh weights, built and ready to be called.

    Args:
        architecture: one of `ARCHITECTURES`.
        bins: feature values a frame.
        tokens: size of the alphabet, blank included.
        **sizes: the network's own arguments.

    Raises:
        ValueError: unknown architecture, or an argument that it does not have.
    """
    if architecture == "conformer":
        from asr_core.models.conformer import Conformer as network
    elif architecture == "deepspeech2":
        from asr_core.models.deepspeech2 import DeepSpeech2 as network
    else:
        raise ValueError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    try:
        model = network(bins=bins, tokens=tokens, **sizes)
    except TypeError as error:
        raise ValueError(f"{architecture}: {reason(error)}") from error
    model.build((None, None, bins), (None,))
    return model
