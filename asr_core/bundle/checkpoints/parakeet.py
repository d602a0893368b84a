"""Parakeet's CTC checkpoints (`ParakeetForCTC` of transformers, converted from NVIDIA's NeMo) as FastConformers."""

import math
import re

import numpy as np

from asr_core.bundle.checkpoints.sources import Source, attention_projection, dense, norm, pointwise
from asr_core.errors import BundleError

MODEL_TYPES = ("parakeet_ctc",)
UNUSED = re.compile(r".*\.num_batches_tracked")  # tensors that serve training only
BATCH_NORM_EPSILON = 1e-5  # added to the variance; PyTorch's default, which the checkpoints do not state
DEFAULTS = {  # of ParakeetEncoderConfig: files leave out what has its default
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "intermediate_size": 4096,
    "hidden_act": "silu",
    "attention_bias": True,
    "convolution_bias": True,
    "conv_kernel_size": 9,
    "subsampling_factor": 8,
    "subsampling_conv_channels": 256,
    "num_mel_bins": 80,
    "subsampling_conv_kernel_size": 3,
    "subsampling_conv_stride": 2,
    "scale_input": True,
}


def architecture(config: dict) -> dict:
    """The name and the sizes of the network, without `bins` and `tokens`.

    Raises:
        BundleError: a setting that the network does not have.
    """
    encoder = _encoder(config)
    for key, runs in (("hidden_act", ("silu", "swish")), ("subsampling_conv_stride", (2,))):
        if encoder[key] not in runs:
            value = str(encoder[key])[:40]
            raise BundleError(f"A FastConformer with {key} {value!r} does not run here; {runs[0]!r} does.")
    return {
        "name": "fastconformer",
        "sizes": {
            "width": encoder["hidden_size"],
            "blocks": encoder["num_hidden_layers"],
            "heads": encoder["num_attention_heads"],
            "inner": encoder["intermediate_size"],
            "kernel": encoder["conv_kernel_size"],
            "channels": encoder["subsampling_conv_channels"],
            "subsampling_kernel": encoder["subsampling_conv_kernel_size"],
            "halvings": _halvings(encoder),
            "attention_bias": encoder["attention_bias"],
            "convolution_bias": encoder["convolution_bias"],
        },
    }


def featurizer(config: dict, preprocessor: dict) -> dict:
    """The front end that `ParakeetFeatureExtractor` describes, as `make_featurizer` takes it."""
    return {
        "name": "nemo-log-mel",
        "sample_rate": preprocessor.get("sampling_rate", 16_000),
        "bins": preprocessor.get("feature_size", _encoder(config)["num_mel_bins"]),
        "window_samples": preprocessor.get("win_length", 400),
        "hop_samples": preprocessor.get("hop_length", 160),
        "fft_length": preprocessor.get("n_fft", 512),
        "preemphasis": preprocessor.get("preemphasis", 0.97) or 0.0,
    }


def weights(config: dict) -> dict[str, Source]:
    """Where each weight comes from."""
    encoder = _encoder(config)
    sources = _subsampling(encoder) | {
        **pointwise("head", "ctc_head"),
    }
    for number in range(encoder["num_hidden_layers"]):
        sources |= _block(f"block_{number + 1}", f"encoder.layers.{number}", encoder)
    return sources


def _encoder(config: dict) -> dict:
    return DEFAULTS | (config.get("encoder_config") or {})


def _halvings(encoder: dict) -> int:
    """The number of subsampling convolutions, as transformers counts them."""
    factor = encoder["subsampling_factor"]
    if factor < 2 or factor & (factor - 1):
        raise BundleError(f"A FastConformer with subsampling_factor {factor} does not run here; a power of two does.")
    return int(math.log2(factor))


