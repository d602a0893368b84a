"""Networks and their front ends: samples -> features [batch, frames, bins] -> logits [batch, steps, tokens]."""

from asr_core.errors import reason

ARCHITECTURES = ("conformer", "deepspeech2", "fastconformer", "wav2vec2", "wav2vec2-bert")


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
    if architecture == "conformer":
        from asr_core.models.conformer import Conformer as network
    elif architecture == "deepspeech2":
        from asr_core.models.deepspeech2 import DeepSpeech2 as network
    elif architecture == "wav2vec2":
        from asr_core.models.wav2vec2 import Wav2Vec2 as network
    elif architecture == "fastconformer":
        from asr_core.models.fastconformer import FastConformer as network
    elif architecture == "wav2vec2-bert":
        from asr_core.models.wav2vec2_bert import Wav2Vec2Bert as network
    else:
        raise ValueError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    try:
        model = network(bins=bins, tokens=tokens, **sizes)
    except TypeError as error:
        raise ValueError(f"{architecture}: {reason(error)}") from error
    model.build((None, None, bins), (None,))
    return model
