"""Size and speed of what `train.export` writes: `python -m tests.benchmarks.exports [--model M]`.

Every format transcribes the same 10 s of noise, once to warm up and then RUNS times, as does the recogniser's own
graph. The real-time factor is the median of seconds of work per second of audio, features and network alone.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SECONDS = 10
RUNS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    args = parser.parse_args()

    import numpy as np

    from asr_core.bundle.loading import load_bundle
    from train.export import export

    bundle = load_bundle(args.model)
    samples = np.random.default_rng(0).normal(0, 0.1, (1, SECONDS * bundle.sample_rate)).astype("float32")
    lengths = np.array([samples.shape[1]], "int32")
    report("native", bundle.path, measure(native(bundle), samples, lengths))
    with tempfile.TemporaryDirectory() as folder:
        for format, load in (("saved_model", saved_model), ("onnx", onnx), ("litert", litert)):
            path = export(args.model, format, Path(folder) / format, SECONDS if format == "litert" else None)
            report(format, path, measure(load(path), samples, lengths))


def measure(run, samples, lengths) -> float:
    """Median real-time factor."""
    run(samples, lengths)
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        run(samples, lengths)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) / SECONDS


def report(name: str, path: Path, factor: float) -> None:
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
    print(f"{name:<12} {size / 1e6:6.1f} MB   real-time factor {factor:.4f}", flush=True)


def native(bundle):
    from asr_core.inference.compiled import compiled_graph

    step = compiled_graph(bundle.featurizer(), bundle.build())
    return lambda samples, lengths: step(samples, lengths)[0].numpy()


def saved_model(path: Path):
    import tensorflow as tf

    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda s, n: served(samples=tf.constant(s), lengths=tf.constant(n))["log_probs"].numpy()


def onnx(path: Path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return lambda samples, lengths: session.run(None, {"samples": samples, "lengths": lengths})


def litert(path: Path):
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=str(path), num_threads=os.cpu_count()).get_signature_runner("serving_default")
    return lambda samples, lengths: run(samples=samples, lengths=lengths)


if __name__ == "__main__":
    main()
