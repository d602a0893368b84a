"""The training loop, and the files that a run writes into its folder.

`checkpoint.safetensors` holds the whole state (weights, optimiser, averages, random state) and is replaced atomically,
so that a run survives being killed at any moment. Batches depend on the training step only (`train.data.batches`): a
resumed run continues as if it had not been interrupted.
"""

import csv
import dataclasses
import importlib
import io
import json
import os
import platform
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count as count_up
from itertools import takewhile
from pathlib import Path

import jiwer
import keras
import numpy as np
from keras import ops
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from asr_core import models
from asr_core.bundle.bundle import Bundle
from asr_core.bundle.description import WEIGHTS, fingerprint
from asr_core.bundle.loading import save_bundle
from asr_core.ctc import best_path, collapse
from asr_core.models.features import make_featurizer
from asr_core.storage import replace_file, replacing
from asr_core.text.vocabulary import Vocabulary
from train.data.augmentation import SpecAugment
from train.data.batches import Batching, TrainingBatches, evaluation_batches
from train.data.cache import in_order
from train.data.credits import training_data
from train.data.device_augmentation import DeviceAugmentation
from train.data.examples import SpeechData
from train.data.loaders import batches_from_processes
from train.data.manifest import read_manifest
from train.fit.curves import EventLog, draw_curves
from train.fit.objective import TrainingModel, one_jax_device
from train.fit.optimizer import SafeAdamW
from train.fit.presets import Preset
from train.fit.warm_start import warm_start
from train.fit.workers import SYNC_STEPS, Workers
from train.learning_rate import WarmUpHoldDecay

CHECKPOINT = "checkpoint.safetensors"
UNTRAINED_WER = 70.0  # percent; above it a bundle is marked as untrained, which the app shows
EVALUATION = Batching(bucket_seconds=(4.0, 8.0, 16.0), batch_seconds=96.0)


