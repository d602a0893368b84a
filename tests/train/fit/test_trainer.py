"""Training runs: they learn, they survive being killed, and their bundles and checkpoints can be loaded."""

import csv
import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from safetensors import safe_open
from safetensors.numpy import load_file

from asr_core.bundle.loading import load_bundle
from asr_core.text.vocabulary import Vocabulary
from tests.processes import comes_true
from tests.train.conftest import break_at
from train.data.augmentation import Augmentation
from train.data.batches import Batching
from train.data.examples import load_data, split
from train.fit.checkpoint import CHECKPOINT
from train.fit.presets import PRESETS
from train.fit.trainer import Trainer

ROOT = Path(__file__).parents[3]
TINY = dataclasses.replace(
    PRESETS["smoke"],
    sizes={"width": 16, "blocks": 1, "heads": 2, "kernel": 3, "channels": 2, "reduction": 1, "dropout": 0.1},
    passes=3,
    batching=Batching(bucket_seconds=(2.2,), batch_seconds=6.0, short_first_passes=0),
    augmentation=Augmentation(noise=0.5),
    spec_augment={},
)


def data_of(corpus, tmp_path):
    return load_data([corpus], tmp_path / "cache", Vocabulary(), 16_000)


def metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_smoke_overfits_a_handful_of_clips(smoke_run):
    rows = metrics(smoke_run)
    assert float(rows[0]["loss"]) > 1 > 100 * float(rows[-1]["loss"])
    assert min(float(row["wer"]) for row in rows) == 0.0
    assert load_bundle(smoke_run / "best").build().count_params() > 10_000


def test_the_recipe_of_the_keras_example_trains(corpus, tmp_path):
    """With fewer cells, in small batches; its own rate, features and split."""
    batching = dataclasses.replace(PRESETS["keras-example"].batching, batch_clips=4, bucket_seconds=(1.5,))
    sizes = {"rnn_layers": 1, "rnn_units": 16}
    preset = dataclasses.replace(PRESETS["keras-example"], sizes=sizes, passes=2, batching=batching)
    data = load_data([corpus], tmp_path / "cache", Vocabulary(), 22_050)
    training, validation = split(data, 0.3, seed=0)
    Trainer(preset, training, validation, tmp_path / "run").fit()
    first, second = metrics(tmp_path / "run")
    assert float(second["loss"]) < float(first["loss"]) and int(second["skipped"]) == 0
    assert load_bundle(tmp_path / "run" / "last").sample_rate == 22_050


class Killed(Exception):
    pass


def test_a_run_that_was_stopped_ends_where_an_unbroken_one_does(corpus, tmp_path):
    data = data_of(corpus, tmp_path)
    Trainer(TINY, data, None, tmp_path / "whole", compiled=False).fit()

    broken = Trainer(TINY, data, None, tmp_path / "broken", checkpoint_seconds=0, compiled=False)
    stop_at = 7
    assert stop_at % broken.batches.steps_per_pass, "the middle of a pass"
    break_at(stop_at, broken, Killed)
    with pytest.raises(Killed):
        broken.fit()
    resumed = Trainer(TINY, data, None, tmp_path / "broken", compiled=False)
    assert (resumed.step, resumed.best) == (stop_at, broken.best)
    resumed.fit()
    losses = [[row["loss"] for row in metrics(tmp_path / name)] for name in ("whole", "broken")]
    assert losses[0] == losses[1], "of all steps of the pass, those before the stop among them"
    assert float(resumed.optimizer.learning_rate) == pytest.approx(resumed.schedule(resumed.total - 1))
    saved = load_bundle(tmp_path / "broken" / "last").build().trainable_variables
    for averaged, weight in zip(resumed.optimizer.averaged, saved, strict=True):
        np.testing.assert_allclose(weight, averaged, atol=2e-3)  # 16 bits

    whole, again = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "broken"))
    assert whole.keys() == again.keys()
    for name in whole:
        np.testing.assert_allclose(whole[name], again[name], atol=1e-5, err_msg=name)


