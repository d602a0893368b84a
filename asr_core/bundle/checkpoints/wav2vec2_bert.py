"""Wav2Vec2-BERT's CTC checkpoints (`Wav2Vec2BertForCTC` of transformers), with or without adapter layers."""

import re

import numpy as np

from asr_core.bundle.checkpoints.sources import Source, attention_projection, dense, norm, pointwise
from asr_core.errors import BundleError

MODEL_TYPES = ("wav2vec2-bert",)
UNUSED = re.compile(r".*\.masked_spec_embed")  # tensors that serve training only
ENCODER = "wav2vec2_bert"  # prefix of the encoder's tensors
DEFAULTS = {  # of Wav2Vec2BertConfig: files may leave out what has its default
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feature_projection_input_dim": 160,
    "hidden_act": "swish",
    "layer_norm_eps": 1e-5,
    "position_embeddings_type": "relative_key",
    "left_max_position_embeddings": 64,
    "right_max_position_embeddings": 8,
    "conv_depthwise_kernel_size": 31,
    "add_adapter": False,
    "adapter_kernel_size": 3,
    "adapter_stride": 2,
    "num_adapter_layers": 1,
    "adapter_act": "relu",
    "use_intermediate_ffn_before_adapter": False,
    "output_hidden_size": None,
}


def architecture(config: dict) -> dict:
    """The name and the sizes of the network, without `bins` and `tokens`.

    Raises:
        BundleError: a setting that the network does not have.
    """
    config = DEFAULTS | config
    _require(config, "hidden_act", "swish", "silu")
    _require(config, "position_embeddings_type", "relative_key")
    if config["add_adapter"]:
        _require(config, "adapter_kernel_size", 3)
        _require(config, "adapter_stride", 2)
        _require(config, "adapter_act", "relu", "gelu", "silu", "swish")
        _require(config, "use_intermediate_ffn_before_adapter", False)
        _require(config, "output_hidden_size", config["hidden_size"], None)
    return {
        "name": "wav2vec2-bert",
        "sizes": {
            "width": config["hidden_size"],
            "blocks": config["num_hidden_layers"],
            "heads": config["num_attention_heads"],
            "inner": config["intermediate_size"],
            "left": config["left_max_position_embeddings"],
            "right": config["right_max_position_embeddings"],
            "kernel": config["conv_depthwise_kernel_size"],
            "adapters": _adapters(config),
            "adapter_activation": {"swish": "silu"}.get(config["adapter_act"], config["adapter_act"]),
            "epsilon": config["layer_norm_eps"],
        },
    }


def featurizer(config: dict, preprocessor: dict) -> dict:
    """The front end that `SeamlessM4TFeatureExtractor` describes, as `make_featurizer` takes it."""
    stride = preprocessor.get("stride", 2)
    return {
        "name": "kaldi-log-mel",
        "sample_rate": preprocessor.get("sampling_rate", 16_000),
        "bins": preprocessor.get("num_mel_bins", 80) * stride,
        "stride": stride,
    }


def weights(config: dict) -> dict[str, Source]:
    """Where each weight comes from."""
    config = DEFAULTS | config
    heads = config["num_attention_heads"]
    sources = norm("normalise_features", f"{ENCODER}.feature_projection.layer_norm")
    sources |= dense("project", f"{ENCODER}.feature_projection.projection") | dense("head", "lm_head")
    for number in range(config["num_hidden_layers"]):
        sources |= _block(f"block_{number + 1}", f"{ENCODER}.encoder.layers.{number}", heads)
    for number in range(_adapters(config)):
        sources |= _adapter(f"adapter_{number + 1}", f"{ENCODER}.adapter.layers.{number}", heads)
    return sources


def _require(config: dict, key: str, *values) -> None:
    if config[key] not in values:
        value = str(config[key])[:40]
        raise BundleError(f"A Wav2Vec2-BERT with {key} {value!r} does not run here; {values[0]!r} does.")


def _adapters(config: dict) -> int:
    return config["num_adapter_layers"] if config["add_adapter"] else 0


def _block(ours: str, theirs: str, heads: int) -> dict[str, Source]:
    sources = _feed_forward(f"{ours}/feed_forward_in", f"{theirs}.ffn1", f"{theirs}.ffn1_layer_norm")
    sources |= _feed_forward(f"{ours}/feed_forward_out", f"{theirs}.ffn2", f"{theirs}.ffn2_layer_norm")
    sources |= norm(f"{ours}/normalise_attention", f"{theirs}.self_attn_layer_norm")
    sources |= _attention(f"{ours}/attention", f"{theirs}.self_attn", heads)
    sources[f"{ours}/attention/distances"] = Source((f"{theirs}.self_attn.distance_embedding.weight",))
    sources |= _convolution(f"{ours}/convolution", f"{theirs}.conv_module")
    return sources | norm(f"{ours}/normalise", f"{theirs}.final_layer_norm")


def _adapter(ours: str, theirs: str, heads: int) -> dict[str, Source]:
    sources = norm(f"{ours}/normalise_residual", f"{theirs}.residual_layer_norm")
    sources |= norm(f"{ours}/normalise_attention", f"{theirs}.self_attn_layer_norm")
    sources |= dense(f"{ours}/residual", f"{theirs}.residual_conv")
    sources |= dense(f"{ours}/shorten", f"{theirs}.self_attn_conv")
    sources |= _attention(f"{ours}/attention", f"{theirs}.self_attn", heads)
    return sources | _feed_forward(f"{ours}/feed_forward", f"{theirs}.ffn", f"{theirs}.ffn_layer_norm")


def _feed_forward(ours: str, theirs: str, their_norm: str) -> dict[str, Source]:
    sources = norm(f"{ours}/normalise", their_norm) | dense(f"{ours}/widen", f"{theirs}.intermediate_dense")
    return sources | dense(f"{ours}/narrow", f"{theirs}.output_dense")


def _attention(ours: str, theirs: str, heads: int) -> dict[str, Source]:
    sources = attention_projection(f"{ours}/project", [f"{theirs}.linear_{part}" for part in "qkv"], heads)
    return sources | dense(f"{ours}/merge", f"{theirs}.linear_out")


def _convolution(ours: str, theirs: str) -> dict[str, Source]:
    sources = norm(f"{ours}/normalise", f"{theirs}.layer_norm")
    sources |= norm(f"{ours}/normalise_inside", f"{theirs}.depthwise_layer_norm")
    sources |= pointwise(f"{ours}/gate", f"{theirs}.pointwise_conv1", bias=False)
    sources |= pointwise(f"{ours}/project", f"{theirs}.pointwise_conv2", bias=False)
    taps = Source((f"{theirs}.depthwise_conv.weight",), lambda kernel: np.ascontiguousarray(kernel[:, 0].T))
    return sources | {f"{ours}/taps": taps}
