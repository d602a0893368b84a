"""The house stays in order: what lies where, and which way imports point."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    "app.py", "requirements.txt", "requirements-dev.txt", "README.md", "CHANGELOG.md", "CONTRIBUTING.md",
    "RESULTS.md", "SECURITY.md", "LICENSE", "pyproject.toml", "packages.txt", "asr_core", "train", "ui",
    "tests", "assets",
}  # fmt: skip
FOREIGN = {
    "asr_core": {"gradio", "train", "ui"},
    "train": {"gradio", "ui"},
    "ui": {"train"},
    "app": {"train"},
}
# Packages and modules at the top of each package, from the ground up: each imports earlier ones only.
ORDER = {
    "asr_core": (
        "errors process storage jit blas text emissions viterbi ctc forced_alignment partial_alignment audio models "
        "decoding transcript cli bundle inference recognizer streaming __main__ command"
    ),
    "train": (
        "options learning_rate numpy_training data corpora language_model neural_language_model fit evaluate "
        "punctuation publish adaptation convert export tools __main__"
    ),
    "ui": "service widgets tabs api page",
}
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


def place(package: str, parts: tuple[str, ...], order: list[str]) -> str | None:
    """The entry of `order` that a module lies in: its second name, such as decoding of
    asr_core.decoding.beam_search.
    """
    return parts[1] if parts[0] == package and len(parts) > 1 and parts[1] in order else None


@pytest.mark.parametrize("package", ORDER)
def test_packages_import_earlier_ones_only(package):
    order = ORDER[package].split()
    for path in modules(package):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] == "__init__":
            continue
        own = place(package, parts, order)
        assert own, f"{path} has no place in the order"
        for name in imports(path):
            other = place(package, tuple(name.split(".")), order)
            assert other is None or order.index(other) <= order.index(own), f"{path.relative_to(ROOT)} imports {name}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("package", ORDER)
def test_no_module_imports_itself_in_a_circle(package):
    names = {module_name(path): path for path in modules(package) if module_name(path) != package}
    graph = {name: (imports(path) & names.keys()) - {name} for name, path in names.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert len(order) == len(names)


def test_only_the_hub_reader_touches_the_network():
    network = {"huggingface_hub", "requests", "httpx", "httpx2", "urllib.request", "socket", "http.client"}
    for path in [*modules("asr_core"), *modules("ui"), *modules("app")]:
        if path.name != "hub.py":
            assert not imports(path) & network, path


def test_the_top_level_holds_nothing_else():
    names = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_files_stay_small_enough_for_a_space():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < BYTES_A_FILE
    assert sum(sizes.values()) < BYTES_IN_ALL


def test_usage_errors_do_not_wait_for_tensorflow():
    code = "import sys, asr_core.__main__, asr_core.decoding.beam_search, ui; sys.exit('tensorflow' in sys.modules)"
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
    named = re.findall(r"`(test\w+|tests/[\w/.]+)`", (ROOT / "tests" / "SECURITY.md").read_text(encoding="utf-8"))
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = {name for name in named if not (ROOT / name).exists() and f"def {name}(" not in written}
    assert len(named) > 40 and not missing