def test_a_run_ends_by_the_clock_with_its_last_pass_measured_and_saved(corpus, tmp_path, monkeypatch):
    ticks = count()
    monkeypatch.setattr("train.fit.trainer.time", SimpleNamespace(monotonic=lambda: 0.02 * next(ticks)))
    data = data_of(corpus, tmp_path)
    endless = dataclasses.replace(TINY, passes=10_000)
    timed = {"compiled": False, "minutes": 0.05}
    run = Trainer(endless, data, data, tmp_path / "run", **timed)
    run.fit()
    assert 0 < run.step < run.total
    assert float(run.optimizer.learning_rate) < 0.2 * TINY.peak, "it has decayed towards the limit"
    assert int(metrics(tmp_path / "run")[-1]["step"]) == run.step
    recipe = load_bundle(tmp_path / "run" / "last").config["recipe"]
    assert (recipe["step"], recipe["passes"]) == (run.step, round(run.step / run.steps_per_pass))
    again = Trainer(endless, data, data, tmp_path / "run", **timed)
    again.fit()
    assert again.step == run.step, "its time was over"


def test_a_run_survives_sigkill_at_any_moment(corpus, tmp_path):
    run = tmp_path / "run"
    command = [
        sys.executable, "-m", "train", "--preset", "smoke", "--data", str(corpus), "--out", str(run),
        "--cache", str(tmp_path / "cache"), "--passes", "400", "--checkpoint-minutes", "0", "--no-compile",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert comes_true(lambda: (run / CHECKPOINT).exists() or process.poll() is not None, seconds=240)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with safe_open(run / CHECKPOINT, "np") as file:
        step = int(file.metadata()["batches"])
    assert step > 0
    (run / ".0123.part").write_bytes((run / CHECKPOINT).read_bytes()[:1000])  # killed while it wrote
    preset = dataclasses.replace(PRESETS["smoke"], passes=400)
    assert Trainer(preset, data_of(corpus, tmp_path), None, run).step == step


def test_the_message_of_a_damaged_checkpoint_has_a_remedy(corpus, tmp_path):
    data, folder = data_of(corpus, tmp_path), tmp_path / "run"
    trainer = Trainer(TINY, data, None, folder, compiled=False)
    trainer.step = 5
    trainer._save_checkpoint()
    assert Trainer(TINY, data, None, folder, compiled=False).step == 5
    whole = (folder / CHECKPOINT).read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5], b""):
        (folder / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged: delete it, and begin again with --start .*last, or without"):
            Trainer(TINY, data, None, folder, compiled=False)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device", "checkpoint"), 1, "has stopped (checkpoint: No space left on device.)"),
        (
            OSError(28, "No space left on device"),
            1,
            "/x/run: No space left on device.); the same command continues it.",
        ),
        (KeyboardInterrupt(), 130, "Stopped; the same command continues from the last checkpoint."),
    ],
)
def test_what_ends_a_run_is_one_line(error, code, message, corpus, tmp_path, monkeypatch, capsys):
    from train.__main__ import main

    def fit(self):
        raise error

    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setattr(Trainer, "fit", fit)
    arguments = ["--preset", "tiny", "--data", str(corpus), "--out", str(tmp_path / "x" / "run")]
    assert main(arguments) == code
    assert message in capsys.readouterr().err
    assert list((tmp_path / "x" / "cache").glob("sound-*.pcm")), "the cache lies beside the run"


@pytest.mark.parametrize("rates,best", [((50.0, 20.0, 20.0), 3), ((20.0, 20.0, 50.0), 2)])
def test_of_equally_good_passes_the_later_is_the_best(rates, best, corpus, tmp_path, monkeypatch):
    data = data_of(corpus, tmp_path)
    trainer = Trainer(TINY, data, data, tmp_path / "run", compiled=False)
    measured = iter(rates)
    monkeypatch.setattr("train.fit.trainer.error_rates", lambda *_, seed: {"wer": next(measured), "cer": 1.0})
    trainer.training.step = lambda *batch: 1.0  # what is learned does not matter here
    trainer.fit()
    config = json.loads((tmp_path / "run" / "best" / "config.json").read_text())
    assert config["recipe"]["step"] == best * trainer.steps_per_pass


