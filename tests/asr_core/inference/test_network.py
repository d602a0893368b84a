"""The worker thread, which batches windows, and the process of the network, which may end at any moment."""

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asr_core import models
from asr_core.bundle.bundle import Bundle
from asr_core.bundle.loading import load_bundle, save_bundle
from asr_core.errors import BundleError, ProcessEnded
from asr_core.inference.backend import quiet_libraries
from asr_core.inference.compiled import CompiledModel, FrameGeometry
from asr_core.inference.process import InferenceProcess
from asr_core.inference.worker import InferenceWorker
from asr_core.text.vocabulary import Vocabulary
from tests.processes import ended

RATE = 8000
TOKENS = Vocabulary().tokens
SIZES = {
    "conformer": {"width": 16, "blocks": 2, "heads": 2, "channels": 4, "kernel": 5},
    "deepspeech2": {"rnn_layers": 1, "rnn_units": 8},
}
FEATURIZERS = {
    "conformer": {"name": "log-mel", "sample_rate": RATE, "bins": 12},
    "deepspeech2": {"name": "keras-stft", "sample_rate": RATE, "bins": 193},
}


def made(folder, architecture="conformer") -> Bundle:
    featurizer = FEATURIZERS[architecture]
    network = models.build(architecture, featurizer["bins"], len(TOKENS), **SIZES[architecture])
    configuration = {"featurizer": featurizer, "sample_rate": RATE, "tokens": TOKENS}
    return load_bundle(save_bundle(folder, network, configuration))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return made(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def batch():
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 2 * RATE)).astype("float32")
    return samples, np.array([2 * RATE, RATE], np.int32)


@pytest.mark.parametrize("architecture", SIZES)
def test_the_steps_of_a_recording_are_those_of_its_network(architecture, tmp_path):
    bundle = made(tmp_path / "a", architecture)
    network, featurizer = bundle.build(), bundle.featurizer()
    geometry = CompiledModel(bundle).geometry
    assert geometry == FrameGeometry(featurizer.frame_samples, featurizer.hop_samples, network.subsampling)
    for samples in [1, featurizer.frame_samples, *range(3000, 3000 + 4 * geometry.step_samples, 37)]:
        frames = max(featurizer.frame_count(samples), 1)
        assert geometry.steps(samples) == network.output_lengths(frames)


@pytest.fixture(scope="module")
def process(bundle):
    return InferenceProcess(bundle)


def test_a_process_gives_the_outputs_of_the_model_here(bundle, batch, process):
    here = CompiledModel(bundle)
    assert process.geometry == here.geometry
    for there, expected in zip(process(*batch), here(*batch), strict=True):
        np.testing.assert_allclose(there, expected, atol=1e-5)


def test_a_failure_in_the_process_is_raised_here_and_it_goes_on(batch, process):
    with pytest.raises(RuntimeError, match="Traceback"):
        process(batch[0].ravel(), batch[1])  # no batch
    assert len(process(*batch)) == 2


def test_where_a_process_was_killed_another_transcribes_the_batch(bundle, batch):
    """Also where it was killed before it was ready."""
    process = InferenceProcess(bundle)
    newest().kill()
    expected = process(*batch)
    newest().kill()
    np.testing.assert_allclose(process(*batch)[0], expected[0], atol=1e-5)


def test_what_ends_every_process_is_reported(bundle, batch, process, monkeypatch):
    begin = InferenceProcess._begin

    def begin_and_end(self):
        begin(self)
        newest().kill()

    process._connection.close()  # its process ends, too
    with monkeypatch.context() as patch, pytest.raises(ProcessEnded, match="try again later"):
        patch.setattr(InferenceProcess, "_begin", begin_and_end)
        process(*batch)
    assert len(process(*batch)) == 2


def test_after_half_an_exchange_no_request_receives_the_outputs_of_another(bundle, batch, process):
    class Interrupted:
        """A connection whose reader is killed as an answer comes."""

        def __init__(self, connection):
            self.send = connection.send

        def recv(self):
            raise SystemExit

    samples, lengths = batch
    process._connection = Interrupted(process._connection)
    with pytest.raises(SystemExit):
        process(samples, lengths)
    other = samples[:, ::-1].copy()
    np.testing.assert_allclose(process(other, lengths)[0], CompiledModel(bundle)(other, lengths)[0], atol=1e-5)


def test_a_process_ends_with_the_object(bundle):
    process = InferenceProcess(bundle)
    child = newest()
    assert process.geometry.steps(RATE) > 1
    del process
    gc.collect()
    child.join(10)
    assert child.exitcode == 0


def test_a_process_starts_without_a_word_of_tensorflow(bundle, capfd):
    assert InferenceProcess(bundle).geometry.steps(RATE) > 1
    assert capfd.readouterr() == ("", "")


def test_what_a_process_printed_before_it_was_aborted_is_in_the_log(bundle, capfd, caplog, monkeypatch):
    process = InferenceProcess(bundle)
    there = pickle.loads(pickle.dumps(process._printed))
    with quiet_libraries(there.open):
        os.write(2, b"compiled to use AVX instructions\n")
    newest().kill()
    with pytest.raises(ProcessEnded):
        process._exchange()
    assert capfd.readouterr().err == ""
    assert "ended while it started; it printed:\ncompiled to use AVX instructions" in caplog.text
    caplog.clear()
    with pytest.raises(ProcessEnded):
        process._exchange()
    assert not caplog.records and not os.path.exists(there._path)


