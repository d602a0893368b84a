"""OmniASR's CTC checkpoints (`OmniASRForCTC` of transformers): the large layout of wav2vec 2.0 under other names.

Their blank is `blank_token_id`, not `pad_token_id`. Facts about the format: `modeling_omniasr.py` and
`modeling_omniasr_ctc.py` of transformers 5.24.
"""

import re
from dataclasses import replace

from asr_core.bundle.checkpoints import wav2vec2
from asr_core.bundle.checkpoints.sources import Source, transposed

MODEL_TYPES = ("omniasr_ctc",)
UNUSED = re.compile("(?!)")  # no tensor of these checkpoints serves training only
ENCODER = "model.audio_tower"  # prefix of the encoder's tensors
EPSILON = 1e-5  # added to the variance of a clip: a hundred times that of wav2vec 2.0
NAMES = {  # of modules, in wav2vec 2.0 and here
    "omniasr.feature_extractor.conv_layers": f"{ENCODER}.subsampling.conv_layers",
    "omniasr.feature_projection": f"{ENCODER}.subsampling",
    "omniasr.encoder.pos_conv_embed": f"{ENCODER}.encode_positions",
    "omniasr.encoder": ENCODER,
    "lm_head": "ctc_head",
}
DEFAULTS = {  # of OmniASRAudioConfig where it differs from Wav2Vec2Config
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_bias": True,
}


def architecture(config: dict) -> dict:
    """The name and the sizes of the network, without `bins` and `tokens`; raises BundleError as `wav2vec2` does."""
    return wav2vec2.architecture(_as_wav2vec2(config))


def featurizer(config: dict, preprocessor: dict) -> dict:
    """The front end that `OmniASRFeatureExtractor` describes, as `make_featurizer` takes it."""
    return wav2vec2.featurizer(_as_wav2vec2(config), preprocessor) | {"epsilon": EPSILON}


def weights(config: dict) -> dict[str, Source]:
    """Where each weight comes from."""
    sources = wav2vec2.weights(_as_wav2vec2(config))
    sources["positions/kernel_0"] = Source((f"{ENCODER}.encode_positions.conv.weight",), transposed)
    return {ours: replace(source, tensors=tuple(map(_renamed, source.tensors))) for ours, source in sources.items()}


def _as_wav2vec2(config: dict) -> dict:
    """The description of the same network as a checkpoint of wav2vec 2.0."""
    layout = {"model_type": "omniasr", "feat_extract_norm": "layer", "do_stable_layer_norm": True}
    return DEFAULTS | (config.get("audio_config") or {}) | layout


def _renamed(tensor: str) -> str:
    theirs = next((name for name in NAMES if tensor.startswith(name + ".")), None)
    return NAMES[theirs] + tensor.removeprefix(theirs) if theirs else tensor
