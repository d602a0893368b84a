"""The training loop, and what a run writes after every pass.

A checkpoint (`train.fit.checkpoint`) holds the whole state: weights, optimiser, averages, random state. Batches depend
on the training step only (`train.data.batches`). A run that was killed therefore continues as if nothing had happened.
"""

import dataclasses
import importlib
import json
import os
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count as count_up
from itertools import takewhile
from pathlib import Path

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from asr_core import models
from asr_core.bundle.bundle import Bundle
from asr_core.bundle.loading import save_bundle
from asr_core.models.features import make_featurizer
from asr_core.storage import replace_file
from train.data.augmentation import SpecAugment
from train.data.batches import TrainingBatches
from train.data.cache import in_order
from train.data.credits import training_data
from train.data.device_augmentation import DeviceAugmentation
from train.data.examples import SpeechData
from train.data.loaders import batches_from_processes
from train.fit.checkpoint import read_checkpoint, run_identity, write_checkpoint
from train.fit.curves import EventLog, log_pass
from train.fit.devices import Devices
from train.fit.error_rates import error_rates
from train.fit.objective import TrainingModel, one_jax_device
from train.fit.optimizer import SafeAdamW
from train.fit.presets import Preset
from train.fit.warm_start import warm_start
from train.fit.workers import SYNC_STEPS, Workers
from train.learning_rate import WarmUpHoldDecay

UNTRAINED_WER = 70.0  # percent; above it a bundle is marked as untrained, which the app shows


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
        self.batches = self._make_batches(preset.batching, preset.augmentation, seed, steps_of, device_augmentation)
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
        self._identity = run_identity(self.folder, self._recipe(), seed, data, start)
        if not self._resume() and start is not None and preset.architecture:  # otherwise the network is that of `start`
            self._start_from(start)

    def _network_and_featurizer(self, start: Bundle | None):
        """Those of the preset, with initial weights."""
        featurizer = make_featurizer(self.preset.featurizer)
        sizes = self.preset.sizes
        return models.build(self.preset.architecture, featurizer.bins, len(self.vocabulary), **sizes), featurizer

    def _make_batches(self, *arguments) -> TrainingBatches:
        """The batches of the run; `arguments` of TrainingBatches after the data."""
        return TrainingBatches(self.data, *arguments)

    def _recipe(self) -> str:
        """What a checkpoint depends on besides the seed, the clips and the initial weights."""
        return self.preset.name

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
            if self.elapsed_fraction >= 1:
                continue  # a batch that was made in advance
            self.audio_seconds += float(np.sum(x["lengths"])) / self.data.sample_rate
            learning_rate = self._learning_rate(self.step)
            self.losses.append(self.training.step(*self.devices.share((x, y)), learning_rate))
            self.step += 1
            self.seconds, self.pass_seconds = time.monotonic() - begun, time.monotonic() - pass_begun
            end_of_pass = self.step % self.steps_per_pass == 0
            sync = self.workers.count > 1 and (end_of_pass or self.step % SYNC_STEPS == 0)
            due = time.monotonic() - saved > self.checkpoint_seconds and (sync or self.workers.count == 1)
            if end_of_pass or sync or due:
                self.training.write_back()
            if sync:
                self._sync()
            self.workers.check()
            bar.update()
            if self.step % 20 == 0:
                rate = self.workers.count * self.audio_seconds / self.pass_seconds
                self.losses = [float(loss) for loss in self.losses]
                bar.set_postfix_str(f"loss {np.nanmean(self.losses[-100:]):.3f}, {rate:.0f} s of audio a second")
                if events:
                    learning_rate = self._learning_rate(self.step - 1)
                    events.write(self.step, {"loss": self.losses[-1], "learning_rate": learning_rate})
            if end_of_pass:
                end_pass()
                pass_begun = time.monotonic()
            if self.chief and (end_of_pass or due):
                self._save_checkpoint()
                saved = time.monotonic()
        if self.step % self.steps_per_pass and self.losses:  # the time limit fell within a pass
            self.training.write_back()
            end_pass()
            self._save_checkpoint()

    def _learning_rate(self, step: int) -> float:
        return self.schedule(step, self.elapsed_fraction)

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
                row |= error_rates(self.training, self.validation, self.vocabulary, seed=self.step)
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
        """The fields of `metrics.csv` for a pass, without error rates."""
        rate = self.workers.count * audio_seconds / seconds
        return {
            "pass": -(-self.step // self.steps_per_pass), "step": self.step, "loss": round(loss, 4),
            "skipped": int(self.optimizer.skipped), "audio_seconds_per_second": round(rate, 1),
            "seconds": round(seconds),
        }  # fmt: skip

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside the block the network has its averaged weights."""
        variables = self.network.trainable_variables
        trained = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
        for variable, average in zip(variables, self.optimizer.averaged, strict=True):
            variable.assign(np.array(ops.convert_to_numpy(average)))  # a copy, since JAX donates buffers
        try:
            yield
        finally:
            for variable, value in zip(variables, trained, strict=True):
                variable.assign(value)

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
            "dereverberation": self.preset.dereverberation,
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
        log_pass(self.folder, row)
        place = " (on the training clips)" if self.validation is self.data else ""
        tqdm.write("  ".join(f"{key} {value}" for key, value in row.items()) + place)

    # Checkpoints.

    def _state(self):
        """Every variable that a training step reads or changes, under a name that is the same in every process."""
        groups = {"model": self.training.variables, "optimizer": self.optimizer.variables}
        return {f"{group}/{i:04d}": v for group, variables in groups.items() for i, v in enumerate(variables)}

    def _save_checkpoint(self):
        progress = {
            "batches": str(self.step * self.workers.count), "best": str(self.best), "seconds": str(self.seconds),
            "pass": json.dumps([[float(loss) for loss in self.losses], self.audio_seconds, self.pass_seconds]),
        }  # fmt: skip
        write_checkpoint(self.folder, self._identity, self._state(), progress)

    def _resume(self) -> bool:
        """Restores the checkpoint of the folder; returns whether there was one."""
        progress = read_checkpoint(self.folder, self._identity, self._state())
        if progress is None:
            return False
        self.step, self.best = int(progress["batches"]) // self.workers.count, float(progress["best"])
        self.optimizer.iterations.assign(self.step)
        self.seconds = float(progress.get("seconds", 0.0))
        self.losses, self.audio_seconds, self.pass_seconds = json.loads(progress.get("pass", "[[], 0, 0]"))
        return True

    def _start_from(self, bundle: Bundle):
        try:
            warm_start(self.network, bundle.build())
        except ValueError as error:
            raise ValueError(
                f"{bundle.name} is another network than that of the preset {self.preset.name}: adapt it with --preset "
                "adapt, or leave out --start"
            ) from error


def _on_device(batch):
    """A batch with its samples on the JAX device, copied asynchronously; None stays None."""
    import jax

    return batch and (batch[0] | {"samples": jax.device_put(batch[0]["samples"])}, batch[1])


def _steps_of(featurizer, subsampling: int, samples: int) -> int:
    """Number of output steps for a number of samples."""
    return -(-max(1, featurizer.frame_count(samples)) // subsampling)
