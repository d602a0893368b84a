"""Checkpoints of wav2vec 2.0, HuBERT, WavLM, data2vec-audio, UniSpeech and MMS as our `Wav2Vec2`.

Facts about the format: `modeling_wav2vec2.py`, `modeling_hubert.py`, `modeling_wavlm.py` and
`modeling_data2vec_audio.py` of transformers 5.24.
"""

import math
import re

import numpy as np

from asr_core.bundle.checkpoints.sources import (
    Source,
    as_stored,
    attention_projection,
    dense,
    norm,
    transposed,
)
from asr_core.errors import BundleError

MODEL_TYPES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat")
# Tensors of a checkpoint that serve training only. A first convolution that is normalised over time loses its bias.
UNUSED = re.compile(
    r".*\.masked_spec_embed|.*\.num_batches_tracked|quantizer\..*|project_(q|hid)\..*|dropout_features\..*"
    r"|ctc_proj\..*|label_embeddings_concat|.*feature_extractor\.conv_layers\.0\.conv\.bias"
)
HALF = math.sqrt(0.5)  # factors before and after GELU (see `asr_core.models.waveform_convolutions.gelu_of_halves`)
BATCH_NORM_EPSILON = 1e-5

# Values that transformers takes for keys that `config.json` leaves out, and numbers within which they must lie.
DEFAULTS = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "conv_dim": [512] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False, "feat_extract_norm": "group", "do_stable_layer_norm": False, "feat_proj_layer_norm": True,
    "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16, "conv_pos_batch_norm": False,
    "layer_norm_eps": 1e-5, "hidden_dropout": 0.1, "hidden_act": "gelu", "feat_extract_activation": "gelu",
    "add_adapter": False, "adapter_attn_dim": None,
}  # fmt: skip
DEFAULTS_BY_TYPE = {
    "data2vec-audio": {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19},
    "wavlm": {"num_buckets": 320, "max_bucket_distance": 800},
}
EXACT_GELU = ("gelu", "gelu_python")  # names of one function


def architecture(config: dict) -> dict:
    """The architecture that a `config.json` describes: {"name", "sizes"}, without bins and tokens.

    Raises:
        BundleError: a switch has a value that is not supported.
    """
    values = _values(config)
    data2vec, wavlm = values["model_type"] == "data2vec-audio", values["model_type"] == "wavlm"
    norm_first = bool(values["do_stable_layer_norm"]) and not data2vec
    sizes = {
        "width": values["hidden_size"],
        "blocks": values["num_hidden_layers"],
        "heads": values["num_attention_heads"],
        "inner": values["intermediate_size"],
        "channels": list(values["conv_dim"]),
        "kernels": list(values["conv_kernel"]),
        "strides": list(values["conv_stride"]),
        "conv_bias": bool(values["conv_bias"]),
        "group_norm": values["feat_extract_norm"] == "group" and not data2vec,
        "norm_first": norm_first,
        "projection_norm": bool(values["feat_proj_layer_norm"]) or values["model_type"] != "hubert",
        "position_layers": values["num_conv_pos_embeddings"] if data2vec else 1,
        "position_kernel": values["conv_pos_kernel_size"] if data2vec else values["num_conv_pos_embeddings"],
        "position_groups": values["num_conv_pos_embedding_groups"],
        "position_affine": bool(values["conv_pos_batch_norm"]) and values["model_type"] == "hubert",
        "buckets": values["num_buckets"] if wavlm else 0,
        "bucket_distance": values["max_bucket_distance"] if wavlm else 0,
        # transformers has adapters in blocks that normalise first only, and none in WavLM
        "adapter": (values["adapter_attn_dim"] or 0) if norm_first and not wavlm else 0,
        "epsilon": values["layer_norm_eps"],
        "dropout": values["hidden_dropout"],
    }
    return {"name": "wav2vec2", "sizes": sizes}


def featurizer(config: dict, preprocessor: dict) -> dict:
    """The description of the front end, from `config.json` and `preprocessor_config.json`."""
    frame, hop = 1, 1
    values = _values(config)
    for kernel, stride in zip(values["conv_kernel"], values["conv_stride"], strict=True):
        frame, hop = frame + (kernel - 1) * hop, hop * stride
    rate = preprocessor.get("sampling_rate", 16_000)
    normalise = bool(preprocessor.get("do_normalize", True))
    return {
        "name": "waveform", "sample_rate": rate, "bins": 1, "normalise": normalise, "frame_samples": frame,
        "hop_samples": hop,
    }  # fmt: skip


def weights(config: dict) -> dict[str, Source]:
    """Where each weight of the network comes from, by our name."""
    sizes, root = architecture(config)["sizes"], config["model_type"].replace("-", "_")
    projection = f"{root}.feature_projection"
    sources = _convolutions(sizes, f"{root}.feature_extractor.conv_layers")
    if sizes["projection_norm"]:
        sources |= norm("normalise_projection", f"{projection}.layer_norm")
    sources |= dense("project", f"{projection}.projection")
    sources |= _positions(sizes, f"{root}.encoder.pos_conv_embed")
    sources |= norm("normalise", f"{root}.encoder.layer_norm")
    if sizes["buckets"]:
        embedding = f"{root}.encoder.layers.0.attention.rel_attn_embed.weight"
        sources["relative_positions/embedding"] = Source((embedding,))
    for i in range(sizes["blocks"]):
        sources |= _block(sizes, f"block_{i + 1}", f"{root}.encoder.layers.{i}")
    return sources | dense("head", "lm_head")