def _subsampling(encoder: dict) -> dict[str, Source]:
    theirs, ours = "encoder.subsampling", "subsample"
    channels, scale = encoder["subsampling_conv_channels"], 1.0
    if encoder["scale_input"]:  # a factor after the projection, which is part of its weights here
        scale = math.sqrt(encoder["hidden_size"])

    def projection(kernel):
        """[width, channels * bins] -> [bins * channels, width]: we keep the channels last."""
        kernel = kernel.reshape(len(kernel), channels, -1).transpose(2, 1, 0)
        return np.ascontiguousarray(kernel.reshape(-1, kernel.shape[2])) * scale

    sources = {
        f"{ours}/first/kernel": Source((f"{theirs}.layers.0.weight",), lambda kernel: kernel.transpose(2, 3, 1, 0)),
        f"{ours}/first/bias": Source((f"{theirs}.layers.0.bias",)),
        f"{ours}/project/kernel": Source((f"{theirs}.linear.weight",), projection),
        f"{ours}/project/bias": Source((f"{theirs}.linear.bias",), lambda bias: bias * scale),
    }
    for i in range(1, _halvings(encoder)):  # each is a depthwise convolution, a pointwise one and an activation
        depthwise, mixing = f"{theirs}.layers.{3 * i - 1}", f"{theirs}.layers.{3 * i}"
        sources |= {
            f"{ours}/depthwise_{i}/kernel": Source((f"{depthwise}.weight",), lambda taps: taps.transpose(2, 3, 0, 1)),
            f"{ours}/depthwise_{i}/bias": Source((f"{depthwise}.bias",)),
            f"{ours}/pointwise_{i}/kernel": Source((f"{mixing}.weight",), lambda kernel: kernel[:, :, 0, 0].T),
            f"{ours}/pointwise_{i}/bias": Source((f"{mixing}.bias",)),
        }
    return sources


def _block(ours: str, theirs: str, encoder: dict) -> dict[str, Source]:
    attention_bias, convolution_bias = encoder["attention_bias"], encoder["convolution_bias"]
    sources = norm(f"{ours}/normalise", f"{theirs}.norm_out")
    for module, our_name, their_norm in (
        ("feed_forward1", "feed_forward_in", "norm_feed_forward1"),
        ("feed_forward2", "feed_forward_out", "norm_feed_forward2"),
    ):
        sources |= norm(f"{ours}/{our_name}/normalise", f"{theirs}.{their_norm}")
        sources |= dense(f"{ours}/{our_name}/widen", f"{theirs}.{module}.linear1", attention_bias)
        sources |= dense(f"{ours}/{our_name}/narrow", f"{theirs}.{module}.linear2", attention_bias)
    sources |= norm(f"{ours}/attention/normalise", f"{theirs}.norm_self_att")
    sources |= _attention(f"{ours}/attention", f"{theirs}.self_attn", encoder)
    sources |= norm(f"{ours}/convolution/normalise", f"{theirs}.norm_conv")
    return sources | _convolution(f"{ours}/convolution", f"{theirs}.conv", convolution_bias)


def _attention(ours: str, theirs: str, encoder: dict) -> dict[str, Source]:
    heads, bias = encoder["num_attention_heads"], encoder["attention_bias"]
    sources = attention_projection(f"{ours}/project", [f"{theirs}.{part}_proj" for part in "qkv"], heads, bias)
    sources |= dense(f"{ours}/project_distances", f"{theirs}.relative_k_proj", bias=False)
    sources |= dense(f"{ours}/merge", f"{theirs}.o_proj", bias)
    for our_name, their_name in (("content_bias", "bias_u"), ("distance_bias", "bias_v")):
        sources[f"{ours}/{our_name}"] = Source((f"{theirs}.{their_name}",), _query_bias)
    return sources


def _query_bias(bias):
    """[heads, n] -> [heads, 1, n], with the factor of the scores that the projection of the queries has as well."""
    return bias[:, None] * np.float32(bias.shape[1] ** -0.5)


def _convolution(ours: str, theirs: str, bias: bool) -> dict[str, Source]:
    """The convolution module. Its taps and their bias contain the batch normalisation that follows them."""
    statistics = tuple(f"{theirs}.norm.{name}" for name in ("weight", "bias", "running_mean", "running_var"))

    def taps(kernel, gamma, variance):
        return np.ascontiguousarray(kernel[:, 0].T) * (gamma / np.sqrt(variance + BATCH_NORM_EPSILON))

    def taps_bias(gamma, beta, mean, variance, bias=0.0):
        return beta + (bias - mean) * gamma / np.sqrt(variance + BATCH_NORM_EPSILON)

    sources = pointwise(f"{ours}/gate", f"{theirs}.pointwise_conv1", bias)
    sources |= pointwise(f"{ours}/project", f"{theirs}.pointwise_conv2", bias)
    depthwise_bias = (f"{theirs}.depthwise_conv.bias",) if bias else ()
    sources[f"{ours}/taps"] = Source((f"{theirs}.depthwise_conv.weight", statistics[0], statistics[3]), taps)
    sources[f"{ours}/taps_bias"] = Source((*statistics, *depthwise_bias), taps_bias)
    return sources