class Trainer:
    """Trains one preset on one data set, in one folder.

    Args:
        preset: the recipe.
        data: training examples.
        validation: examples on which error rates are measured after every pass, or None.
        folder: of the run; if it has a checkpoint, the run is resumed.
        seed: of weights, order and augmentation.
        checkpoint_seconds: time between checkpoints, the most that is lost when the run is killed.
        card: further fields for the bundle's `config.json` (licence, name, description).
        compiled: whether XLA compiles the training step.
        start: a bundle with the initial weights, of the preset's network or of one with fewer blocks.
        command: the command line of the run, recorded in `run.json`.
        workers: the processes that train together on this machine; by default this one only.
        loaders: number of processes that make batches; with 0 threads make them, which share one interpreter.
        device_augmentation: whether the device that trains also alters the clips, instead of the host.
        minutes: time limit, of all resumptions together. The run ends at the limit or after the preset's passes,
            whichever comes first, and the learning rate decays accordingly. For a single process only.

    Raises:
        ValueError: the checkpoint in `folder` belongs to another run, or `start` is another network than the preset's.
    """

    def __init__(
        self, preset: Preset, data: SpeechData, validation: SpeechData | None, folder, seed=0,
        checkpoint_seconds=120.0, card: dict | None = None, compiled=True, start: Bundle | None = None,
        command: str = "", workers: Workers | None = None, loaders: int = 0, minutes: float | None = None,
        device_augmentation=False,
    ):  # fmt: skip
        self.preset, self.data, self.validation, self.seed = preset, data, validation, seed
        self.limit, self.seconds = 60 * minutes if minutes else float("inf"), 0.0
        self.command, self.loaders = command, loaders
        self.devices, self.workers = Devices.of_this_run(), workers or Workers()
        if self.devices.processes > 1 or self.workers.rank:
            self.validation = None  # one process would measure while the others wait for it
        self.folder, self.checkpoint_seconds, self.card = Path(folder), checkpoint_seconds, card or {}
        self.folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(seed)
        self.vocabulary = data.vocabulary
        self.network, self.featurizer = self._network_and_featurizer(start)
        spec_augment = self._spec_augment(seed)
        self.training = TrainingModel(
            self.featurizer, self.network, spec_augment, preset.consistency_weight, preset.phones_weight, preset.bits,
            DeviceAugmentation(preset.augmentation, data.sample_rate, seed) if device_augmentation else None,
        )  # fmt: skip
        steps_of = partial(_steps_of, self.featurizer, self.network.subsampling)
        self.batches = TrainingBatches(data, preset.batching, preset.augmentation, seed, steps_of, device_augmentation)
        self.steps_per_pass = -(-self.batches.steps_per_pass // self.workers.count)
        passes = max(preset.passes, -(-preset.min_steps // max(1, self.steps_per_pass)))
        self.total = passes * self.steps_per_pass
        self.schedule = WarmUpHoldDecay(preset.peak, preset.warm_up, int(preset.decay * self.total), self.total)
        self.optimizer = SafeAdamW(
            weight_decay=preset.weight_decay, clip_norm=preset.clip_norm, average=preset.average,
        )  # fmt: skip
        self.optimizer.build(self.network.trainable_variables)
        compiled = compiled and (preset.xla or keras.backend.backend() != "tensorflow")
        self.training.compile(optimizer=self.optimizer, loss=None, jit_compile=compiled)
        self.training.built = True
        self.step, self.best = 0, float("inf")
        self.losses, self.audio_seconds, self.pass_seconds = [], 0.0, 0.0  # of the pass so far
        self._identity = self._make_identity(start)
        if not self._resume() and start is not None and preset.architecture:  # otherwise the network is that of `start`
            self._start_from(start)

    def _network_and_featurizer(self, start: Bundle | None):
        """Those of the preset, with initial weights."""
        featurizer = make_featurizer(self.preset.featurizer)
        sizes = self.preset.sizes
        return models.build(self.preset.architecture, featurizer.bins, len(self.vocabulary), **sizes), featurizer

    def _spec_augment(self, seed: int) -> SpecAugment | None:
        arguments = self.preset.spec_augment
        if arguments is None:
            return None
        waveform = {"frequency_masks": 0} if self.featurizer.bins == 1 else {}  # it has no frequencies to mask
        return SpecAugment(**arguments | waveform, seed=seed)

    def fit(self) -> None:
        """Trains from the beginning or from the checkpoint to the end."""
        if self.chief:
            self._describe()
        if self.step and self.chief:
            finished = self.step >= self.total or self.elapsed_fraction >= 1
            tqdm.write("This run is finished." if finished else f"Continuing at step {self.step} of {self.total}.")
        bar = tqdm(total=self.total, initial=self.step, unit="step", smoothing=0.05, disable=not self.chief)
        with bar:  # closed before any message about an error
            self._take_steps(bar)

    def _take_steps(self, bar):
        saved = time.monotonic()
        begun, pass_begun = saved - self.seconds, saved - self.pass_seconds
        events = EventLog(self.folder, self.step) if self.chief else None

        def end_pass():
            loss = float(np.nanmean([float(loss) for loss in self.losses]))
            row = self._finish_pass(loss, self.audio_seconds, time.monotonic() - pass_begun)
            self.losses, self.audio_seconds, self.pass_seconds = [], 0.0, 0.0
            if events:
                events.write(self.step, {k: v for k, v in row.items() if k.startswith(("wer", "cer"))})

        for x, y in self._prefetched():
            self.audio_seconds += float(np.sum(x["lengths"])) / self.data.sample_rate
            learning_rate = self.schedule(self.step, self.elapsed_fraction)
            self.losses.append(self.training.step(*self.devices.share((x, y)), learning_rate))
            self.step += 1
            self.seconds, self.pass_seconds = time.monotonic() - begun, time.monotonic() - pass_begun
            end_of_pass = self.step % self.steps_per_pass == 0
            sync = self.workers.count > 1 and (end_of_pass or self.step % SYNC_STEPS == 0)
            due = time.monotonic() - saved > self.checkpoint_seconds and (sync or self.workers.count == 1)
            if end_of_pass or sync or due:
                self.training.settle()
            if sync:
                self._sync()
            self.workers.check()
            bar.update()
            if self.step % 20 == 0:
                rate = self.workers.count * self.audio_seconds / self.pass_seconds
                self.losses = [float(loss) for loss in self.losses]
                bar.set_postfix_str(f"loss {np.nanmean(self.losses[-100:]):.3f}, {rate:.0f} s of audio a second")
                if events:
                    learning_rate = self.schedule(self.step - 1, self.elapsed_fraction)
                    events.write(self.step, {"loss": self.losses[-1], "learning_rate": learning_rate})
            if end_of_pass:
                end_pass()
                pass_begun = time.monotonic()
            if self.chief and (end_of_pass or due):
                self._save_checkpoint()
                saved = time.monotonic()
        if self.step % self.steps_per_pass and self.losses:  # the time limit fell within a pass
            self.training.settle()
            end_pass()
            self._save_checkpoint()

    @property
    def elapsed_fraction(self) -> float:
        """Share of the time limit that has passed; 0 if there is no limit."""
        return self.seconds / self.limit

    @property
    def chief(self) -> bool:
        """Whether this process measures and writes files."""
        return self.devices.chief and self.workers.rank == 0

    @property
    def shared_values(self) -> int:
        """Number of float values that workers average at a sync."""
        return sum(int(np.prod(variable.shape)) for variable in self._shared())

    def _shared(self) -> list:
        """The variables that differ between workers: floats. Integers, which are counters, are the same in all."""
        return [variable for variable in self._state().values() if "float" in str(variable.dtype)]

    def _sync(self):
        """Sets all shared variables to their mean over the workers."""
        shared = self._shared()
        values = self.workers.mean([ops.convert_to_numpy(variable) for variable in shared])
        for variable, value in zip(shared, values, strict=True):
            variable.assign(value)

    def _prefetched(self):
        """Yields the remaining batches in order, made in advance by threads or processes."""
        count, rank = self.workers.count, self.workers.rank
        numbers = range(self.step * count + rank, self.total * count, count)
        numbers = takewhile(lambda _: self.elapsed_fraction < 1, numbers)
        if self.loaders:
            batches = batches_from_processes(self.batches, numbers, self.loaders)
        else:
            threads = min(8, max(2, os.cpu_count() or 2))
            batches = in_order(ThreadPoolExecutor(threads), self.batches.batch, numbers, ahead=3 * threads)
        if not one_jax_device():
            return batches
        on_device = in_order(ThreadPoolExecutor(1), lambda _: _on_device(next(batches, None)), count_up(), ahead=2)
        return takewhile(bool, on_device)

    # The end of a pass: error rates, bundles and metrics.

    def _finish_pass(self, loss, audio_seconds, seconds):
        """Measures, saves the bundles `last` and `best`, and logs; returns the row of `metrics.csv`."""
        row = self._row(loss, audio_seconds, seconds)
        with self.averaged_weights():  # in every process, since the devices share the weights
            if self.validation is not None:
                row |= self._validate()
            better = row.get("wer", 0.0) <= self.best or self.validation is None  # the later of two equals
            self.best = row.get("wer", 0.0) if better else self.best
            if self.chief:
                self.save_bundle(self.folder / "last", row)
                if better:
                    self.save_bundle(self.folder / "best", row)
        if self.chief:
            self._log(row)
        return row

    def _row(self, loss, audio_seconds, seconds) -> dict:
        """What `metrics.csv` says about a pass before error rates are measured."""
        rate = self.workers.count * audio_seconds / seconds
        return {
            "pass": -(-self.step // self.steps_per_pass), "step": self.step, "loss": round(loss, 4),
            "skipped": int(self.optimizer.skipped), "audio_seconds_per_second": round(rate, 1),
            "seconds": round(seconds),
        }  # fmt: skip

    def averaged_weights(self):
        """Context manager in which the network has its averaged weights."""
        return _AveragedWeights(self.network.trainable_variables, self.optimizer.averaged)

    def _validate(self) -> dict:
        """Greedy WER and CER in percent on the validation clips; prints two references and hypotheses."""
        references, hypotheses, corpora = [], [], []
        phone_references, phone_hypotheses = [], []
        for inputs, examples in evaluation_batches(self.validation, EVALUATION):
            outputs = self.training.predict_on_batch(inputs)
            for row, example in enumerate(examples):
                tokens = _greedy(outputs["logits"][row], outputs["lengths"][row])
                hypotheses.append(" ".join(self.vocabulary.decode(tokens).split()))
                references.append(self.vocabulary.decode(example.labels))
                corpora.append(self.validation.clips[example.number].corpus)
                if "phones" in outputs and len(example.phones):
                    phones = _greedy(outputs["phones"][row], outputs["phone_steps"][row])
                    phone_references.append(" ".join(map(str, example.phones)))
                    phone_hypotheses.append(" ".join(map(str, phones)))
        words = jiwer.process_words(references, hypotheses)
        row = {
            "wer": round(100 * words.wer, 2),
            "cer": round(100 * jiwer.cer(references, hypotheses), 2),
        }
        if phone_references:
            row["phone_error_rate"] = round(100 * jiwer.wer(phone_references, phone_hypotheses), 2)
        for corpus in sorted(set(corpora)):
            chosen = [i for i, name in enumerate(corpora) if name == corpus]
            wer = jiwer.wer([references[i] for i in chosen], [hypotheses[i] for i in chosen])
            row[f"wer_{corpus}"] = round(100 * wer, 2)
        for i in np.random.default_rng(self.step).choice(len(references), 2):
            tqdm.write(f"  reference:  {references[i]}\n  hypothesis: {hypotheses[i]}")
        return row

    def save_bundle(self, folder, row: dict) -> None:
        """Saves the network with its current weights as a bundle; `row` has the error rates measured on it."""
        # Passes over the data: a pass of the loop has `repeats` of them.
        passes = round(self.step * self.preset.batching.repeats / self.steps_per_pass)
        recipe = {"preset": self.preset.name, "passes": passes, "step": self.step, "seed": self.seed}
        dataset, part = ("what it was trained on", "train") if self.validation is self.data else ("validation", "valid")
        evaluation = {"dataset": dataset, "split": part, "decoder": "greedy"}
        measured = {key: round(row[key] / 100, 4) for key in ("wer", "cer") if key in row}
        config = {
            "trained": row.get("wer", 0.0) < UNTRAINED_WER,
            "evaluation": [evaluation | measured] if measured else [],
            "recipe": recipe,
            "featurizer": self.featurizer.config(),
            "sample_rate": self.featurizer.sample_rate,
            "tokens": list(self.vocabulary.tokens),
            "language": "en",
            "training_data": training_data([self.data.clips[example.number] for example in self.data.examples]),
            **self.card,
        }
        save_bundle(folder, self.network, config)

    # Files of a run.

    def _describe(self):
        """Writes `run.json`: command, recipe, data and versions."""
        backend = keras.backend.backend()
        description = {
            "command": self.command,
            "preset": dataclasses.asdict(self.preset),
            "seed": self.seed,
            "precision": keras.config.dtype_policy().name,
            "total_steps": self.total,
            "workers": self.workers.count,
            "clips": len(self.data.examples),
            "hours": round(self.data.hours, 2),
            "dropped": {**self.data.dropped, "text does not fit": self.batches.unfit},
            "normalised": dict(self.data.changes),
            "versions": {
                "python": platform.python_version(), "keras": keras.__version__, "numpy": np.__version__,
                "backend": backend, backend: importlib.import_module(backend).__version__,
            },
        }  # fmt: skip
        replace_file(self.folder / "run.json", json.dumps(description, indent=1))

    def _log(self, row: dict):
        """Adds a row to `metrics.csv`, in place of rows of the same or a later step, and draws the curves."""
        path = self.folder / "metrics.csv"
        rows = []
        if path.exists():
            with open(path, newline="") as file:
                rows = [r for r in csv.DictReader(file) if int(r["step"]) < row["step"]]
        rows.append(row)
        fields = list(dict.fromkeys(key for r in rows for key in r))
        table = io.StringIO()
        writer = csv.DictWriter(table, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace_file(path, table.getvalue())
        draw_curves(rows, self.folder / "curves.svg")
        place = " (on the training clips)" if self.validation is self.data else ""
        tqdm.write("  ".join(f"{key} {value}" for key, value in row.items()) + place)

    # Checkpoints.

    def _state(self):
        """Every variable that a training step reads or changes, under a name that is the same in every process."""
        groups = {"model": self.training.variables, "optimizer": self.optimizer.variables}
        return {f"{group}/{i:04d}": v for group, variables in groups.items() for i, v in enumerate(variables)}

    def _save_checkpoint(self):
        arrays = {name: np.array(ops.convert_to_numpy(variable)) for name, variable in self._state().items()}
        progress = {
            "batches": str(self.step * self.workers.count), "best": str(self.best), "run": self._identity,
            "seconds": str(self.seconds),
            "pass": json.dumps([[float(loss) for loss in self.losses], self.audio_seconds, self.pass_seconds]),
        }  # fmt: skip
        with replacing(self.folder / CHECKPOINT) as partial:
            save_file(arrays, partial, metadata=progress)
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())

    def _start_from(self, bundle: Bundle):
        try:
            warm_start(self.network, bundle.build())
        except ValueError as error:
            raise ValueError(
                f"{bundle.name} is another network than that of the preset {self.preset.name}: adapt it with --preset "
                "adapt, or leave out --start"
            ) from error

    def _make_identity(self, start: Bundle | None) -> str:
        """What a run depends on: preset, seed, clips and initial weights. Another checkpoint is refused.

        A run may begin with a bundle in its own folder, which it then replaces.
        """
        clips = 0
        for example in self.data.examples:
            number = example.number
            clip = (self.data.clips[number].id, self.data.cache.checksums[number], example.labels.tolist())
            clips = zlib.crc32(repr(clip).encode(), clips)
        identity = f"preset {self.preset.name}, seed {self.seed}, clips and texts {clips:08x}"
        if start is None or start.path.resolve().is_relative_to(self.folder.resolve()):
            return identity
        return f"{identity}, start {_weights_hash(start):08x}"

    def _resume(self) -> bool:
        """Restores the checkpoint of the folder; returns whether there was one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        try:
            arrays = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path} is damaged: delete it, and begin again with --start {self.folder / 'last'}, or without"
            ) from error
        state = self._state()
        if {k: tuple(v.shape) for k, v in state.items()} != {k: v.shape for k, v in arrays.items()}:
            raise ValueError(f"{path} belongs to another recipe: use another --out, or delete it")
        progress = _metadata(path)
        identity = progress.get("run", self._identity)
        if identity != self._identity:
            best = self.folder / "best"
            further = f", with --start {best} to continue from there" if best.is_dir() else ""
            raise ValueError(
                f"{path} was begun with {identity}, and this is {self._identity}: use another --out{further}"
            )
        for name, variable in state.items():
            variable.assign(arrays[name])
        batches = int(progress["batches"])
        self.step, self.best = batches // self.workers.count, float(progress["best"])
        self.optimizer.iterations.assign(self.step)
        self.seconds = float(progress.get("seconds", 0.0))
        self.losses, self.audio_seconds, self.pass_seconds = json.loads(progress.get("pass", "[[], 0, 0]"))
        return True


class _AveragedWeights:
    """Assigns the averaged weights on entry, and the trained weights again on exit."""

    def __init__(self, variables, averaged):
        self.variables, self.averaged = variables, averaged

    def __enter__(self):
        self.trained = [np.array(ops.convert_to_numpy(v)) for v in self.variables]
        for variable, average in zip(self.variables, self.averaged, strict=True):
            variable.assign(np.array(ops.convert_to_numpy(average)))  # a copy, since JAX donates buffers

    def __exit__(self, *error):
        for variable, value in zip(self.variables, self.trained, strict=True):
            variable.assign(value)


def _on_device(batch):
    """A batch with its samples on the JAX device, copied asynchronously; None stays None."""
    import jax

    return batch and (batch[0] | {"samples": jax.device_put(batch[0]["samples"])}, batch[1])


def _steps_of(featurizer, subsampling: int, samples: int) -> int:
    """Number of output steps for a number of samples."""
    return -(-max(1, featurizer.frame_count(samples)) // subsampling)


def _greedy(logits, steps) -> list[int]:
    """Greedy decoding of the first `steps` steps of logits [steps, tokens]: tokens, without blanks and repeats."""
    return collapse(best_path(np.asarray(logits[: int(steps)], np.float32)))


def _weights_hash(bundle: Bundle) -> int:
    """CRC-32 of the hashes of a model's files of weights."""
    if bundle.checkpoint:
        files = {tensor.path for tensor in bundle.checkpoint.tensors.values()}
    else:
        files = {bundle.path / name for name in bundle.config["files"] if WEIGHTS.fullmatch(name)}
    return zlib.crc32("".join(fingerprint(path)["sha256"] for path in sorted(files)).encode())


def _metadata(path) -> dict:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return file.metadata()


def load_data(
    manifests, cache, vocabulary: Vocabulary, sample_rate: int, limit=None, pronunciations=None, **limits
) -> SpeechData:
    """Reads manifests and decodes their clips, or the first `limit` of them, into the folder `cache`.

    Further arguments are the limits of `SpeechData`.
    """
    clips = [clip for manifest in manifests for clip in read_manifest(manifest)]
    return SpeechData(clips[:limit], cache, vocabulary, sample_rate, pronunciations=pronunciations, **limits)


def split(data: SpeechData, share: float, seed: int) -> tuple[SpeechData, SpeechData]:
    """Training and validation split by seed and clip id: `share` of the clips, at least one, for validation."""
    numbers = [example.number for example in data.examples]
    numbers.sort(key=lambda number: (zlib.crc32(f"{seed} {data.clips[number].id}".encode()), number))
    held_out = set(numbers[: max(1, round(share * len(numbers)))])
    return data.subset(lambda e: e.number not in held_out), data.subset(lambda e: e.number in held_out)


@dataclasses.dataclass(frozen=True)
class Devices:
    """The place of this process in a data-parallel run over several processes.

    Attributes:
        rank: number of this process, from 0.
        processes: how many there are. Every process goes through all batches and computes its own rows of each.
    """

    rank: int = 0
    processes: int = 1

    @classmethod
    def of_this_run(cls):
        if keras.distribution.distribution() is None or keras.backend.backend() != "jax":
            return cls()
        import jax

        return cls(jax.process_index(), jax.process_count())

    @property
    def chief(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, batch):
        """The rows of a batch that this process computes."""
        if self.processes == 1:
            return batch
        rows = slice(self.rank, None, self.processes)
        return tuple({key: value[rows] for key, value in part.items()} for part in batch)
