"""The house stays in order: what lies where, and which way imports point."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    "app.py", "requirements.txt", "requirements-dev.txt", "README.md", "CHANGELOG.md", "SECURITY.md",
    "LICENSE", "pyproject.toml", "packages.txt", "asr_core", "train", "ui", "tests", "assets",
}  # fmt: skip
FOREIGN = {
    "asr_core": {"gradio", "train", "ui"},
    "train": {"gradio", "ui"},
    "ui": {"train"},
    "app": {"train"},
}
ORDER = (
    "errors process given_texts compressed jit backend spoken_forms containers integrity flac channels levels  "
    "tracks sound_files audio featurizer vocabulary models pasted_text viterbi ctc partial_alignment spelling  "
    "alignment arpa prefix_tree language_model hot_words phones beam_kernel beam decoder subtitles transcript  "
    "arguments outputs description bundle network windows recognizer streaming __main__"
).split()
BYTES_A_FILE, BYTES_IN_ALL = 10_000_000, 60_000_000


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in names.decode().split("\0") if name and (ROOT / name).exists()]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def modules(package: str) -> list[Path]:
    return [ROOT / "app.py"] if package == "app" else sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", FOREIGN)
def test_imports_point_one_way(package):
    for path in modules(package):
        wrong = {name for name in imports(path) if name.split(".")[0] in FOREIGN[package]}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_inside_asr_core_a_file_imports_earlier_ones_only():
    for path in modules("asr_core"):
        inside = path.relative_to(ROOT / "asr_core").parts
        if path.name == "__init__.py":
            continue
        own = "models" if inside[0] == "models" else path.stem
        assert own in ORDER, f"{path.name} has no place in the order"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "asr_core" and len(parts) > 1 and parts[1] in ORDER and parts[1] != own:
                assert ORDER.index(parts[1]) < ORDER.index(own), f"{own} imports {parts[1]}"


def test_only_the_hub_reader_touches_the_network():
    network = {"huggingface_hub", "requests", "httpx", "httpx2", "urllib.request", "socket", "http.client"}
    for path in [*modules("asr_core"), *modules("ui"), *modules("app")]:
        if path.name != "bundle.py":
            assert not imports(path) & network, path


def test_the_top_level_holds_nothing_else():
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_files_stay_small_enough_for_a_space():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < BYTES_A_FILE
    assert sum(sizes.values()) < BYTES_IN_ALL


def test_usage_errors_do_not_wait_for_tensorflow():
    code = "import sys, asr_core.__main__, asr_core.decoder, ui; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_recogniser_leaves_out_what_nobody_here_needs_and_a_later_import_brings_it():
    code = """
import sys
from asr_core.bundle import load_bundle
from asr_core.recognizer import Recognizer
Recognizer(load_bundle())
assert "tensorflow" in sys.modules and not {"sklearn", "jax"} & sys.modules.keys()
import sklearn
sklearn.__version__
"""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_security_md_names_tests_that_exist():
    named = re.findall(r"`(test\w+|tests/[\w/.]+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = {name for name in named if not (ROOT / name).exists() and f"def {name}(" not in written}
    assert len(named) > 40 and not missing
