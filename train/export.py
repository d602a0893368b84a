"""`python -m train.export BUNDLE --format saved_model|onnx|litert --out FOLDER`: a bundle -> other runtimes.

The exported graph is the one that the recogniser runs, feature extraction included: its input is audio at the bundle's
sample rate, its output log-probabilities. `export.json` beside it holds what a program needs to use the graph: sample
rate, tokens, seconds of a step, and whether recordings were dereverberated before the graph (see
`asr_core.audio.dereverberation`).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from asr_core.audio.speech_activity import WINDOW_SECONDS
from asr_core.errors import AsrError, reason
from train.options import DONE, FAILED, in_words, real, stoppable

FILES = {"saved_model": "saved_model", "onnx": "model.onnx", "litert": "model.tflite"}
OUTPUTS = ("log_probs", "steps")
ONE = "one"  # name of a constant
OPSET = 18  # of ONNX; runtimes since 2023 support it


class ExportError(AsrError, RuntimeError):
    """A network that a format cannot represent, or a converter that is not installed."""


@stoppable
def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.export", description=__doc__)
    parser.add_argument("bundle", help="a folder, name/repo[@revision] on the Hub, or default")
    parser.add_argument("--format", required=True, choices=FILES, help="of the runtime that will load it")
    parser.add_argument("--out", required=True, metavar="FOLDER", type=Path, help="folder to write into")
    parser.add_argument(
        "--seconds", type=real(0, above=True, most=3600),
        help="fix the input to one clip of this length, shorter ones padded",
    )  # fmt: skip
    args = parser.parse_args(argv)
    try:
        path = export(args.bundle, args.format, args.out, args.seconds)
    except (AsrError, OSError) as error:
        print(in_words(error), file=sys.stderr)
        return FAILED
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    print(f"{path}: {size / 1e6:.1f} MB")
    return DONE


def export(bundle: str, format: str, out: Path, seconds: float | None = None) -> Path:
    """Writes a bundle's network and feature extractor in another format.

    The graph takes `samples` float32 [batch, n] and `lengths` int32 [batch], and returns `log_probs` float32 [batch,
    steps, tokens] and `steps` int32 [batch].

    Args:
        bundle: as for `load_bundle`.
        format: a key of FILES.
        out: folder to write into.
        seconds: fixes the input to one clip, padded to this length. None allows any batch of any length, except for
            LiteRT, which needs fixed shapes and gets WINDOW_SECONDS.

    Returns:
        The path of the file, or of the folder of a SavedModel.

    Raises:
        BundleError: there is no such bundle.
        ExportError: the format cannot represent the network, or its converter is not installed.
    """
    from asr_core.bundle.loading import load_bundle
    from asr_core.inference.compiled import compiled_graph

    bundle = load_bundle(bundle)
    featurizer, model = bundle.featurizer(), bundle.build()
    if format == "litert" and seconds is None:
        seconds = WINDOW_SECONDS
    samples = None if seconds is None else round(seconds * bundle.sample_rate)
    graph = compiled_graph(featurizer, model, samples)
    out.mkdir(parents=True, exist_ok=True)
    path = out / FILES[format]
    {"saved_model": _saved_model, "onnx": _onnx, "litert": _litert}[format](graph, model, path)
    step_samples = featurizer.hop_samples * model.subsampling
    facts = {
        "model": bundle.name,
        "file": path.name,
        "sample_rate": bundle.sample_rate,
        "step_seconds": step_samples / bundle.sample_rate,
        "tokens": bundle.vocabulary.tokens,
        "samples": samples,
        "dereverberation": bundle.config.get("dereverberation", False),
    }
    (out / "export.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return path


def _saved_model(graph, model, path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=graph.input_signature, autograph=False)
    def serve(samples, lengths):
        return dict(zip(OUTPUTS, graph(samples, lengths), strict=True))

    module = tf.Module()
    module.graph, module.variables_of_model = serve, [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


def _litert(graph, model, path: Path) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        with _rfft_as_matmul():
            _saved_model(graph, model, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        try:
            path.write_bytes(converter.convert())
        except Exception as error:  # its converter raises errors of many kinds for operations that LiteRT lacks
            raise ExportError(f"LiteRT cannot represent a {model.name} ({reason(error)[:200]}).") from error


def _onnx(graph, model, path: Path) -> None:
    try:
        import onnx
        import tf2onnx  # noqa: F401, which Keras uses
    except ImportError as error:
        raise ExportError("The ONNX format needs two packages: pip install tf2onnx onnx.") from error
    import keras

    class GraphModel(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = model
            self.built = True

        def call(self, samples, lengths):
            return graph.python_function(samples, lengths)

    with _rfft_as_matmul():
        GraphModel().export(
            str(path), format="onnx", input_signature=graph.input_signature, opset_version=OPSET, verbose=False
        )
    stored = onnx.load(path)
    names = {output.name: name for output, name in zip(stored.graph.output, OUTPUTS, strict=True)}
    for node in stored.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in stored.graph.output:
        output.name = names[output.name]
    _without_erfc(stored.graph)
    path.unlink()  # until the model has been checked
    try:
        onnx.checker.check_model(stored)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"ONNX cannot represent a {model.name} ({reason(error)[:200]}).") from error
    onnx.save(stored, path)


def _without_erfc(graph) -> None:
    """Replaces erfc, by which TensorFlow computes GELU and which ONNX lacks, by 1 - erf."""
    from onnx import helper, numpy_helper

    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        erf = f"{node.output[0]}/erf"
        nodes.append(helper.make_node("Erf", node.input, [erf]))
        nodes.append(helper.make_node("Sub", [ONE, erf], node.output))
    if len(nodes) > len(graph.node):
        graph.initializer.append(numpy_helper.from_array(np.float32(1), ONE))
        del graph.node[:]
        graph.node.extend(nodes)


@contextmanager
def _rfft_as_matmul() -> Iterator[None]:
    """Replaces `keras.ops.rfft` by a matrix product while a graph is traced: ONNX and LiteRT lack general FFTs."""
    from keras import ops

    def rfft(frames, fft_length=None):
        length = frames.shape[-1]
        cycles = np.outer(np.arange(length), np.arange((fft_length or length) // 2 + 1)) / (fft_length or length)
        real, imaginary = np.cos(2 * np.pi * cycles), -np.sin(2 * np.pi * cycles)
        return ops.matmul(frames, real.astype("float32")), ops.matmul(frames, imaginary.astype("float32"))

    original = ops.rfft
    ops.rfft = rfft
    try:
        yield
    finally:
        ops.rfft = original


if __name__ == "__main__":
    sys.exit(main())
