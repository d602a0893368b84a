"""`pip install .`: the wheel of the tracked files, installed alone, holds the default model, and its commands run."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path
from sysconfig import get_path

import jiwer
import pytest
from packaging.requirements import Requirement

from asr_core.text.normaliser import normalise
from tests.test_layout import ROOT, tracked

TIMEOUT_SECONDS = 500  # on a busy machine; an idle one needs half a minute for all


def run(*command, **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _name(requirement: str) -> str:
    return Requirement(requirement).name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the tracked files. An old setuptools here is replaced by one from the package index."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in tracked():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    local = ["--no-build-isolation"] if int(version("setuptools").partition(".")[0]) >= 77 else []
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *local, "--wheel-dir", target, source)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory) -> Path:
    """The folder of the commands of a fresh environment with the wheel in it; its dependencies are those of ours."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False)
    paths = {name: Path(get_path(name, vars={"base": str(environment)})) for name in ("purelib", "scripts")}
    python = paths["scripts"] / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    (paths["purelib"] / "dependencies.pth").write_text(get_path("purelib"))
    return paths["scripts"]


def test_the_wheel_holds_every_module_and_asset_and_the_licences(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tree = [path.relative_to(ROOT) for path in tracked()]
    wanted = {path for path in tree if path.parts[0] in ("asr_core", "train", "ui") and path.suffix != ".md"}
    wanted |= {"asr_core" / path for path in tree if path.parts[:2] in (("assets", "default"), ("assets", "examples"))}
    places = {path.as_posix() for path in wanted}
    assert places <= names, places - names
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_wheel_requires_what_requirements_txt_does(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    required = message_from_bytes(archive.read(name)).get_all("Requires-Dist")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    assert sorted(map(_name, required)) == sorted(_name(line) for line in lines if line)


def test_the_installed_commands_run_from_another_folder_with_the_default_model(commands, tmp_path):
    clip = json.loads((ROOT / "assets/examples/examples.json").read_text(encoding="utf-8"))[0]
    shutil.copy(ROOT / "assets/examples" / clip["file"], tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    code = "import asr_core, train, ui; print(asr_core.__file__, train.__file__, ui.__file__)"
    homes = run(commands / "python", "-c", code, cwd=tmp_path, env=environment).split()
    assert all(Path(home).is_relative_to(commands.parent) for home in homes), homes
    text = run(commands / "asr", clip["file"], cwd=tmp_path, env=environment)
    assert jiwer.wer(normalise(clip["text"]), normalise(text)) < 0.3
    assert "--preset" in run(commands / "asr-train", "--help", cwd=tmp_path, env=environment)