def _values(config: dict) -> dict:
    """The values of `config.json` with transformers' defaults; raises BundleError for those not supported."""
    kind = config["model_type"]
    values = DEFAULTS | DEFAULTS_BY_TYPE.get(kind, {}) | config
    for key in ("hidden_act", "feat_extract_activation"):
        if values[key] not in EXACT_GELU:
            raise BundleError(f"Its {key} is {values[key]!r}; {kind} networks run with 'gelu' here.")
    if values["feat_extract_norm"] not in ("group", "layer"):
        raise BundleError(f"Its feat_extract_norm is {values['feat_extract_norm']!r}, neither 'group' nor 'layer'.")
    if values["add_adapter"]:
        raise BundleError(f"It has an adapter after its blocks (add_adapter), which {kind} networks lack here.")
    lists = [values[key] for key in ("conv_dim", "conv_kernel", "conv_stride")]
    if not all(isinstance(numbers, list | tuple) and len(numbers) == len(lists[0]) for numbers in lists):
        raise BundleError("Its conv_dim, conv_kernel and conv_stride do not have one number for each convolution.")
    return values


def _convolutions(sizes: dict, theirs: str) -> dict[str, Source]:
    sources = {}
    for i in range(len(sizes["channels"])):
        ours, layer = f"convolutions/convolution_{i}", f"{theirs}.{i}"
        before = HALF if i else 1
        if i == 0 and sizes["group_norm"]:
            sources |= dense(ours, f"{layer}.conv", bias=False) | norm(ours, f"{layer}.layer_norm", after=HALF)
        elif sizes["group_norm"]:
            sources |= dense(ours, f"{layer}.conv", sizes["conv_bias"], before, after=HALF)
        else:
            sources |= dense(ours, f"{layer}.conv", sizes["conv_bias"], before)
            sources |= norm(f"convolutions/normalise_{i}", f"{layer}.layer_norm", after=HALF)
    return sources


def _positions(sizes: dict, theirs: str) -> dict[str, Source]:
    if sizes["position_layers"] > 1:
        layers = [f"{theirs}.layers.{i}.conv" for i in range(sizes["position_layers"])]
    else:
        layers = [f"{theirs}.conv"]
    sources = {}
    for i, layer in enumerate(layers):
        plain = sizes["position_layers"] > 1 or sizes["position_affine"]
        sources[f"positions/kernel_{i}"] = Source((f"{layer}.weight",), transposed) if plain else weight_norm(layer)
        sources[f"positions/bias_{i}"] = Source((f"{layer}.bias",), as_stored)
    if sizes["position_affine"]:
        names = tuple(f"{theirs}.batch_norm.{name}" for name in ("weight", "bias", "running_mean", "running_var"))
        sources["positions/scale"] = Source((names[0], names[3]), _batch_norm_scale)
        sources["positions/shift"] = Source(names, _batch_norm_shift)
    return sources


def weight_norm(theirs: str) -> Source:
    """The kernel of a convolution that is stored as directions and a length for each tap."""
    stored = (f"{theirs}.parametrizations.weight.original0", f"{theirs}.parametrizations.weight.original1")
    return Source(stored, _weight_of, alternatives=((f"{theirs}.weight_g", f"{theirs}.weight_v"),))


def _weight_of(lengths: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """[1, 1, taps] and [out, in, taps] -> [taps, in, out]."""
    norms = np.sqrt(np.sum(np.square(directions, dtype="float64"), axis=(0, 1), keepdims=True))
    return transposed((directions * (lengths / norms)).astype("float32"))


def _batch_norm_scale(gamma, variance):
    return gamma / np.sqrt(variance + np.float32(BATCH_NORM_EPSILON))


def _batch_norm_shift(gamma, beta, mean, variance):
    return beta - mean * _batch_norm_scale(gamma, variance)


def _block(sizes: dict, ours: str, theirs: str) -> dict[str, Source]:
    attention = f"{theirs}.attention"
    projections = [f"{attention}.{name}_proj" for name in "qkv"]
    sources = attention_projection(f"{ours}/attention/project", projections, sizes["heads"])
    sources |= dense(f"{ours}/attention/merge", f"{attention}.out_proj")
    if sizes["buckets"]:
        gate = f"{attention}.gru_rel_pos_linear"
        sources[f"{ours}/attention/gate/kernel"] = Source((f"{gate}.weight",), _gate_kernel)
        sources[f"{ours}/attention/gate/bias"] = Source((f"{gate}.bias",), _gate_bias)
        sources[f"{ours}/attention/gate_scale"] = Source((f"{attention}.gru_rel_pos_const",), _gate_scale)
    sources |= norm(f"{ours}/normalise_attention", f"{theirs}.layer_norm")
    sources |= dense(f"{ours}/widen", f"{theirs}.feed_forward.intermediate_dense", after=HALF)
    sources |= dense(f"{ours}/narrow", f"{theirs}.feed_forward.output_dense", before=HALF)
    sources |= norm(f"{ours}/normalise_feed_forward", f"{theirs}.final_layer_norm")
    if sizes["adapter"]:
        sources |= norm(f"{ours}/normalise_adapter", f"{theirs}.adapter_layer.norm")
        sources |= dense(f"{ours}/adapter_in", f"{theirs}.adapter_layer.linear_1")
        sources |= dense(f"{ours}/adapter_out", f"{theirs}.adapter_layer.linear_2")
    return sources


def _gate_kernel(weight: np.ndarray) -> np.ndarray:
    """[8, width of a head] -> [width of a head, 2]: a gate is the sum of four outputs."""
    return np.ascontiguousarray(weight.reshape(2, 4, -1).sum(axis=1).T)


def _gate_bias(bias: np.ndarray) -> np.ndarray:
    return bias.reshape(2, 4).sum(axis=1)


def _gate_scale(scale: np.ndarray) -> np.ndarray:
    """[1, heads, 1, 1] -> [heads, 1]."""
    return scale.reshape(-1, 1)