def test_a_run_is_not_resumed_with_another_recipe(corpus, tmp_path):
    data = data_of(corpus, tmp_path)
    Trainer(TINY, data, None, tmp_path / "run", compiled=False)._save_checkpoint()
    other = dataclasses.replace(TINY, sizes={**TINY.sizes, "width": 32})
    with pytest.raises(ValueError, match="belongs to another recipe"):
        Trainer(other, data, None, tmp_path / "run")
    with pytest.raises(ValueError, match="seed 0, clips .*, and this is preset .*, seed 1"):
        Trainer(TINY, data, None, tmp_path / "run", seed=1)
    fewer = data.subset(lambda example: example.number)
    (tmp_path / "run" / "best").mkdir()
    with pytest.raises(ValueError, match="use another --out, with --start"):
        Trainer(TINY, fewer, None, tmp_path / "run")


@pytest.mark.parametrize("seed", range(6))
def test_a_few_clips_are_split_into_two_parts_that_both_have_some(seed, corpus, tmp_path):
    data = data_of(corpus, tmp_path)
    few = data.subset(lambda example: example.number < 4)
    training, validation = split(few, 0.1, seed)
    assert len(training.examples) >= 1 <= len(validation.examples)
    assert len(training.examples) + len(validation.examples) == 4


def changed_corpus(corpus, folder, change):
    """A copy of the toy corpus with later times of its files, after `change` of its folder."""
    shutil.copytree(corpus.parent, folder, copy_function=shutil.copyfile)
    change(folder)
    return folder / corpus.name


def another_text(folder):
    manifest = folder / "manifest.jsonl"
    first, *others = manifest.read_text().splitlines()
    manifest.write_text("\n".join([json.dumps(json.loads(first) | {"text": "a cab"}), *others]))


def another_recording(folder):
    samples, rate = soundfile.read(folder / "clip-0.wav")
    soundfile.write(folder / "clip-0.wav", 0.9 * samples, rate)


def test_a_run_is_not_resumed_with_other_texts_or_recordings(corpus, tmp_path):
    Trainer(TINY, data_of(corpus, tmp_path), None, tmp_path / "run", compiled=False)._save_checkpoint()
    for change in another_text, another_recording:
        changed = data_of(changed_corpus(corpus, tmp_path / change.__name__, change), tmp_path)
        with pytest.raises(ValueError, match="was begun with .* clips and texts .*: use another --out"):
            Trainer(TINY, changed, None, tmp_path / "run", compiled=False)
    moved = data_of(changed_corpus(corpus, tmp_path / "moved", lambda folder: None), tmp_path)
    Trainer(TINY, moved, None, tmp_path / "run", compiled=False)


def test_a_run_is_not_resumed_with_another_model_to_start_from(corpus, tmp_path):
    data = data_of(corpus, tmp_path)
    for seed in (1, 2):
        Trainer(TINY, data, None, tmp_path / "x", seed, compiled=False).save_bundle(tmp_path / f"model-{seed}", {})
    begin = functools.partial(Trainer, TINY, data, None, tmp_path / "run", compiled=False)
    begin(start=load_bundle(tmp_path / "model-1"))._save_checkpoint()
    shutil.copytree(tmp_path / "model-1", tmp_path / "copy")
    begin(start=load_bundle(tmp_path / "copy"))
    for other in None, load_bundle(tmp_path / "model-2"):
        with pytest.raises(ValueError, match="was begun with .* start .*: use another --out"):
            begin(start=other)


def test_a_run_resumes_that_was_begun_with_a_model_in_its_own_folder(corpus, tmp_path):
    data, last = data_of(corpus, tmp_path), tmp_path / "run" / "last"
    begin = functools.partial(Trainer, TINY, data, None, tmp_path / "run", compiled=False)
    begin().save_bundle(last, {})
    trainer = begin(start=load_bundle(last))
    trainer._save_checkpoint()
    trainer.network.set_weights([2 * weight for weight in trainer.network.get_weights()])
    trainer.save_bundle(last, {})
    begin(start=load_bundle(last))


