"""Training throughput: the default network's step beside the Keras example's, on batches of one shape, in one run.

    python -m tests.benchmarks.training [--presets conformer-cpu] [--seconds 6] [--clips 8] [--steps 5]

Prints seconds of audio per second for each, compiled, after warm-up, and their ratio to the example's. Needs no data:
what is timed does not depend on what is said. On a machine that others use, seconds of CPU per second of audio are the
steadier figure; they are printed too.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

EXAMPLE = "keras-example"


def step_seconds(preset, clips: int, seconds: float, steps: int) -> tuple[float, float]:
    """Median seconds of a compiled training step, by the clock on the wall and by that of all processors together."""
    import keras
    import numpy as np

    from asr_core import models
    from asr_core.models.features import make_featurizer
    from train.data.augmentation import SpecAugment
    from train.fit.objective import TrainingModel
    from train.fit.optimizer import SafeAdamW

    keras.utils.clear_session()
    featurizer = make_featurizer(preset.featurizer)
    network = models.build(preset.architecture, featurizer.bins, 31, **preset.sizes)
    spec_augment = SpecAugment(**preset.spec_augment) if preset.spec_augment else None
    training = TrainingModel(featurizer, network, spec_augment, preset.consistency_weight, preset.phones_weight)
    compiled = preset.xla or keras.backend.backend() != "tensorflow"
    training.compile(optimizer=SafeAdamW(1e-4), loss=None, jit_compile=compiled)
    rng = np.random.default_rng(0)
    samples = int(seconds * featurizer.sample_rate)
    x = {
        "samples": rng.integers(-3000, 3000, (clips, samples)).astype(np.int16),
        "lengths": np.full(clips, samples, np.int32),
    }
    labels = rng.integers(1, 31, (clips, int(seconds * 20))).astype(np.int32)
    y = {"labels": labels, "label_lengths": np.full(clips, int(seconds * 12), np.int32)}
    y |= {"phones": labels[:, : int(seconds * 15)], "phone_lengths": np.full(clips, int(seconds * 10), np.int32)}
    times = []
    for _ in range(steps + 1):
        start = np.array([time.perf_counter(), time.process_time()])
        float(training.train_on_batch(x, y))
        times.append(np.array([time.perf_counter(), time.process_time()]) - start)
    print(f"  {network.count_params():,} parameters, first step after {times[0][0]:.0f} s", flush=True)
    return tuple(np.median(times[1:], axis=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["conformer-cpu"], help="default: of the embedded model")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each clip")
    parser.add_argument("--clips", type=int, default=8, help="in a batch")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    import keras

    from train.fit.presets import PRESETS

    keras.config.set_dtype_policy(args.precision)
    audio_seconds, taken = args.clips * args.seconds, {}
    for name in (*args.presets, EXAMPLE):
        print(name, flush=True)
        taken[name] = wall, cpu = step_seconds(PRESETS[name], args.clips, args.seconds, args.steps)
        print(
            f"  {audio_seconds / wall:.1f} seconds of audio per second, "
            f"{1000 * cpu / audio_seconds:.1f} ms of CPU per second of audio", flush=True,
        )  # fmt: skip
    for name in args.presets:
        wall, cpu = (theirs / ours for ours, theirs in zip(taken[name], taken[EXAMPLE], strict=True))
        print(f"{name} is {wall:.1f} times as fast as {EXAMPLE}, {cpu:.1f} times by CPU")


if __name__ == "__main__":
    main()
