"""The same checkpoint here, in torch with transformers, and in onnxruntime: processor seconds, memory, first call.

    python -m venv reference && reference/bin/pip install transformers torch onnx onnxruntime
    python -m tests.benchmarks.checkpoints --reference-python reference/bin/python [--sizes NAME ...] [--seconds N ...]

The checkpoints have random weights and the sizes of published ones. Each runtime is a process of its own, loads the
checkpoint from its folder, and takes the same noise from samples to logits. Printed for every length: processor seconds
of a call (the median of several, the least and the greatest), wall seconds of loading and of the first call, peak
memory of the process so far as a multiple of the weights as well, and the greatest difference of the log-probabilities
from those of torch.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
REPOSITORY = Path(__file__).parents[2]
RATE = 16_000  # Hz
LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
}  # fmt: skip
SIZES = {  # what differs from the defaults of transformers
    "fastconformer-110m": {"hidden_size": 512, "num_hidden_layers": 17, "intermediate_size": 2048},
    "wav2vec2-base": {},
    "wav2vec2-large": LARGE,
}
RUNTIMES = ("torch", "ours", "onnxruntime")  # torch first: the others are compared with what it leaves in the folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", help="Python with torch, transformers, onnx and onnxruntime")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--seconds", nargs="+", type=int, default=[10, 60], help="lengths of the recordings")
    parser.add_argument("--runs", type=int, default=5, help="calls that are measured after the first")
    parser.add_argument("--child", nargs=2, metavar=("TASK", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        task, folder = args.child
        if task == "make":
            make_checkpoint(args.sizes[0], Path(folder))
        elif task == "export":
            export(Path(folder), args.seconds)
        else:
            run(task, Path(folder), args.seconds, args.runs)
        return
    if not args.reference_python:
        parser.error("--reference-python is needed: it makes the checkpoints")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; processor seconds: median of {args.runs} calls")
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            child(args.reference_python, args, "make", size, folder)
            weights = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))
            print(f"{size}: {weights / 1e6:.0f} MB of weights")
            for runtime in filter(args.runtimes.__contains__, RUNTIMES):
                python = sys.executable if runtime == "ours" else args.reference_python
                if runtime == "onnxruntime":
                    child(python, args, "export", size, folder)
                for line in child(python, args, runtime, size, folder).splitlines():
                    print(row(runtime, json.loads(line), weights), flush=True)


def child(python: str, args, task: str, size: str, folder: str) -> str:
    command = [python, __file__, "--child", task, folder, "--sizes", size, "--runs", str(args.runs), "--seconds"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*command, *map(str, args.seconds)], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{task} of {size} failed:\n{done.stderr[-3000:]}")
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("{"))


def row(runtime: str, found: dict, weights: int) -> str:
    least, median, greatest = found["processor"]
    difference = "" if found["difference"] is None else f", differs by {found['difference']:.1e}"
    return (
        f"  {runtime:<12} {found['seconds']:>4} s: {median:6.2f} ({least:.2f} to {greatest:.2f}) processor seconds, "
        f"loaded in {found['load']:.1f} s, first call {found['first']:.1f} s, {found['memory'] / 1e6:.0f} MB "
        f"({found['memory'] / weights:.1f} of the weights){difference}"
    )


def make_checkpoint(size: str, folder: Path) -> None:
    """Writes a repository in the format of transformers, whose first token is the blank."""
    import torch
    from transformers import (
        ParakeetCTCConfig,
        ParakeetEncoderConfig,
        ParakeetFeatureExtractor,
        ParakeetForCTC,
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
    )

    torch.manual_seed(0)
    if size.startswith("fastconformer"):
        encoder = ParakeetEncoderConfig(**SIZES[size])
        model = ParakeetForCTC(ParakeetCTCConfig(vocab_size=1025, pad_token_id=0, encoder_config=encoder))
        extractor = ParakeetFeatureExtractor()
        pieces = ["<pad>", *(f"▁{i:x}" for i in range(1, 1025))]
        bpe = {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": []}
        added = [{"id": 0, "content": "<pad>", "special": True}]
        (folder / "tokenizer.json").write_text(json.dumps({"model": bpe, "added_tokens": added}))
    else:
        model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=28, pad_token_id=0, **SIZES[size]))
        extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
        letters = ["<pad>", "|", *"abcdefghijklmnopqrstuvwxyz"]
        (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    special = {"pad_token": "<pad>", "word_delimiter_token": "|"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))


def run(runtime: str, folder: Path, lengths: list[int], runs: int) -> None:
    """Measures one runtime in this process; prints a JSON object for each length."""
    start = time.perf_counter()
    logits = {"ours": load_ours, "torch": load_torch, "onnxruntime": load_onnxruntime}[runtime](folder)
    load = time.perf_counter() - start
    for seconds in lengths:
        samples = 0.1 * np.random.default_rng(0).standard_normal(seconds * RATE).astype("float32")
        start = time.perf_counter()
        found = log_softmax(logits(samples))
        first, spent = time.perf_counter() - start, []
        for _ in range(runs):
            start = time.process_time()
            logits(samples)
            spent.append(time.process_time() - start)
        stored = folder / f"torch-{seconds}.npy"
        if runtime == "torch":
            np.save(stored, found)
        difference = None
        if runtime != "torch" and stored.exists():
            difference = float(np.abs(found - np.load(stored)[: len(found)]).max())
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        numbers = {"load": load, "first": first, "memory": memory, "difference": difference}
        print(json.dumps({"seconds": seconds, **numbers, "processor": least_median_greatest(spent)}), flush=True)


def least_median_greatest(values: list[float]) -> tuple[float, float, float]:
    return min(values), statistics.median(values), max(values)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def load_ours(folder: Path):
    from asr_core.bundle.loading import load_bundle
    from asr_core.inference.compiled import CompiledModel

    model = CompiledModel(load_bundle(str(folder)))

    def logits(samples):
        log_probs, *_, steps = model(samples[None], np.array([len(samples)], "int32"))
        return log_probs[0, : steps[0]]

    return logits


def load_torch(folder: Path):
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    extractor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModelForCTC.from_pretrained(folder).eval()

    @torch.inference_mode()
    def logits(samples):
        return model(**extractor(samples, sampling_rate=RATE, return_tensors="pt")).logits[0].numpy()

    return logits


def load_onnxruntime(folder: Path):
    """A session for each length that `export` has written a graph for, made at the first call."""
    import onnxruntime
    from transformers import AutoFeatureExtractor

    extractor, sessions = AutoFeatureExtractor.from_pretrained(folder), {}

    def logits(samples):
        if len(samples) not in sessions:
            path = folder / f"{len(samples) // RATE}.onnx"
            sessions[len(samples)] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        session = sessions[len(samples)]
        inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt")
        needed = [argument.name for argument in session.get_inputs()]
        return session.run(None, {name: inputs[name].numpy() for name in needed})[0][0]

    return logits


def export(folder: Path, lengths: list[int]) -> None:
    """Writes one ONNX graph for each length: a graph of fixed lengths is what onnxruntime is fastest with."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    extractor, model = AutoFeatureExtractor.from_pretrained(folder), AutoModelForCTC.from_pretrained(folder).eval()
    model.set_attn_implementation("eager")

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return self.model(*inputs).logits

    for seconds in lengths:
        inputs = extractor(np.zeros(seconds * RATE, np.float32), sampling_rate=RATE, return_tensors="pt")
        names = [name for name in inputs if name in ("input_values", "input_features", "attention_mask")]
        with torch.inference_mode():
            torch.onnx.export(
                Logits(), tuple(inputs[name] for name in names), folder / f"{seconds}.onnx", dynamo=False,
                input_names=names, output_names=["logits"],
            )  # fmt: skip


if __name__ == "__main__":
    main()