def test_error_rates_on_the_training_clips_are_called_so(corpus, tmp_path, capsys):
    data = data_of(corpus, tmp_path)
    held_out = split(data, 0.3, seed=0)[1]
    for validation, called in (data, True), (held_out, False):
        trainer = Trainer(TINY, data, validation, tmp_path / f"run-{called}", compiled=False)
        trainer._log({"step": 1, "pass": 1, "loss": 1.0, "wer": 5.0})
        assert ("wer 5.0 (on the training clips)" in capsys.readouterr().out) == called


def test_a_run_begins_with_the_weights_of_another_model(corpus, tmp_path):
    data = data_of(corpus, tmp_path)
    Trainer(TINY, data, None, tmp_path / "first", seed=1, compiled=False).save_bundle(tmp_path / "first" / "last", {})
    bundle = load_bundle(tmp_path / "first" / "last")
    fresh, begun = (Trainer(TINY, data, None, tmp_path / name, start=start).network
                    for name, start in (("fresh", None), ("begun", bundle)))  # fmt: skip
    wanted = bundle.build().get_weights()
    for got, want in zip(begun.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert any(np.abs(got - want).max() > 1e-4 for got, want in zip(fresh.get_weights(), wanted, strict=True))
    other = dataclasses.replace(TINY, sizes={**TINY.sizes, "width": 32})
    with pytest.raises(ValueError, match="^last is another network than that of the preset smoke: adapt it with"):
        Trainer(other, data, None, tmp_path / "other", start=bundle)


def test_a_run_writes_down_what_it_was(corpus, tmp_path):
    once = dataclasses.replace(TINY, passes=1)
    Trainer(once, data_of(corpus, tmp_path), None, tmp_path / "run", seed=7, compiled=False).fit()
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["seed"] == 7 and written["clips"] == 10
    assert written["preset"]["peak"] == TINY.peak and written["precision"] == "float32"
    assert {"keras", "numpy", written["versions"]["backend"]} <= written["versions"].keys()
    leftovers = [name for name in os.listdir(tmp_path / "run") if "partial" in name]
    assert not leftovers


def test_command_line_names_the_presets(corpus, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "train", "--preset", "huge", "--data", str(corpus), "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "There is no preset 'huge'; there are " in done.stderr and "smoke" in done.stderr


def test_the_line_to_go_on_with_can_be_pasted(monkeypatch):
    from train.__main__ import command

    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert command(["--data", "my speech.jsonl"]) == "KERAS_BACKEND=jax python -m train --data 'my speech.jsonl'"
    monkeypatch.delenv("KERAS_BACKEND")
    assert command(["--out", "runs/x"]) == "python -m train --out runs/x"


@pytest.mark.parametrize(
    "line,message",
    [
        (None, "No such file"),
        ("", "There is nothing to learn from; left out: none."),
        ("no json", "line 1: not a clip"),
        (
            '{"id": "a", "audio": "gone.wav", "seconds": 1, "speaker": "s", "text": "t"}',
            "left out: 1 not decodable.\n  a: {folder}/gone.wav: No such file or directory.\n",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_is_reported_in_a_line(tmp_path, capsys, line, message):
    from train.__main__ import main

    manifest = tmp_path / "m.jsonl"
    if line is not None:
        manifest.write_text(line)
    arguments = ["--preset", "smoke", "--data", str(manifest), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 1
    assert message.replace("{folder}", str(tmp_path)) in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["train.data.examples.load_data", "train.__main__._make_trainer"])
def test_ctrl_c_before_the_training_is_a_line(stage, corpus, tmp_path, monkeypatch, capsys):
    from train.__main__ import main

    def stop(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, stop)
    assert main(["--preset", "smoke", "--data", str(corpus), "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Stopped."
