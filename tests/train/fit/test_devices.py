"""Several devices, and several processes, make the same steps as one device does."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.app_process import free_port

ROOT = Path(__file__).parents[3]
TRAIN = """
import dataclasses, sys
from train.__main__ import main
from train.fit.presets import PRESETS
sizes = {"width": 16, "blocks": 1, "heads": 2, "kernel": 3, "channels": 2, "reduction": 1, "dropout": 0.0}
batching = dataclasses.replace(PRESETS["smoke"].batching, bucket_seconds=(1.5,), batch_seconds=12.0, repeats=6)
PRESETS["tiny"] = dataclasses.replace(PRESETS["smoke"], name="tiny", sizes=sizes, batching=batching)
sys.exit(main(sys.argv[1:]))
"""


def start(corpus, folder, *flags, devices=1):
    """`python -m train` of a tiny network on JAX, on so many virtual devices, over two passes of the corpus."""
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    command = [
        sys.executable, "-c", TRAIN, "--preset", "tiny", "--data", str(corpus), "--out", str(folder),
        "--cache", str(folder.parent / "cache"), "--passes", "2", *flags,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def losses(run, folder):
    """The loss of every pass, once the run has ended well."""
    output, _ = run.communicate(timeout=400)
    assert run.returncode == 0, output.decode()
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "run"
    found = losses(start(corpus, folder), folder)
    assert len(found) == 2 and found[1] < found[0]
    return found


def test_two_devices_make_the_steps_of_one(corpus, tmp_path, expected):
    folder = tmp_path / "run"
    assert losses(start(corpus, folder, "--data-parallel", devices=2), folder) == pytest.approx(expected, abs=2e-3)


def test_two_processes_make_the_steps_of_one(corpus, tmp_path, expected):
    flags = ("--data-parallel", "--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2")
    folder = tmp_path / "run"
    runs = [start(corpus, folder, *flags, "--rank", str(rank)) for rank in (0, 1)]
    second, _ = runs[1].communicate(timeout=400)
    assert runs[1].returncode == 0, second.decode()
    assert losses(runs[0], folder) == pytest.approx(expected, abs=2e-3)
