"""Workers that train together on one machine: they average their states, and notice when one has ended."""

import csv
import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open

from train.fit.workers import WorkerEnded, Workers


def workers(count, values) -> list[Workers]:
    """`count` workers with one shared memory, all in this process."""
    shared = Workers(0, count, (), (ctypes.c_int64 * count)(), (ctypes.c_float * (count * values))())
    return [replace(shared, rank=rank, others=[]) for rank in range(count)]


def test_all_workers_get_the_mean_of_their_arrays():
    def sync(worker):
        return [worker.mean([np.full((2, 2), 10.0 * turn + worker.rank), np.ones(1)]) for turn in range(50)]

    with ThreadPoolExecutor(3) as pool:
        for means in pool.map(sync, workers(3, 5)):
            for turn, (matrix, vector) in enumerate(means):
                np.testing.assert_array_equal(matrix, np.full((2, 2), 10.0 * turn + 1))
                np.testing.assert_array_equal(vector, [1])


def test_no_worker_waits_for_one_that_has_ended():
    first, _ = workers(2, 1)
    first.others.append(SimpleNamespace(exitcode=-9))
    with pytest.raises(WorkerEnded, match="start the run again"):
        first.mean([np.ones(1)])


def test_two_workers_share_a_pass_and_one_goes_on_alone(corpus, tmp_path):
    def train(*flags):
        command = [sys.executable, "-m", "train", "--preset", "smoke", "--data", corpus, "--out", tmp_path / "run"]
        command += ["--cache", tmp_path / "cache", "--no-compile", *flags]
        ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=500)
        assert ran.returncode == 0, ran.stderr
        with open(tmp_path / "run" / "metrics.csv", newline="") as file:
            return ran.stdout, list(csv.DictReader(file))

    output, (row,) = train("--passes", "1", "--workers", "2")
    assert output.count("continues with") == 1  # one of them prints
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", "np") as file:
        assert int(file.metadata()["batches"]) == 2 * int(row["step"])
    _, rows = train("--passes", "2")
    assert (int(row["step"]), int(rows[-1]["step"])) == (8, 30)  # a pass is 15 batches: 8 steps each, or 15 alone
    assert float(rows[-1]["loss"]) < float(row["loss"])
