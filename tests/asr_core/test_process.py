"""The process of the command line: Ctrl-C at several moments of real programs, and closed standard streams."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_core.process import INTERRUPTED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and shells of POSIX")
ROOT = Path(__file__).parents[2]
BEGIN = """
import sys, time
from asr_core import process
process.catch_interrupts()
def wait():
    print("ready", flush=True)
    for _ in range(6000):  # a signal just before a sleep does not end that sleep
        time.sleep(0.1)
"""
MOMENTS = {
    "before there is anything to clean up": "wait()",
    "with something to clean up": """
try:
    with process.cleaning_up():
        try:
            wait()
        finally:
            print("cleaned up", flush=True)
except KeyboardInterrupt:
    process.leave(0)
""",
    "where a library makes another error of it": """
try:
    with process.cleaning_up():
        try:
            wait()
        except KeyboardInterrupt:
            raise ImportError("numpy could not be imported")
except ImportError as error:
    print(error, file=sys.stderr)
process.leave(1)
""",
    "where a library swallows it": """
process.CLEAN_UP_SECONDS = 0.1
with process.cleaning_up():
    try:
        wait()
    except KeyboardInterrupt:
        print("swallowed", file=sys.stderr)
    time.sleep(600)
""",
    "after the work": """
with process.cleaning_up():
    pass
wait()
""",
    "with threads of TensorFlow at work": """
import threading
from asr_core.inference.backend import import_tensorflow, quiet_libraries
with quiet_libraries():
    import_tensorflow()
    import tensorflow as tf
    matrix = tf.random.normal([500, 500])
    step = tf.function(lambda: tf.reduce_sum(tf.linalg.svd(matrix)[0]))
    step()
def work():
    while True:
        step()
threading.Thread(target=work, daemon=True).start()
try:
    with process.cleaning_up():
        wait()
except KeyboardInterrupt:
    process.leave(process.INTERRUPTED)
""",
}


def started(code: str) -> subprocess.Popen:
    """A program that has come to `wait`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", BEGIN + code]
    program = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests may run in the background
    )
    assert program.stdout.readline() == "ready\n", program.stderr.read()
    return program


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupt_ends_with_one_code_and_without_a_word(moment):
    program = started(MOMENTS[moment])
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert (program.returncode, err) == (INTERRUPTED, "")
    assert out == ("cleaned up\n" if "something" in moment else "")


def test_a_second_interrupt_does_not_wait_for_the_cleaning():
    program = started("""
with process.cleaning_up():
    try:
        wait()
    finally:
        wait()
""")
    program.send_signal(signal.SIGINT)
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=60) == ("", "") and program.returncode == INTERRUPTED


def test_a_program_that_was_started_to_ignore_interrupts_goes_on_ignoring_them():
    code = "import signal, sys\nfrom asr_core import process\nprocess.catch_interrupts()\n"
    code += "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    command = f"trap '' INT; exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.fixture
def shell(tmp_path):
    """Runs the command line with a fake recogniser in a shell, with the redirections given."""

    def run(*arguments, streams=""):
        code = "import sys\nfrom asr_core import __main__, process\n"
        code += "from tests.asr_core.cli.test_cli import FakeRecognizer\n"
        code += "try: code = __main__.main(None, lambda model: FakeRecognizer())\n"
        code += "except SystemExit as stopped: code = stopped.code\nprocess.leave(code)"
        command = shlex.join([sys.executable, "-c", code, *map(str, arguments)])
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(["bash", "-c", f"{command} {streams}"], capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def recording(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    return tmp_path / "a.wav"


class TestClosedStreams:
    def test_standard_input_is_a_recording_that_fails_and_the_others_go_on(self, shell, recording):
        message = "standard input is closed: pipe a recording into it, or name a file.\n"
        assert shell("-", streams="<&-") == (1, "", message)
        assert shell("-", recording, streams="<&-") == (1, "tenths 5\n", message)

    def test_standard_output_is_needed_without_out(self, shell, recording, tmp_path):
        code, out, err = shell(recording, streams=">&-")
        assert (code, out) == (2, "")
        assert err.splitlines()[-1] == "python -m asr_core: error: standard output is closed: add --out DIR"
        assert shell(recording, "--out", tmp_path / "out", streams=">&- <&-") == (0, "", "")
        assert (tmp_path / "out" / "a.txt").read_text() == "tenths 5\n"

    def test_standard_error_does_not_go_elsewhere(self, shell, recording, tmp_path):
        assert shell(recording, tmp_path / "gone.wav", streams="2>&-") == (1, "tenths 5\n", "")
        assert shell(recording, "--shard", "0/0", streams="2>&-")[:2] == (2, "")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk of Linux")
    def test_a_full_disk_costs_one_line(self, shell, recording):
        code, _, err = shell(recording, streams=">/dev/full")
        assert (code, err) == (1, f"{recording}: its transcript cannot be written (No space left on device)\n")