def newest() -> multiprocessing.process.BaseProcess:
    return max(multiprocessing.active_children(), key=lambda process: process.pid)


def test_a_faulty_bundle_raises_the_same_error_as_here(tmp_path):
    folder = made(tmp_path / "broken").path
    (file,) = folder.glob("*.safetensors")
    save_file(load_file(file) | {"stray": np.zeros(1, np.float32)}, file)
    with pytest.raises(BundleError, match="'stray' is not a weight"):
        _ = InferenceProcess(Bundle(folder, made(tmp_path / "whole").config, "broken")).geometry


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_program_needs_no_tensorflow_and_takes_its_process_with_it_however_it_ends(bundle):
    code = f"""
import multiprocessing, sys, time
from asr_core.bundle.loading import load_bundle
from asr_core.inference.process import InferenceProcess
from asr_core.recognizer import Recognizer
if __name__ == "__main__":
    bundle = load_bundle({str(bundle.path)!r})
    recognizer = Recognizer(bundle, InferenceProcess(bundle))
    recognizer.warm_up()
    assert not {{"tensorflow", "keras"}} & sys.modules.keys(), "imported here, too"
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(program.stdout.readline())
    os.kill(child, signal.SIGINT)  # as Ctrl-C in a terminal, which reaches both: not its concern
    assert not ended(child, seconds=0.5)
    program.kill()
    program.wait(10)
    assert ended(child, seconds=20)


class Repeating:
    """A model for tests: its outputs repeat the first sample of each clip; it waits until it may run."""

    def __init__(self):
        self.batches, self.may_run = [], threading.Event()

    def __call__(self, samples, lengths):
        self.may_run.wait(5)
        self.batches.append(list(lengths))
        if (samples == 13).any():
            raise RuntimeError("out of memory")
        steps = np.ones(len(samples), int)
        return np.repeat(samples[:, :1, None], 4, axis=1), steps


def clip(value, length=10):
    return np.full(length, value, "float32")


def test_requests_that_wait_together_run_together():
    model = Repeating()
    worker = InferenceWorker(model, max_samples=40)
    futures = [worker.submit(clip(i)) for i in range(7)]
    model.may_run.set()
    assert [future.result(5)[0][0, 0] for future in futures] == list(range(7))
    assert sorted(map(len, model.batches)) == [1, 2, 4] or sorted(map(len, model.batches)) == [3, 4]


def test_a_short_clip_does_not_wait_in_a_batch_of_long_ones():
    model = Repeating()
    worker = InferenceWorker(model, max_samples=1000)
    futures = [worker.submit(clip(i, length)) for i, length in enumerate([100, 100, 10, 90, 12])]
    model.may_run.set()
    assert [future.result(5)[0][0, 0] for future in futures] == list(range(5))
    assert all(max(batch) <= 2 * min(batch) for batch in model.batches)


def test_a_failure_reaches_those_concerned_and_the_next_is_answered():
    model = Repeating()
    worker = InferenceWorker(model, max_samples=20)
    futures = [worker.submit(clip(13)), worker.submit(clip(13))]
    model.may_run.set()
    for future in futures:
        with pytest.raises(RuntimeError, match="out of memory"):
            future.result(5)
    assert worker.submit(clip(1)).result(5)[0][0, 0] == 1


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, MemoryError])
def test_what_would_end_the_thread_fails_one_batch_and_no_more(end):
    class Deadly(Repeating):
        def __call__(self, samples, lengths):
            if (samples == 14).any():
                raise end
            return super().__call__(samples, lengths)

    model = Deadly()
    worker = InferenceWorker(model, max_samples=10)  # of one clip each
    futures = [worker.submit(clip(value)) for value in (1, 14, 2)]
    model.may_run.set()
    with pytest.raises((RuntimeError, MemoryError)):  # nothing that would end the asker's thread in its turn
        futures[1].result(5)
    assert [futures[i].result(5)[0][0, 0] for i in (0, 2)] == [1, 2]
    assert worker.submit(clip(3)).result(5)[0][0, 0] == 3


def test_no_memory_between_two_batches_loses_nothing(monkeypatch):
    failures = iter([MemoryError, MemoryError])
    next_batch = InferenceWorker._next_batch

    def short_of_memory(worker):
        if failure := next(failures, None):
            raise failure
        return next_batch(worker)

    monkeypatch.setattr(InferenceWorker, "_next_batch", short_of_memory)
    model = Repeating()
    model.may_run.set()
    assert InferenceWorker(model, max_samples=10).submit(clip(1)).result(5)[0][0, 0] == 1


def test_a_cancelled_window_is_not_run():
    model = Repeating()
    worker = InferenceWorker(model, max_samples=10)
    futures = [worker.submit(clip(i)) for i in range(3)]
    futures[1].cancel()
    model.may_run.set()
    assert futures[2].result(5)[0][0, 0] == 2
    assert len(model.batches) == 2


def test_closing_answers_what_waits_and_refuses_what_comes():
    model = Repeating()
    worker = InferenceWorker(model, max_samples=10)
    futures = [worker.submit(clip(i)) for i in range(3)]
    worker.close()
    model.may_run.set()
    assert [future.result(5)[0][0, 0] for future in futures] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="has been closed"):
        worker.submit(clip(1))
